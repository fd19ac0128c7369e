"""The two-file judge on recorded runs: whose fault it is, what may be printed, and Lean's messages."""

import json
import os
import shutil
import stat
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from strop.errors import MissingDependencyError, VerifierError
from strop.sandbox import Limits, Outcome
from strop.types import Completion, Task
from strop.verifiers.proofs import Coq, Lean, ProofAnswer, ProofJudge, Statement, find_lean, find_proof
from strop.verifiers.proofs.answer import LEAN_PROJECT, verdict_of
from strop.verifiers.proofs.lean import readable_folders

ENDLESS = {"exit_code": None, "cpu_s": 30.0, "wall_s": 90.0}
LEAN = Lean(program="/toolchain/bin/lean", path="/project/.lake/build/lib")
ZERO = Statement(system="coq", text="forall n : nat, n + 0 = n")
ADD = Statement(
    system="lean",
    text="/-- Show it. -/\ntheorem add (x y : ℕ) (h : x < y) :\n  x + 1 ≤ y := by\n",
    preamble="import Mathlib\nimport Aesop\n\nset_option maxHeartbeats 400000\n\nopen BigOperators Nat\n\n"
    "def twice (n : ℕ) := n + n\n",
)


class Recorded:
    """Answers each run of a checker with what is given for the file that it compiles; keeps what it was asked."""

    def __init__(self, **outcomes: Any) -> None:
        self.outcomes = outcomes
        self.asked: list[tuple[str, dict[str, str]]] = []

    def __call__(
        self, argv: Sequence[str], *, files: Mapping[str, bytes], limits: Limits, keep: Sequence[str]
    ) -> Outcome:
        name = argv[-1].partition(".")[0].removeprefix("Strop")
        self.asked.append((name, {file: content.decode() for file, content in files.items()}))
        given = {"state": "exited", "exit_code": 0, **self.outcomes.get(name, {})}
        succeeded = given["state"] == "exited" and given["exit_code"] == 0
        given.setdefault("files", dict.fromkeys(keep, b"compiled") if succeeded else {})
        if name not in ("Spec", "Proof", "Judge"):
            given["stdout"] = b"9.9.9\n"
        return Outcome(tier="namespaces", **given)


def judged(statement: Statement, proof: str, recorded: Recorded) -> Any:
    language = Coq() if statement.system == "coq" else LEAN
    return ProofJudge(language, recorded, tier="namespaces").check(statement, proof)


def message(severity: str, data: str, line: int = 1, column: int = 0) -> bytes:
    """A line of ``lean --json``."""
    place = {"line": line, "column": column}
    fields = {"severity": severity, "pos": place, "endPos": None, "fileName": "x", "caption": "", "data": data}
    return json.dumps(fields).encode() + b"\n"


# ------------------------------------------------------------------------------------------------- whose fault it is


