"""Coq proofs: the honest are accepted, what only looks proved is not, and errors are located."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from strop.errors import MissingDependencyError, VerifierError
from strop.sandbox import Limits
from strop.types import Completion, Task, Verdict
from strop.verifiers import load_verifier
from strop.verifiers.proofs import COQ_CHEATS, REAL_AXIOMS, ProofAnswer, Statement

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="coqc is not installed")

ZERO = Statement(system="coq", text="forall n : nat, n + 0 = n")
FALSE = Statement(system="coq", text="1 = 2")
ORDER = Statement(
    system="coq",
    text="Theorem order (x y : nat) (h : x < y) : x <> y.\nProof.\nAdmitted.",
    preamble="From Coq Require Import Lia. (* for lia. *)\nOpen Scope nat_scope.",
)
REAL = Statement(
    system="coq",
    text="Theorem shift (x : R) : x + 0 = x.",
    preamble="Require Import Reals Lra.\nOpen Scope R_scope.",
    axioms=REAL_AXIOMS,
)
SMALL = Limits(wall_s=90, cpu_s=2, memory_mb=700, processes=4, file_mb=64, output_kb=256, scratch_mb=128)
LOOP = "repeat pose 1."


@pytest.fixture(scope="module")
def judge() -> Iterator[ProofAnswer]:
    with ProofAnswer() as opened:
        yield opened


@pytest.fixture(scope="module")
def hurried() -> Iterator[ProofAnswer]:
    with ProofAnswer(limits=SMALL) as opened:
        yield opened


def said(text: str, finish_reason: Any = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)


def task(**reference: Any) -> Task:
    return Task(id="t", prompt=(), reference=reference, source="f:1")


def outcome(verdict: Verdict) -> tuple[str, float | None, bool]:
    return verdict.state, verdict.score, verdict.passed


# ------------------------------------------------------------------------------------------------- what is proved


@needs_coq
@pytest.mark.parametrize(
    ("statement", "proof"),
    [
        (ZERO, "induction n; simpl; auto."),
        (ZERO, "Proof.\ninduction n; simpl; auto.\nQed."),
        (ZERO, "Theorem answer : forall n, n + 0 = n. Proof. induction n; simpl; auto. Qed."),
        (ORDER, "lia."),
        (ORDER, "Lemma other (a b : nat) : a < b -> a <> b. Proof. lia. Qed.\n"
                "Theorem order (x y : nat) (h : x < y) : x <> y.\nProof. apply other, h. Qed."),
        (ORDER, "Theorem order : forall x y : nat, x < y -> x <> y.\nProof. lia. Qed."),
        (ORDER, "intros ->. exact (PeanoNat.Nat.lt_irrefl y h)."),
    ],
)  # fmt: skip
def test_an_honest_proof_is_accepted_and_rests_on_nothing(judge: ProofAnswer, statement: Statement, proof: str) -> None:
    result = judge.check(statement, proof)
    assert (result.verdict, result.axioms, result.reasons) == ("proved", (), ("proved",))
    assert (result.checker, result.tier in ("namespaces", "landlock")) == ("coq", True)
    assert result.version[0].isdigit()
    assert result.wall_s > 0


@needs_coq
@pytest.mark.slow
def test_a_proof_about_real_numbers_rests_on_their_axioms_only_where_the_statement_allows_them(
    judge: ProofAnswer,
) -> None:
    allowed = judge.check(REAL, "ring.")
    assert allowed.verdict == "proved"
    assert set(allowed.axioms) <= set(REAL_AXIOMS)
    strict = Statement(system="coq", text=REAL.text, preamble=REAL.preamble)
    refused = judge.check(strict, "ring.")
    assert refused.verdict == "rejected"
    assert refused.axioms == allowed.axioms != ()
    assert refused.reasons[0].startswith("it assumes ClassicalDedekindReals.sig_forall_dec")


# --------------------------------------------------------------------------------------------- what is not proved


@needs_coq
@pytest.mark.parametrize("name", COQ_CHEATS)
def test_no_cheat_proves_a_false_statement(judge: ProofAnswer, name: str) -> None:
    verdict = judge(task(system="coq", statement="1 = 2"), said(COQ_CHEATS[name]))
    assert outcome(verdict) == ("unparsable" if name == "nothing" else "graded", 0.0, False)


@needs_coq
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("admitted", "it assumes StropProof.answer"),
        ("axiom", "it assumes StropProof.wrong"),
        ("module type", "it assumes StropProof.M.wrong"),
        ("a library's axiom", "it assumes AdmitAxiom.proof_admitted"),
        ("another statement", "it proves something else"),
        ("notation", "it proves something else"),
        ("redefined nat", "it proves something else"),
        ("guard off", "StropProof.wrong_of is assumed to be guarded"),
        ("guard bypassed", "StropProof.wrong_of is assumed to be guarded"),
        ("positivity off", "StropProof.bad is assumed to be positive"),
        ("universes off", "StropProof.answer relies on an unsafe hierarchy"),
        ("printed", "it assumes StropProof.answer"),
        ("redirected", "Read-only file system"),
        ("loaded", "Can't find file /etc/passwd.v"),
        ("machine code", "it loads machine code"),
        ("shadowed statement", "it proves something else"),
        ("shadowed path", "it proves something else"),
        ("program", "it assumes StropProof.answer_obligation_1"),
    ],
)
def test_a_cheat_is_refused_for_what_it_does_and_not_for_a_slip(judge: ProofAnswer, name: str, reason: str) -> None:
    assert reason in judge.check(FALSE, COQ_CHEATS[name]).reasons[0]


@needs_coq
@pytest.mark.parametrize(
    "axiom",
    [
        "Axiom sig_not_dec : False. Definition wrong := sig_not_dec.",
        "Module ClassicalDedekindReals. Axiom sig_not_dec : False. End ClassicalDedekindReals.\n"
        "Definition wrong := ClassicalDedekindReals.sig_not_dec. Export ClassicalDedekindReals.",
        "Module Coq. Module Logic. Module Classical_Prop. Axiom classic : False.\n"
        "End Classical_Prop. End Logic. End Coq.\nDefinition wrong := StropProof.Coq.Logic.Classical_Prop.classic.",
        "Module Type T. Axiom classic : False. End T. Module Classical_Prop. Include T. End Classical_Prop.\n"
        "Definition wrong := Classical_Prop.classic.",
    ],
)
def test_an_axiom_that_takes_the_name_of_an_allowed_one_is_still_told_apart(judge: ProofAnswer, axiom: str) -> None:
    proof = f"{axiom}\nTheorem answer (x : R) : x + 0 = x. Proof. destruct wrong. Qed."
    result = judge.check(REAL, proof)
    assert result.verdict == "rejected"
    assert result.reasons[0].startswith("it assumes StropProof.")


@needs_coq
@pytest.mark.parametrize("tier", ["namespaces", "landlock"])
def test_an_endless_proof_is_a_wrong_one_under_every_isolation(tier: Any) -> None:
    with ProofAnswer(limits=replace(SMALL, cpu_s=1), tier=tier) as hurried:
        result = hurried.check(FALSE, LOOP)
        assert (result.verdict, result.tier) == ("timeout", tier)
        verdict = hurried(task(system="coq", statement="1 = 2"), said(LOOP))
    assert outcome(verdict) == ("graded", 0.0, False)
    assert verdict.reasons == ("no proof within the limits: more than 1 s of processor time",)


@needs_coq
def test_a_proof_that_loops_only_when_it_is_judged_ends_too(hurried: ProofAnswer) -> None:
    powers = "Fixpoint two (n : nat) : nat := match n with 0 => 1 | S m => two m + two m end."
    statement = Statement(system="coq", text="two 40 = two 40 + 0", preamble=powers)
    result = hurried.check(statement, "exact_no_check (eq_refl (two 40)).")
    assert result.verdict in ("timeout", "rejected")
    assert result.axioms == ()


@needs_coq
def test_a_proof_that_takes_all_memory_is_a_wrong_one(hurried: ProofAnswer) -> None:
    hog = (
        "Definition big := Eval vm_compute in\n"
        "  (fix f n := match n with 0 => cons 1 nil | S m => app (f m) (f m) end) 60.\n"
        "Theorem answer : 1 = 2."
    )
    result = hurried.check(FALSE, hog)
    assert (result.verdict, result.cause) == ("rejected", "proof")
    assert "emory" in result.reasons[0] or "700 MB" in result.reasons[0]


# ------------------------------------------------------------------------------------------------- what is told


@needs_coq
@pytest.mark.parametrize(
    ("proof", "place"),
    [
        ("intros n.\ninduction n.\n- reflexivity.\n- simpl. foo.", "line 4, column 10: "),
        ("\nProof.\nintros n.\n  apply nothing.\nQed.", "line 4, column 9: "),
        (
            "Lemma a : True.\nProof. exact I. Qed.\nTheorem answer : forall n, n + 0 = n.\nreflexivity.",
            "line 4, column 1: ",
        ),
        ("intros n. induction", "at the end: "),
        ("intros n.", "at the end: Error: (in proof answer): Attempt to save an incomplete proof"),
    ],
)
def test_an_error_is_located_in_the_proof_as_it_was_given(judge: ProofAnswer, proof: str, place: str) -> None:
    assert judge.check(ZERO, proof).reasons[0].startswith(place)


@needs_coq
def test_a_statement_that_does_not_compile_is_nobodys_zero(judge: ProofAnswer) -> None:
    verdict = judge(task(system="coq", statement="1 = two"), said("reflexivity."))
    assert outcome(verdict) == ("error", None, False)
    assert verdict.reasons[0] == "the statement does not compile"
    assert "two was not found" in verdict.reasons[1]


@needs_coq
def test_a_verdict_says_which_checker_and_sandbox_gave_it(judge: ProofAnswer) -> None:
    verdict = judge(task(system="coq", statement="1 = 1"), said("Clear.\n```coq\nreflexivity.\n```"))
    assert outcome(verdict) == ("graded", 1.0, True)
    assert verdict.provenance["checker"].startswith("coq ")
    assert verdict.provenance["sandbox"] in ("namespaces", "landlock")


def test_proofs_are_judged_by_the_name_of_proof() -> None:
    assert load_verifier("proof") == ProofAnswer()


def test_a_coq_that_is_not_there_is_named_with_how_to_install_it() -> None:
    with ProofAnswer(coqc="/opt/absent/coqc") as absent, pytest.raises(MissingDependencyError) as told:
        absent(task(system="coq", statement="1 = 1"), said("reflexivity."))
    assert "apt-get install" in told.value.do


@pytest.mark.parametrize(
    "reference",
    [{}, {"system": "isabelle", "statement": "x"}, {"system": "coq", "statement": " "},
     {"system": "coq", "statement": "1 = 1", "axioms": "all"}],
)  # fmt: skip
def test_a_task_without_a_statement_is_an_error_with_its_place(reference: dict[str, Any]) -> None:
    with pytest.raises(VerifierError, match="nothing to prove") as told:
        ProofAnswer()(task(**reference), said("x"))
    assert told.value.where == "f:1"


def test_what_was_cut_off_or_holds_no_proof_fails_without_a_checker() -> None:
    judge, asked = ProofAnswer(coqc="/opt/absent/coqc"), task(system="coq", statement="1 = 1")
    assert judge(asked, said("reflexivity.", "length")).reasons == ("truncated",)
    assert outcome(judge(asked, said("<think>reflexivity.</think>\n"))) == ("unparsable", 0.0, False)
