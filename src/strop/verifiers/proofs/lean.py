"""Lean 4's side of the two-file judge, inside the user's own Lake project."""

from __future__ import annotations

import json
import re
import subprocess
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strop.errors import MissingDependencyError
from strop.sandbox import Limits, Outcome
from strop.verifiers.proofs.judge import JUDGE, PROOF, SPEC
from strop.verifiers.proofs.protocol import FileError, Statement, Submission, System, num_lines

_HEAD = re.compile(r"\s*(?:(?:private|protected|noncomputable)\s+)*(?:theorem|lemma)\s+([^\s({\[⦃:]+)(.*)", re.DOTALL)
_OPEN_PROOF = re.compile(r"\s*:=\s*(?:by\s*)?(?:sorry\s*)?$")
_DOC_COMMENT = re.compile(r"\s*/--.*?-/", re.DOTALL)
_DIRECTIVE = re.compile(r"(?:open|set_option|universe|variable|namespace|section|noncomputable section|end)\b")
_ASSUMED = re.compile(rf"'{JUDGE}\.judge' (?:depends on axioms: \[([^\]]*)\]|(does not depend on any axioms))")
_MACHINERY = re.compile(
    r"(?<![\w.])(?:import|macro|macro_rules|notation3?|infix[lr]?|prefix|postfix|syntax|declare_syntax_cat|elab|elab_rules"
    r"|initialize|builtin_initialize|unsafe|implemented_by|extern|csimp|run_\w+|by_elab|attribute|d?simproc\w*"
    r"|register_\w+|axiom|instance|debug\.\w+|native_decide)(?![\w'])"
    r"|#eval|@\[(?!(?:simp|norm_cast|ext|reducible)\])"
    r"|\b(?:Lean|IO|Elab|MetaM|TacticM|CommandElabM|addDecl\w*|skipKernelTC|reduceBool|ofReduceBool)\b"
)
_QUOTES = re.compile(r"[\"«»]")
_LIMITS = Limits(
    wall_s=300, cpu_s=200, memory_mb=65536, processes=64, file_mb=64, output_kb=1024, scratch_mb=128
)  # Lean maps its libraries into memory whole, some 5 GB for Mathlib, and starts a thread a core


@dataclass(frozen=True, kw_only=True)
class Lean:
    """Lean 4 as a Lake project has it; ``find_lean`` makes it."""

    program: str
    """The compiler itself, by its path."""
    path: str
    """``LEAN_PATH`` of the project: where compiled libraries are, parted by colons."""
    system: System = field(default="lean", init=False)
    limits: Limits = field(default=_LIMITS, init=False)
    suffixes: tuple[str, str] = field(default=(".lean", ".olean"), init=False)
    allowed_axioms: frozenset[str] = field(default=frozenset({"propext", "Quot.sound", "Classical.choice"}), init=False)

    @property
    def version_command(self) -> Sequence[str]:
        return (self.program, "--version")

    def compile_command(self, source: str) -> Sequence[str]:
        target = source.removesuffix(".lean") + ".olean"
        return ("env", f"LEAN_PATH=.:{self.path}", self.program, "--json", "-o", target, source)

    def spec(self, statement: Statement) -> str:
        """``statement`` is the proposition; of a theorem with binders, the type that Lean itself gives it."""
        text = _without_proof(statement.text)
        head = _HEAD.match(text)
        if head is None:
            return f"{statement.preamble}\ndef _root_.{SPEC}.statement : Prop := ({text})\n"
        return (
            f"{statement.preamble}\ntheorem _root_.{SPEC}.stated{head[2]} := by sorry\n"
            f"def _root_.{SPEC}.statement : Prop := type_of% @{SPEC}.stated\n"
        )

    def submission(self, statement: Statement, proof: str) -> Submission:
        """The proof is the whole theorem, under the statement's name or ``answer``, or what follows ``:= by``."""
        text = _without_proof(statement.text)
        head = _HEAD.match(text)
        imports, directives = _directives(statement.preamble)
        before = "".join(f"{line}\n" for line in [*imports, f"import {SPEC}", *directives])
        proof = _without_imports(proof, imports)
        for name in dict.fromkeys([head[1], "answer"] if head else ["answer"]):
            if re.search(rf"^[ \t]*(?:theorem|lemma)\s+{re.escape(name)}(?![\w'.])", proof, re.MULTILINE):
                after = f"\ntheorem _root_.{PROOF}.answer : type_of% @{name} := @{name}\n"
                break
        else:
            before += f"theorem _root_.{PROOF}.answer{head[2] if head else f' : ({text})'} := by\n"
            proof, after = _tactics(proof), "\n"
        return Submission(source=before + proof + after, num_before=num_lines(before), num_lines=num_lines(proof) + 1)

    @property
    def judge(self) -> str:
        return (
            f"import {SPEC}\nimport {PROOF}\n"
            f"theorem {JUDGE}.judge : {SPEC}.statement := @{PROOF}.answer\n"
            f"#print axioms {JUDGE}.judge\n"
        )

    def refusal(self, proof: str) -> str:
        """A proof changes neither the language nor the environment, which its imported file would bring to the judge.

        What is imported is not checked by the kernel again, so metaprograms could add what was never proved. Comments
        are left out of account where no quotation mark makes it doubtful what is one.
        """
        found = _MACHINERY.search(proof if _QUOTES.search(proof) else _without_comments(proof))
        return f"`{found[0]}` is more than a proof may use" if found else ""

    def errors(self, outcome: Outcome, source: str) -> tuple[FileError, ...]:
        found = []
        for message in _messages(outcome) or ():
            if message.get("severity") == "error":
                place = message.get("pos") or {"line": 0, "column": -1}
                said = " ".join(str(message.get("data")).split())
                found.append(FileError(line=place["line"], column=place["column"] + 1, message=said))
        return tuple(found)

    def assumptions(self, outcome: Outcome) -> tuple[str, ...] | None:
        """The axioms that the only message of the judge names; None where anything else was printed."""
        messages = _messages(outcome)
        if messages is None or len(messages) != 1 or messages[0].get("severity") != "info":
            return None
        found = _ASSUMED.fullmatch(" ".join(str(messages[0].get("data")).split()))
        if found is None:
            return None
        return tuple(name.strip() for name in (found[1] or "").split(",") if name.strip())