@pytest.mark.parametrize(
    ("where", "outcome", "verdict", "cause", "state", "score"),
    [
        ("Proof", {**ENDLESS, "state": "cpu"}, "timeout", "proof", "graded", 0.0),
        ("Proof", {**ENDLESS, "state": "timeout", "cpu_s": 80.0}, "timeout", "proof", "graded", 0.0),
        ("Proof", {**ENDLESS, "state": "timeout", "cpu_s": 10.0}, "timeout", "machine", "timeout", None),
        ("Judge", {**ENDLESS, "state": "cpu"}, "timeout", "proof", "graded", 0.0),
        ("Proof", {"state": "memory", "exit_code": None}, "rejected", "proof", "graded", 0.0),
        ("Proof", {"state": "output", "exit_code": None}, "rejected", "proof", "graded", 0.0),
        ("Proof", {"state": "killed", "exit_code": -11}, "rejected", "proof", "graded", 0.0),
        ("Proof", {"state": "killed", "exit_code": -9}, "checker_error", "machine", "infrastructure", None),
        ("Proof", {"state": "infrastructure", "exit_code": None}, "checker_error", "machine", "infrastructure", None),
        ("Judge", {"state": "infrastructure", "exit_code": None}, "checker_error", "machine", "infrastructure", None),
        ("Spec", {"exit_code": 1}, "checker_error", "statement", "error", None),
        ("Spec", {"state": "cpu", "exit_code": None}, "checker_error", "statement", "error", None),
        ("Spec", {"state": "infrastructure", "exit_code": None}, "checker_error", "machine", "infrastructure", None),
        ("Proof", {"exit_code": 1}, "rejected", "proof", "graded", 0.0),
        ("Proof", {"files": {}}, "rejected", "proof", "graded", 0.0),
        ("Judge", {"exit_code": 1}, "rejected", "proof", "graded", 0.0),
    ],
)  # fmt: skip
def test_who_is_to_blame_decides_whether_there_is_a_score(
    where: str, outcome: dict[str, Any], verdict: str, cause: str, state: str, score: float | None
) -> None:
    printed = {"stdout": b"Closed under the global context\n"}
    recorded = Recorded(**{"Judge": printed, where: {**(printed if where == "Judge" else {}), **outcome}})
    result = judged(ZERO, "auto.", recorded)
    assert (result.verdict, result.cause) == (verdict, cause)
    given = verdict_of(result)
    assert (given.state, given.score, given.passed) == (state, score, False)
    assert given.reasons
    assert given.provenance == {"checker": "coq 9.9.9", "sandbox": "namespaces"}


@pytest.mark.parametrize(
    ("printed", "verdict", "axioms"),
    [
        (b"Closed under the global context\n", "proved", ()),
        (b"Closed under the global context\nClosed under the global context\n", "rejected", ()),
        (b" Closed under the global context\n", "rejected", ()),
        (b"Closed under the global context", "rejected", ()),
        (b"", "rejected", ()),
        (b"Axioms:\n", "rejected", ()),
        (b"Axioms:\nwrong : False\n", "rejected", ("wrong",)),
        (b"Axioms:\nfine : True\n", "proved", ("fine",)),
        (b"Axioms:\nfine : True\nwrong : False\n", "rejected", ("fine", "wrong")),
        (b"Axioms:\nfine : True\nf is assumed to be guarded.\n", "rejected", ()),
        (b"Axioms:\nfine : True\n  more\n", "rejected", ()),
        (b"Section Variables:\nfine : True\n", "rejected", ()),
        (b"fine : True\n", "rejected", ()),
    ],
)
def test_only_what_coq_prints_to_the_letter_counts(printed: bytes, verdict: str, axioms: tuple[str, ...]) -> None:
    statement = Statement(system="coq", text="1 = 1", axioms=("fine",))
    result = judged(statement, "auto.", Recorded(Judge={"stdout": printed}, Proof={"stdout": b"wrong : False\n"}))
    assert (result.verdict, result.axioms) == (verdict, axioms)


def test_the_judge_sees_the_trusted_statement_and_what_was_compiled_and_nothing_else_of_the_proof() -> None:
    recorded = Recorded(
        Spec={"files": {"StropSpec.vo": b"spec"}},
        Proof={"files": {"StropProof.vo": b"proof", "StropSpec.vo": b"forged"}},
        Judge={"stdout": b"Closed under the global context\n"},
    )
    judge = ProofJudge(Coq(), recorded, tier="namespaces")
    judge.warm(ZERO)
    assert [judge.check(ZERO, "auto.").verdict for _ in range(2)] == ["proved", "proved"]
    runs = [(name, files) for name, files in recorded.asked if name in ("Spec", "Proof", "Judge")]
    assert [name for name, _ in runs] == ["Spec", "Proof", "Judge", "Proof", "Judge"]  # the statement once
    (_, spec), (_, proof), (_, last) = runs[:3]
    assert list(spec) == ["StropSpec.v"]
    assert set(proof) == {"StropSpec.vo", "StropProof.v"}
    assert {name: last[name] for name in last if name.endswith(".vo")} == {
        "StropSpec.vo": "spec",
        "StropProof.vo": "proof",
    }
    assert "auto" not in last["StropJudge.v"]


