"""Distillation from a teacher's distributions: how far the student's next token is from the teacher's, and the losses.

The functions map log-probabilities ``[M, V]`` of student and teacher to a divergence a token ``[M]``, in nats, in
float32 or wider. Differentiable in the student's; the teacher is a constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from strop.batches import stream_of
from strop.errors import RecipeError
from strop.objectives.cross_entropy import CrossEntropy
from strop.objectives.policy_gradient import PolicyGradient
from strop.objectives.total import Total
from strop.types import Batch, Loss, Outputs

Kind = Literal["forward", "reverse", "jsd"]

MIN_LOGPROB = -100.0
"""What a probability of 0 counts as: e^-100. A teacher that rules a token out costs at most 100 nats, not infinity."""


def forward_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(T || S) = Σ_v p_T (log p_T - log p_S): the student must cover all that the teacher does.

    *Source*: Hinton et al. 2015 (arXiv:1503.02531), section 2 (its cross-entropy, less the teacher's entropy).
    Gradient in the student's logits: p_S - p_T.
    """
    student, teacher = _finite(student), _constant(teacher)
    return (teacher.exp() * (teacher - student)).sum(1)


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(S || T) = Σ_v p_S (log p_S - log p_T): the student must avoid what the teacher does not do.

    *Source*: Gu et al. 2024, MiniLLM (arXiv:2306.08543), eq. 1. Gradient in the student's logits: p_S (log p_S -
    log p_T - KL).
    """
    student, teacher = _finite(student), _constant(teacher)
    return (student.exp() * (student - teacher)).sum(1)


def generalized_jsd(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    """JSD_β = β KL(T || M) + (1 - β) KL(S || M), with M = β p_T + (1 - β) p_S and 0 < β < 1.

    *Source*: Agarwal et al. 2024, GKD (arXiv:2306.13649), eq. 1. Symmetric at β = ½, where it is at most ln 2.
    Its ends are no limits of it: JSD_β → 0 for β → 0 and for β → 1, with JSD_β / β → KL(T || S) and
    JSD_β / (1 - β) → KL(S || T). GKD's β = 0 and β = 1 *mean* these two divergences (``gkd``), so that β = 0.01 has
    about 1/100 of the loss and of the gradient of β = 0.
    """
    student, teacher = _finite(student), _constant(teacher)
    mixture = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
    from_teacher = (teacher.exp() * (teacher - mixture)).sum(1)
    from_student = (student.exp() * (student - mixture)).sum(1)
    return beta * from_teacher + (1 - beta) * from_student


def with_tail(student: Tensor, top_ids: Tensor, top_logprobs: Tensor) -> tuple[Tensor, Tensor]:
    """Both distributions over the teacher's K listed tokens and one bucket for all others: ``[M, K + 1]`` each.

    The bucket holds 1 - Σ of the listed probabilities, for the student as for the teacher; with K = V there is none,
    and the result is exact. Bucketing can only lower a divergence (the data-processing inequality), and is 0 where the
    distributions agree on the listed tokens and on the rest's sum. Renormalising to the K tokens instead would compare
    conditional distributions: a student with most of its mass elsewhere would look perfect. A teacher's bucket holds at
    least the type's spacing at 1 (float32: 2⁻²³), below which a sum of probabilities does not tell it from none.
    Shapes: ``student [M, V]`` log-probabilities, ``top_ids [M, K]`` distinct, ``top_logprobs [M, K]``.
    """
    listed, teacher = _finite(student).gather(1, top_ids), _constant(top_logprobs)
    if top_ids.shape[1] == student.shape[1]:
        return listed, teacher
    rest = _finite(student).scatter(1, top_ids, -torch.inf).logsumexp(1, keepdim=True)
    tail = _tail_mass(teacher).clamp(min=torch.finfo(teacher.dtype).eps)
    return torch.cat([listed, rest], 1), torch.cat([teacher, tail[:, None].log()], 1)


def _tail_mass(top_logprobs: Tensor) -> Tensor:
    """1 - Σ_k p_k, not below 0: [M, K] → [M]."""
    return (1 - top_logprobs.exp().sum(1)).clamp(min=0)


def _finite(logprobs: Tensor) -> Tensor:
    """In float32 or wider; a token that is masked out (-inf) has probability 0 and no gradient."""
    wide = logprobs.to(torch.promote_types(logprobs.dtype, torch.float32))
    return wide.masked_fill(wide == -torch.inf, MIN_LOGPROB)


def _constant(logprobs: Tensor) -> Tensor:
    return logprobs.detach().to(torch.promote_types(logprobs.dtype, torch.float32)).clamp(min=MIN_LOGPROB)


DIVERGENCES: Mapping[Kind, Callable[..., Tensor]] = {
    "forward": lambda student, teacher, beta: forward_kl(student, teacher),
    "reverse": lambda student, teacher, beta: reverse_kl(student, teacher),
    "jsd": generalized_jsd,
}


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """τ² D(student at τ, teacher at τ), as one mean over the step's trained tokens.

    Both distributions are softmax(logits / τ); τ² undoes the 1/τ² by which softening shrinks gradients, so that the
    balance with another term does not move with τ.
    *Source*: Hinton et al. 2015 (arXiv:1503.02531), section 2; the divergences: their functions above.
    Reads ``outputs.logits [M, V]``, undivided, and the streams ``teacher_top_ids [N, K]`` and ``teacher_top_logprobs
    [N, K]``: the teacher's log-probabilities *at τ*, of its K likeliest tokens or of all (K = V: exact). What lies
    outside is one bucket (``with_tail``). Student and teacher share the token ids.
    Differentiable in ``outputs.logits`` only. A batch without trained tokens has loss 0.
    ``temperature`` is that of ``outputs.logprobs``, which this objective does not read: τ is its own.
    Metrics, token means: ``divergence`` (in nats at τ, without τ²), ``teacher_tail`` (the teacher's mass outside its
    listed tokens: above a few percent K is too small), ``agreement`` (the student's likeliest token is the teacher's).
    Raises: RecipeError for an unknown kind, τ ≤ 0, or β other than inside (0, 1) with ``jsd`` and absent without.
    """

    kind: Kind = "forward"
    beta: float | None = None
    """The teacher's share of the mixture, for ``jsd`` only."""
    tau: float = 1.0
    temperature: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in DIVERGENCES:
            raise RecipeError(
                f"divergence: kind is {self.kind!r}", do=f"choose one of {', '.join(map(repr, DIVERGENCES))}"
            )
        if self.kind == "jsd" and (self.beta is None or not 0 < self.beta < 1):
            raise RecipeError(
                f"divergence: beta is {self.beta} with kind='jsd'",
                why="the ends of the mixture compare a distribution with itself",
                do='give a value inside (0, 1), or kind="forward" or kind="reverse" for what GKD calls 0 and 1',
            )
        if self.kind != "jsd" and self.beta is not None:
            raise RecipeError(
                f"divergence: beta={self.beta} has no effect on kind={self.kind!r}",
                do='leave it out, or use kind="jsd"',
            )
        if not 0 < self.tau < math.inf:
            raise RecipeError(f"divergence: tau is {self.tau}", why="logits are divided by it", do="use 1 to 4")

    @property
    def needs(self) -> frozenset[str]:
        """The logits of the trained tokens."""
        return frozenset({"logits"})

    def count(self, batch: Batch) -> Mapping[str, float]:
        """``tokens`` that are trained."""
        return {"tokens": float(batch.loss_mask.sum())}

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The batch's share of the step's mean."""
        assert outputs.logits is not None, "the policy was not asked for logits"
        top_ids = stream_of(batch, "teacher_top_ids")[batch.loss_mask].long()
        top_logprobs = stream_of(batch, "teacher_top_logprobs").detach()[batch.loss_mask]
        student, teacher = with_tail((outputs.logits / self.tau).log_softmax(1), top_ids, top_logprobs)
        terms = DIVERGENCES[self.kind](student, teacher, self.beta)
        likeliest = top_ids.gather(1, top_logprobs.argmax(1, keepdim=True))[:, 0]
        measured = {
            "divergence": terms.detach(),
            "teacher_tail": _tail_mass(top_logprobs),
            "agreement": (outputs.logits.argmax(1) == likeliest).to(terms.dtype),
        }
        num_tokens = max(totals["tokens"], 1.0)
        return Loss(
            value=self.tau**2 * terms.sum() / num_tokens,
            metrics={name: values.sum() / num_tokens for name, values in measured.items()},
        )


def knowledge_distillation(*, alpha: float = 0.5, tau: float = 2.0) -> Total:
    """α · cross-entropy on the batch's tokens + (1 - α) · τ² KL(T || S) at τ. *Source*: arXiv:1503.02531, section 2.

    Raises: RecipeError for α outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise RecipeError(f"knowledge distillation: alpha is {alpha}", do="use a share in [0, 1] for the labels")
    return Total(((alpha, CrossEntropy()), (1 - alpha, Divergence(tau=tau))))


