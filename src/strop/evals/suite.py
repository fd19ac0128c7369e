"""A suite: tasks, the verifier that judges them, and what is measured."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from strop.digests import digest_bytes, digest_file, digest_json
from strop.errors import DataError
from strop.types import Completion, Task, Verdict, Verifier

Dimension = Literal["helpfulness", "harmlessness", "truthfulness", "reliability"]
"""What a metric speaks of: is it useful, does it stay within bounds, is it true, does the system hold."""
DIMENSIONS: tuple[Dimension, ...] = ("helpfulness", "harmlessness", "truthfulness", "reliability")
Measure = Callable[[Task, Completion, Verdict], Mapping[str, float | None]]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a measure is read."""

    direction: Literal["higher", "lower"]
    """Which way is better."""
    weight: str | None = None
    """The measure that counts what the value is a share of (calls, for tool precision); None: all weigh the same."""
    dimension: Dimension | None = None
    beside: tuple[str, ...] = ()
    """Metrics without which this one misleads: tables and gates show them together, or not at all."""
    is_gate: bool = True
    """Whether a gate may ask it; False for what says nothing of quality, such as how often tools are called."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is asked, and how the answers are judged and measured."""

    name: str
    tasks: tuple[Task, ...]
    verifier: Verifier
    metrics: Mapping[str, Metric]
    """The measures that the gate compares; others are reported only."""
    measure: Measure | None = None
    """Per answer; None where a measure does not apply. Without it, ``accuracy`` and what the verifier measures."""
    version: str = "1"
    """Raised by whoever changes what the suite asks; results of two versions are never compared."""
    index_digest: str = ""
    """Identity of the retrieval index that its evidence comes from; empty without one."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DataError(f"a suite cannot be called {self.name!r}", do="use letters, digits, `_`, `-` and `.`")
        if not self.tasks:
            raise DataError(f"suite {self.name} has no tasks", do="give it at least one")
        twice = [task_id for task_id, count in Counter(task.id for task in self.tasks).items() if count > 1]
        if twice:
            raise DataError(
                f"suite {self.name} has {len(twice)} ids twice, for example {twice[0]!r}",
                why="items are paired with the baseline's by their id",
                do="give every task its own id",
            )

    @property
    def tools_digest(self) -> str:
        """Identity of the tools that the tasks offer, and of which task offers which."""
        tools = {id(tool): tool for task in self.tasks for tool in task.tools}  # the same few objects, task after task
        offers = [[tool.get("function", tool).get("name") for tool in task.tools] for task in self.tasks]
        return digest_json([sorted({digest_json(tool) for tool in tools.values()}), offers])

    @property
    def digest(self) -> str:
        """Identity of what is asked and how it is judged: tasks, references, slices, verifier, metrics.

        Tools have a digest of their own: another version of one is a drift, told as such, and no other suite.
        """
        metrics = {name: asdict(metric) for name, metric in self.metrics.items()}
        tasks = [task_digest(replace(task, tools=())) for task in self.tasks]
        return digest_json([self.name, self.version, tasks, self.verifier.digest, self.measure_name, metrics])

    @property
    def measure_name(self) -> str | None:
        """Identity of the measure; None without one."""
        return None if self.measure is None else measure_identity(self.measure)


def measure_identity(measure: Measure) -> str:
    """What the measure calls its ``digest`` where it is composed or fitted, else where its function stands.

    A function that is not strop's own also counts by the content of its file and by what it has closed over, so that
    kept answers never outlive an edit of it. Raises: DataError where none of this identifies it.
    """
    digest = getattr(measure, "digest", None)
    if isinstance(digest, str):
        return digest
    try:
        name, module = f"{measure.__module__}.{measure.__qualname__}", measure.__module__
        if module.partition(".")[0] == "strop":
            return name
        code, closed = measure.__code__, [cell.cell_contents for cell in measure.__closure__ or ()]
        file = Path(code.co_filename)
        content = digest_file(file) if file.is_file() else digest_bytes(repr((code.co_code, code.co_consts)).encode())
        return f"{name}@{digest_json([content, code.co_firstlineno, closed])}"
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f"the measure {measure!r} has no identity",
            why=f"{error}: kept answers could not be told from those of another measure",
            do="give it a `digest` that changes with what it measures, or make it a plain function",
        ) from error


def task_digest(task: Task) -> str:
    """Identity of a task: everything but where its row was read from, which is not what it asks."""
    content = {name: value for name, value in vars(task).items() if name != "source"}
    return digest_bytes(json.dumps(content, sort_keys=True, default=_plain).encode())


def asked_digest(task: Task) -> str:
    """Identity of what a model is asked, turns and tools: two tasks with one get one answer."""
    content = [[_plain(turn) for turn in task.prompt], list(task.tools)]
    return digest_bytes(json.dumps(content, sort_keys=True, default=_plain).encode())


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else vars(value)


class _World(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def verifier(self) -> Verifier: ...
    @property
    def metrics(self) -> Mapping[str, Literal["higher", "lower"]]: ...
    def tasks(self, split: str, n: int, seed: int = 0, **dial: Any) -> list[Task]: ...
    def measure(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]: ...


def world_suite(
    world: _World, *, num_tasks: int, split: str = "test", seed: int = 0, name: str | None = None, **dial: Any
) -> Suite:
    """A suite of a world's held-out tasks with all of its metrics."""
    from strop.evals.measures.table import described  # it needs Metric

    return Suite(
        name=name or world.name,
        tasks=tuple(world.tasks(split, num_tasks, seed, **dial)),
        verifier=world.verifier,
        metrics=described(world.metrics),
        measure=world.measure,
    )


def task_suite(name: str, tasks: Sequence[Task], verifier: Verifier) -> Suite:
    """A suite of a user's own tasks: ``accuracy``, and beside it whatever numbers the verifier measures.

    Tasks without a cluster that ask the very same are one, so that one piece of evidence is counted once.
    """
    metrics = {"accuracy": Metric(direction="higher")}
    return Suite(name=name, tasks=_clustered(tasks), verifier=verifier, metrics=metrics)


def _clustered(tasks: Sequence[Task]) -> tuple[Task, ...]:
    asked = [asked_digest(task) for task in tasks]
    counts = Counter(digest for task, digest in zip(tasks, asked, strict=True) if not task.cluster)
    return tuple(
        replace(task, cluster=f"same-{digest[:16]}") if not task.cluster and counts[digest] > 1 else task
        for task, digest in zip(tasks, asked, strict=True)
    )
