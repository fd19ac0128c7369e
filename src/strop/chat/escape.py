"""From one rendered string to token ids, so that no text of a message becomes a control token.

Ordinary conversations get exactly the ids of the tokenizer on the whole string. Only where a message's text would have
become a control token is the string encoded by a second tokenizer: the same one, ids and all, in which every control
token is spelt as a guard, one character that no text contains. Only what the *template* wrote is put into guards, so no
text can reach a control id, and it stays byte for byte what the user wrote.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from strop.chat.marks import free_characters
from strop.chat.rendering import TemplateSource
from strop.errors import TemplateError

Range = tuple[int, int]


@dataclass(frozen=True)
class Encoding:
    """Token ids and the characters [start, stop) that each stands for."""

    ids: tuple[int, ...]
    offsets: tuple[Range, ...]


@dataclass(frozen=True, eq=False)
class Encoder:
    """A tokenizer with the list of what its template uses for control."""

    tokenizer: Any
    source: TemplateSource

    @cached_property
    def _backend(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.tokenizer.backend_tokenizer.to_str())
        return content

    @cached_property
    def control(self) -> dict[str, int]:
        """The control tokens by text: every special token and every added token, except white space and text pieces.

        A text piece is an added token that is also a word of the model's vocabulary and that no template writes, such
        as Gemma's ``<h1>``: ordinary text in pre-training, and the reference ids contain it.
        """
        words = self._backend["model"].get("vocab", {})
        vocabulary = set(words) if isinstance(words, dict) else {word for word, _ in words}
        literal = self.source.default + self.source.tool_use
        return {
            content: int(index)
            for index, token in self.tokenizer.added_tokens_decoder.items()
            if (content := token.content).strip() and (token.special or content not in vocabulary or content in literal)
        }

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Any control token, the longest first, as the tokenizer matches them."""
        longest_first = sorted(self.control, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def encode(self, text: str, protected: Sequence[Range] = ()) -> Encoding:
        """The ids of ``text`` without added BOS or EOS; nothing in the ``protected`` ranges becomes a control token.

        Raises: TemplateError where the tokenizer has no other way to write a protected text.
        """
        plain = self._reference(text)
        if not protected or not self._is_injected(text, plain, protected):
            return plain
        return self.guarded(text, protected)

    def _reference(self, text: str) -> Encoding:
        out = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return Encoding(tuple(out["input_ids"]), tuple((int(a), int(b)) for a, b in out["offset_mapping"]))

    def _is_injected(self, text: str, plain: Encoding, protected: Sequence[Range]) -> bool:
        names = self._control_names
        for token, (start, stop) in zip(plain.ids, plain.offsets):
            if token in names:
                # the offsets of a token that swallows white space (lstrip, rstrip) are wider than its text
                inner = text.find(names[token], start, stop)
                begin, end = (inner, inner + len(names[token])) if inner >= 0 else (start, stop)
                if any(begin < b and a < end for a, b in protected):
                    return True
        return False

    def guarded(self, text: str, protected: Sequence[Range]) -> Encoding:
        """The ids of ``text`` where only the template's own control tokens count as such."""
        own = self._own_tokens(text, protected)
        backend, guards = self._guarded_backend(text)
        pieces: list[str] = []
        shifts: list[tuple[int, int]] = [(0, 0)]  # (place in the guarded string, what to add for the place in text)
        last = length = 0
        for start, stop in own:
            pieces += [text[last:start], guards[text[start:stop]]]
            length += start - last + 1
            shifts.append((length, stop - length))
            last = stop
        encoding = backend.encode("".join([*pieces, text[last:]]), add_special_tokens=False)
        found = [token for token in encoding.ids if token in self._control_names and token != self._unknown_id]
        if found != [index for a, b in own if (index := self.control[text[a:b]]) != self._unknown_id]:
            self._refuse(text, protected)
        starts = [place for place, _ in shifts]

        def place_in_text(place: int) -> int:
            return place + shifts[bisect_right(starts, place) - 1][1]

        return Encoding(tuple(encoding.ids), tuple((place_in_text(a), place_in_text(b)) for a, b in encoding.offsets))

    @cached_property
    def _control_names(self) -> dict[int, str]:
        return {index: content for content, index in self.control.items()}

    @cached_property
    def _unknown_id(self) -> int | None:
        index = getattr(self.tokenizer, "unk_token_id", None)
        return None if index is None else int(index)

    def _own_tokens(self, text: str, protected: Sequence[Range]) -> list[Range]:
        """Where the template itself wrote control tokens: matches inside each stretch between protected ranges."""
        found: list[Range] = []
        begin = 0
        for start, stop in [*sorted(protected), (len(text), len(text))]:
            if start > begin:
                found += [match.span() for match in self.pattern.finditer(text, begin, start)]
            begin = max(begin, stop)
        return found

    def _guarded_backend(self, text: str) -> tuple[Any, dict[str, str]]:
        """The tokenizer in which every control token is spelt as its guard, one character that ``text`` lacks."""
        backend, guards = self._usual_guards
        if any(guard in text for guard in guards.values()):
            return self._make_guarded(text)
        return backend, guards

    @cached_property
    def _usual_guards(self) -> tuple[Any, dict[str, str]]:
        return self._make_guarded("")

    def _make_guarded(self, text: str) -> tuple[Any, dict[str, str]]:
        from tokenizers import Tokenizer

        free = free_characters(text)
        guards = {content: next(free) for content in self.control}
        content = dict(self._backend, truncation=None, padding=None)
        content["model"] = _respelt_model(content["model"], guards)
        content["added_tokens"] = [
            dict(token, content=guards.get(token["content"], token["content"])) for token in content["added_tokens"]
        ]
        return Tokenizer.from_str(json.dumps(content, ensure_ascii=False)), guards

    def _refuse(self, text: str, protected: Sequence[Range]) -> NoReturn:
        found = sorted({m.group() for a, b in protected for m in self.pattern.finditer(text, a, b)})
        raise TemplateError(
            f"a message contains the text of a control token: {', '.join(found) or 'in pieces'}",
            why="this tokenizer has no other way to write that text, so it would forge a control token",
            do="remove the text from the message",
        )


def _respelt_model(model: dict[str, Any], guards: Mapping[str, str]) -> dict[str, Any]:
    """The model with control tokens spelt as guards, in the same places; merges that would spell them are gone."""
    respelt = dict(model)
    vocabulary = model.get("vocab", {})
    if isinstance(vocabulary, dict):
        respelt["vocab"] = {guards.get(word, word): index for word, index in vocabulary.items()}
    else:
        respelt["vocab"] = [[guards.get(word, word), score] for word, score in vocabulary]
    if model.get("unk_token") in guards:
        respelt["unk_token"] = guards[model["unk_token"]]
    if "merges" in model:
        pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"]]
        respelt["merges"] = [pair for pair in pairs if not ({*pair, "".join(pair)} & guards.keys())]
    return respelt
