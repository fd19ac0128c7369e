"""A labelling session: two models' answers to one sample set, judged blind by one annotator or several."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unicodedata import category, is_normalized

from strop.digests import digest_json
from strop.errors import MismatchError, RecipeError
from strop.evals.people.rubric import DEFAULT, Aspect, Rubric
from strop.evals.people.sample_set import Pair, Plan, sample_set
from strop.evals.people.seats import Place, places
from strop.evals.people.store import Judgement, Store
from strop.evals.results import SuiteResult

_MAX_NAME = 40
_NOT_IDENTITY = ("port", "token", "created", "format")
_VERDICTS = ("left", "right", "tie")
MAX_WORDS = 4000
"""Characters of a comment or a reason."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two models of a session; nothing of it ever reaches the page."""

    name: str
    model: str
    """Its digest."""
    result: str
    """The digest of the suite result that its answers are from."""


class Session:
    """What is asked, and everything that was answered. Two objects of one folder see the same state."""

    def __init__(self, store: Store) -> None:
        facts = store.facts()
        self._store = store
        self._facts = facts
        self.plan = Plan(**facts["plan"])
        self.rubric = _rubric(facts["rubric"])
        self.candidate, self.baseline = Side(**facts["candidate"]), Side(**facts["baseline"])
        self.suite: str = facts["suite"]
        self.token: str = facts["token"]
        """The secret part of the page's address."""
        self.pairs: tuple[Pair, ...] = store.pairs()

    @classmethod
    def create(
        cls,
        folder: Path | str,
        candidate: SuiteResult,
        baseline: SuiteResult,
        *,
        plan: Plan | None = None,
        rubric: Rubric = DEFAULT,
        names: tuple[str, str] = ("candidate", "baseline"),
    ) -> Session:
        """A new session, or the one that stands in ``folder`` if it is the same.

        Raises: MismatchError where the results cannot be compared, or another session stands there; OutputError.
        """
        plan = plan or Plan()
        store = Store(folder)
        facts = {
            "suite": candidate.name,
            "suite_digest": candidate.digests["suite"],
            "plan": asdict(plan),
            "rubric": asdict(rubric),
            "candidate": asdict(Side(name=names[0], model=candidate.digests["model"], result=candidate.digest)),
            "baseline": asdict(Side(name=names[1], model=baseline.digests["model"], result=baseline.digest)),
        }
        if store.exists():
            _require_same(store, facts)
        else:
            own = {"created": _now(), "token": secrets.token_urlsafe(24)}
            store.create({**facts, **own}, sample_set(candidate, baseline, plan))
        return cls(store)

    @classmethod
    def open(cls, folder: Path | str) -> Session:
        """The session in ``folder``. Raises: MismatchError if there is none."""
        return cls(Store(folder))

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._store.path.parent

    @property
    def port(self) -> int | None:
        """Where it was served last, so that an open page finds it again."""
        port = self._store.facts().get("port")
        return None if port is None else int(port)

    def remember_port(self, port: int) -> None:
        """Keep the port for the next time."""
        self._store.remember("port", port)

    @property
    def plan_digest(self) -> str:
        """Identity of what is asked: models, pairs, rubric, seed."""
        facts = {name: value for name, value in self._facts.items() if name not in _NOT_IDENTITY}
        return digest_json([facts, [asdict(pair) for pair in self.pairs]])

    @property
    def digest(self) -> str:
        """Identity of what is asked and all that was answered, in its order."""
        told = [asdict(replace(judgement, elapsed_s=0.0)) for judgement in self.history()]
        return digest_json([self.plan_digest, told])

    # ---------------------------------------------------------------------------------------------------------- judging

    def places(self, annotator: str) -> tuple[Place, ...]:
        """All that the annotator is to judge, in order. Raises: RecipeError for a name that is none."""
        if not _is_name(annotator):
            raise RecipeError(
                f"an annotator cannot be called {annotator!r}", do="use up to 40 letters, digits, spaces and . _ - + @"
            )
        return places(self.pairs, annotator, self.plan.seed)

    def judge(
        self,
        annotator: str,
        place: Place,
        choice: str,
        aspects: Mapping[str, str] | None = None,
        *,
        reason: str = "",
        comment: str = "",
        elapsed_s: float = 0.0,
    ) -> Judgement:
        """Save a judgement; the same place again changes it. Raises: RecipeError for an answer that is incomplete."""
        aspects = {} if choice == "cannot" else dict(aspects or {})
        self._require_answer(choice, aspects, reason)
        judgement = Judgement(
            annotator=annotator,
            pair=place.pair.number,
            candidate_is_left=place.candidate_is_left,
            choice=choice,  # type: ignore[arg-type]
            aspects=aspects,
            reason=reason.strip()[:MAX_WORDS] if choice == "cannot" else "",
            comment=comment.strip()[:MAX_WORDS],
            elapsed_s=elapsed_s,
        )
        self._store.add(judgement)
        return judgement

    def history(self, annotator: str | None = None) -> list[Judgement]:
        """Every judgement ever saved, in order."""
        return self._store.history(annotator)

    def last(self, annotator: str | None = None) -> dict[tuple[str, int], Judgement]:
        """(annotator, pair) → the judgement that counts: the last one."""
        return {(judgement.annotator, judgement.pair): judgement for judgement in self.history(annotator)}

    def _require_answer(self, choice: str, aspects: Mapping[str, str], reason: str) -> None:
        if choice == "cannot":
            if not reason.strip():
                raise RecipeError("a pair that cannot be judged needs a reason")
            return
        if choice not in _VERDICTS:
            raise RecipeError(f"{choice!r} is no choice", do="left, right, tie or cannot")
        known = {aspect.name: aspect for aspect in self.rubric.aspects}
        for name, value in aspects.items():
            if name not in known or value not in (*_VERDICTS, "none"):
                raise RecipeError(f"{value!r} is no answer to the aspect {name!r}")
        missing = [name for name, aspect in known.items() if aspect.required and name not in aspects]
        if missing:
            raise RecipeError(f"`{missing[0]}` was not answered")


def _is_name(annotator: str) -> bool:
    """Composed (NFC), so that one name has one spelling; marks are letters' parts in many scripts."""
    is_spelled = all(one in " ._-+@" or category(one)[0] in "LMN" for one in annotator)
    is_composed = is_normalized("NFC", annotator) and annotator == annotator.strip()
    return 0 < len(annotator) <= _MAX_NAME and is_spelled and is_composed


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _rubric(facts: Mapping[str, Any]) -> Rubric:
    return Rubric(**{**facts, "aspects": tuple(Aspect(**aspect) for aspect in facts["aspects"])})


def _require_same(store: Store, facts: Mapping[str, Any]) -> None:
    """Raise MismatchError unless the session that stands there was made of these facts."""
    found = store.facts()
    differ = [name for name, value in facts.items() if _unnamed(found[name]) != _unnamed(value)]
    if differ:
        raise MismatchError(
            f"another session stands in {store.path.parent}",
            where=str(store.path),
            why=f"it differs in: {', '.join(differ)}",
            do="continue it with `strop label --session FOLDER` alone, or name another folder",
        )


def _unnamed(value: Any) -> str:
    """Identity without what a side is called: the same results from another folder are the same."""
    return digest_json(
        {key: one for key, one in value.items() if key != "name"}
        if isinstance(value, dict) and "model" in value
        else value
    )
