"""Verifiers: (task, completion) → Verdict, each with what it needs in ``task.reference`` and an audit.

| verifier | reference |
| --- | --- |
| ``NumberAnswer`` | ``{"answer": "1,234"}``; a worked solution ending in ``#### 1,234`` is read like an answer |
| ``ExactAnswer`` | ``{"answer": "Paris"}`` or ``{"answer": ["Paris", "paris, France"]}`` |
| ``MathAnswer`` | ``{"answer": "x = 1/2"}`` or a list, LaTeX or plain; measured in ``docs/math-answers.md`` |
| ``ToolCallAnswer`` | ``{"call": {"name": ..., "arguments": {...}}}``, ``{"calls": [...]}``; ``{"call": null}``: none |
| ``ToolCallAnswer`` | ``{"accepted": [{"function": {"argument": [value, ...]}}]}``, as BFCL has it |
| ``BoundaryAnswer`` | ``{"boundary": "must_refuse"}``, ``constrained`` or ``answerable``; its own markers, if any |
| ``RefusalAnswer`` | the same ``boundary``; read sentence by sentence |
| ``SchemaAnswer`` | ``{"schema": {"type": "object", ...}}`` |
| ``FieldsAnswer`` | ``{"fields": {"vendor": "ACME", "lines.0.amount": 1200}}``; ``aliases``, if any |
| ``FormatAnswer`` | ``{"format": {"kind": "xml", "sections": ["facts", "answer"]}}``, ``markdown`` or ``json`` |
| ``GroundedAnswer`` | ``{"evidence": {"id": text or JSON}}``, ``must_say``, ``answerable``; or evidence in the prompt |
| ``RewritingProof`` | ``{"rules": [["ab", "ba"], ...], "start": "aab", "goal": "baa"}`` |
| ``StackProgram`` | ``{"tests": [{"inputs": {"x": 3}, "expect": 9}, ...]}`` |
| ``LedgerAnswer`` | ``{"books": ..., "records": ..., "statement": ..., "sources": [{"entry": "B3", "cause": ...}]}`` |
| ``CodeAnswer`` | ``{"entry_point": "f", "tests": [{"call": [1], "expect": 2}]}``, ``check`` or ``stdin_tests`` |
| ``ProofAnswer`` | ``{"system": "coq", "statement": "forall n : nat, n + 0 = n"}``, perhaps ``preamble``, ``axioms`` |
| ``JudgeVerifier`` | none, or ``{"answer": "Paris"}`` where the judge is shown it |
| ``PairwiseJudge`` | ``{"answer": "the text to be better than"}`` |
| ``LearnedReward`` | whatever its scorer asks for |
| ``Ensemble`` | what its members ask for |
| ``my_rewards.py:score`` | whatever columns the function asks for |
"""

from strop.verifiers.anchors import Anchor, AnchoredJudge, AnchorReport, drift_p_value, measure_anchors
from strop.verifiers.answers import answer_cases
from strop.verifiers.audit import (
    Audit,
    AuditCase,
    Audited,
    AuditFailure,
    audit,
    read_audit,
    reference_cases,
    require_audit,
    write_audits,
)
from strop.verifiers.code import CodeAnswer
from strop.verifiers.ensemble import Ensemble
from strop.verifiers.fields import FieldsAnswer, measure_fields
from strop.verifiers.formats import FormatAnswer, measure_format
from strop.verifiers.grounding import GroundedAnswer, measure_grounding
from strop.verifiers.judge import Criterion, JudgeVerifier, PairwiseJudge, Rubric, position_bias
from strop.verifiers.judge_model import JudgeModel
from strop.verifiers.learned import LearnedReward, shepherd_labels, split_steps
from strop.verifiers.ledger import LedgerAnswer
from strop.verifiers.mathematics import MathAnswer
from strop.verifiers.named import VERIFIERS, load_verifier
from strop.verifiers.numbers import NumberAnswer
from strop.verifiers.pool import GradingPool, judge_all
from strop.verifiers.proofs import ProofAnswer
from strop.verifiers.refusal import BoundaryAnswer, detect_boundary, measure_boundary
from strop.verifiers.responses import RefusalAnswer, classify_response, sensitivity_specificity
from strop.verifiers.rewriting import RewritingProof
from strop.verifiers.schema import SchemaAnswer, measure_schema
from strop.verifiers.stack import StackProgram
from strop.verifiers.text import ExactAnswer
from strop.verifiers.tools import ToolCallAnswer, find_calls, match_call, measure_calls, parse_calls, schema_problems
from strop.verifiers.user import UserVerifier, load_user_verifier

__all__ = [
    "VERIFIERS",
    "Anchor",
    "AnchorReport",
    "AnchoredJudge",
    "Audit",
    "AuditCase",
    "AuditFailure",
    "Audited",
    "BoundaryAnswer",
    "CodeAnswer",
    "Criterion",
    "Ensemble",
    "ExactAnswer",
    "FieldsAnswer",
    "FormatAnswer",
    "GradingPool",
    "GroundedAnswer",
    "JudgeModel",
    "JudgeVerifier",
    "LearnedReward",
    "LedgerAnswer",
    "MathAnswer",
    "NumberAnswer",
    "PairwiseJudge",
    "ProofAnswer",
    "RefusalAnswer",
    "RewritingProof",
    "Rubric",
    "SchemaAnswer",
    "StackProgram",
    "ToolCallAnswer",
    "UserVerifier",
    "answer_cases",
    "audit",
    "classify_response",
    "detect_boundary",
    "drift_p_value",
    "find_calls",
    "judge_all",
    "load_user_verifier",
    "load_verifier",
    "match_call",
    "measure_anchors",
    "measure_boundary",
    "measure_calls",
    "measure_fields",
    "measure_format",
    "measure_grounding",
    "measure_schema",
    "parse_calls",
    "position_bias",
    "read_audit",
    "reference_cases",
    "require_audit",
    "schema_problems",
    "sensitivity_specificity",
    "shepherd_labels",
    "split_steps",
    "write_audits",
]
