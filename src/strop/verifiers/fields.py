"""The facts that an answer must hold, field by field: present, and right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers import accepted, schema, text
from strop.verifiers.accepted import is_same
from strop.verifiers.calls import spoken
from strop.verifiers.schema import json_of
from strop.verifiers.text import normalise

if TYPE_CHECKING:
    from strop.verifiers.audit import AuditCase

_LABELLED = re.compile(
    r"^[ \t>#*+\-•]*(?P<label>[^\W\d][^:\n|]{0,60}?)[ \t*_`]*:[ \t*_`]*(?P<value>[^\s*_`][^\n]*?)[ \t*_`]*$", re.M
)
_AMOUNT = re.compile(
    r"(?P<sign>[+\-−]?)\s*(?:[A-Z]{3}|[€$£¥])?\s*(?P<digits>\d{1,3}(?:,\d{3})+|\d{1,30})(?P<decimals>\.\d{1,30})?"
    r"\s*(?:[A-Z]{3}|[€$£¥])?"
)
_ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class FieldMatch:
    """Which of the fields that are due an answer has, and which of those are right."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def present(self) -> float:
        """Fields that are there, over fields that are due."""
        return 1 - len(self.missing) / self._total

    @property
    def complete(self) -> float:
        """Fields that are there and right, over fields that are due."""
        return len(self.right) / self._total

    @property
    def _total(self) -> int:
        return len(self.right) + len(self.wrong) + len(self.missing)


def read_fields(answer: str) -> Mapping[str, Any]:
    """The fields of an answer: its JSON object, or else its ``Label: value`` lines, by labels in lower case.

    Raises: ValueError for an answer that has neither, or names a label twice.
    """
    try:
        value = json_of(answer, fences="anywhere")
    except ValueError as error:
        if "twice" in str(error) or spoken(answer).lstrip().startswith("{"):
            raise
    else:
        if not isinstance(value, dict):
            raise ValueError(f"the JSON is a {type(value).__name__}, not an object")
        return value
    fields: dict[str, str] = {}
    for line in _LABELLED.finditer(spoken(answer)):
        label = _label(line["label"])
        if label in fields:
            raise ValueError(f"the field {label!r} stands twice")
        fields[label] = line["value"]
    if not fields:
        raise ValueError("neither a JSON object nor `Label: value` lines")
    return fields


def match_fields(
    said: Mapping[str, Any], due: Mapping[str, Any], *, aliases: Mapping[str, Sequence[Any]] | None = None
) -> FieldMatch:
    """The fields of an answer beside those that are due: ``{"vendor.name": "ACME"}``, a dot for what lies inside."""
    found: dict[str, list[str]] = {"right": [], "wrong": [], "missing": []}
    for path, expected in due.items():
        value = _at(said, path)
        options = [expected, *(aliases or {}).get(path, ())]
        is_right = value is not _ABSENT and any(agrees(value, option) for option in options)
        is_missing = value is _ABSENT or (value is None and expected is not None) or value == ""
        found["right" if is_right else "missing" if is_missing else "wrong"].append(path)
    return FieldMatch(**{kind: tuple(names) for kind, names in found.items()})