def find_lean(project: Path | str, *, lake: str = "lake", timeout_s: float = 300.0) -> Lean:
    """Lean as ``lake env`` has it in the user's project, which is trusted. Raises: MissingDependencyError."""

    def asked(*command: str) -> str:
        try:
            answer = subprocess.run(
                [lake, "env", *command], cwd=project, capture_output=True, text=True, timeout=timeout_s, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or error
            raise MissingDependencyError(
                f"`{lake} env {' '.join(command)}` fails",
                where=str(project),
                why=str(said).strip()[:300],
                do="install Lean 4 with elan, build the project (`lake build`), and name its folder",
            ) from error
        return answer.stdout.strip()

    return Lean(program=f"{asked('lean', '--print-prefix')}/bin/lean", path=asked("printenv", "LEAN_PATH"))


def readable_folders(lean: Lean) -> tuple[str, ...]:
    """What the sandbox must show: the toolchain and the compiled libraries."""
    folders = [str(Path(lean.program).parents[1]), *lean.path.split(":")]
    return tuple(dict.fromkeys(folder for folder in folders if folder and Path(folder).is_dir()))


def _messages(outcome: Outcome) -> list[dict[str, Any]] | None:
    """What ``lean --json`` says, a JSON object a line; None where something else stands there."""
    try:
        found = [json.loads(line) for line in outcome.stdout.decode(errors="replace").splitlines() if line.strip()]
    except json.JSONDecodeError:
        return None
    return found if all(isinstance(one, dict) for one in found) else None


def _without_proof(text: str) -> str:
    return _OPEN_PROOF.sub("", _DOC_COMMENT.sub("", text, count=1) if text.lstrip().startswith("/--") else text).strip()


def _directives(preamble: str) -> tuple[list[str], list[str]]:
    """Of a trusted preamble the imports, and the lines that define nothing but decide how others are read."""
    lines = [line.rstrip() for line in preamble.splitlines()]
    return [line for line in lines if line.startswith("import ")], [line for line in lines if _DIRECTIVE.match(line)]


def _without_imports(proof: str, imports: Sequence[str]) -> str:
    """The proof with the preamble's own imports made empty lines: they must not stand there again."""
    return "\n".join("" if line.rstrip() in imports else line for line in proof.split("\n"))


def _tactics(proof: str) -> str:
    """What follows ``by``, indented, on the lines where it was."""
    inner = re.sub(r"\A\s*(?::=\s*)?by\b", lambda found: "\n" * num_lines(found[0]), proof)
    return textwrap.indent(textwrap.dedent(inner), "  ")


def _without_comments(text: str) -> str:
    """The text without ``-- …`` and nested ``/- … -/``; for text without quotation marks only."""
    kept, at, depth = [], 0, 0
    while at < len(text):
        pair = text[at : at + 2]
        if pair == "/-":
            depth, at = depth + 1, at + 2
        elif depth and pair == "-/":
            depth, at = depth - 1, at + 2
        elif depth:
            at += 1
        elif pair == "--":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        else:
            kept.append(text[at])
            at += 1
    return "".join(kept)
