"""The template contract: the only way from messages to token ids and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from strop.chat.escape import Encoder
from strop.chat.frame import Frame, probe
from strop.chat.goldens import GOLDENS, Golden
from strop.chat.layout import Layout, lay_out
from strop.chat.lock import LOCK_NAME, read_lock, require_same, write_lock
from strop.chat.parse import THINK, parse_assistant
from strop.chat.rendering import RENDER_DATE, TemplateSource
from strop.chat.spans import Rendered, regions_of, token_spans
from strop.digests import digest_json
from strop.errors import OutputError, TemplateError
from strop.types import Json, Message


class ChatTemplate:
    """A tokenizer with its chat template: renders, masks, decodes, and pins itself in a lock file.

    Immutable: the tokenizer must not be changed after it was handed in.
    """

    def __init__(self, encoder: Encoder, extra_stop_ids: Sequence[int] = ()) -> None:
        self._encoder = encoder
        self._extra_stop_ids = tuple(extra_stop_ids)

    @classmethod
    def load(cls, folder: str | Path) -> ChatTemplate:
        """The template of a Hugging Face folder, checked against its lock file if it has one.

        Raises: TemplateError without a tokenizer or chat template; MismatchError if the lock differs.
        """
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except Exception as error:  # transformers raises OSError, ValueError, KeyError ... for broken folders
            raise TemplateError(
                "no tokenizer can be loaded", where=str(folder), why=str(error), do="name a folder with tokenizer.json"
            ) from error
        template = cls.from_tokenizer(tokenizer, extra_stop_ids=_generation_stops(Path(folder)))
        if (Path(folder) / LOCK_NAME).exists():
            template.check_lock(folder)
        return template

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, *, extra_stop_ids: Sequence[int] = ()) -> ChatTemplate:
        """The template of a loaded tokenizer. Raises: TemplateError without a chat template or without offsets."""
        if not getattr(tokenizer, "is_fast", False):
            raise TemplateError(
                f"{type(tokenizer).__name__} gives no character offsets",
                why="the loss mask is read off the offsets of one rendered string",
                do="use a folder with a tokenizer.json (a fast tokenizer)",
            )
        return cls(Encoder(tokenizer, TemplateSource.of(tokenizer)), extra_stop_ids)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, to be read and not changed."""
        return self._encoder.tokenizer

    @property
    def vocab_size(self) -> int:
        """Entries of the tokenizer, added tokens included; a model's embedding may have more."""
        return len(self.tokenizer)

    @cached_property
    def control_tokens(self) -> tuple[str, ...]:
        """The texts that no message can turn into a token, in the order of their ids."""
        return tuple(sorted(self._encoder.control, key=self._encoder.control.__getitem__))

    @cached_property
    def frame(self) -> Frame:
        """The template's own words and what it can render, learned from probe conversations."""
        return probe(self._encoder)

    def render(
        self, messages: Sequence[Message], tools: Sequence[Json] = (), *, add_generation_prompt: bool = False
    ) -> Rendered:
        """The conversation as one string, its ids (no BOS is added to what the template writes), and its spans.

        Raises: TemplateError where the template drops or rewrites a message, naming the role; never silently.
        """
        _check(messages)
        layout = self._layout(messages, tools, add_generation_prompt)
        regions = regions_of(layout, messages, self.frame, self._encoder)
        encoding = self._encoder.encode(layout.text, [(piece.start, piece.end) for piece in layout.pieces])
        return Rendered(
            text=layout.text,
            token_ids=encoding.ids,
            spans=token_spans(regions, encoding),
            trains=tuple(message.train for message in messages),
            dropped_reasoning=tuple(leaf.turn for leaf in layout.missing),
        )

    def _layout(self, messages: Sequence[Message], tools: Sequence[Json], add_generation_prompt: bool) -> Layout:
        try:
            layout = lay_out(
                self._encoder, messages, tools, self.frame.shape, add_generation_prompt=add_generation_prompt
            )
        except TemplateError as error:
            raise self._named(error, messages, tools, add_generation_prompt) from error
        _refuse_dropped(layout, messages, self.frame)
        if tools and not self.frame.renders_tools:
            raise TemplateError(
                "the chat template drops the tools",
                why="it renders the same text with and without them",
                do="describe the tools in the system message, or use a template that renders tools",
            )
        self._refuse_forgery(layout)
        return layout

    def _named(
        self, error: TemplateError, messages: Sequence[Message], tools: Sequence[Json], add_generation_prompt: bool
    ) -> TemplateError:
        """The error with the role that causes it, where the rest of the conversation renders without that role."""
        for roles in ({"system"}, {"tool"}, {"system", "tool"}):
            rest = [message for message in messages if message.role not in roles]
            if "tool" in roles:
                rest = [message for message in rest if not message.tool_calls]
            if not rest or not roles <= {message.role for message in messages}:
                continue
            if "tool" in roles and "tool" in self.frame.prompt_tails:
                continue
            try:
                lay_out(self._encoder, rest, tools, self.frame.shape, add_generation_prompt=add_generation_prompt)
            except TemplateError:
                continue
            return _cannot_render(" and ".join(sorted(roles)), error.why)
        return error

    def _refuse_forgery(self, layout: Layout) -> None:
        """Where roles are separated by plain words alone, no text may contain those words."""
        own = layout.own_pieces()
        for before, after in pairwise(own):
            words = layout.text[before.end : after.start].strip(" ")
            if before.leaf.turn == after.leaf.turn or not words.strip() or self._encoder.pattern.search(words):
                continue
            for piece in own:
                if words in layout.text[piece.start : piece.end]:
                    raise TemplateError(
                        f"a message contains {words!r}, which forges a role boundary",
                        where=f"message {piece.leaf.turn}",
                        why="this template separates roles by plain words, which cannot be escaped",
                        do="remove the words from the message, or use a template with control tokens",
                    )

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Json] = ()) -> tuple[int, ...]:
        """The ids that generation starts from: the conversation with the header of the assistant's turn."""
        return self.render(messages, tools, add_generation_prompt=True).token_ids

    def text_ids(self, text: str) -> tuple[int, ...]:
        """The ids of plain text outside any conversation; nothing in it becomes a control token."""
        return self._encoder.encode(text, [(0, len(text))]).ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of ``token_ids`` with control tokens kept; one trailing stop token is dropped."""
        ids = list(token_ids)
        if ids and ids[-1] in self.stop_token_ids:
            ids.pop()
        return self.text_of(ids)

    def text_of(self, token_ids: Sequence[int]) -> str:
        """The text of ``token_ids`` as they stand: control tokens kept, stop tokens too, no spaces cleaned up."""
        return str(
            self.tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def parse(self, text: str) -> Message:
        """One assistant turn read back: content, strict ``<tool_call>`` JSON calls, ``<think>`` reasoning.

        Raises: ValueError with the reason.
        """
        return parse_assistant(text, is_thinking=self.frame.header.rstrip().endswith(THINK))

    @cached_property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Ids that end an assistant's turn: EOS, the end-of-turn tokens, and those of ``generation_config.json``."""
        eos = self.tokenizer.eos_token_id
        stops = [] if eos is None else [int(eos)]
        final = {golden.name: self._end_ids(index) for index, golden in enumerate(GOLDENS)}
        stops += final["one turn"] + final["tool call"]
        if not self.frame.closes_turns:
            stops += final["several turns"] + final["tool use"]
        return tuple(dict.fromkeys([*stops, *self._extra_stop_ids]))

    def _end_ids(self, index: int) -> list[int]:
        golden = self._goldens[index]
        if isinstance(golden, str):
            return []
        return [golden.token_ids[s.end - 1] for s in golden.spans if s.role == "assistant" and s.kind == "end"]

    @cached_property
    def _goldens(self) -> tuple[Rendered | str, ...]:
        """Every golden conversation rendered, or what the template refuses about it."""
        rendered: list[Rendered | str] = []
        for golden in GOLDENS:
            try:
                rendered.append(self.render(golden.messages, golden.tools, add_generation_prompt=golden.prompt))
            except TemplateError as error:
                rendered.append(error.what)
        return tuple(rendered)

    @cached_property
    def generation_prompt_is_prefix(self) -> bool:
        """Whether inference starts from exactly the ids that training showed before an answer, on every golden.

        False for templates that open a think block for the model which finished turns do not have, or that render
        earlier turns otherwise than the last; ``strop check`` says so.
        """
        for golden, rendered in zip(GOLDENS, self._goldens):
            turns = [turn for turn, message in enumerate(golden.messages) if message.role == "assistant"]
            if not isinstance(rendered, str) and not all(self._shows_prompt(golden, rendered, turn) for turn in turns):
                return False
        return True

    def _shows_prompt(self, golden: Golden, rendered: Rendered, turn: int) -> bool:
        try:
            prompt = self.prompt_ids(golden.messages[:turn], golden.tools)
        except TemplateError:
            return True
        return rendered.token_ids[: len(prompt)] == prompt

    @cached_property
    def lock(self) -> Json:
        """Everything that decides which ids a conversation gets, as JSON."""
        backend = json.loads(self.tokenizer.backend_tokenizer.to_str())
        goldens: dict[str, Json] = {}
        for golden, rendered in zip(GOLDENS, self._goldens):
            if isinstance(rendered, str):
                goldens[golden.name] = {"refused": rendered}
            else:
                goldens[golden.name] = {"text": rendered.text, "token_ids": list(rendered.token_ids)}
        source = self._encoder.source
        return {
            "format": 1,
            "tokenizer": digest_json({**backend, "padding": None, "truncation": None}),
            "template": digest_json([source.default, source.tool_use]),
            "special_tokens": {key: str(value) for key, value in source.variables.items()},
            "control_tokens": self._encoder.control,
            "render_date": "-".join(RENDER_DATE[part] for part in ("%Y", "%m", "%d")),
            "goldens": goldens,
        }

    @cached_property
    def digest(self) -> str:
        """Identity by content: changes with one byte of tokenizer, template, special tokens, or rendering."""
        return digest_json(self.lock)

    def save(self, folder: str | Path) -> None:
        """Write tokenizer, template and lock file into ``folder``. Raises: OutputError."""
        try:
            self.tokenizer.save_pretrained(str(folder))
        except OSError as error:
            raise OutputError(
                "the tokenizer could not be written",
                where=str(folder),
                why=(error.strerror or str(error)).lower(),
                do="free some space, or choose a folder that you may write to",
            ) from error
        write_lock(folder, self.lock)

    def check_lock(self, folder: str | Path) -> None:
        """Compare with the lock file of ``folder``. Raises: MismatchError, naming and showing what differs."""
        require_same(read_lock(folder), self.lock, where=str(Path(folder) / LOCK_NAME))


