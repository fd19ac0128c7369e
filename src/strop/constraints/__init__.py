"""Languages that a completion's text must be in: JSON Schema, regular expression, choice, grammar, tool calls.

``preflight`` says what can be enforced; ``compile_constraint`` makes the grammar for a ``Vocabulary``; its
``matcher()`` says token by token what may come next, and keeps the text able to end within its budget.
"""

from strop.constraints.compiled import CompiledConstraint, compile_constraint
from strop.constraints.matcher import Matcher, apply, fill_batch, log_allowed_mass
from strop.constraints.preflight import Plan, preflight
from strop.constraints.validators import SchemaValidator, call_errors, read_json
from strop.constraints.vocabulary import Vocabulary

__all__ = [
    "CompiledConstraint",
    "Matcher",
    "Plan",
    "SchemaValidator",
    "Vocabulary",
    "apply",
    "call_errors",
    "compile_constraint",
    "fill_batch",
    "log_allowed_mass",
    "preflight",
    "read_json",
]
