"""Every error of the project, one tree.

A ``UserError`` is something the user can mend: the command line prints it in four short parts (what, where, why, what
to do) without a traceback and exits with 2. A broken promise of our own is an ``assert``, never one of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class StropError(Exception):
    """The root of every error that strop raises on purpose."""


class UserError(StropError):
    """Bad input or an impossible request, told so that the user can act on it.

    ``what`` says what was asked and what was found; ``where`` names the file and line, stage, or row; ``why`` says why
    it cannot work; ``do`` says what to do instead.
    """

    def __init__(self, what: str, *, where: str = "", why: str = "", do: str = "") -> None:
        self.what, self.where, self.why, self.do = what, where, why, do
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"where: {self.where}")
        if self.why:
            parts.append(f"why: {self.why}")
        if self.do:
            parts.append(f"do: {self.do}")
        return "\n  ".join(parts)


class DataError(UserError):
    """A data file or row that cannot be used."""


class RowError(DataError):
    """A row that was read but cannot be trained on; ``reason`` is its short code in a ledger."""

    reason: str = "unusable"
    num_tokens: int = 0


class TemplateError(UserError):
    """A chat template that is missing, drops a role, or cannot be rendered."""


class ModelError(UserError):
    """A model folder or name that cannot be loaded, merged, or exported."""


class MismatchError(UserError):
    """Two things that must be identical are not: tokenizer, template, checkpoint, data, or configuration."""


class RecipeError(UserError):
    """A recipe or setting that is unknown, contradictory, or impossible."""


class PromptError(UserError):
    """A prompt that a sampler cannot take; ``index`` is its place in the request."""

    def __init__(self, what: str, *, index: int, where: str = "", why: str = "", do: str = "") -> None:
        self.index = index
        super().__init__(what, where=where, why=why, do=do)


class ConstraintError(UserError):
    """A constraint that cannot be enforced, has no completion, or leaves a row no token."""


class VocabularyError(UserError):
    """A tokenizer whose tokens cannot be constrained: too long, without bytes, or not a fast one."""


class VerifierError(UserError):
    """A verifier or reward that raises, hangs, answers nonsense, or fails its audit."""


class ToolError(UserError):
    """A tool's contract, registry, service or session that is wrong in itself, whatever a model calls."""


class ToolRefusal(StropError):
    """What a tool's service raises where a call cannot be answered; the caller reads ``reason``.

    ``state`` is ``inconsistent`` (the call contradicts the world: a future date, an unknown vendor), ``denied`` (this
    caller may not), ``invalid_arguments`` (what no schema can say) or ``failed``.
    """

    def __init__(self, reason: str, *, state: str = "inconsistent") -> None:
        self.reason, self.state = reason, state
        super().__init__(f"{state}: {reason}")


class SandboxError(UserError):
    """Untrusted code cannot be run here: no sound isolation, or a sandbox that cannot be started or is closed."""


class OutputError(UserError):
    """A result that could not be written: full disk, no permission, or a folder in the way."""


class CheckpointError(UserError):
    """A checkpoint that is torn, changed, or belongs to another run."""


class MemoryLimitError(UserError):
    """The device ran out of memory; the message names the setting to lower."""


class NonFiniteError(UserError):
    """A loss or gradient became NaN or infinite; the message names the samples."""


class ReleaseError(UserError):
    """A release that may not be promoted or does not exist."""


class MissingDependencyError(UserError):
    """An optional package is not installed; the message holds the install line."""


class RemoteError(UserError):
    """A server that could not be reached, refused, or answered what cannot be believed.

    ``completions`` has what the other requests of the call brought, None in the place of each one that failed;
    ``failures`` says by place why. Both are empty where the whole call failed.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        why: str = "",
        do: str = "",
        completions: Sequence[Any] = (),
        failures: Mapping[int, str] | None = None,
    ) -> None:
        self.completions = tuple(completions)
        self.failures = dict(failures or {})
        super().__init__(what, where=where, why=why, do=do)


class GapError(UserError):
    """Sampler and trainer disagree about the log-probabilities of the same tokens by more than rounding."""
