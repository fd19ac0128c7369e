"""Every known bug of the field's mathematics has a test that would find it here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
BUGS = (
    *("shift-by-one", "EOS-trained", "mask-all-error", "packed-equals-unpacked", "padding-invariance"),
    *("per-step-normaliser", "micro-batch-invariance", "L_max-constant", "template-ids-golden"),
    *("detached-advantages", "detached-weights", "detached-teacher", "std-convention", "singleton-group"),
    *("zero-variance-group", "filter-on-acc", "temperature-in-logp", "truncated-sampling-guard"),
    *("ratio-1-on-first-step", "clip-sides", "dual-clip", "value-returns-before-whitening", "tool-tokens-masked"),
    *("ref-unchanged", "ref-equals-policy-at-step-0", "DPO-ln2", "ORPO-p-1-finite", "KD-tau2", "GKD-endpoints"),
    *("LoRA-identity", "LoRA-merge", "mixed-adapter-batch", "PRM-label-position", "pass-at-k-enumeration"),
    *("gate-slices", "verifier-FPR-audit", "train-eval-disjointness", "paired-eval-ids"),
)
"""What went wrong in the peers, by name; a test that finds it is marked ``capability("AB-NAME")``."""


def marked() -> dict[str, list[str]]:
    """Capability → the functions marked with it, read from the tests' sources."""
    found: dict[str, list[str]] = {}
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func).endswith("capability"):
                    for row in mark.args:
                        found.setdefault(ast.literal_eval(row), []).append(node.name)
    return found


@pytest.mark.capability("IM-11")
def test_every_known_bug_has_its_named_test() -> None:
    found = marked()
    assert [bug for bug in BUGS if f"AB-{bug}" not in found] == []


def test_no_test_claims_a_bug_that_is_not_on_the_list() -> None:
    claimed = {row.removeprefix("AB-") for row in marked() if row.startswith("AB-")}
    assert claimed - set(BUGS) == set()
