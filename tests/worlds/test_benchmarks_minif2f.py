"""MiniF2F is read in the forms in which it is published, and its proofs are judged by the proof assistant."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from strop.errors import DataError
from strop.types import Completion, Verdict
from strop.verifiers import audit
from strop.verifiers.proofs import REAL_AXIOMS, Lean, ProofAnswer, statement_of
from strop.worlds.benchmarks import BENCHMARKS, load_benchmark, load_minif2f
from strop.worlds.benchmarks.minif2f import minif2f_cases

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="coqc is not installed")

LEAN_ROW = {
    "name": "mathd_algebra_900",
    "split": "valid",
    "informal_prefix": "/-- Solve $2x = 6$. Show that it is 3. -/\n",
    "formal_statement": "theorem mathd_algebra_900 (x : ℝ) (h₀ : 2 * x = 6) :\n  x = 3 := by\n",
    "goal": "x : ℝ\nh₀ : 2 * x = 6\n⊢ x = 3",
    "header": "import Mathlib\nimport Aesop\n\nset_option maxHeartbeats 400000\n\nopen BigOperators Real\n\n",
}
COQ_ROW = {
    "name": "numbertheory_900",
    "split": "test",
    "header": "From Coq Require Import Lia.\nDefinition even (n : nat) := exists k, n = k + k.\n",
    "formal_statement": "Theorem numbertheory_900 (n : nat) :\n  even n -> even (n + 2).\nProof.\nAdmitted.",
    "formal_proof": "intros [k ->]. exists (k + 1). lia.",
}
COQ_FILE = """\
Require Import Reals Lra.
Open Scope R_scope.

Theorem aimeII_2000_p90 :
  forall x y : R,
    x + y = 10 ->
    x - y = 2 ->
    x = 6.

