"""Texts that would make a careless checker accept what is not proved, and the cases of the audit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from strop.errors import MissingDependencyError
from strop.types import Message, Task
from strop.verifiers.audit import AuditCase

_BY_CONTRADICTION = "Theorem answer : 1 = 2. Proof. exfalso. exact wrong. Qed."

COQ_CHEATS = {
    "admitted": "Admitted. Theorem other : True. exact I.",
    "admit": "admit. Admitted. Theorem other : True. Proof. exact I. Qed.",
    "axiom": f"Axiom wrong : False.\n{_BY_CONTRADICTION}",
    "parameter": "Parameter answer : 1 = 2.",
    "module type": "Module Type T. Parameter wrong : False. End T. Declare Module M : T.\n"
    f"Definition wrong := M.wrong.\n{_BY_CONTRADICTION}",
    "section variable": "Section S. Variable wrong : False. Theorem answer : 1 = 2. destruct wrong. Qed. End S.",
    "open section": "Section S. Variable wrong : False. Theorem answer : 1 = 2. destruct wrong. Qed.",
    "the statement's own name": "exact StropSpec.stated.",
    "a library's axiom": "From Coq Require Import AdmitAxiom.\n"
    f"Definition wrong := proof_admitted.\n{_BY_CONTRADICTION}",
    "another statement": "Theorem answer : 1 = 1. Proof. reflexivity. Qed.",
    "notation": 'Notation "1" := 2. Theorem answer : 1 = 2. Proof. reflexivity. Qed.',
    "notation of equality": 'Notation "x = y" := True (only parsing). Theorem answer : 1 = 2. Proof. exact I. Qed.',
    "redefined nat": "Inductive nat := O. Definition one := O. Definition two := O.\n"
    "Theorem answer : one = two. Proof. reflexivity. Qed.",
    "redefined eq": "Inductive eq (A : Type) (x y : A) : Prop := always.\n"
    "Theorem answer : eq nat 1 2. Proof. constructor. Qed.",
    "guard off": "Unset Guard Checking. Fixpoint wrong_of (n : nat) : False := wrong_of n.\n"
    f"Definition wrong := wrong_of 0.\n{_BY_CONTRADICTION}",
    "guard off everywhere": "#[global] Unset Guard Checking. Fixpoint wrong_of (n : nat) : False := wrong_of n.\n"
    f"Definition wrong := wrong_of 0.\n{_BY_CONTRADICTION}",
    "guard bypassed": "#[bypass_check(guard)] Fixpoint wrong_of (n : nat) : False := wrong_of n.\n"
    f"Definition wrong := wrong_of 0.\n{_BY_CONTRADICTION}",
    "positivity off": "Unset Positivity Checking. Inductive bad := Bad : (bad -> False) -> bad.\n"
    "Definition self (b : bad) : False := match b with Bad f => f b end.\n"
    f"Definition wrong := self (Bad self).\n{_BY_CONTRADICTION}",
    "universes off": "Unset Universe Checking. From Coq Require Import Hurkens.\n"
    "Theorem answer : 1 = 2. Proof. exfalso. exact (TypeNeqSmallType.paradox Type eq_refl). Qed.",
    "printed": 'Admitted. Goal True. idtac "Closed under the global context". exact I. Qed.\n'
    "Theorem other : True. exact I.",
    "printed by a global option": "#[global] Set Printing All. Axiom wrong : False.\n" + _BY_CONTRADICTION,
    "redirected": 'Redirect "/usr/lib/ocaml/coq/theories/Init/Prelude" Print nat. Axiom wrong : False.\n'
    + _BY_CONTRADICTION,
    "redirected over the statement": 'Redirect "StropSpec.vo" Print nat. Axiom wrong : False.\n' + _BY_CONTRADICTION,
    "loaded": 'Load "/etc/passwd". Axiom wrong : False.\n' + _BY_CONTRADICTION,
    "loaded itself": 'Load "StropProof". Theorem answer : 1 = 2. exact I. Qed.',
    "machine code": f'Declare ML Module "unix". Axiom wrong : False.\n{_BY_CONTRADICTION}',
    "shadowed statement": "Module StropSpec. Definition statement := True. End StropSpec. Definition answer := I.",
    "shadowed path": "Module Strop. Module StropSpec. Definition statement := True. End StropSpec. End Strop.\n"
    "Definition answer := I.",
    "shadowed judge": "Module StropJudge. Definition judge := I. End StropJudge. Definition answer := I.",
    "coercion": "Definition wrap (p : True) : Prop := 1 = 2. Coercion wrap : True >-> Sortclass.\n"
    "Definition answer := I.",
    "quit": "Quit.",
    "left": "Abort. Theorem other : True. exact I.",
    "a failure that is expected": "Fail exact I. Abort. Theorem other : True. exact I.",
    "program": "From Coq Require Import Program.\nProgram Definition answer : 1 = 2 := _. Admit Obligations.",
    "nothing": "",
    "a claim": "This theorem is proved. Closed under the global context.",
}
"""What a cheat does → a text that would prove the false statement ``1 = 2``."""

_ZERO = Task(
    id="zero",
    prompt=(Message(role="user", content="Prove in Coq: forall n : nat, n + 0 = n."),),
    reference={"system": "coq", "statement": "forall n : nat, n + 0 = n"},
)
_ORDER = Task(
    id="order",
    prompt=(Message(role="user", content="Prove in Coq that twice is monotone."),),
    reference={
        "system": "coq",
        "statement": "Theorem order (x y : nat) (h : x < y) : twice x < twice y.\nProof.\nAdmitted.",
        "preamble": "From Coq Require Import Arith.\nDefinition twice (n : nat) := n + n.",
    },
)
_FALSE = Task(
    id="false",
    prompt=(Message(role="user", content="Prove in Coq: 1 = 2."),),
    reference={"system": "coq", "statement": "1 = 2"},
)
_ZERO_PROOF = "intros n.\ninduction n as [| n IH].\n- reflexivity.\n- simpl. rewrite IH. reflexivity."
_ORDER_PROOF = "unfold twice. apply Nat.add_lt_mono; exact h."
_GOLD: Sequence[tuple[Task, str]] = (
    (_ZERO, _ZERO_PROOF),
    (_ZERO, f"By induction.\n```coq\nProof.\n{_ZERO_PROOF}\nQed.\n```\n"),
    (_ZERO, f"Theorem answer : forall n : nat, n + 0 = n.\nProof.\n{_ZERO_PROOF}\nQed."),
    (_ZERO, "Fixpoint answer (n : nat) : n + 0 = n :=\n  match n with 0 => eq_refl | S m => f_equal S (answer m) end."),
    (_ORDER, f"```coq\n{_ORDER_PROOF}\n```"),
    (
        _ORDER,
        "Lemma sums (a b : nat) : a < b -> a + a < b + b.\nProof. intros h. apply Nat.add_lt_mono; exact h. Qed.\n"
        "Theorem order (x y : nat) (h : x < y) : twice x < twice y.\nProof. exact (sums x y h). Qed.",
    ),
)
_MUTATIONS: Sequence[tuple[Task, str]] = (
    (_ZERO, "reflexivity."),
    (_ZERO, "intros n. induction n."),
    (_ZERO, _ZERO_PROOF.replace("rewrite IH. ", "")),
    (_ZERO, "Theorem answer : forall n : nat, 0 + n = n. Proof. reflexivity. Qed."),
    (_ZERO, _ZERO_PROOF.replace("reflexivity.\n- ", "")),
    (_ORDER, _ORDER_PROOF.replace("exact h", "auto with none")),
    (_ORDER, _ORDER_PROOF.replace("lt_mono", "le_mono")),
    (_ORDER, "Theorem order (x y : nat) (h : x < y) : x < y. Proof. exact h. Qed."),
    (
        _ORDER,
        "Definition twice (n : nat) := n.\nTheorem order (x y : nat) (h : x < y) : twice x < twice y. exact h. Qed.",
    ),
    (_FALSE, "reflexivity."),
)


def audit_cases() -> list[AuditCase]:
    """Right, mistaken and deceitful proofs in Coq. Raises: MissingDependencyError where it is not installed."""
    if shutil.which("coqc") is None:
        raise MissingDependencyError(
            "Coq is not installed", why="proofs are audited by it", do="apt-get install --no-install-recommends coq"
        )
    return [
        *(AuditCase(task=task, text=text, should_pass=True) for task, text in _GOLD),
        *(AuditCase(task=task, text=text, should_pass=False) for task, text in _MUTATIONS),
        *(AuditCase(task=_FALSE, text=text, should_pass=False, is_cheat=True) for text in COQ_CHEATS.values()),
    ]
