"""Rows become token sequences with loss masks, shortened from the prompt side where they are too long.

**How a row is shortened** (the answer is what is trained in the last exchange; an exchange is a user turn and all that
follows it):

1. what follows the last trained token goes: no gradient depends on it;
2. then whole exchanges go, the oldest first; system turns and tools stay, and the rest is rendered again, so the
   template stays well formed;
3. then single tokens of the last exchange go from the left: the text of turns first, the system turn's next, headers
   last; trained tokens, and the one token before each run of them, always stay;
4. a row whose answer still does not fit is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from strop.chat import ChatTemplate, Rendered
from strop.data.json_blocks import json_mask
from strop.data.packing import pieces
from strop.errors import RowError
from strop.types import Conversation, Document, Message, Preference, Sample

Turns = Literal["all", "last"]
PARTS = frozenset({"content", "reasoning", "tool_call", "end"})
"""What of a supervised assistant turn is trained; ``json`` instead of ``content`` trains only the JSON blocks in it."""


_Masked = tuple[Rendered, tuple[bool, ...]]
_Pair = list[_Masked]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A sample with the story of how it came to fit."""

    sample: Sample
    rendered: Rendered
    """Of the turns that were kept."""
    kept: tuple[int, ...]
    """Which tokens of ``rendered`` the sample holds, ascending."""
    num_tokens: int
    """Of the whole row, before anything was dropped."""
    dropped_turns: int
    dropped_trained_tokens: int
    """Supervised tokens of older answers that went with their exchanges."""


def conversation_sample(
    template: ChatTemplate,
    conversation: Conversation,
    *,
    max_length: int,
    turns: Turns = "all",
    parts: frozenset[str] = PARTS,
) -> Sample:
    """The conversation's tokens, at most ``max_length``, with the assistant's trained.

    Raises: RowError (a DataError) naming the row if its answer alone does not fit, nothing in it is supervised, or its
    stop token would not be trained; TemplateError.
    """
    return fit_conversation(template, conversation, max_length=max_length, turns=turns, parts=parts).sample


def fit_conversation(
    template: ChatTemplate,
    conversation: Conversation,
    *,
    max_length: int,
    turns: Turns = "all",
    parts: frozenset[str] = PARTS,
) -> Fitted:
    """The same with what was dropped to make it fit."""

    def render(messages: Sequence[Message]) -> _Masked:
        rendered = template.render(messages, conversation.tools)
        return rendered, supervised(template, rendered, turns=turns, parts=parts)

    whole, whole_mask = render(conversation.messages)
    if not any(whole_mask):
        raise refusal(
            "nothing_supervised",
            f"row {conversation.id} trains no token",
            conversation.source,
            why="every assistant turn is empty, dropped by the template, or marked `train = false`",
            do="add an answer, or remove the row",
        )
    last = next(span.turn for span in reversed(whole.spans) if span.start < _end(whole_mask))
    (rendered, mask), dropped_turns = (whole, whole_mask), 0
    for shorter in _without_oldest(conversation.messages[: last + 1]):
        if _end(mask) <= max_length:
            break
        (rendered, mask), dropped_turns = render(shorter), len(conversation.messages) - len(shorter)
    tokens = range(len(mask) if len(mask) <= max_length else _end(mask))
    kept = _shortened(rendered, mask, tokens, len(tokens) - max_length)
    if len(kept) > max_length:
        raise _too_long(f"row {conversation.id}", conversation.source, len(kept), max_length)
    sample = _sample(conversation.id, rendered, mask, kept)
    if "end" in parts:
        _require_stop(template, sample, conversation.source)
    return Fitted(
        sample=sample,
        rendered=rendered,
        kept=tuple(kept),
        num_tokens=len(whole.token_ids),
        dropped_turns=dropped_turns,
        dropped_trained_tokens=sum(whole_mask) - sum(mask),
    )


