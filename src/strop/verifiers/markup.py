"""XML and Markdown in an answer, read into what a format can ask of: sections, headings, tables and lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from strop.verifiers.text import says_something

_MAX_DEPTH = 64
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_HEADING = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_ITEM = re.compile(r"^( {0,3})([-*+]|\d{1,9}[.)])[ \t]+(\S.*)$")
_DELIMITER = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CODE, _FENCED = "\x00", "\x01"
"""What stands for a line of a fenced block that says something, and for the marks around it."""
_KEPT_MARKS = re.compile(r"[\x00\x01]")


@dataclass(kw_only=True)
class Element:
    """An element of XML."""

    tag: str
    text: str = ""
    """All that is in it, at any depth."""
    own: str = ""
    """What is in none of its children."""
    children: list[Element] = field(default_factory=list)


def read_xml(text: str) -> Element:
    """The elements of the text, below one element of the empty tag.

    Read as the inside of an element, where no document type may stand, and so no entities but the five of XML itself:
    nothing expands. Raises: ValueError with the reason where it is not well formed, or is nested deeper than 64.
    """
    top = Element(tag="")
    stack = [top]

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) > _MAX_DEPTH:
            raise ValueError(f"the XML is nested deeper than {_MAX_DEPTH}")
        if tag != "strop-answer" or len(stack) > 1:
            element = Element(tag=tag)
            stack[-1].children.append(element)
            stack.append(element)
        elif root:
            raise ValueError("not XML: strop-answer is no tag of an answer")
        else:
            root.append(tag)

    def end(tag: str) -> None:
        if len(stack) > 1:
            stack.pop()

    def said(data: str) -> None:
        stack[-1].own += data
        for element in stack:
            element.text += data

    root: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = said
    body = re.sub(r"\A\s*<\?xml[^>]*\?>", "", text)
    try:
        parser.Parse(f"<strop-answer>{body}</strop-answer>", True)
    except expat.ExpatError as error:
        raise ValueError(f"not XML: {expat.errors.messages[error.code]} in line {error.lineno}") from error
    return top


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading of Markdown and the text below it, up to the next heading of its level or above."""

    level: int
    title: str
    body: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of Markdown: the cells of its head, and of each row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Markdown:
    """What a text in Markdown is made of; what stands in fenced blocks and comments does not count."""

    headings: tuple[Heading, ...]
    tables: tuple[Table, ...]
    lists: tuple[tuple[str, ...], ...]
    """The items of each list at its outer level."""


def read_markdown(text: str) -> Markdown:
    """The structure of the text. Raises: ValueError for a fenced block that is never closed."""
    lines = list(_outside_fences(_COMMENT.sub("", _KEPT_MARKS.sub(" ", text))))
    return Markdown(headings=tuple(_headings(lines)), tables=tuple(_tables(lines)), lists=tuple(_lists(lines)))


def _outside_fences(text: str) -> Iterator[str]:
    """The lines; in the place of those of a fenced block stands what it holds: ``CODE``, or nothing."""
    mark = ""
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if mark:
            closes = fence is not None and fence[1].startswith(mark) and not line.strip().strip(mark[0])
            mark = "" if closes else mark
            yield _FENCED if closes else CODE if says_something(line) else ""
        elif fence is not None:
            mark = fence[1]
            yield _FENCED
        else:
            yield line
    if mark:
        raise ValueError(f"the block that {mark} opens is never closed")


def _headings(lines: list[str]) -> Iterator[Heading]:
    found = [(number, _HEADING.match(line)) for number, line in enumerate(lines)]
    marks = [(number, len(match[1]), (match[2] or "").strip()) for number, match in found if match is not None]
    for place, (number, level, title) in enumerate(marks):
        end = next((other for other, depth, _ in marks[place + 1 :] if depth <= level), len(lines))
        yield Heading(level=level, title=title, body="\n".join(lines[number + 1 : end]))


def _cells(line: str) -> tuple[str, ...]:
    bare = line.strip().removeprefix("|")
    bare = bare[:-1] if bare.endswith("|") and not bare.endswith("\\|") else bare
    return tuple(cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", bare))


def _tables(lines: list[str]) -> Iterator[Table]:
    end = 0
    for number in range(1, len(lines)):
        head, rule = lines[number - 1], lines[number]
        if number <= end:
            continue
        if "|" not in head or not _DELIMITER.match(rule) or len(_cells(head)) != len(_cells(rule)):
            continue
        rows = []
        for line in lines[number + 1 :]:
            if "|" not in line:
                break
            rows.append(_cells(line))
        end = number + len(rows)
        yield Table(columns=_cells(head), rows=tuple(rows))


def _lists(lines: list[str]) -> Iterator[tuple[str, ...]]:
    """Runs of items of one kind; lines that are indented belong to the item before, an empty line may lie between."""
    items: list[str] = []
    kind = ""
    for line in [*lines, _FENCED]:
        item = _ITEM.match(line)
        mark = "" if item is None else item[2] if item[2] in "-*+" else item[2][-1]
        if item is not None and (not items or (mark == kind and len(item[1]) < 2)):
            items.append(item[3].strip())
        elif items and (not line.strip() or line.startswith((" ", "\t"))):
            continue
        else:
            if items:
                yield tuple(items)
            items = [] if item is None else [item[3].strip()]
        kind = mark or kind