def test_a_proof_in_which_a_character_is_torn_is_still_judged() -> None:
    recorded = Recorded(Proof={"exit_code": 1})
    assert judged(ZERO, "auto \ud800.", recorded).verdict == "rejected"
    assert "auto ?." in dict(recorded.asked)["Proof"]["StropProof.v"]


def test_a_checker_that_does_not_run_is_named() -> None:
    missing = {"state": "infrastructure", "exit_code": None, "reason": "No such file or directory: 'coqc'"}

    def absent(argv: Sequence[str], **_: Any) -> Outcome:
        return Outcome(tier="namespaces", **missing)

    with pytest.raises(MissingDependencyError, match="coqc does not run") as told:
        ProofJudge(Coq(), absent, tier="namespaces").check(ZERO, "auto.")
    assert told.value.why == missing["reason"]


# ------------------------------------------------------------------------------------------------------------- Lean
#
# Lean itself could not be run where this was written: the messages are written by hand as Lean's documentation of
# `lean --json` and `#print axioms` has them.


@pytest.mark.parametrize(
    ("printed", "verdict", "axioms"),
    [
        (message("info", "'StropJudge.judge' does not depend on any axioms"), "proved", ()),
        (message("info", "'StropJudge.judge' depends on axioms: [propext, Quot.sound]"), "proved",
         ("propext", "Quot.sound")),
        (message("info", "'StropJudge.judge' depends on axioms: [propext,\n Classical.choice,\n Quot.sound]"), "proved",
         ("propext", "Classical.choice", "Quot.sound")),
        (message("info", "'StropJudge.judge' depends on axioms: [sorryAx]"), "rejected", ("sorryAx",)),
        (message("info", "'StropJudge.judge' depends on axioms: [propext, Lean.ofReduceBool]"), "rejected",
         ("propext", "Lean.ofReduceBool")),
        (message("info", "'StropJudge.judge' depends on axioms: [wrong]"), "rejected", ("wrong",)),
        (message("info", "'other' does not depend on any axioms"), "rejected", ()),
        (message("info", "'StropJudge.judge' does not depend on any axioms, or does it"), "rejected", ()),
        (message("warning", "'StropJudge.judge' does not depend on any axioms"), "rejected", ()),
        (2 * message("info", "'StropJudge.judge' does not depend on any axioms"), "rejected", ()),
        (b"printed\n" + message("info", "'StropJudge.judge' does not depend on any axioms"), "rejected", ()),
        (b"'StropJudge.judge' does not depend on any axioms\n", "rejected", ()),
        (b"[]\n", "rejected", ()),
        (b"", "rejected", ()),
    ],
)  # fmt: skip
def test_lean_may_rest_on_its_three_axioms_and_print_nothing_else(
    printed: bytes, verdict: str, axioms: tuple[str, ...]
) -> None:
    result = judged(ADD, "omega", Recorded(Judge={"stdout": printed}))
    assert (result.verdict, result.axioms, result.checker) == (verdict, axioms, "lean")


def test_leans_errors_are_located_in_the_proof_as_it_was_given() -> None:
    before = LEAN.submission(ADD, "omega").num_before
    said = message("warning", "unused", before + 1) + message("error", "unsolved goals\n⊢ False", before + 2, 4)
    result = judged(ADD, "intro z\nsimp", Recorded(Proof={"exit_code": 1, "stdout": said}))
    assert result.reasons == ("line 2, column 5: unsolved goals ⊢ False",)
    assert result.verdict == "rejected"


