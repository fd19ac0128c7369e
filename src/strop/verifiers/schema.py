"""JSON in an answer, read strictly and held against a JSON Schema by the validator of record."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers import calls
from strop.verifiers.calls import spoken

if TYPE_CHECKING:
    from strop.constraints import SchemaValidator
    from strop.verifiers.audit import AuditCase

Fences = Literal["refused", "whole", "anywhere"]
"""Whether JSON may stand in a fenced block: never; as the whole answer; or as the only block among prose."""
_BLOCK = re.compile(r"^(?P<mark>```+|~~~+)[ \t]*(?P<kind>\w*)[ \t]*\n(?P<body>.*?)^(?P=mark)[ \t]*$", re.DOTALL | re.M)


def code_files() -> tuple[str, ...]:
    """What reads JSON and holds it against a schema: part of the identity of whoever reads by it."""
    judges = Path(__file__).parents[1] / "constraints"
    return __file__, *calls.code_files(), *(str(judges / f"{name}.py") for name in ("validators", "formats"))


def json_of(text: str, *, fences: Fences = "refused") -> Any:
    """The one JSON value that the answer is, after its reasoning.

    Strict: no duplicate names, no ``NaN``, no number beyond a double, nothing before or behind it. Raises: ValueError
    with the reason.
    """
    from strop.constraints import read_json

    said = spoken(text)
    blocks = list(_BLOCK.finditer(said)) if fences != "refused" else []
    if len(blocks) > 1:
        raise ValueError(f"{len(blocks)} fenced blocks where one was due")
    if blocks:
        around = said[: blocks[0].start()] + said[blocks[0].end() :]
        if fences == "whole" and around.strip():
            raise ValueError("text beside the fenced block")
        if blocks[0]["kind"].lower() not in ("", "json"):
            raise ValueError(f"the fenced block is {blocks[0]['kind']}, not JSON")
        said = blocks[0]["body"]
    return read_json(said.strip(" \t\r\n"))


@lru_cache(maxsize=64)
def _validator(schema: str) -> SchemaValidator:
    from strop.constraints import SchemaValidator

    return SchemaValidator(json.loads(schema))


def schema_of(task: Task) -> Any:
    """The task's ``reference["schema"]``. Raises: VerifierError if it has none."""
    schema = task.reference.get("schema")
    if not isinstance(schema, dict | bool):
        raise VerifierError(
            f"task {task.id} has no schema",
            where=task.source or task.id,
            why='SchemaAnswer needs {"schema": {"type": "object", ...}}',
            do="write the JSON Schema into the reference",
        )
    return schema


@dataclass(frozen=True, kw_only=True)
class SchemaAnswer:
    """Passes a completion that is the JSON of an instance of ``task.reference["schema"]`` and nothing else.

    What is not JSON is ``unparsable``; a truncated completion fails. The draft is the schema's own, 2020-12 without
    ``$schema``; formats assert. Raises: VerifierError without a schema, ConstraintError for what is none.
    """

    name: str = "schema"
    fences: Fences = "refused"

    @property
    def digest(self) -> str:
        """Identity of the files that read and of the settings."""
        return digest_json([*map(digest_file, code_files()), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        validator = _validator(json.dumps(schema_of(task)))
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        try:
            value = json_of(completion.text, fences=self.fences)
        except ValueError as error:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=(str(error),))
        errors = validator.errors(value)
        return Verdict(score=float(not errors), passed=not errors, reasons=errors or ("valid",))


def measure_schema(task: Task, completion: Completion) -> dict[str, float | None]:
    """``schema_valid``: the answer is the JSON of a valid instance; ``json_valid``: of anything."""
    verdict = SchemaAnswer()(task, completion)
    is_json = not completion.is_truncated and verdict.state == "graded"
    return {"schema_valid": float(verdict.passed), "json_valid": float(is_json)}


def audit_cases() -> list[AuditCase]:
    """Answers of known worth, by which it is audited."""
    from strop.verifiers.form_cases import schema_cases

    return schema_cases()
