"""What is trained, made visible: a row's tokens by role, with the trained ones marked, and how rows fill a context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from strop.chat import ChatTemplate
from strop.data.packing import efficiency
from strop.data.samples import PARTS, Fitted, Turns, fit_conversation, fit_preference
from strop.types import Conversation, Preference, Rollout, Sample

if TYPE_CHECKING:
    from rich.text import Text

OPEN, CLOSE = "⟦", "⟧"
STYLES = {
    "system": "magenta",
    "user": "cyan",
    "assistant": "green",
    "tool": "yellow",
    "document": "green",
    "prompt": "cyan",
    "sampled": "green",
}


@dataclass(frozen=True)
class Run:
    """Neighbouring tokens of one role that are all trained or all not."""

    text: str
    role: str
    is_trained: bool
    num_tokens: int


@dataclass(frozen=True)
class View:
    """A row as training sees it."""

    name: str
    runs: tuple[Run, ...]

    @property
    def num_trained(self) -> int:
        """Trained tokens."""
        return sum(run.num_tokens for run in self.runs if run.is_trained)

    @property
    def text(self) -> str:
        """The row with its trained text between ⟦ and ⟧, for anything that has no colours."""
        return "".join(f"{OPEN}{run.text}{CLOSE}" if run.is_trained else run.text for run in self.runs)

    def rich(self) -> Text:
        """The row in its roles' colours, the trained text reversed; nothing in it is taken for markup."""
        from rich.text import Text

        total = sum(run.num_tokens for run in self.runs)
        text = Text(f"{self.name}: {self.num_trained} of {total} tokens trained\n", style="bold")
        for run in self.runs:
            colour = STYLES.get(run.role, "white")
            text.append(run.text, style=f"bold reverse {colour}" if run.is_trained else f"dim {colour}")
        return text


def view_conversation(
    template: ChatTemplate,
    conversation: Conversation,
    *,
    max_length: int,
    turns: Turns = "all",
    parts: frozenset[str] = PARTS,
) -> View:
    """The conversation as it will be trained. Raises: RowError, TemplateError."""
    return _view(template, fit_conversation(template, conversation, max_length=max_length, turns=turns, parts=parts))


def view_preference(template: ChatTemplate, preference: Preference, *, max_length: int) -> tuple[View, View]:
    """(chosen, rejected) as they will be compared. Raises: RowError, TemplateError."""
    chosen, rejected = fit_preference(template, preference, max_length=max_length)
    return _view(template, chosen), _view(template, rejected)


def view_rollout(template: ChatTemplate, rollout: Rollout) -> View:
    """A rollout: the prompt, and the sampled tokens, which carry the gradient."""
    ids = (*rollout.prompt_ids, *rollout.completion.token_ids)
    sampled = [False] * len(rollout.prompt_ids) + [True] * len(rollout.completion.token_ids)
    roles = ["sampled" if one else "prompt" for one in sampled]
    return View(rollout.task.id, _runs(template, ids, roles, sampled))


def view_sample(template: ChatTemplate, sample: Sample, role: str = "document") -> View:
    """Any sample, such as a document's piece: its tokens, all of one role."""
    runs = _runs(template, sample.token_ids, [role] * len(sample.token_ids), sample.loss_mask)
    return View(sample.name, runs)


def _view(template: ChatTemplate, fitted: Fitted) -> View:
    owner = {i: span.role for span in fitted.rendered.spans for i in range(span.start, span.end)}
    roles = [owner[i] for i in fitted.kept]
    return View(fitted.sample.name, _runs(template, fitted.sample.token_ids, roles, fitted.sample.loss_mask))


def _runs(
    template: ChatTemplate, token_ids: Sequence[int], roles: Sequence[str], mask: Sequence[bool]
) -> tuple[Run, ...]:
    runs = []
    for (role, is_trained), group in groupby(zip(token_ids, roles, mask), key=lambda token: token[1:]):
        ids = [token for token, _, _ in group]
        text = template.text_of(ids)
        runs.append(Run(text, role, is_trained, len(ids)))
    return tuple(runs)


def packing_lines(lengths: Sequence[int], bins: Sequence[Sequence[int]], capacity: int, width: int = 60) -> list[str]:
    """How sequences fill their bins, one bin a line: each sequence a stretch of one letter, free room as dots."""
    lines = []
    for members in bins:
        bar, filled = "", 0
        for number, index in enumerate(members):
            filled += lengths[index]
            bar += chr(ord("a") + number % 26) * (round(filled * width / capacity) - len(bar))
        lines.append(f"|{bar:.<{width}}| {filled} of {capacity}")
    return [
        *lines,
        f"{len(lengths)} sequences in {len(bins)} bins, {100 * efficiency(lengths, bins, capacity):.1f} % full",
    ]
