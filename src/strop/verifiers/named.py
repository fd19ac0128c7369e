"""Choosing a verifier by name or by the user's own file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Literal

from strop.errors import VerifierError
from strop.types import Verifier
from strop.verifiers.code import CodeAnswer
from strop.verifiers.fields import FieldsAnswer
from strop.verifiers.formats import FormatAnswer
from strop.verifiers.grounding import GroundedAnswer
from strop.verifiers.ledger import LedgerAnswer
from strop.verifiers.mathematics import MathAnswer
from strop.verifiers.numbers import NumberAnswer
from strop.verifiers.proofs import ProofAnswer
from strop.verifiers.refusal import BoundaryAnswer
from strop.verifiers.responses import RefusalAnswer
from strop.verifiers.rewriting import RewritingProof
from strop.verifiers.schema import SchemaAnswer
from strop.verifiers.stack import StackProgram
from strop.verifiers.text import ExactAnswer
from strop.verifiers.tools import ToolCallAnswer
from strop.verifiers.user import load_user_verifier

VERIFIERS: Mapping[str, Callable[[], Verifier]] = {
    "number": NumberAnswer,
    "exact": ExactAnswer,
    "math": MathAnswer,
    "tool_call": ToolCallAnswer,
    "boundary": BoundaryAnswer,
    "refusal": RefusalAnswer,
    "schema": SchemaAnswer,
    "fields": FieldsAnswer,
    "format": FormatAnswer,
    "grounded": GroundedAnswer,
    "rewriting": RewritingProof,
    "stack": StackProgram,
    "ledger": LedgerAnswer,
    "code": CodeAnswer,
    "proof": ProofAnswer,
}
PROGRAMS: Mapping[str, str] = {"proof": "coqc"}
"""Verifier → the program of the system without which it cannot be audited."""


def load_verifier(spec: str, *, timeout_s: float = 5.0, on_error: Literal["raise", "record"] = "raise") -> Verifier:
    """The verifier of this name, or for ``my_rewards.py:score`` the user's own. Raises: VerifierError.

    ``timeout_s`` and ``on_error`` are for the user's own; see ``UserVerifier``.
    """
    if spec in VERIFIERS:
        return VERIFIERS[spec]()
    if ":" in spec:
        return load_user_verifier(spec, timeout_s=timeout_s, on_error=on_error)
    near = difflib.get_close_matches(spec, VERIFIERS, n=1, cutoff=0.5)
    do = f"did you mean `{near[0]}`? " if near else ""
    raise VerifierError(
        f"unknown verifier `{spec}`", do=f"{do}known: {', '.join(VERIFIERS)}, or your own as my_rewards.py:score"
    )