def supervised(
    template: ChatTemplate, rendered: Rendered, *, turns: Turns = "all", parts: frozenset[str] = PARTS
) -> tuple[bool, ...]:
    """The loss mask of a rendering, one entry a token; the first token, which nothing predicts, is never trained."""
    mask = rendered.loss_mask(turns=turns, parts=parts - {"json"})
    if "json" in parts:
        content = rendered.loss_mask(turns=turns, parts=frozenset({"content"}))
        mask = tuple(a or b for a, b in zip(mask, json_mask(template, rendered, content)))
    return (False, *mask[1:])


def _end(mask: Sequence[bool]) -> int:
    """One past the last trained token."""
    return len(mask) - next(i for i, trained in enumerate(reversed(mask)) if trained)


def trains_stop(template: ChatTemplate, sample: Sample) -> bool:
    """Whether the last trained run of tokens holds a token that stops generation."""
    position = _end(sample.loss_mask)
    while position and sample.loss_mask[position - 1]:
        position -= 1
        if sample.token_ids[position] in template.stop_token_ids:
            return True
    return False


def _require_stop(template: ChatTemplate, sample: Sample, source: str) -> None:
    if not trains_stop(template, sample):
        raise refusal(
            "stop_untrained",
            f"row {sample.name} does not train the stop token",
            source,
            why="a model that never learns to stop answers for ever",
            do="use a template whose generation block ends with the end-of-turn token",
        )


def _without_oldest(messages: tuple[Message, ...]) -> list[tuple[Message, ...]]:
    """The conversation without its oldest exchange, without its two oldest, ... ; leading system turns stay."""
    body = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    begins = [i for i in range(body, len(messages)) if messages[i].role == "user" and i > body]
    return [messages[:body] + messages[begin:] for begin in begins]


def _shortened(rendered: Rendered, mask: Sequence[bool], tokens: range, excess: int) -> list[int]:
    """``tokens`` without the ``excess`` that go first, or without all that may go."""
    if excess <= 0:
        return list(tokens)
    rank = [2] * len(mask)  # headers and ends; a system turn's text is 1, every other turn's 0
    for span in rendered.spans:
        if span.kind not in ("header", "end"):
            rank[span.start : span.end] = [int(span.role == "system")] * (span.end - span.start)
    free = [i for i in tokens[:-1] if not mask[i] and not mask[i + 1]]
    going = set(sorted(free, key=lambda i: (rank[i], i))[:excess])
    return [i for i in tokens if i not in going]


def _sample(name: str, rendered: Rendered, mask: Sequence[bool], kept: Sequence[int]) -> Sample:
    token_ids = tuple(rendered.token_ids[i] for i in kept)
    return Sample(name=name, token_ids=token_ids, loss_mask=tuple(mask[i] for i in kept))


# ---------------------------------------------------------------------------------------------------------- preferences


def preference_samples(template: ChatTemplate, preference: Preference, *, max_length: int) -> tuple[Sample, Sample]:
    """(chosen, rejected), each at most ``max_length`` tokens, after the very same prompt tokens, which are not trained.

    Each carries the fact ``preferred``, 1 or 0. A prompt that is too long is shortened alike in both.
    Raises: RowError (a DataError) naming the row if an answer alone does not fit, or the prompts differ; TemplateError.
    """
    chosen, rejected = fit_preference(template, preference, max_length=max_length)
    return chosen.sample, rejected.sample


def fit_preference(template: ChatTemplate, preference: Preference, *, max_length: int) -> tuple[Fitted, Fitted]:
    """The same with what was dropped to make them fit."""
    answers = {"chosen": preference.chosen, "rejected": preference.rejected}
    prompt = tuple(replace(message, train=False) for message in preference.prompt)
    whole = pair = _rendered_pair(template, preference, prompt)
    for shorter in _without_oldest(prompt):
        if max(_end(mask) for _, mask in pair) <= max_length:
            break
        prompt = shorter
        pair = _rendered_pair(template, preference, prompt)
    start = _prompt_size(preference, pair)
    excess = max(_end(mask) for _, mask in pair) - max_length
    head = _shortened(*pair[0], range(start), excess)  # once, for both
    fitted = []
    for (name, answer), (rendered, mask), (before, _) in zip(answers.items(), pair, whole):
        kept = [*head, *range(start, len(mask) if len(mask) <= max_length else _end(mask))]
        if len(kept) > max_length:
            raise _too_long(f"`{name}` of row {preference.id}", preference.source, len(kept), max_length)
        sample = _sample(f"{preference.id}/{name}", rendered, mask, kept)
        fitted.append(
            Fitted(
                sample=replace(sample, facts={"preferred": float(answer is preference.chosen)}),
                rendered=rendered,
                kept=tuple(kept),
                num_tokens=len(before.token_ids),
                dropped_turns=len(preference.prompt) - len(prompt),
                dropped_trained_tokens=0,
            )
        )
    return fitted[0], fitted[1]


