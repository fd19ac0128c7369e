"""Several measures as one, with an identity that names them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from strop.digests import digest_json
from strop.errors import VerifierError
from strop.evals.suite import Measure, measure_identity
from strop.types import Completion, Task, Verdict


@dataclass(frozen=True)
class Together:
    """What all parts measure of an answer. Raises: VerifierError if two of them measure the same."""

    parts: tuple[Measure, ...]

    @property
    def digest(self) -> str:
        """Identity of the parts, in their order."""
        return digest_json(["together", *map(measure_identity, self.parts)])

    def __call__(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        found: dict[str, float | None] = {}
        for part in self.parts:
            values = part(task, completion, verdict)
            twice = sorted(found.keys() & values.keys())
            if twice:
                raise VerifierError(
                    f"two measures both give `{twice[0]}`",
                    why="one would silently take the other's place",
                    do="leave one of them out, or take it `only` with other names",
                )
            found |= values
        return found


@dataclass(frozen=True)
class Only:
    """Some of what a measure gives; None for a name that it did not give this time."""

    measure: Measure
    names: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Identity of the measure and of the names."""
        return digest_json(["only", measure_identity(self.measure), list(self.names)])

    def __call__(self, task: Task, completion: Completion, verdict: Verdict) -> Mapping[str, float | None]:
        values = self.measure(task, completion, verdict)
        return {name: values.get(name) for name in self.names}


def together(*measures: Measure) -> Together:
    """The measures as one: each answer is measured by all of them."""
    return Together(measures)


def only(measure: Measure, *names: str) -> Only:
    """The measure without what is not named."""
    return Only(measure, names)
