"""The pre-flight: every row rendered, shortened and masked exactly as training will, before anything is trained."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from strop.chat import ChatTemplate, Rendered
from strop.data.findings import Preflight, PreflightKind, Share
from strop.data.ledger import LedgerEntry
from strop.data.samples import (
    PARTS,
    Fitted,
    Turns,
    document_samples,
    fit_conversation,
    fit_preference,
    refusal,
    trains_stop,
)
from strop.digests import digest_json
from strop.errors import DataError, RowError, TemplateError
from strop.types import Conversation, Document, Message, Preference, Sample, Task

PreflightRow = Conversation | Preference | Task | Document
QUANTILES = (0, 25, 50, 75, 90, 99, 100)
Counts = Counter[tuple[int, str, bool]]
"""(index of the message, role, whether it is trained) → tokens."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What one row shows."""

    samples: tuple[Sample, ...]
    counts: Counts
    num_tokens: int
    """Of the whole row, before shortening."""
    fitted: tuple[Fitted, ...] = ()

    @property
    def key(self) -> str:
        """The digest of the rendered ids."""
        return digest_json([sample.token_ids for sample in self.samples])


def preflight(
    rows: Sequence[PreflightRow],
    template: ChatTemplate,
    *,
    max_length: int,
    kind: PreflightKind = "sft",
    eval_rows: Sequence[PreflightRow] = (),
    turns: Turns = "all",
    parts: frozenset[str] = PARTS,
    expected_counts: Mapping[str, int] | None = None,
) -> Preflight:
    """Render and mask every row as training will, and report; a refused row stands in the report and is not raised.

    ``kind``: ``sft`` conversations, ``dpo`` preferences, ``tasks`` prompts (``max_length`` is theirs alone), ``cpt``
    documents in split mode. ``expected_counts`` (id → trained tokens) locks the labels of rows that were counted
    before: another count is refused. Raises: DataError if there are no rows.
    """
    if not rows:
        raise DataError("the data set has no rows", why="there is nothing to learn from", do="check the data")
    looks: dict[int, _Look] = {}
    ledger: list[LedgerEntry] = []
    for index, row in enumerate(rows):
        try:
            look = _look(row, template, kind, max_length, turns, parts)
            _require_count(row, look, (expected_counts or {}).get(row.id))
        except (RowError, TemplateError) as error:
            ledger.append(_refused(row, error))
            continue
        looks[index] = look
        ledger += _shortened(row, look)
    return Preflight(
        kind=kind,
        num_rows=len(rows),
        max_length=max_length,
        accepted=tuple(looks),
        roles=_shares(looks.values(), lambda turn, role: role),
        turns=_shares(looks.values(), lambda turn, role: (turn, role)),
        lengths=_quantiles([look.num_tokens for look in looks.values()]),
        num_stop_trained=sum(
            bool(look.fitted) and all(trains_stop(template, fitted.sample) for fitted in look.fitted)
            for look in looks.values()
        ),
        duplicates=_duplicates({rows[index].id: look.key for index, look in looks.items()}),
        overlap=_overlap(rows, eval_rows),
        control_texts=_control_texts(rows, template),
        num_reasoning_dropped=sum(
            any(fitted.rendered.dropped_reasoning for fitted in look.fitted) for look in looks.values()
        ),
        is_prompt_a_prefix=template.generation_prompt_is_prefix,
        ledger=tuple(ledger),
        samples=tuple(sample for look in looks.values() for sample in look.samples),
    )


# -------------------------------------------------------------------------------------------------------------- one row


def _look(
    row: PreflightRow,
    template: ChatTemplate,
    kind: PreflightKind,
    max_length: int,
    turns: Turns,
    parts: frozenset[str],
) -> _Look:
    if kind == "sft":
        row = cast(Conversation, row)
        look = _of_fitted(fit_conversation(template, row, max_length=max_length, turns=turns, parts=parts))
    elif kind == "dpo":
        look = _of_fitted(*fit_preference(template, cast(Preference, row), max_length=max_length))
        if look.samples[0].token_ids == look.samples[1].token_ids:
            raise refusal(
                "no_preference",
                f"row {row.id} has the same answer as `chosen` and as `rejected`",
                row.source,
                why="a pair without a difference teaches nothing",
                do="remove the row",
            )
    elif kind == "tasks":
        look = _of_task(template, cast(Task, row), max_length)
    else:
        look = _of_document(template, cast(Document, row), max_length)
    _refuse_double_bos(row, template, look)
    return look


def _of_fitted(*fitted: Fitted) -> _Look:
    counts: Counts = Counter()
    for one in fitted:
        counts += _counts(one.rendered, one.kept, one.sample.loss_mask)
    samples = tuple(one.sample for one in fitted)
    return _Look(samples=samples, counts=counts, num_tokens=max(one.num_tokens for one in fitted), fitted=fitted)


def _counts(rendered: Rendered, kept: Sequence[int], mask: Sequence[bool]) -> Counts:
    counts: Counts = Counter()
    for span in rendered.spans:
        here = slice(bisect_left(kept, span.start), bisect_left(kept, span.end))
        num_trained = sum(mask[here])
        counts[span.turn, span.role, True] += num_trained
        counts[span.turn, span.role, False] += here.stop - here.start - num_trained
    return counts


