"""Formal proofs: Coq and Lean 4, each judged by its own kernel through two files in the sandbox."""

from strop.verifiers.proofs.answer import LEAN_PROJECT, ProofAnswer, find_proof, statement_of
from strop.verifiers.proofs.cheats import COQ_CHEATS, audit_cases
from strop.verifiers.proofs.coq import REAL_AXIOMS, Coq
from strop.verifiers.proofs.judge import ProofJudge
from strop.verifiers.proofs.lean import Lean, find_lean
from strop.verifiers.proofs.protocol import ProofResult, Statement

__all__ = [
    "COQ_CHEATS",
    "LEAN_PROJECT",
    "REAL_AXIOMS",
    "Coq",
    "Lean",
    "ProofAnswer",
    "ProofJudge",
    "ProofResult",
    "Statement",
    "audit_cases",
    "find_lean",
    "find_proof",
    "statement_of",
]