def gkd(*, beta: float = 0.5, tau: float = 1.0) -> Divergence:
    """Generalized knowledge distillation: JSD_β, with β = 0 for KL(T || S) and β = 1 for KL(S || T).

    *Source*: Agarwal et al. 2024 (arXiv:2306.13649), section 3. Which sequences it learns from (the paper's λ: the
    share that the student wrote itself) is the stream's business. Raises: RecipeError for β outside [0, 1].
    """
    if beta == 0:
        return Divergence(kind="forward", tau=tau)
    if beta == 1:
        return Divergence(kind="reverse", tau=tau)
    return Divergence(kind="jsd", beta=beta, tau=tau)


def minillm(*, clip: float = 0.2) -> Total:
    """MiniLLM: the exact KL(S || T) of every single step, and a clipped policy gradient for what a step leads to.

    *Source*: Gu et al. 2024 (arXiv:2306.08543), eq. 5 and section 2.2. The policy-gradient part reads ``advantages``,
    sampled at temperature 1: with the teacher's log-ratio summed from the *next* token on, the sum of both terms is on
    average the exact gradient of KL(S || T) of whole answers; the whitened, length-normalised ones of ``strop.credit``
    are the released code's and start at the token itself. The paper's third term, a likelihood on pre-training text,
    needs other rows: give it as batches of its own.
    """
    surrogate = PolicyGradient(aggregate="token_mean", clip_low=clip, clip_high=clip)
    return Total(((1.0, surrogate), (1.0, Divergence(kind="reverse"))))