def _of_task(template: ChatTemplate, task: Task, max_length: int) -> _Look:
    rendered = template.render(task.prompt, task.tools, add_generation_prompt=True)
    size = len(rendered.token_ids)
    if size > max_length:
        raise refusal(
            "prompt_too_long",
            f"the prompt of task {task.id} is too long: {size} tokens, the limit is {max_length}",
            task.source,
            why="a prompt that lost its beginning asks something else",
            do=f"raise the limit to {size}, shorten the prompt, or remove the row",
            num_tokens=size,
        )
    sample = Sample(name=task.id, token_ids=rendered.token_ids, loss_mask=(False,) * size)
    return _Look(samples=(sample,), counts=_counts(rendered, range(size), sample.loss_mask), num_tokens=size)


def _of_document(template: ChatTemplate, document: Document, max_length: int) -> _Look:
    samples = document_samples(template, [document], max_length=max_length, mode="split")
    if not samples:
        raise refusal(
            "nothing_supervised",
            f"document {document.id} is empty",
            document.source,
            why="there is nothing to learn from it",
            do="remove the row",
        )
    counts: Counts = Counter((0, "document", trained) for sample in samples for trained in sample.loss_mask)
    shared = len(samples) - 1  # each further piece repeats one token as context
    return _Look(samples=tuple(samples), counts=counts, num_tokens=counts.total() - shared)


def _refuse_double_bos(row: PreflightRow, template: ChatTemplate, look: _Look) -> None:
    bos = template.tokenizer.bos_token_id
    if bos is not None and any(sample.token_ids[:2] == (bos, bos) for sample in look.samples):
        raise refusal(
            "double_bos",
            f"row {row.id} begins with two BOS tokens",
            row.source,
            why="the model has never seen two, and will not see two when it answers",
            do="remove one of them from the chat template",
        )


def _require_count(row: PreflightRow, look: _Look, expected: int | None) -> None:
    counted = sum(sum(sample.loss_mask) for sample in look.samples)
    if expected is not None and counted != expected:
        raise refusal(
            "count_differs",
            f"row {row.id} trains {counted} tokens, {expected} were expected",
            row.source,
            why="the tokenizer, the template, or the mask is not the one that the row was counted with",
            do="find out which changed; only then count again",
            num_tokens=counted,
        )


def _refused(row: PreflightRow, error: RowError | TemplateError) -> LedgerEntry:
    reason, num_tokens = ("template", 0) if isinstance(error, TemplateError) else (error.reason, error.num_tokens)
    return LedgerEntry(
        id=row.id,
        source=row.source,
        action="refused",
        reason=reason,
        message=f"{error.what}; {error.why}" if error.why else error.what,
        num_tokens=num_tokens,
    )


def _shortened(row: PreflightRow, look: _Look) -> Iterator[LedgerEntry]:
    dropped = max((one.num_tokens - len(one.sample.token_ids) for one in look.fitted), default=0)
    if dropped > 0:
        worst = max(look.fitted, key=lambda one: one.num_tokens - len(one.sample.token_ids))
        yield LedgerEntry(
            id=row.id,
            source=row.source,
            action="shortened",
            reason="too_long",
            message=f"{dropped} of {worst.num_tokens} tokens dropped to fit, the answer kept",
            num_tokens=worst.num_tokens,
            dropped_turns=worst.dropped_turns,
            dropped_tokens=dropped,
            dropped_trained_tokens=worst.dropped_trained_tokens,
        )


# -------------------------------------------------------------------------------------------------------- the whole set


_Key = TypeVar("_Key", str, tuple[int, str])


def _shares(looks: Iterable[_Look], key: Callable[[int, str], _Key]) -> dict[_Key, Share]:
    total: Counter[_Key] = Counter()
    trained: Counter[_Key] = Counter()
    for look in looks:
        for (turn, role, is_trained), number in look.counts.items():
            total[key(turn, role)] += number
            trained[key(turn, role)] += number * is_trained
    return {name: Share(num_tokens=total[name], num_trained=trained[name]) for name in sorted(total)}


def _quantiles(lengths: Sequence[int]) -> dict[str, int]:
    """Nearest-rank quantiles: each is the length of a real row."""
    ordered = sorted(lengths)
    ranks = {f"{percent}%": max(math.ceil(percent / 100 * len(ordered)), 1) - 1 for percent in QUANTILES}
    return {name: ordered[rank] for name, rank in ranks.items()} if ordered else {}


def _duplicates(keys: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name, key in keys.items():
        groups[key].append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _overlap(rows: Sequence[PreflightRow], eval_rows: Sequence[PreflightRow]) -> tuple[tuple[str, str], ...]:
    held_out = {asked(row): row.id for row in eval_rows}
    return tuple((row.id, held_out[asked(row)]) for row in rows if asked(row) in held_out)


def asked(row: PreflightRow) -> str:
    """What a row asks, for comparing data sets: its user turns (a document: its text), case and white space aside."""
    if isinstance(row, Document):
        texts = [row.text]
    else:
        turns = row.messages if isinstance(row, Conversation) else row.prompt
        texts = [turn.content for turn in turns if turn.role == "user"]
    return "\n\n".join(" ".join(text.casefold().split()) for text in texts)


def _control_texts(rows: Sequence[PreflightRow], template: ChatTemplate) -> dict[str, int]:
    longest_first = sorted(template.control_tokens, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
    found = Counter(
        f"{token} in {role}" for row in rows for role, text in _texts(row) for token in set(pattern.findall(text))
    )
    return dict(sorted(found.items()))


def _texts(row: PreflightRow) -> Iterator[tuple[str, str]]:
    if isinstance(row, Document):
        yield "document", row.text
        return
    turns: tuple[Message, ...]
    if isinstance(row, Conversation):
        turns = row.messages
    else:
        turns = row.prompt if isinstance(row, Task) else (*row.prompt, *row.chosen, *row.rejected)
    yield from ((turn.role, turn.content) for turn in turns)
