"""The procedural tasks of reasoning-gym as worlds, ``world:gym.gcd``: an extra, ``pip install "strop[gym]"``."""

from __future__ import annotations

import difflib
import importlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from strop.errors import MissingDependencyError, RecipeError
from strop.types import Task, Verifier
from strop.verifiers import ExactAnswer
from strop.worlds.generated import Dial, Fits, GeneratedWorld, Puzzle

PREFIX = "gym."
MAX_LEVEL = 4


def _factory() -> Any:
    try:
        return importlib.import_module("reasoning_gym.factory")
    except ImportError as error:
        raise MissingDependencyError(
            "reasoning-gym is not installed", why=f"world:gym needs it ({error})", do='pip install "strop[gym]"'
        ) from error


def gym_names() -> tuple[str, ...]:
    """The data sets whose answer is one text, compared as a text. Raises: MissingDependencyError.

    The others bring judges of their own, some of which parse or evaluate what a model wrote inside this process.
    """
    known = _factory().DATASETS
    plain = importlib.import_module("reasoning_gym.dataset").ProceduralDataset.score_answer
    return tuple(name for name, (kind, _) in known.items() if kind.score_answer is plain)


@dataclass(frozen=True, kw_only=True)
class GymWorld(GeneratedWorld):
    """The tasks of one data set of reasoning-gym; ``level`` sets every attribute of its curriculum, if it has one.

    An answer passes if it is the data set's, up to case, spacing and quotes. Raises: MissingDependencyError;
    RecipeError for a data set that there is not, or whose answers cannot be compared as texts.
    """

    dials: ClassVar[Mapping[str, Dial]] = {"level": Dial(default=0, low=0, high=MAX_LEVEL)}
    name: str = "gym.basic_arithmetic"
    verifier: Verifier = field(default_factory=ExactAnswer)

    def __post_init__(self) -> None:
        known = gym_names()
        if self.dataset not in known:
            near = difflib.get_close_matches(self.dataset, known, n=1)
            raise RecipeError(
                f"there is no world {self.name!r}",
                why="reasoning-gym has no such data set, or one that judges answers with code of its own",
                do=f"did you mean '{PREFIX}{near[0]}'?" if near else f"choose one of {', '.join(known)}",
            )

    @property
    def dataset(self) -> str:
        """The name of the data set in reasoning-gym."""
        return self.name.removeprefix(PREFIX)

    @property
    def levels(self) -> tuple[Mapping[str, int], ...]:
        """As many as the longest attribute of the curriculum has, at most five; one without a curriculum."""
        if not _factory().has_curriculum(self.dataset):
            return ({"level": 0},)
        attributes = _factory().create_curriculum(self.dataset).attributes.values()
        longest = max((len(one.levels) for one in attributes), default=1)
        return tuple({"level": level} for level in range(min(longest, MAX_LEVEL + 1)))

    def draw(self, rng: random.Random, settings: Mapping[str, int], fits: Fits) -> Puzzle | None:
        """One entry of the data set under a seed of its own."""
        entry = self._entry(rng.getrandbits(31), settings["level"])
        question, answer = str(entry["question"]), str(entry["answer"])
        if not fits(question) or not answer.strip():
            return None
        return Puzzle(
            question=question,
            answer=answer,
            keys=(question,),
            kind=self.dataset,
            reference={"answer": [answer]},
        )

    def _entry(self, seed: int, level: int) -> Mapping[str, Any]:
        factory = _factory()
        if not factory.has_curriculum(self.dataset):
            made = factory.create_dataset(self.dataset, seed=seed, size=1)
        else:
            curriculum = factory.create_curriculum(self.dataset)
            curriculum.set_global_level(level)
            made = factory.DATASETS[self.dataset][0](curriculum.generate_configuration({"seed": seed, "size": 1}))
        entry: Mapping[str, Any] = made[0]
        return entry

    def mutations(self, task: Task) -> list[str]:
        """A character more, one less, none at all, the answer twice."""
        right = self.reference_text(task)
        return [f"{right} 1", f"x{right}", f"{right[:-1]}", "", f"{right} {right}"]

    def cheats(self, task: Task) -> list[str]:
        """The question again, the answer among others, the verifier's own words."""
        right = self.reference_text(task)
        return [task.prompt[0].content, f"{right} or not {right}", "PASSED", "correct"]
