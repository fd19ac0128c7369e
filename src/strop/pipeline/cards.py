"""The phase card: which lever a stage moves, which metric proves it, how to go back."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from strop.errors import RecipeError

_LEVERS = {
    "sft": ("supervised fine-tuning: the form of the answer", "validation loss; the suites' exact and valid rates"),
    "dpo": ("preference optimisation: the choice between answers", "reward margin and accuracy on pairs; win rate"),
    "grpo": (
        "reinforcement from verdicts: the reliability of the answer",
        "pass rate of rollouts; pass@1 of the suites",
    ),
    "dr_grpo": (
        "reinforcement from verdicts: the reliability of the answer",
        "pass rate of rollouts; pass@1 of the suites",
    ),
}


@dataclass(frozen=True, kw_only=True)
class PhaseCard:
    """Why a stage exists. No stage is kept without all three. Raises: RecipeError if one is empty."""

    lever: str
    metric: str
    rollback: str

    def __post_init__(self) -> None:
        for name, text in asdict(self).items():
            if not text.strip():
                raise RecipeError(
                    f"a phase card without `{name}`", why="a stage that cannot be judged or undone is not kept"
                )


def phase_card(method: str, parent: str, parent_digest: str) -> PhaseCard:
    """The card of a stage that starts from ``parent``."""
    lever, metric = _LEVERS[method]
    return PhaseCard(lever=lever, metric=metric, rollback=f"use {parent} instead, digest {parent_digest[:16]}")
