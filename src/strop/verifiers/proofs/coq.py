"""Coq's side of the two-file judge: how statements, proofs and what it prints are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from strop.sandbox import Limits, Outcome
from strop.verifiers.proofs.judge import JUDGE, PROOF, SPEC
from strop.verifiers.proofs.protocol import FileError, Statement, Submission, System, num_lines

REAL_AXIOMS = (
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
    "Classical_Prop.classic",
)
"""What the standard library's real numbers are built on, and excluded middle: for statements about ``R``."""

_ROOT = "Strop"
_KINDS = "Theorem|Lemma|Corollary|Proposition|Fact|Remark|Example"
_HEAD = re.compile(rf"\s*(?:{_KINDS})\s+([\w']+)(.*)", re.DOTALL)
_OPEN_PROOF = re.compile(r"\.\s*(?:Proof\b\s*\.?\s*)?(?:(?:Admitted|Abort)\s*\.?\s*)?$")
_DEFINING = rf"(?:^|\.\s)\s*(?:#\[[^\]]*\]\s*)?(?:Program\s+)?(?:{_KINDS}|Definition|Fixpoint|Axiom|Parameter)\s+"
_DIRECTIVE = re.compile(
    r"(?:(?:Local|Global)\s+)?(?:From|Require|Import|Export|Open|Close|Delimit|Set|Unset|Generalizable)\s"
)
_SENTENCE = re.compile(r"\.(?=\s|$)")
_COMMENT = re.compile(r"\(\*.*?\*\)", re.DOTALL)
_ERROR = re.compile(
    r'^File "\./(?P<file>[^"]*)", line (?P<line>\d+), characters (?P<column>\d+)-\d+:\n'
    r"(?P<message>(?:Error:|Syntax error:|Anomaly).*?)(?=^File |\Z)",
    re.MULTILINE | re.DOTALL,
)
_AXIOM = re.compile(r"([^\s:]+) : .*")
_LIMITS = Limits(wall_s=90, cpu_s=30, memory_mb=2048, processes=4, file_mb=64, output_kb=256, scratch_mb=128)


@dataclass(frozen=True, kw_only=True)
class Coq:
    """Coq, or Rocq by its old name; measured with 8.16.1."""

    program: str = "coqc"
    """As the sandbox finds it."""
    system: System = field(default="coq", init=False)
    limits: Limits = field(default=_LIMITS, init=False)
    suffixes: tuple[str, str] = field(default=(".v", ".vo"), init=False)
    allowed_axioms: frozenset[str] = field(default=frozenset(), init=False)

    @property
    def version_command(self) -> Sequence[str]:
        return (self.program, "-print-version")

    def compile_command(self, source: str) -> Sequence[str]:
        return (self.program, "-q", "-w", "-all", "-noglob", "-Q", ".", _ROOT, source)

    def spec(self, statement: Statement) -> str:
        """``statement`` is the proposition; of a theorem with binders, the type that Coq itself gives it."""
        head = _HEAD.match(_without_proof(statement.text))
        if head is None:
            proposition = f"Definition statement : Prop := ({_without_proof(statement.text)}).\n"
            return f"{statement.preamble}\n{proposition}"
        stated = f"Theorem stated{head[2]}.\nAdmitted.\n"
        return (
            f"{statement.preamble}\n{stated}"
            "Definition statement : Prop := ltac:(let type := type of stated in exact type).\n"
        )

    def submission(self, statement: Statement, proof: str) -> Submission:
        """The proof is the whole theorem, under the statement's name or ``answer``, or what follows ``Proof.``."""
        text = _without_proof(statement.text)
        head = _HEAD.match(text)
        before = f"{_directives(statement.preamble)}From {_ROOT} Require Import {SPEC}.\n"
        for name in dict.fromkeys([head[1], "answer"] if head else ["answer"]):
            if re.search(rf"{_DEFINING}{re.escape(name)}(?![\w'])", proof, re.MULTILINE):
                after = f"\nDefinition answer := @{name}.\n" if name != "answer" else "\n"
                break
        else:
            before += f"Theorem answer{head[2] if head else f' : ({text})'}.\nProof.\n"
            proof, after = _tactics(proof), "\nQed.\n"
        return Submission(source=before + proof + after, num_before=num_lines(before), num_lines=num_lines(proof) + 1)

    @property
    def judge(self) -> str:
        return (
            f"From {_ROOT} Require {SPEC}.\nFrom {_ROOT} Require {PROOF}.\nSet Printing Width 1000000.\n"
            f"Definition judge : {_ROOT}.{SPEC}.statement := @{_ROOT}.{PROOF}.answer.\n"
            f"Print Assumptions {_ROOT}.{JUDGE}.judge.\n"
        )

    def refusal(self, proof: str) -> str:
        """A proof may not load machine code, which could then print whatever the judge is to read."""
        return "it loads machine code (`ML`)" if re.search(r"\bML\b", proof) else ""

    def errors(self, outcome: Outcome, source: str) -> tuple[FileError, ...]:
        said = outcome.stderr.decode(errors="replace")
        return tuple(
            FileError(line=int(one["line"]), column=int(one["column"]) + 1, message=" ".join(one["message"].split()))
            for one in _ERROR.finditer(said)
            if one["file"] == source
        )

    def assumptions(self, outcome: Outcome) -> tuple[str, ...] | None:
        """The axioms' names; None where a check was switched off, or anything else was printed."""
        printed = outcome.stdout.decode(errors="replace")
        if printed == "Closed under the global context\n":
            return ()
        first, *lines = printed.splitlines()[:1000] or [""]
        found = [_AXIOM.fullmatch(line) for line in lines]
        names = tuple(one[1] for one in found if one is not None)
        return names if first == "Axioms:" and names and len(names) == len(lines) else None


def _without_proof(text: str) -> str:
    """The statement without a final dot or a proof that was left open."""
    return _OPEN_PROOF.sub("", f"{text.strip().removesuffix('.')}.")


def _directives(preamble: str) -> str:
    """Of a trusted preamble the sentences that define nothing: a file must repeat these to read like the other."""
    sentences = [sentence.strip() for sentence in _SENTENCE.split(_COMMENT.sub(" ", preamble))]
    return "".join(f"{sentence}.\n" for sentence in sentences if _DIRECTIVE.match(f"{sentence} "))


def _tactics(proof: str) -> str:
    """What stands between ``Proof.`` and ``Qed.``, on the lines where it was."""
    opened = re.match(r"\s*Proof\s*(?:using[^.]*)?\.", proof)
    inner = proof[opened.end() :] if opened else proof
    skipped = "\n" * num_lines(proof[: opened.end()]) if opened else ""
    return skipped + re.sub(r"\b(?:Qed|Defined)\s*\.\s*$", "", inner)
