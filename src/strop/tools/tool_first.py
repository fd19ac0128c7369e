"""Tool first: where the stakes are high, a figure is stated only if a tool brought it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from strop.tools.evidence import evidence_of
from strop.tools.figures import Figure, figures, figures_of
from strop.tools.session import ToolRecord

WITHHELD = "I cannot state that without evidence from a tool."
_OPERATORS = re.compile(r"[-+*/()^,%]")


@dataclass(frozen=True, kw_only=True)
class ToolFirst:
    """Withholds answers of ``kinds`` whose figures no tool brought.

    Every number must stand in a tool's result, in any notation but unrounded, and not because the call itself held it.
    What ``derived`` tools bring counts only if all that went into them is founded, so that a guess does not become
    evidence by way of the calculator. A number of the question may be repeated once there is evidence; its dates and
    identifiers always may.
    """

    kinds: frozenset[str]
    """Kinds of request to which it applies."""
    derived: frozenset[str] = frozenset({"calculate"})
    """Tools that compute from what the model gives them."""
    constants: frozenset[int] = frozenset()
    """Numbers that may go into derived tools without evidence, such as 12 for the months."""
    withheld: str = WITHHELD
    """What the user reads instead."""

    def unfounded(
        self, answer: str, records: Sequence[ToolRecord], *, kind: str, question: str = ""
    ) -> tuple[Figure, ...]:
        """The figures for which the answer must be withheld; empty if it may be given."""
        if kind not in self.kinds:
            return ()
        for name in sorted({piece.id for piece in evidence_of(records)}, key=len, reverse=True):
            answer = answer.replace(f"[{name}]", " ")  # any other bracket is part of the answer
        return tuple(sorted(figures(answer) - self._founded(records, figures(question)), key=str))

    def _founded(self, records: Sequence[ToolRecord], asked: frozenset[Figure]) -> frozenset[Figure]:
        known = frozenset[Figure](figure for figure in asked if not isinstance(figure, Fraction))
        for record in records:
            if not record.result.is_ok:
                continue
            brought = figures_of(record.result.value)
            if record.call.name not in self.derived:
                known |= asked | (brought - figures_of(record.call.arguments))
            elif _operands(record) <= known | asked | {Fraction(number) for number in self.constants}:
                known |= brought
        return known


def _operands(record: ToolRecord) -> frozenset[Figure]:
    """The figures that went into a computation."""
    return frozenset[Figure]().union(
        *(figures_of(_OPERATORS.sub(" ; ", v) if isinstance(v, str) else v) for v in record.call.arguments.values())
    )