def _rendered_pair(template: ChatTemplate, preference: Preference, prompt: tuple[Message, ...]) -> _Pair:
    pair = []
    for name, answer in (("chosen", preference.chosen), ("rejected", preference.rejected)):
        rendered = template.render((*prompt, *answer), preference.tools)
        mask = supervised(template, rendered)
        if not any(mask):
            raise refusal(
                "nothing_supervised",
                f"`{name}` of row {preference.id} trains no token",
                preference.source,
                why="it has no assistant turn with text",
                do="add the answer, or remove the row",
            )
        pair.append((rendered, mask))
    return pair


def _prompt_size(preference: Preference, pair: _Pair) -> int:
    """How many tokens stand before both answers. Raises: RowError if they are not the same."""
    prompts = [rendered.token_ids[: mask.index(True)] for rendered, mask in pair]
    if prompts[0] != prompts[1]:
        raise refusal(
            "prompt_differs",
            f"the prompt of row {preference.id} has other tokens before `chosen` than before `rejected`",
            preference.source,
            why="the template or tokenizer lets the answer change the prompt, so the two could not be compared",
            do="write both answers alike (reasoning, tool calls, leading white space), or remove the row",
        )
    return len(prompts[0])


# ------------------------------------------------------------------------------------------------------------ documents


def document_samples(
    template: ChatTemplate, documents: Sequence[Document], *, max_length: int, mode: Literal["split", "truncate"]
) -> list[Sample]:
    """Every document's tokens with its EOS, all trained but the first; control tokens in its text stay text.

    ``split`` cuts what is longer than ``max_length`` into pieces ``id/0``, ``id/1`` ..., each beginning with the last
    token of the piece before as context: every token but the document's first is a target exactly once. ``truncate``
    keeps the first ``max_length`` tokens; a document that was cut has no EOS, because it does not end there. Documents
    without text give nothing. BOS comes first where the tokenizer adds one.
    """
    samples = []
    for document in documents:
        if not document.text:
            continue
        token_ids = _document_ids(template, document.text)
        cuts = pieces(len(token_ids), max_length)
        for number, (start, stop) in enumerate(cuts if mode == "split" else cuts[:1]):
            name = document.id if len(cuts) == 1 or mode == "truncate" else f"{document.id}/{number}"
            mask = (False, *[True] * (stop - start - 1))
            samples.append(Sample(name=name, token_ids=token_ids[start:stop], loss_mask=mask))
    return samples


def _document_ids(template: ChatTemplate, text: str) -> tuple[int, ...]:
    tokenizer = template.tokenizer
    eos = template.stop_token_ids[0] if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    begin = [tokenizer.bos_token_id] if tokenizer.bos_token_id in tokenizer("").input_ids[:1] else []
    return (*begin, *template.text_ids(text), eos)


# ------------------------------------------------------------------------------------------------------------- refusals


def refusal(reason: str, what: str, where: str, *, why: str, do: str, num_tokens: int = 0) -> RowError:
    """The error that refuses one row, with its code for the ledger."""
    error = RowError(what, where=where, why=why, do=do)
    error.reason, error.num_tokens = reason, num_tokens
    return error


def _too_long(what: str, where: str, num_tokens: int, max_length: int) -> RowError:
    return refusal(
        "answer_too_long",
        f"the answer of {what} does not fit: {num_tokens} tokens, the limit is {max_length}",
        where,
        why="without its prompt, and with nothing but the answer and the token before it, it is still too long",
        do=f"raise max_length to {num_tokens} or more, shorten the answer, or remove the row",
        num_tokens=num_tokens,
    )
