"""The form that an answer must have: XML sections, the structure of Markdown, or JSON and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers import markup, schema, text
from strop.verifiers.calls import spoken
from strop.verifiers.markup import CODE, Element, Heading, Markdown, Table, read_markdown, read_xml
from strop.verifiers.schema import json_of
from strop.verifiers.text import normalise, says_something

if TYPE_CHECKING:
    from strop.verifiers.audit import AuditCase

_KEYS: Mapping[str, frozenset[str]] = {
    "xml": frozenset({"kind", "sections", "root", "other_text"}),
    "markdown": frozenset({"kind", "headings", "table", "list"}),
    "json": frozenset({"kind"}),
}
_INNER = {"table": {"columns", "min_rows", "max_rows"}, "list": {"min_items", "max_items"}}


def format_of(task: Task) -> Mapping[str, Any]:
    """The task's ``reference["format"]``. Raises: VerifierError for none, or one that asks for what is not known."""
    wanted = task.reference.get("format")
    kind = wanted.get("kind") if isinstance(wanted, Mapping) else None
    if not isinstance(wanted, Mapping) or not isinstance(kind, str) or kind not in _KEYS:
        raise _wrong(task, f"no format of the kinds {', '.join(_KEYS)}")
    unknown = [key for key in wanted if key not in _KEYS[kind]]
    unknown += [f"{name}.{key}" for name in _INNER for key in wanted.get(name, ()) if key not in _INNER[name]]
    if unknown:
        raise _wrong(task, f"the unknown key {unknown[0]}")
    if kind != "json" and not any(wanted.get(key) for key in ("sections", "headings", "table", "list")):
        raise _wrong(task, f"nothing that it asks of {kind}")
    return wanted


def _wrong(task: Task, what: str) -> VerifierError:
    return VerifierError(
        f"task {task.id} has {what}",
        where=task.source or task.id,
        why='FormatAnswer needs {"format": {"kind": "xml", "sections": ["facts", "answer"]}}, {"kind": "markdown", '
        '"headings": ["Summary"], "table": {"columns": [...], "min_rows": 2}, "list": {"min_items": 3}} '
        'or {"kind": "json"}',
        do="mend the reference",
    )


