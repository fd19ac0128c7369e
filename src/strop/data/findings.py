"""What a pre-flight found: counts, refusals, and the same as text and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from strop.data.ledger import LedgerEntry
from strop.errors import DataError
from strop.types import Sample

PreflightKind = Literal["sft", "dpo", "tasks", "cpt"]


@dataclass(frozen=True, kw_only=True)
class Share:
    """Tokens, and how many of them are trained."""

    num_tokens: int
    num_trained: int


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What was found in a whole data set; token counts are of the usable rows as they will be trained."""

    kind: PreflightKind
    num_rows: int
    max_length: int
    accepted: tuple[int, ...]
    """Indices of the rows that can be used."""
    roles: Mapping[str, Share]
    turns: Mapping[tuple[int, str], Share]
    """By (index of the message, role)."""
    lengths: Mapping[str, int]
    """Quantiles of tokens a row, before shortening: ``{"0%": 12, ..., "50%": 80, ..., "100%": 900}``."""
    num_stop_trained: int
    """Rows whose last supervised turn trains its stop token."""
    duplicates: tuple[tuple[str, ...], ...]
    """Groups of ids whose rendered tokens are the same."""
    overlap: tuple[tuple[str, str], ...]
    """(row, evaluation row) that ask the same."""
    control_texts: Mapping[str, int]
    """``"<|end|> in user"`` → in how many turns a control token stands as text; it is escaped, and stays text."""
    num_reasoning_dropped: int
    """Rows with reasoning that the template leaves out of the rendering."""
    is_prompt_a_prefix: bool
    """Whether generation starts from exactly the tokens that the template shows before an answer in training."""
    ledger: tuple[LedgerEntry, ...]
    samples: tuple[Sample, ...] = field(default=(), repr=False)
    """The usable rows as they were checked, to be trained as they are; chosen and rejected of a pair side by side."""

    @property
    def num_tokens(self) -> int:
        """Of the usable rows."""
        return sum(share.num_tokens for share in self.roles.values())

    @property
    def num_trained_tokens(self) -> int:
        """Of the usable rows."""
        return sum(share.num_trained for share in self.roles.values())

    @property
    def refusals(self) -> tuple[LedgerEntry, ...]:
        """The rows that cannot be used, and why."""
        return tuple(entry for entry in self.ledger if entry.action == "refused")

    @property
    def shortened(self) -> tuple[LedgerEntry, ...]:
        """The rows that lose tokens of their prompt."""
        return tuple(entry for entry in self.ledger if entry.action == "shortened")

    @property
    def num_zero_label_rows(self) -> int:
        """Rows in which no token would be trained."""
        return sum(entry.reason == "nothing_supervised" for entry in self.refusals)

    @property
    def num_truncated_label_rows(self) -> int:
        """Rows that lose supervised tokens of older answers."""
        return sum(entry.dropped_trained_tokens > 0 for entry in self.shortened)

    def require(self) -> None:
        """Refuse to train what the pre-flight refuses. Raises: DataError with the first row and the number of each
        kind."""
        refusals = self.refusals
        if not refusals:
            return
        counts = Counter(entry.reason for entry in refusals)
        more = f" (and {len(refusals) - 1} more of {self.num_rows} rows)" if len(refusals) > 1 else ""
        raise DataError(
            refusals[0].message.splitlines()[0] + more,
            where=refusals[0].source or refusals[0].id,
            why="the pre-flight refuses " + ", ".join(f"{count} × {reason}" for reason, count in counts.most_common()),
            do=_advice(refusals),
        )

    def to_json(self) -> dict[str, Any]:
        """The whole report as a JSON object."""
        return {
            "kind": self.kind,
            "num_rows": self.num_rows,
            "num_accepted": len(self.accepted),
            "max_length": self.max_length,
            "num_tokens": self.num_tokens,
            "num_trained_tokens": self.num_trained_tokens,
            "roles": {role: asdict(share) for role, share in self.roles.items()},
            "turns": [{"turn": turn, "role": role, **asdict(share)} for (turn, role), share in self.turns.items()],
            "lengths": dict(self.lengths),
            "num_zero_label_rows": self.num_zero_label_rows,
            "num_truncated_label_rows": self.num_truncated_label_rows,
            "num_stop_trained": self.num_stop_trained,
            "duplicates": [list(group) for group in self.duplicates],
            "overlap": [list(pair) for pair in self.overlap],
            "control_texts": dict(self.control_texts),
            "num_reasoning_dropped": self.num_reasoning_dropped,
            "is_prompt_a_prefix": self.is_prompt_a_prefix,
            "ledger": [asdict(entry) for entry in self.ledger],
        }

    def lines(self) -> list[str]:
        """The report as plain text, one finding a line."""
        lines = [
            f"rows: {self.num_rows}, usable {len(self.accepted)}, shortened {len(self.shortened)}, "
            f"refused {len(self.refusals)} (limit {self.max_length} tokens)",
            f"tokens: {self.num_tokens}, trained {_percent(self.num_trained_tokens, self.num_tokens)}",
            "lengths: " + ", ".join(f"{name} {length}" for name, length in self.lengths.items()),
        ]
        lines += [
            f"{role}: {share.num_tokens} tokens, trained {_percent(share.num_trained, share.num_tokens)}"
            for role, share in self.roles.items()
        ]
        lines += [
            f"turn {turn} {role}: {share.num_tokens} tokens, trained {_percent(share.num_trained, share.num_tokens)}"
            for (turn, role), share in list(self.turns.items())[:8]
        ]
        if self.kind in ("sft", "dpo"):
            lines.append(f"stop token trained: {self.num_stop_trained} of {len(self.accepted)} rows")
        lines.append(f"zero-label rows: {self.num_zero_label_rows}; truncated labels: {self.num_truncated_label_rows}")
        lines.append(f"duplicates: {sum(len(group) - 1 for group in self.duplicates)} rows repeat another")
        if self.overlap:
            lines.append(f"overlap with the evaluation data: {len(self.overlap)} rows, first {self.overlap[0]}")
        if self.num_reasoning_dropped:
            lines.append(f"reasoning left out by the template: {self.num_reasoning_dropped} rows")
        if not self.is_prompt_a_prefix:
            lines.append("generation does not start from the tokens that training shows before an answer")
        lines += [
            f"control token as text (escaped): {name}, {count} turns" for name, count in self.control_texts.items()
        ]
        return lines + [f"{entry.action} {entry.source or entry.id}: {entry.message}" for entry in self.ledger[:10]]


def _percent(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.1f} %)" if whole else "0"


def _advice(refusals: Sequence[LedgerEntry]) -> str:
    needed = max((entry.num_tokens for entry in refusals if entry.reason == "answer_too_long"), default=0)
    raise_it = f"raise max_length to {needed}, or " if needed else ""
    return f"{raise_it}mend or remove these rows; `strop check` lists them all"
