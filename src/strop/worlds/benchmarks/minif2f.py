"""MiniF2F: competition and school problems as formal statements to be proved, in Lean 4 or in Coq."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from strop.data.readers import Row
from strop.errors import DataError
from strop.types import Task
from strop.verifiers import AuditCase
from strop.verifiers.proofs import REAL_AXIOMS, ProofAnswer
from strop.worlds.benchmarks.benchmark import Benchmark, identified, read_columns, spread, task_of

_COLUMNS = {
    "name": ("name", "id", "problem_name", "problem_id", ""),
    "statement": ("formal_statement", "lean4_statement", "coq_statement", "rocq_statement"),
    "header": ("header", ""),
    "informal": ("informal_prefix", "informal_statement", "informal_stmt", "nl_statement", ""),
    "split": ("split", ""),
    "proof": ("formal_proof", ""),
}
_SPLITS = {"validation": "valid", "dev": "valid", "val": "valid"}
_LEAN = re.compile(r"^[ \t]*(?:theorem|lemma)\s", re.MULTILINE)
_COQ = re.compile(r"^[ \t]*(?:Theorem|Lemma|Corollary|Proposition|Fact|Remark|Example)\s", re.MULTILINE)
_OPEN_LEAN = re.compile(r"\s*:=\s*(?:by\s*)?(?:sorry\s*)?\Z")
_OPEN_COQ = re.compile(r"\s*(?:Proof\s*\.\s*)?(?:(?:Admitted|Abort)\s*\.\s*)?\Z")
_REALS = re.compile(r"\b(?:Reals|Lra|Psatz|R_scope|Coquelicot)\b")
_TOPICS = re.compile(r"mathd_[a-z]+|aime|amc|imo|induction|numbertheory|algebra", re.IGNORECASE)


def load_minif2f(path: str | Path, *, split: str = "test", limit: int | None = None) -> list[Task]:
    """The tasks of a file with ``formal_statement`` and perhaps ``header``, as Lean 4 and Coq versions are published.

    Also of a folder of ``.v`` files, one a problem, as Coq versions are. Where rows have a ``split``, those of
    ``split`` only; ``header`` may also stand at the head of the statement. The prompt shows the theorem, left open,
    with its informal statement if there is one. ``reference`` is what ``ProofAnswer`` needs; what Coq's real numbers
    are built on may be assumed where the row imports them. Slices: ``system`` and ``topic`` (``aime``,
    ``mathd_algebra`` …). ``limit`` takes one of each topic of a folder in turn. Raises: DataError.
    """
    wanted = _SPLITS.get(split, split)
    found = _rows(path, split=split, limit=limit)
    chosen = ((row, values) for row, values in found if _split_of(values) in ("", wanted))
    return identified("minif2f", [_task(row, values) for row, values in islice(chosen, limit)])


def _rows(path: str | Path, *, split: str, limit: int | None) -> Iterator[tuple[Row, dict[str, Any]]]:
    files = _files(Path(path), split)
    if not files:
        yield from read_columns(path, "minif2f", _COLUMNS, split=split, limit=None)
    topics: dict[str, list[Path]] = {}
    for file in files:
        topics.setdefault(_topic(file.stem), []).append(file)
    for file in files if limit is None else spread(list(topics.values()), limit):
        values = {**dict.fromkeys(_COLUMNS), "name": file.stem, "statement": file.read_text()}
        yield Row(values=values, where=f"{file}:1"), values


def _files(path: Path, split: str) -> list[Path]:
    """The ``.v`` files of the folder, or of the one in it that is named after the split."""
    folders = [path, path / split, path / _SPLITS.get(split, split)]
    return next((files for folder in folders if (files := sorted(folder.glob("*.v")))), [])


def _topic(name: str) -> str:
    topic = _TOPICS.match(name)
    return topic[0].lower() if topic else "other"


def _split_of(values: dict[str, Any]) -> str:
    split = str(values["split"] or "")
    return _SPLITS.get(split, split)


def _task(row: Row, values: dict[str, Any]) -> Task:
    text = str(values["statement"]).strip()
    system, pattern = ("lean", _LEAN) if _LEAN.search(text) else ("coq", _COQ)
    start = pattern.search(text)
    if start is None:
        raise DataError(
            "the formal statement states no theorem",
            where=row.where,
            why=f"it must have `theorem` (Lean 4) or `Theorem` (Coq), this one starts with {text[:40]!r}",
            do="mend the row",
        )
    opened = _OPEN_LEAN if system == "lean" else _OPEN_COQ
    statement = opened.sub("", text[start.start() :].strip())
    preamble = "\n".join(part for part in (str(values["header"] or "").strip(), text[: start.start()].strip()) if part)
    reference: dict[str, Any] = {"system": system, "statement": statement, "preamble": preamble}
    if system == "coq" and _REALS.search(preamble):
        reference["axioms"] = list(REAL_AXIOMS)
    if values["proof"] is not None:
        reference["solution"] = str(values["proof"])
    name = str(values["name"] or "")
    slices = {"system": system, "topic": _topic(name)}
    question = _question(system, statement, preamble, str(values["informal"] or ""))
    return task_of(row, question, reference=reference, slices=slices, id=name)


def _question(system: str, statement: str, preamble: str, informal: str) -> str:
    said = informal.strip().removeprefix("/--").removesuffix("-/").strip()
    asked = f"Prove this theorem in {'Lean 4' if system == 'lean' else 'Coq'}."
    shown = f"{preamble}\n\n{statement}" + (" := by\n  sorry" if system == "lean" else "\nProof.\nAdmitted.")
    block = f"```{'lean4' if system == 'lean' else 'coq'}\n{shown.strip()}\n```"
    return "\n\n".join(part for part in (asked, said, block) if part)


def minif2f_cases(tasks: Sequence[Task]) -> list[AuditCase]:
    """The proofs that rows bring, which are right; proofs left open, of something else, or empty are not."""
    cases = []
    for task in tasks:
        is_lean = task.reference["system"] == "lean"
        if "solution" in task.reference:
            cases.append(AuditCase(task=task, text=str(task.reference["solution"]), should_pass=True))
        wrong = ("sorry", "rfl_or_nothing") if is_lean else ("Admitted.", "fail.")
        other = "theorem answer : True := trivial" if is_lean else "Theorem answer : True. Proof. exact I. Qed."
        cases += [AuditCase(task=task, text=text, should_pass=False) for text in wrong]
        cases += [AuditCase(task=task, text=text, should_pass=False, is_cheat=True) for text in (other, "", "Proved.")]
    return cases


MINIF2F = Benchmark(name="minif2f", load=load_minif2f, verifier=ProofAnswer, cases=minif2f_cases)
