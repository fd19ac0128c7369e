"""Outcome and process reward models: is the answer, or the step that ends here, right?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch.nn import functional

from strop.batches import stream_of
from strop.errors import RecipeError
from strop.types import Batch, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class StepLabel:
    """The binary cross-entropy of the labelled tokens' scores, as one mean over the step's labelled tokens.

    L = - mean_t [ y_t log σ(s_t) + (1 - y_t) log (1 - σ(s_t)) ], s = ``outputs.scores``, y = the stream ``labels``.

    An outcome reward model (ORM) has one label a sequence, at its last token (or the same at every token); a process
    reward model (PRM) has one at the *last token of every step*, read after that token. y may be soft: a share of
    completions from here that were right. What was not labelled is masked out, never negative.
    *Source*: ORM: Cobbe et al. 2021 (arXiv:2110.14168), section 4; PRM: Lightman et al. 2023 (arXiv:2305.20050),
    section 2.5; soft labels: Wang et al. 2024, Math-Shepherd (arXiv:2312.08935), eq. 4.
    Reads ``outputs.scores [N]`` and ``labels [N]`` where ``loss_mask`` is True: there a label stands.
    Differentiable in ``outputs.scores`` only: dL/ds = (σ(s) - y) / tokens. No labelled tokens: loss 0.
    Metrics, means over labelled tokens: ``probability`` (σ(s)), ``accuracy`` (the score is on the label's side of one
    half; on the line is half).
    """

    temperature: float = field(default=1.0, init=False)

    @property
    def needs(self) -> frozenset[str]:
        """The scalar head's scores."""
        return frozenset({"scores"})

    def count(self, batch: Batch) -> Mapping[str, float]:
        """``tokens``: the labelled ones."""
        return {"tokens": float(batch.loss_mask.sum())}

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        assert outputs.scores is not None, "the policy was not asked for scores"
        num_tokens = max(totals["tokens"], 1.0)
        scores = outputs.scores[batch.loss_mask]
        labels = stream_of(batch, "labels").detach()[batch.loss_mask].to(scores.dtype)
        assert bool(((labels >= 0) & (labels <= 1)).all()), "a label is a probability: map ratings to [0, 1] first"
        losses = functional.binary_cross_entropy_with_logits(scores, labels, reduction="none")
        known = scores.detach()
        measured = {"probability": known.sigmoid(), "accuracy": (1 + known.sign() * (labels - 0.5).sign()) / 2}
        return Loss(
            value=losses.sum() / num_tokens,
            metrics={name: value.sum() / num_tokens for name, value in measured.items()},
        )


def labels_until_first_error(ratings: Sequence[float]) -> tuple[float | None, ...]:
    """1 for every step rated 0 or above, 0 for the first one below, None (not labelled) for all after it.

    PRM800K's ratings are -1 (wrong), 0 (neutral, counted as right) and 1; in its second phase the labelling stopped at
    the first error, so what follows one is unknown rather than wrong. *Source*: arXiv:2305.20050, section 2.4.
    Raises: RecipeError for a rating that is not a number: a step that nobody rated is not wrong.
    """
    if any(math.isnan(rating) for rating in ratings):
        raise RecipeError(
            f"a step without a rating among {list(ratings)}",
            why="it is unknown, and neither right nor wrong",
            do="give its label as None to label_steps",
        )
    labels: list[float | None] = []
    for rating in ratings:
        is_known = 0.0 not in labels
        labels.append(float(rating >= 0) if is_known else None)
    return tuple(labels)


def label_steps(
    num_tokens: int, steps: Sequence[tuple[int, int]], labels: Sequence[float | None]
) -> tuple[tuple[bool, ...], tuple[float, ...]]:
    """``loss_mask`` and the stream ``labels`` of a sequence, each step's label on the *last* token of its span.

    ``steps`` are half-open token spans (start, stop), so that a separator that belongs to its step ends it; the label
    of a span stands at stop - 1. A step whose label is None is masked out.
    Raises: RecipeError if a step has no label entry, is empty, overlaps the one before, or ends beyond the sequence.
    """
    if len(steps) != len(labels):
        raise RecipeError(f"{len(steps)} steps with {len(labels)} labels", do="give one label, or None, a step")
    mask, stream, before = [False] * num_tokens, [0.0] * num_tokens, 1
    for (start, stop), label in zip(steps, labels, strict=True):
        if not before <= start < stop <= num_tokens:
            raise RecipeError(
                f"a step spans tokens {start} to {stop} of {num_tokens}",
                why=f"steps are not empty, follow each other, and this one may begin at {before}",
                do="give (start, stop) of each step, behind the first token",
            )
        before = stop
        if label is not None:
            mask[stop - 1], stream[stop - 1] = True, label
    return tuple(mask), tuple(stream)
