"""The nouns that every layer shares, and the protocols that higher layers implement.

Importing this module never imports torch: the command line validates and helps without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Role = Literal["system", "user", "assistant", "tool"]
Json = Mapping[str, Any]
Cursor = Mapping[str, Any]
"""Where a stream stands: a JSON object from which the same stream goes on with the next batch."""


# ---------------------------------------------------------------------------------------------- conversations and tasks


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call of a tool by the assistant."""

    name: str
    arguments: Json


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    """Hidden reasoning before ``content``; templates that know ``reasoning_content`` render it."""
    name: str = ""
    """The tool's name, for ``role == "tool"``."""
    train: bool | None = None
    """Whether an assistant turn is supervised; None leaves it to the data setting."""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A dialogue with the tools that its assistant may call."""

    id: str
    messages: tuple[Message, ...]
    tools: tuple[Json, ...] = ()
    """JSON-schema function descriptions, ``{"type": "function", "function": {...}}``."""
    source: str = ""
    """Where it came from: ``file.jsonl:12`` or ``world:finance/demonstrations#12``."""


@dataclass(frozen=True, kw_only=True)
class Preference:
    """A prompt with a better and a worse continuation."""

    id: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[Json, ...] = ()
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Document:
    """Plain text for continued pre-training."""

    id: str
    text: str
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A prompt whose answer can be checked."""

    id: str
    prompt: tuple[Message, ...]
    tools: tuple[Json, ...] = ()
    reference: Json = field(default_factory=dict)
    """What the verifier needs: the expected answer, the expected call, the boundary class ..."""
    slices: Mapping[str, str] = field(default_factory=dict)
    """Named groups for evaluation, for example ``{"kind": "refusal", "tenant": "bank_A"}``."""
    cluster: str = ""
    """Tasks of one cluster are one piece of evidence (an attack and its twin, a question and its rewordings): they stay
    in one split, and tests over items take them whole. Empty: the task is a cluster of its own."""
    source: str = ""


# ---------------------------------------------------------------------------------------- sampling, verdicts, decisions


ConstraintKind = Literal["json_schema", "regex", "choice", "lark", "tool_calls"]


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A language that a completion's text must be in; ``strop.constraints`` compiles it for a vocabulary."""

    kind: ConstraintKind
    value: Any
    """json_schema: the schema; regex: the pattern; choice: the texts; lark: the grammar; tool_calls: the tools' JSON
    descriptions, of which one call or more must be made in the model's own template format."""
    strict: bool = True
    """Refuse what cannot be enforced exactly token by token; otherwise it is checked afterwards, and told."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How completions are drawn. ``temperature == 0`` is greedy."""

    max_new_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """Keep only the k most likely tokens; 0 keeps all."""
    seed: int = 0
    min_p: float = 0.0
    """Keep only tokens at least this share as likely as the most likely one; 0 keeps all."""
    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens that stand in the prompt or completion; 1 is none."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Token id → what is added to its logit."""
    stop: tuple[str, ...] = ()
    """Texts that end the completion; they are cut from ``text``, their tokens stay in ``token_ids``."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end it beside the template's own."""
    constraint: Constraint | None = None
    full_logprobs: bool = False
    """Also report each token's log-probability under the model at temperature 1, before penalties, masks and cuts."""
    deadline_s: float | None = None
    """Seconds after which a request ends with what it has."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a sampler answered to one prompt."""

    token_ids: tuple[int, ...]
    """Includes the stop token when ``finish_reason == "stop"``."""
    sampler_logprobs: tuple[float, ...]
    """Of the distribution that was really sampled from (after temperature and truncation), in nats."""
    text: str
    """Decoded without the stop token; control tokens such as ``<tool_call>`` are kept as text."""
    finish_reason: Literal["stop", "length", "cancelled", "deadline"]
    """Only ``stop`` is a whole answer; everything else was cut."""
    full_logprobs: tuple[float, ...] | None = None
    """Under the model at temperature 1, untouched; None unless asked for."""
    log_allowed_mass: float | None = None
    """Σ_t log of the probability that the constraint left to its allowed tokens, in nats; None without a constraint.
    Where the text leaves no choice, the one token that spells it as the tokenizer would counts as the only allowed."""
    violations: tuple[str, ...] = ()
    """What the validator of record finds wrong in a finished text whose constraint was not enforced token by token."""

    @property
    def is_truncated(self) -> bool:
        """Whether it was cut off, by length, deadline or cancel: then it is no whole answer."""
        return self.finish_reason != "stop"


