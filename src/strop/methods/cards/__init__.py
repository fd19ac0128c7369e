"""The method cards: formula, source, data, stability, failures, remedies, and where the code and its tests are.

A card is one TOML file in this folder; ``strop explain`` and ``docs/methods`` print the same text from it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from textwrap import fill
from typing import Any

CARDS = tuple(
    sorted(entry.name.removesuffix(".toml") for entry in files(__name__).iterdir() if entry.name.endswith(".toml"))
)
"""The names of all cards."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One method, told to someone who must decide whether to use it and what to do when it fails."""

    title: str
    summary: str
    formula: str
    source: str
    data: str
    """What data it needs."""
    stability: str
    """What keeps it stable."""
    breaks: tuple[str, ...]
    """Where it breaks."""
    debug: tuple[str, ...]
    """How to find out why."""
    objective: str
    """The file of the formula, from the repository's root."""
    tests: tuple[str, ...]
    """The files that test the formula, from the repository's root."""
    credit: str = ""
    """The file that makes its advantages or targets, from the repository's root; empty if it needs none."""
    method: str = ""
    """The file of the stream, from the repository's root; empty while no stream of its own ships."""


def load_card(name: str) -> Card:
    """The card of a method. Raises: KeyError for a name that is not in ``CARDS``."""
    if name not in CARDS:
        raise KeyError(name)
    table = tomllib.loads((files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))
    fields: dict[str, Any] = {
        key: value.strip() if isinstance(value, str) else tuple(value) for key, value in table.items()
    }
    return Card(**fields)


def card_text(name: str) -> str:
    """The card as Markdown that also reads well in a terminal."""
    card = load_card(name)
    return "\n".join(
        [
            f"# {card.title} (`{name}`)",
            "",
            card.summary,
            "",
            "```text",
            card.formula,
            "```",
            "",
            _paragraph(f"**Source.** {card.source}"),
            "",
            _paragraph(f"**Data needed.** {card.data}"),
            "",
            _paragraph(f"**What keeps it stable.** {card.stability}"),
            "",
            "## Where it breaks",
            "",
            *(_bullet(line) for line in card.breaks),
            "",
            "## How to debug it",
            "",
            *(_bullet(line) for line in card.debug),
            "",
            "## Where it is",
            "",
            f"- objective: `{card.objective}`",
            *([f"- credit: `{card.credit}`"] if card.credit else []),
            f"- stream: `{card.method}`"
            if card.method
            else "- stream: none of its own yet; hand the objective to `train` with yours",
            *(f"- test: `{test}`" for test in card.tests),
        ]
    )


def _paragraph(text: str) -> str:
    return fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _bullet(text: str) -> str:
    return fill(f"- {text}", 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def write_pages(folder: Path) -> None:
    """Write every card as ``folder/NAME.md``, and ``folder/README.md`` that lists them."""
    lines = ["# Methods", "", "One card each, as `strop explain NAME` prints it.", ""]
    for name in CARDS:
        (folder / f"{name}.md").write_text(card_text(name) + "\n", encoding="utf-8")
        lines.append(f"- [`{name}`]({name}.md): {load_card(name).title}")
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