Proof.
"""


def file_of(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "minif2f.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def said(text: str) -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")


def outcome(verdict: Verdict) -> tuple[str, float | None, bool]:
    return verdict.state, verdict.score, verdict.passed


def test_a_lean_row_gives_its_theorem_left_open_and_what_its_judge_needs(tmp_path: Path) -> None:
    path = file_of(tmp_path, LEAN_ROW, COQ_ROW)
    (task,) = load_minif2f(path, split="validation")
    assert (task.id, task.source) == ("mathd_algebra_900", f"{path}:1")
    assert task.slices == {"system": "lean", "topic": "mathd_algebra"}
    assert task.reference == {
        "system": "lean",
        "statement": "theorem mathd_algebra_900 (x : ℝ) (h₀ : 2 * x = 6) :\n  x = 3",
        "preamble": LEAN_ROW["header"].strip(),
    }
    assert task.prompt[0].content == (
        "Prove this theorem in Lean 4.\n\nSolve $2x = 6$. Show that it is 3.\n\n"
        "```lean4\nimport Mathlib\nimport Aesop\n\nset_option maxHeartbeats 400000\n\nopen BigOperators Real\n\n"
        "theorem mathd_algebra_900 (x : ℝ) (h₀ : 2 * x = 6) :\n  x = 3 := by\n  sorry\n```"
    )
    files = Lean(program="lean", path="")
    assert "type_of% @StropSpec.stated" in files.spec(statement_of(task))


def test_rows_are_chosen_by_their_split_before_they_are_counted(tmp_path: Path) -> None:
    path = file_of(tmp_path, LEAN_ROW, COQ_ROW, {**COQ_ROW, "name": "numbertheory_901"})
    assert [task.id for task in load_minif2f(path)] == ["numbertheory_900", "numbertheory_901"]
    assert [task.id for task in load_minif2f(path, limit=1)] == ["numbertheory_900"]
    unsplit = file_of(tmp_path, {key: LEAN_ROW[key] for key in ("name", "formal_statement")})
    assert [task.reference["preamble"] for task in load_minif2f(unsplit)] == [""]
    with pytest.raises(DataError, match="no rows"):
        load_minif2f(file_of(tmp_path, LEAN_ROW), split="test")


@pytest.mark.parametrize("folder", ["test", "."])
def test_a_folder_of_coq_files_is_a_problem_a_file(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "aimeII_2000_p90.v").write_text(COQ_FILE)
    (task,) = load_minif2f(tmp_path)
    assert (task.id, task.slices) == ("aimeII_2000_p90", {"system": "coq", "topic": "aime"})
    assert task.reference["statement"].endswith("    x = 6.")
    assert task.reference["preamble"] == "Require Import Reals Lra.\nOpen Scope R_scope."
    assert task.reference["axioms"] == list(REAL_AXIOMS)


def test_a_row_that_states_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="states no theorem") as told:
        load_minif2f(file_of(tmp_path, {"name": "x", "formal_statement": "def x := 1"}))
    assert told.value.where.endswith("minif2f.jsonl:1")
    with pytest.raises(DataError, match="no `formal_statement`"):
        load_minif2f(file_of(tmp_path, {"name": "x", "statement": "theorem x : True"}))


@pytest.mark.capability("PI-66")
@needs_coq
def test_golden_proofs_of_coq_rows_pass_and_near_misses_do_not(tmp_path: Path) -> None:
    (task,), verifier = load_benchmark(f"minif2f:{file_of(tmp_path, LEAN_ROW, COQ_ROW)}")
    assert isinstance(verifier, ProofAnswer)
    whole = "Theorem numbertheory_900 (n : nat) :\n  even n -> even (n + 2).\nProof.\n  {}\nQed."
    proof = COQ_ROW["formal_proof"]
    with verifier:
        for text in (proof, f"```coq\n{whole.format(proof)}\n```", f"Proof. {proof} Qed."):
            assert outcome(verifier(task, said(text))) == ("graded", 1.0, True), text
        for text in (
            proof.replace("k + 1", "k + 2"),
            whole.format("Admitted. Lemma other : True. exact I."),
            whole.replace("n + 2", "n + 0").format(proof.replace("k + 1", "k")),
            "Definition even (n : nat) := True.\n" + whole.format("intros. exact I."),
        ):
            assert outcome(verifier(task, said(text))) == ("graded", 0.0, False), text


@pytest.mark.capability("PI-66")
@needs_coq
@pytest.mark.slow
def test_a_problem_about_real_numbers_is_proved_on_their_axioms(tmp_path: Path) -> None:
    (tmp_path / "aimeII_2000_p90.v").write_text(COQ_FILE)
    (task,) = load_minif2f(tmp_path)
    with ProofAnswer() as verifier:
        right, wrong = verifier(task, said("intros. lra.")), verifier(task, said("intros. reflexivity."))
    assert outcome(right) == ("graded", 1.0, True)
    assert outcome(wrong) == ("graded", 0.0, False)
    assert wrong.reasons[0].startswith("line 1, column 9: ")


@needs_coq
def test_the_benchmark_passes_its_audit(tmp_path: Path) -> None:
    assert BENCHMARKS["minif2f"].cases is minif2f_cases
    tasks = load_minif2f(file_of(tmp_path, COQ_ROW))
    with ProofAnswer() as verifier:
        found = audit(verifier, minif2f_cases(tasks)).require()
    assert (found.num_right, found.num_wrong, found.num_cheats) == (1, 5, 3)


def test_a_limit_takes_one_of_each_topic_of_a_folder_in_turn(tmp_path: Path) -> None:
    for name in ("aime_1983_p1", "aime_1983_p2", "imo_1960_p2", "mathd_algebra_10", "mathd_algebra_11"):
        (tmp_path / f"{name}.v").write_text("Theorem one : 1 = 1.\nProof.\nAdmitted.\n")
    taken = ["aime_1983_p1", "imo_1960_p2", "mathd_algebra_10", "aime_1983_p2"]
    assert [task.id for task in load_minif2f(tmp_path, limit=4)] == taken