def test_leans_files_hold_the_statement_twice_and_the_definitions_once() -> None:
    recorded = Recorded(Judge={"stdout": message("info", "'StropJudge.judge' does not depend on any axioms")})
    assert judged(ADD, "  omega", recorded).verdict == "proved"
    files = {name: text for _, given in recorded.asked for name, text in given.items() if name.endswith(".lean")}
    assert files["StropSpec.lean"].startswith("import Mathlib\nimport Aesop\n")
    assert "theorem _root_.StropSpec.stated (x y : ℕ) (h : x < y) :\n  x + 1 ≤ y := by sorry" in files["StropSpec.lean"]
    assert files["StropProof.lean"] == (
        "import Mathlib\nimport Aesop\nimport StropSpec\nset_option maxHeartbeats 400000\nopen BigOperators Nat\n"
        "theorem _root_.StropProof.answer (x y : ℕ) (h : x < y) :\n  x + 1 ≤ y := by\n  omega\n"
    )
    assert "def twice" not in files["StropProof.lean"]
    assert "theorem StropJudge.judge : StropSpec.statement := @StropProof.answer" in files["StropJudge.lean"]


@pytest.mark.parametrize(
    ("proof", "expected"),
    [
        ("by\n  intro\n  omega", "\n  intro\n  omega"),
        (":= by omega", "   omega"),
        ("norm_num\nomega", "  norm_num\n  omega"),
        ("import Mathlib\ntheorem add (x y : ℕ) (h : x < y) : x + 1 ≤ y := h",
         "\ntheorem add (x y : ℕ) (h : x < y) : x + 1 ≤ y := h\n"
         "theorem _root_.StropProof.answer : type_of% @add := @add"),
    ],
)  # fmt: skip
def test_a_lean_proof_may_be_tactics_or_the_whole_theorem(proof: str, expected: str) -> None:
    source = LEAN.submission(ADD, proof).source.rstrip()
    assert [line.strip() for line in source.splitlines()][-len(expected.splitlines()) :] == [
        line.strip() for line in expected.splitlines()
    ]


@pytest.mark.parametrize(
    "proof",
    [
        "theorem wrong : False := by native_decide",
        "set_option debug.skipKernelTC true in\ntheorem add : 1 = 2 := rfl",
        'notation "StropSpec.statement" => True',
        "run_cmd Lean.Elab.Command.elabCommand stx",
        "#eval IO.println \"'StropJudge.judge' does not depend on any axioms\"",
        "initialize IO.println 1",
        "macro_rules | `(tactic| rfl) => `(tactic| sorry)",
        "@[implemented_by x] def f := 1",
        "axiom wrong : False",
        "attribute [simp] wrong",
        "import Lean\nopen Lean",
        'elab "x" : tactic => return',
        "/- - -/ -/ macro x",
        '"--" macro x',
        "«--» macro x",
        "/- /- -/ -/ unsafe def x := 1",
        "-- /-\nmacro x",
        "simproc x (_ + _) := fun e => return .continue",
        "@[simp, implemented_by x] def f := 1",
    ],
)
def test_a_lean_proof_that_changes_the_language_is_not_even_run(proof: str) -> None:
    recorded = Recorded()
    result = judged(ADD, proof, recorded)
    assert result.verdict == "rejected"
    assert result.reasons[0].endswith("is more than a proof may use")
    assert not [name for name, _ in recorded.asked if name in ("Spec", "Proof", "Judge")]


@pytest.mark.parametrize(
    "proof",
    [
        "-- a macro would be shorter\nomega",
        "/- with notation /- nested -/ as an instance -/\nnlinarith [sq_nonneg (x - y)]",
        "have h' : x ≤ y := by exact?\nrw [Nat.add_comm] at h'\nevaluate h'",
        "simp [Finset.prefix_sum, Nat.instance_x, eval_add, p.eval]",
        "@[simp] lemma one : #s = 1 := by simp",
        "rcases h with ⟨x, hx⟩ -- attribute\n· exact hx.unsafe_of",
    ],
)
def test_an_honest_lean_proof_may_speak_of_such_things(proof: str) -> None:
    assert LEAN.refusal(proof) == ""


