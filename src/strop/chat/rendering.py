"""Jinja in, one string out: the chat template of a tokenizer, run by ``transformers`` with a pinned date."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strop.errors import TemplateError
from strop.types import Json

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
RENDER_DATE = {
    "%Y": "2025", "%y": "25", "%m": "01", "%-m": "1", "%d": "01", "%-d": "1", "%j": "001",
    "%B": "January", "%b": "Jan", "%A": "Wednesday", "%a": "Wed", "%H": "00", "%I": "12",
    "%M": "00", "%S": "00", "%p": "AM",
}  # fmt: skip
"""What a template that asks for today's date is told: 1 January 2025, so that ids do not change overnight."""


@dataclass(frozen=True)
class TemplateSource:
    """The Jinja text and the special tokens that it may name."""

    default: str
    tool_use: str
    """The variant for conversations with tools; most folders have one template, and both are the same."""
    variables: Mapping[str, Any]

    @classmethod
    def of(cls, tokenizer: Any) -> TemplateSource:
        """The template of ``tokenizer``. Raises: TemplateError if it has none."""
        try:
            default = tokenizer.get_chat_template()
            tool_use = tokenizer.get_chat_template(tools=[{}])
        except ValueError as error:
            raise TemplateError(
                "this tokenizer has no chat template",
                where=str(getattr(tokenizer, "name_or_path", "") or "a tokenizer in memory"),
                why="conversations become tokens only through a chat template",
                do="use an instruct model's folder, or put a chat_template.jinja next to tokenizer.json",
            ) from error
        return cls(default, tool_use, dict(tokenizer.special_tokens_map))

    def text(self, messages: Sequence[Json], tools: Sequence[Json], *, add_generation_prompt: bool) -> str:
        """The rendered string. Raises: TemplateError with the template's own complaint."""
        return self._run(messages, tools, add_generation_prompt, traced=False)[0]

    def traced(
        self, messages: Sequence[Json], tools: Sequence[Json], *, add_generation_prompt: bool
    ) -> tuple[str, list[tuple[int, int]] | None]:
        """The rendered string and the character ranges of its ``{% generation %}`` blocks; None without such blocks."""
        source = COMMENT.sub("", self.tool_use if tools else self.default)
        has_markers = GENERATION.search(source) is not None
        text, ranges = self._run(messages, tools, add_generation_prompt, traced=has_markers)
        return text, ranges if has_markers else None

    def _run(
        self, messages: Sequence[Json], tools: Sequence[Json], add_generation_prompt: bool, *, traced: bool
    ) -> tuple[str, list[tuple[int, int]]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            texts, ranges = render_jinja_template(
                conversations=[list(messages)],
                tools=list(tools) or None,
                chat_template=_with_pinned_date(self.tool_use if tools else self.default),
                return_assistant_tokens_mask=traced,
                add_generation_prompt=add_generation_prompt,
                **self.variables,
            )
        except ImportError:
            raise
        except Exception as error:  # templates raise whatever Jinja and Python raise inside them
            raise TemplateError(
                "the chat template cannot render this conversation",
                where=", ".join(str(message["role"]) for message in messages),
                why=f"{type(error).__name__}: {error}",
                do="reorder or reshape the messages as the template asks, or give the folder another chat template",
            ) from error
        return texts[0], [(int(start), int(stop)) for start, stop in (ranges[0] if ranges else [])]


def _with_pinned_date(source: str) -> str:
    """The template with ``strftime_now`` shadowed by a macro; the newline keeps Jinja's white space control."""
    if "strftime_now" not in source:
        return source
    filters = "".join(f" | replace('{directive}', '{value}')" for directive, value in RENDER_DATE.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}\n{source}"
