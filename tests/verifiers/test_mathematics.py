"""Mathematical answers: what is the same, what is not, who decided, and what cannot be decided."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest
import sympy

from strop.errors import MissingDependencyError, VerifierError
from strop.types import Completion, Task, Verdict
from strop.verifiers import AuditCase, MathAnswer, audit, load_verifier, mathematics
from strop.verifiers.math_algebra import UndecidedError
from strop.verifiers.math_clean import clean
from strop.verifiers.math_expressions import evaluate
from strop.verifiers.mathematics import math_answer

Pair = tuple[str, str, str, bool]
"""Section, reference, answer, and whether they are the same."""


def pairs(name: str = "math_pairs.txt") -> list[Pair]:
    found, section = [], ""
    for line in Path(__file__).with_name(name).read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line[:2] in ("= ", "! "):
            reference, _, answer = line[2:].partition(" @ ")
            found.append((section, reference, answer, line[0] == "="))
    return found


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)


def task(answer: object) -> Task:
    return Task(id="t", prompt=(), reference={"answer": answer}, source="rows.jsonl:7")


def judged(reference: object, answer: str, verify: MathAnswer | None = None) -> Verdict:
    return (verify or MathAnswer(engine="light"))(task(reference), said(f"So it is \\boxed{{{answer}}}."))


def requires_math_verify() -> None:
    pytest.importorskip("math_verify", reason="strop[math] is not installed")


def test_there_are_at_least_three_hundred_pairs_of_both_kinds() -> None:
    kinds = Counter(is_same for *_, is_same in pairs())
    assert kinds[True] >= 150
    assert kinds[False] >= 150
    assert len({(reference, answer) for _, reference, answer, _ in pairs()}) >= 450, "few are written twice"


@pytest.mark.parametrize(("section", "reference", "answer", "is_same"), pairs())
def test_exact_arithmetic_is_right_wherever_it_decides(
    section: str, reference: str, answer: str, is_same: bool
) -> None:
    verdict = judged(reference, answer)
    assert verdict.state == "error" or verdict.passed == is_same, verdict.reasons
    assert verdict.provenance == {"math": "light"}


def test_exact_arithmetic_decides_all_but_roots_of_expressions_logarithms_angles_and_variable_exponents() -> None:
    left = [
        (section, reference) for section, reference, answer, _ in pairs() if judged(reference, answer).score is None
    ]
    assert len(left) <= 21
    assert {section for section, _ in left} == {"roots", "expressions"}


STILL_REJECTED = {"-3.\\overline{8}", "\\{x : x < 0\\}", "\\text{twelve}"}
"""Right answers of the second file that exact arithmetic rejects: periods, set-builders and number words."""


def test_on_the_second_file_no_wrong_answer_passes_and_only_the_told_right_ones_fail() -> None:
    verdicts = [(pair, judged(pair[1], pair[2])) for pair in pairs("math_pairs_fresh.txt")]
    assert len(verdicts) == 100
    assert [pair for pair, verdict in verdicts if verdict.passed and not pair[3]] == []
    rejected = {pair[2] for pair, verdict in verdicts if pair[3] and verdict.is_graded and not verdict.passed}
    assert rejected == STILL_REJECTED


@pytest.mark.capability("PI-66")
def test_with_math_verify_every_pair_is_decided_and_right() -> None:
    requires_math_verify()
    verify = MathAnswer(timeout_s=60)
    verdicts = [(pair, judged(pair[1], pair[2], verify)) for pair in pairs()]
    assert [(pair, verdict) for pair, verdict in verdicts if verdict.passed != pair[3] or not verdict.is_graded] == []
    by = Counter(verdict.provenance["math"].split(" ")[0] for _, verdict in verdicts)
    assert by["math-verify"] >= 15, "logarithms, sines and the like went to it"
    assert by["light"] >= 400


def test_every_pair_said_the_other_way_round_is_judged_alike() -> None:
    """Equivalence is symmetric, but for what only a reference may leave out: percent signs and option letters."""
    one_sided = ("percentages", "multiple choice", "text", "presentation")
    for section, reference, answer, is_same in pairs():
        verdict = judged(answer, reference)
        if section not in one_sided and verdict.state == "graded":
            assert verdict.passed == is_same, (section, reference, answer)


def test_random_expressions_have_the_value_that_sympy_gives_them() -> None:
    rng = random.Random(5)

    def grown(depth: int) -> sympy.Expr:
        if depth == 0:
            leaf = rng.choice(["int", "fraction", "root", "x", "y", "pi"])
            value = {"int": sympy.Integer(rng.randint(1, 9)), "fraction": sympy.Rational(rng.randint(1, 9), 7)}
            value |= {"root": sympy.sqrt(rng.randint(2, 12)), "pi": sympy.pi}
            return value.get(leaf) or sympy.Symbol(leaf)
        one, other = grown(depth - 1), grown(depth - 1)
        return rng.choice([lambda: one + other, lambda: one - other, lambda: one * other, lambda: one / (other + 20)])()

    point = {sympy.Symbol("x"): sympy.Rational(3, 2), sympy.Symbol("y"): sympy.Rational(5, 3)}
    compared = 0
    for _ in range(60):
        expression = grown(2)
        changed = expression + sympy.Rational(1, 1000)
        written = sympy.latex(expression)
        again = sympy.latex(sympy.factor(expression))
        assert judged(written, again).passed, (written, again)
        assert not judged(written, sympy.latex(changed)).passed, (written, changed)
        if not expression.free_symbols:
            compared += 1
            assert evaluate(clean(written)).approximate() == pytest.approx(float(expression.evalf()), rel=1e-9)
        assert sympy.simplify(expression.subs(point) - changed.subs(point)) != 0
    assert compared > 0


@pytest.mark.parametrize("text", ["9**9**9", "9^{9^{9}}", "(x+y+z+1)^{999}", "(" * 5000, "1+" * 5000 + "1", "10000!"])
def test_what_is_too_large_is_given_up_at_once(text: str) -> None:
    start = time.process_time()
    with pytest.raises(UndecidedError):
        evaluate(text)
    assert time.process_time() - start < 5, "a bound on the work, not a measurement"


@pytest.mark.parametrize("piece", ["1", "1/", "9^", "or ", "a b ", "(", "\\{", "\\frac", "1,", "$", "‹"])
def test_a_text_without_end_is_unparsable_at_once(piece: str) -> None:
    start = time.process_time()
    for text in (piece * 50_000, f"\\boxed{{{piece * 50_000}", f"Answer: {piece * 50_000}"):
        verdict = MathAnswer(engine="light")(task("7919"), said(text))
        assert (verdict.passed, verdict.score) == (False, 0.0)
    assert time.process_time() - start < 10, "a bound on the work, not a measurement"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("We get 4.\n#### 1,234", "1,234"),
        ("Thus $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("The answer is $\\frac{3}{4}$. I hope this helps.", "$\\frac{3}{4}$"),
        ("The final answer is therefore 12 because 3 times 4 is 12.", "12"),
        ("Answer: **(B)**", "(B)"),
        ("First \\boxed{3}. No, wait:\n\\boxed{4}", "4"),
        ("\\boxed{3} or \\boxed{4}", "3 or 4"),
        ("\\frac{1}{2}", "\\frac{1}{2}"),
        ("even", "even"),
        ("She starts with 3.\nSo $x = 2y + 1$", "2y + 1"),
        ("So she has 18 apples.", "18"),
        ("I cannot say.\nSorry.", None),
        ("", None),
        ("\\boxed{}", None),
    ],
)
def test_the_answer_of_a_text(text: str, answer: str | None) -> None:
    assert math_answer(text) == answer


def test_one_of_several_references_is_enough() -> None:
    assert judged(["1/3", "0.33"], "0.33").passed
    assert not judged(["1/3", "0.33"], "0.34").passed


@pytest.mark.parametrize(
    ("reference", "text", "passed"),
    [
        ("-18", "The answer is minus 18.", True),
        ("18", "The answer is minus 18.", False),
        ("18", "Answer: not 18", False),
        ("18", "Answer: 18 or more", False),
        ("18", "Answer: 18 million", False),
        ("18000000", "Answer: $18 million", True),
        ("18", "Answer: 18 dollars per day", True),
        ("18", "Final Answer: The final answer is $\\boxed{18}$. I hope it is correct.", True),
        ("120", "Answer: 5!", True),
        ("2/3", "Therefore, the probability is $\\frac{2}{3}$.", True),
        ("3", "Therefore $x^2+3$", False),
    ],
)
def test_answers_in_sentences(reference: str, text: str, passed: bool) -> None:
    assert MathAnswer(engine="light")(task(reference), said(text)).passed == passed


def test_a_truncated_answer_fails_and_an_empty_one_is_unparsable() -> None:
    verify = MathAnswer(engine="light")
    cut = verify(task("4"), said("\\boxed{4}", "length"))
    assert (cut.passed, cut.score, cut.reasons) == (False, 0.0, ("truncated",))
    assert verify(task("4"), said("Who knows?")).state == "unparsable"


@pytest.mark.parametrize("missing", [None, "", True, [], ["4", None]])
def test_a_task_without_an_answer_is_refused_by_its_row(missing: object) -> None:
    with pytest.raises(VerifierError, match=r"rows\.jsonl:7"):
        judged(missing, "4")


def test_without_math_verify_what_is_beyond_is_never_a_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mathematics, "math_verify_version", lambda: None)
    verify = MathAnswer()
    beyond = judged("\\log_2 8", "3", verify)
    assert (beyond.score, beyond.state) == (None, "error")
    assert "needs math-verify" in beyond.reasons[0]
    unread = judged("3", "\\log_2 8", verify)
    assert (unread.score, unread.state) == (0.0, "unparsable")
    assert judged("\\log_2 8", "\\log_2 8", verify).passed, "what is written alike is alike"
    with pytest.raises(MissingDependencyError, match="math-verify is not installed"):
        judged("3", "3", MathAnswer(engine="math-verify"))


@pytest.mark.capability("ST-07")
def test_an_answer_that_hangs_is_a_timeout_and_delays_none_of_512() -> None:
    requires_math_verify()
    verify = MathAnswer(timeout_s=4)
    judged("\\ln(e^2)", "2", MathAnswer(timeout_s=60))
    hanging = {100, 300}

    def one(index: int) -> Verdict:
        if index in hanging:
            return judged("\\ln 3", "9^{9^{9^{9}}} + \\ln 3", verify)
        return judged("\\ln(e^2)", "2", verify) if index % 64 == 0 else judged(str(index), f"{index}.0", verify)

    with ThreadPoolExecutor(4) as threads:
        verdicts = list(threads.map(one, range(512)))
    states = {index: verdict.state for index, verdict in enumerate(verdicts) if verdict.state != "graded"}
    assert states == dict.fromkeys(hanging, "timeout")
    assert all(verdict.score is None and not verdict.is_graded for verdict in map(verdicts.__getitem__, hanging))
    assert all(verdict.passed for index, verdict in enumerate(verdicts) if index not in hanging)
    assert "no answer within 4 s" in verdicts[100].reasons[0]
    assert verdicts[64].provenance["math"].startswith("math-verify ")


def test_the_audit_over_the_hand_written_pairs() -> None:
    decided = [pair for pair in pairs() if judged(pair[1], pair[2]).is_graded]
    cases = [
        AuditCase(task=task(reference), text=f"\\boxed{{{answer}}}", should_pass=is_same)
        for _, reference, answer, is_same in decided
    ]
    found = audit(MathAnswer(engine="light"), cases).require()
    assert found.num_right > 200
    assert found.num_wrong > 200
    assert (found.num_unstable, found.num_ungraded) == (0, 0)


def test_the_verifier_is_chosen_by_name_and_its_digest_follows_its_settings() -> None:
    assert load_verifier("math") == MathAnswer()
    digests = {MathAnswer().digest, MathAnswer(engine="light").digest, MathAnswer(timeout_s=1).digest}
    assert len(digests) == 3


def test_fractions_of_many_digits_stay_exact() -> None:
    value = Fraction(10**40 + 1, 3**50)
    near = value + Fraction(1, 10**60)
    assert judged(
        f"{value.numerator}/{value.denominator}", f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    ).passed
    assert not judged(str(value), str(near)).passed