def _at(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        names = {_label(name): name for name in value}
        if path in value or _label(path) in names:
            return value[path] if path in value else value[names[_label(path)]]
        first, dot, rest = path.partition(".")
        return _at(value.get(first, _ABSENT), rest) if dot else _ABSENT
    if isinstance(value, list) and path.partition(".")[0].isdecimal():
        first, dot, rest = path.partition(".")
        inner = value[int(first)] if int(first) < len(value) else _ABSENT
        return _at(inner, rest) if dot else inner
    return _ABSENT


def _label(name: str) -> str:
    return " ".join(re.sub(r"[_\-]+", " ", name).casefold().split())


def agrees(value: Any, expected: Any) -> bool:
    """Whether a field says what is expected, whatever the notation: "1,200.00" and "EUR 1200" agree with 1200.

    Texts agree without case, spacing, quotes and full stop; a text that is expected to name a currency must name it.
    """
    if isinstance(expected, bool) or isinstance(value, bool) or expected is None or value is None:
        return is_same(value, expected) or (isinstance(value, str) and normalise(value) == str(expected).casefold())
    if isinstance(expected, int | float):
        amount = _amount(value)
        return amount is not None and amount == Fraction(str(expected))
    if isinstance(expected, str) and isinstance(value, str | int | float):
        one, other = normalise(str(value)), normalise(expected)
        bare = (_bare(one), _bare(other))
        return one == other or (None not in bare and bare[0] == bare[1])
    if isinstance(expected, list) and isinstance(value, list):
        return len(value) == len(expected) and all(map(agrees, value, expected))
    if isinstance(expected, Mapping) and isinstance(value, Mapping):
        return value.keys() == expected.keys() and all(agrees(value[key], expected[key]) for key in expected)
    return False


def _amount(value: Any) -> Fraction | None:
    """The number that the value is, alone or beside a currency."""
    found = _AMOUNT.fullmatch(str(value).strip()) if isinstance(value, str) else None
    if isinstance(value, int | float):
        return Fraction(str(value))
    if found is None:
        return None
    number = Fraction(found["digits"].replace(",", "") + (found["decimals"] or ""))
    return -number if found["sign"] in ("-", "−") else number


def _bare(value: str) -> Fraction | None:
    """The number that a text is, if it names no currency."""
    return None if re.search(r"[^\d.,+\-−]", value) else _amount(value)


def expected_fields(task: Task) -> Mapping[str, Any]:
    """The task's ``reference["fields"]``. Raises: VerifierError if there are none."""
    fields = task.reference.get("fields")
    if not isinstance(fields, Mapping) or not fields:
        raise VerifierError(
            f"task {task.id} says no fields",
            where=task.source or task.id,
            why='FieldsAnswer needs {"fields": {"vendor": "ACME", "total": 1200}}',
            do="write the facts that an answer must hold into the reference",
        )
    return fields


@dataclass(frozen=True, kw_only=True)
class FieldsAnswer:
    """Passes a completion in which every field of ``task.reference["fields"]`` is present and right.

    The score is the share of right fields among those that are due, or that are ``extra`` where that is ``refused``.
    ``reference["aliases"]`` may give further accepted values by field. An answer without fields, or with one twice, is
    ``unparsable``; a truncated one fails.
    """

    name: str = "fields"
    extra: Literal["allowed", "refused"] = "allowed"

    @property
    def digest(self) -> str:
        """Identity of the files that read and compare, and of the settings."""
        files = [__file__, *schema.code_files(), *(str(module.__file__) for module in (accepted, text))]
        return digest_json([*map(digest_file, files), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        due = expected_fields(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        try:
            said = read_fields(completion.text)
        except ValueError as error:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=(str(error),))
        match = match_fields(said, due, aliases=task.reference.get("aliases"))
        reasons = [f"{kind}: {path}" for kind in ("wrong", "missing") for path in getattr(match, kind)]
        tops = {_label(path.partition(".")[0]) for path in due}
        extra = [name for name in said if _label(name) not in tops] if self.extra == "refused" else []
        reasons += [f"extra: {name}" for name in extra]
        passed, score = not reasons, len(match.right) / (len(due) + len(extra))
        measures = {"field_present": match.present, "field_complete": match.complete}
        return Verdict(score=score, passed=passed, reasons=tuple(reasons) or ("complete",), measures=measures)


def measure_fields(task: Task, completion: Completion) -> dict[str, float | None]:
    """``field_complete``: fields that are present and right, over fields that are due; ``field_present`` without the
    latter. 0 for an answer that cannot be read."""
    verdict = FieldsAnswer()(task, completion)
    return {name: verdict.measures.get(name, 0.0) for name in ("field_complete", "field_present")}


def audit_cases() -> list[AuditCase]:
    """Answers of known worth, by which it is audited."""
    from strop.verifiers.form_cases import fields_cases

    return fields_cases()