VerdictState = Literal["graded", "unparsable", "timeout", "error", "infrastructure"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A verifier's answer. Only ``graded`` and ``unparsable`` verdicts carry a score; others are kept out of rates."""

    score: float | None
    passed: bool
    state: VerdictState = "graded"
    reasons: tuple[str, ...] = ()
    steps: tuple[float | None, ...] = ()
    """Scores of the single steps, for process rewards; None where a step could not be judged."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """Further numbers that the verifier measured; evaluation averages them."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Under what it was judged, where that matters: ``{"sandbox": "namespaces", "checker": "coq 8.16.1"}``."""

    @property
    def is_graded(self) -> bool:
        """Whether the score may be used for training and rates."""
        return self.state in ("graded", "unparsable") and self.score is not None


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A completion of a task with its verdict."""

    task: Task
    prompt_ids: tuple[int, ...]
    completion: Completion
    verdict: Verdict


Outcome = Literal["PASS", "BLOCK", "INSUFFICIENT"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One test of a gate: what was compared and what came out."""

    name: str
    outcome: Outcome
    reason: str
    numbers: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The gate's answer: the worst outcome of its checks (BLOCK before INSUFFICIENT before PASS)."""

    outcome: Outcome
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0 for PASS, 1 for BLOCK, 3 for INSUFFICIENT."""
        return {"PASS": 0, "BLOCK": 1, "INSUFFICIENT": 3}[self.outcome]


# -------------------------------------------------------------------------------------------------- the flat token axis


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One tokenised sequence before batching; every list has one entry a token."""

    name: str
    """The row's id, so that a culprit can be named."""
    token_ids: tuple[int, ...]
    loss_mask: tuple[bool, ...]
    """True where the token is trained; the first token of a sequence is never trained."""
    streams: Mapping[str, Sequence[float]] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A bag of S sequences laid end to end over N tokens, without padding: what one optimizer step learns from."""

    token_ids: Tensor
    """[N] int64."""
    position_ids: Tensor
    """[N] int64, starting at 0 in every sequence."""
    sequence_ids: Tensor
    """[N] int64 in 0..S-1, non-decreasing."""
    loss_mask: Tensor
    """[N] bool, True where the token is trained; False at position 0."""
    names: tuple[str, ...]
    """[S] the row ids."""
    streams: Mapping[str, Tensor] = field(default_factory=dict)
    """[N] float32 each, aligned to the token they describe: advantages, sampler_logprobs, ref_logprobs, weights ...;
    [N, K] for what has K numbers a token, such as a teacher's most likely ones."""
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    """[S] each: group_ids (int64), rewards, preferred, is_truncated ..."""
    cursor: Cursor = field(default_factory=dict)
    """Where the stream stands after this batch."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the stream measured while making the batch (pass rate, mean length ...)."""

    @property
    def num_sequences(self) -> int:
        """S."""
        return len(self.names)

    @property
    def num_tokens(self) -> int:
        """N."""
        return int(self.token_ids.shape[0])


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the policy computed for a batch, each aligned to the token it describes; 0 where ``loss_mask`` is False."""

    logprobs: Tensor
    """[N] float32, log-probability of the token given what stands before it in its sequence."""
    entropy: Tensor | None = None
    """[N] float32, of the distribution that the token was drawn from."""
    values: Tensor | None = None
    """[N] float32, a critic's estimate of the return from here on, *before* the token is chosen."""
    scores: Tensor | None = None
    """[N] float32, a scalar head's reading *after* the token: a reward at the last one, a step's logit at its end."""
    logits: Tensor | None = None
    """[M, V] float32, undivided by the temperature, one row a trained token in flat order: M = loss_mask.sum()."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A differentiable scalar and detached metrics; both add up over micro-batches to the step's value."""

    value: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------------------ protocols


class Objective(Protocol):
    """What is descended: a frozen value, pure."""

    @property
    def needs(self) -> frozenset[str]:
        """What the policy must compute: ``logprobs``, ``entropy`` ..."""

    @property
    def temperature(self) -> float:
        """The logits are divided by it before log-softmax: that of the rollouts, 1 for everything offline."""

    def count(self, batch: Batch) -> Mapping[str, float]:
        """The batch's share of each denominator; the loop sums them over the optimizer step."""

    def __call__(self, outputs: Outputs, batch: Batch, totals: Mapping[str, float]) -> Loss:
        """The micro-batch's share of the step's loss, divided by ``totals``."""


class Sampler(Protocol):
    """Draws completions; the embedded engine and every remote server satisfy it."""

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        """One completion a prompt; row i draws from its own generator, keyed by ``seeds[i]``."""


class Verifier(Protocol):
    """Judges one completion of one task."""

    @property
    def name(self) -> str:
        """For reports."""

    @property
    def digest(self) -> str:
        """Identity of the judge: code and settings."""

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        """The verdict; what cannot be graded is a state, never a zero."""


Stream = Callable[..., Iterator[Batch]]
"""``stream(policy, start=cursor)``: the batches after ``cursor`` (None: from the start), one an optimizer step."""

Progress = Callable[[str, float, float, Mapping[str, float]], None]
"""``progress(label, done, total, metrics)``: called by long work; the command line draws it."""