# ------------------------------------------------------------------------------------------------ a project of Lean's


def fake_lake(folder: Path) -> Path:
    """A ``lake`` that answers as the real one is documented to, with a toolchain and a library in ``folder``."""
    (folder / "toolchain" / "bin").mkdir(parents=True)
    (folder / "library").mkdir()
    script = folder / "lake"
    script.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/sh
            [ "$PWD" = "{folder}" ] || {{ echo "no project in $PWD" >&2; exit 1; }}
            case "$*" in
              "env lean --print-prefix") echo "{folder}/toolchain" ;;
              "env printenv LEAN_PATH") echo "{folder}/library:{folder}/absent" ;;
              *) exit 2 ;;
            esac
            """
        )
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def test_lean_is_what_the_users_lake_says(tmp_path: Path) -> None:
    lake = fake_lake(tmp_path)
    lean = find_lean(tmp_path, lake=str(lake))
    assert lean.program == f"{tmp_path}/toolchain/bin/lean"
    assert lean.path == f"{tmp_path}/library:{tmp_path}/absent"
    assert readable_folders(lean) == (f"{tmp_path}/toolchain", f"{tmp_path}/library")
    assert list(lean.compile_command("A.lean")) == [
        "env", f"LEAN_PATH=.:{lean.path}", lean.program, "--json", "-o", "A.olean", "A.lean",
    ]  # fmt: skip
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(MissingDependencyError, match="fails") as told:
        find_lean(tmp_path / "elsewhere", lake=str(lake))
    assert "no project in" in told.value.why
    with pytest.raises(MissingDependencyError, match="/absent/lake"):
        find_lean(tmp_path, lake="/absent/lake")


def test_a_lean_task_without_a_project_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LEAN_PROJECT, raising=False)
    task = Task(id="t", prompt=(), reference={"system": "lean", "statement": "1 = 1"})
    with pytest.raises(VerifierError, match="no Lean project") as told:
        ProofAnswer()(task, Completion(token_ids=(), sampler_logprobs=(), text="rfl", finish_reason="stop"))
    assert LEAN_PROJECT in told.value.do


@pytest.mark.skipif(
    shutil.which("lake") is None or LEAN_PROJECT not in os.environ,
    reason="lake is not installed, or STROP_LEAN_PROJECT names no built project",
)
@pytest.mark.parametrize(
    ("proof", "passed"),
    [("rfl", True), ("by rfl", True), ("sorry", False), ("exact absurd rfl", False), ("native_decide", False)],
)
def test_real_lean_judges_real_proofs(proof: str, passed: bool) -> None:
    with ProofAnswer() as judge:
        assert (judge.check(Statement(system="lean", text="2 + 2 = 4"), proof).verdict == "proved") == passed


# ---------------------------------------------------------------------------------------------- the proof in an answer


@pytest.mark.parametrize(
    ("text", "system", "proof"),
    [
        ("auto.", "coq", "auto."),
        ("```coq\nauto.\n```", "coq", "auto."),
        ("```lean4\nomega\n```", "lean", "omega"),
        ("First:\n```coq\nfoo.\n```\nBetter:\n```coq\nauto.\n```\nDone.", "coq", "auto."),
        ("```coq\nauto.\n```\n```text\nout\n```", "coq", "auto."),
        ("<think>```coq\nfoo.\n```</think>auto.", "coq", "auto."),
        ("```rocq\nauto.", "coq", "auto."),
        ("  simp\n  omega\n", "lean", "  simp\n  omega"),
        (" \n", "coq", ""),
    ],
)
def test_the_last_block_of_the_system_or_the_whole_text_is_the_proof(text: str, system: Any, proof: str) -> None:
    assert find_proof(text, system) == proof