def _check(messages: Sequence[Message]) -> None:
    if not messages:
        raise TemplateError("an empty conversation cannot be rendered", do="give at least one message")
    for turn, message in enumerate(messages):
        if message.role != "assistant" and (message.train or message.tool_calls or message.reasoning):
            field = "train" if message.train else "tool_calls" if message.tool_calls else "reasoning"
            raise TemplateError(
                f"a {message.role} message has {field}",
                where=f"message {turn}",
                why="only the assistant is trained, calls tools, and reasons",
                do=f"remove {field} from the message",
            )


def _cannot_render(role: str, why: str) -> TemplateError:
    return TemplateError(
        f"the chat template cannot render the role {role}",
        why=why,
        do="put its text into a user message, or use a template that has the role",
    )


def _refuse_dropped(layout: Layout, messages: Sequence[Message], frame: Frame) -> None:
    """Whatever the template leaves out is an error, but for the reasoning of turns that it forgets on purpose."""
    for leaf in layout.missing:
        role = messages[leaf.turn].role
        if leaf.part == "reasoning" and frame.renders_reasoning:
            continue
        what = "content" if leaf.part == "content" else "tool calls" if leaf.part == "tool_call" else leaf.part
        raise TemplateError(
            f"the chat template drops the {what} of the {role} role",
            where=f"message {leaf.turn}: {leaf.text[:60]!r}",
            why="the text does not appear in the rendered conversation",
            do="put the text where the template renders it, or use a template that renders it",
        )


def _generation_stops(folder: Path) -> tuple[int, ...]:
    """The end tokens that the folder's ``generation_config.json`` names."""
    path = folder / "generation_config.json"
    if not path.exists():
        return ()
    try:
        ids = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    except (OSError, ValueError, AttributeError):
        return ()
    return tuple(int(index) for index in (ids if isinstance(ids, list) else [ids]) if index is not None)
