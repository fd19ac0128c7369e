"""Which tokens of an answer lie in its JSON blocks, so that only these are trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from strop.chat import ChatTemplate, Rendered


def json_mask(template: ChatTemplate, rendered: Rendered, content_mask: Sequence[bool]) -> tuple[bool, ...]:
    """The content tokens that overlap a JSON object, or a list that holds one; one entry a token."""
    mask = [False] * len(rendered.token_ids)
    for span in rendered.spans:
        if span.kind != "content" or not any(content_mask[span.start : span.end]):
            continue
        ids = rendered.token_ids[span.start : span.end]
        ends = [len(template.text_of(ids[: i + 1])) for i in range(len(ids))]
        for start, stop in blocks(template.text_of(ids)):
            for index, end in enumerate(ends):
                begin = ends[index - 1] if index else 0
                mask[span.start + index] |= begin < stop and end > start
    return tuple(mask)


def blocks(text: str) -> Iterator[tuple[int, int]]:
    """The character ranges [start, stop) of the outermost JSON objects, and lists that hold one, in a text."""
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text):
        if text[position] in "{[":
            try:
                value, stop = decoder.raw_decode(text, position)
            except json.JSONDecodeError:
                stop = position
            if stop > position and (isinstance(value, dict) or any(isinstance(item, dict) for item in value)):
                yield position, stop
                position = stop
                continue
        position += 1