@dataclass(frozen=True, kw_only=True)
class FormatAnswer:
    """Passes a completion that has the form which ``task.reference["format"]`` asks for.

    ``xml``: well formed, no document type; the ``sections`` in this order at the top level (or in ``root``), each once
    and with a letter or digit in it, no other element beside them, and no text unless ``other_text``. ``markdown``: the
    ``headings`` in this order ("## Risks" asks for the level too), each once with something below; a ``table`` with
    these columns and rows as wide as it; one ``list`` of different items. ``json``: one value, strictly, nothing else.

    The score is the share of what was asked for; what cannot be read is ``unparsable``; a truncated completion fails.
    """

    name: str = "format"

    @property
    def digest(self) -> str:
        """Identity of the files that read and of the settings."""
        files = [__file__, *schema.code_files(), *(str(module.__file__) for module in (markup, text))]
        return digest_json([*map(digest_file, files), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        wanted = format_of(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        try:
            checks = list(_checks(wanted, completion.text))
        except ValueError as error:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=(str(error),))
        reasons = tuple(reason for reason in checks if reason)
        score = 1 - len(reasons) / len(checks)
        return Verdict(score=score, passed=not reasons, reasons=reasons or ("as asked for",))


def _checks(wanted: Mapping[str, Any], answer: str) -> Iterator[str]:
    """For each thing that is asked for what is wrong with it; empty if nothing is."""
    if wanted["kind"] == "json":
        json_of(answer)
        yield ""
    elif wanted["kind"] == "xml":
        yield from _xml_checks(wanted, read_xml(spoken(answer)))
    else:
        yield from _markdown_checks(wanted, read_markdown(spoken(answer)))


def _xml_checks(wanted: Mapping[str, Any], top: Element) -> Iterator[str]:
    holder = top
    if "root" in wanted:
        is_alone = [child.tag for child in top.children] == [wanted["root"]] and not top.own.strip()
        yield "" if is_alone else f"<{wanted['root']}> is not the only element at the top"
        holder = next((child for child in top.children if child.tag == wanted["root"]), top)
    sections: Sequence[str] = wanted.get("sections", ())
    tags = [child.tag for child in holder.children]
    for section in sections:
        yield _section_problem(section, [child for child in holder.children if child.tag == section])
    yield "" if tags == list(sections) else f"the sections are {', '.join(tags) or 'none'}"
    if not wanted.get("other_text", False):
        outside = holder.own.strip()
        yield f"text outside the sections: {outside[:40]!r}" if outside else ""


def _section_problem(section: str, there: Sequence[Element]) -> str:
    if len(there) != 1:
        return f"<{section}> stands {len(there)} times"
    return "" if says_something(there[0].text) else f"<{section}> is empty"


def _markdown_checks(wanted: Mapping[str, Any], found: Markdown) -> Iterator[str]:
    headings: Sequence[str] = wanted.get("headings", ())
    if headings:
        places = [_places(asked, found.headings) for asked in headings]
        for asked, here in zip(headings, places, strict=True):
            yield _heading_problem(asked, [found.headings[place] for place in here])
        order = [here[0] for here in places if here]
        yield "" if order == sorted(order) else "the headings are not in the order asked for"
    if "table" in wanted:
        yield _table_problem(wanted["table"], found.tables)
    if "list" in wanted:
        yield _list_problem(wanted["list"], found.lists)


def _places(asked: str, headings: Sequence[Heading]) -> list[int]:
    level = len(asked) - len(asked.lstrip("#"))
    title = normalise(asked.lstrip("#"))
    return [
        place
        for place, heading in enumerate(headings)
        if normalise(heading.title) == title and level in (0, heading.level)
    ]


def _heading_problem(asked: str, there: Sequence[Heading]) -> str:
    if len(there) != 1:
        return f"the heading {asked!r} stands {len(there)} times"
    says = any(says_something(line) for line in there[0].body.splitlines() if not line.lstrip().startswith("#"))
    return "" if says or CODE in there[0].body else f"nothing stands below the heading {asked!r}"


def _table_problem(wanted: Mapping[str, Any], tables: Sequence[Table]) -> str:
    if len(tables) != 1:
        return f"{len(tables)} tables where one was due"
    columns = tuple(map(normalise, tables[0].columns))
    if "columns" in wanted and columns != tuple(map(normalise, wanted["columns"])):
        return f"the columns are {', '.join(tables[0].columns)}"
    if any(len(row) != len(columns) for row in tables[0].rows):
        return "a row is not as wide as the table's head"
    rows = [row for row in tables[0].rows if all(map(says_something, row))]
    if len(rows) != len(tables[0].rows):
        return "a cell is empty"
    if len(set(rows)) != len(rows):
        return "a row stands twice"
    return _count_problem(len(rows), "rows", wanted)


def _list_problem(wanted: Mapping[str, Any], lists: Sequence[Sequence[str]]) -> str:
    if len(lists) != 1:
        return f"{len(lists)} lists where one was due"
    items = [normalise(item) for item in lists[0]]
    if len(set(items)) != len(items) or not all(map(says_something, items)):
        return "an item of the list is empty or stands twice"
    return _count_problem(len(items), "items", wanted)


def _count_problem(count: int, what: str, wanted: Mapping[str, Any]) -> str:
    low, high = wanted.get(f"min_{what}", 1), wanted.get(f"max_{what}", count)
    return "" if low <= count <= high else f"{count} {what}, asked for {low} to {wanted.get(f'max_{what}', 'any')}"


def measure_format(task: Task, completion: Completion) -> dict[str, float | None]:
    """``format_valid``: the answer has its form; ``format_share``: the share of what was asked of it."""
    verdict = FormatAnswer()(task, completion)
    return {"format_valid": float(verdict.passed), "format_share": verdict.score}


def audit_cases() -> list[AuditCase]:
    """Answers of known worth, by which it is audited."""
    from strop.verifiers.form_cases import format_cases

    return format_cases()
