"""A model as the judge: strictly read, in both orders, and never a zero for its own failure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scripted_judge import ScriptedSampler, instructions_of, judge_model, material_of, nonce_of
from strop.errors import VerifierError
from strop.types import Completion, Message, Task, Verdict
from strop.verifiers import judge_all
from strop.verifiers.judge import Comparison, Criterion, JudgeVerifier, PairwiseJudge, Rubric, position_bias
from strop.verifiers.judge_model import JudgeModel

RUBRIC = Rubric(
    criteria=(Criterion(name="right", text="Is it right?", weight=3.0), Criterion(name="short", text="Is it short?")),
    low=1,
    high=5,
)
TASK = Task(
    id="t1", prompt=(Message(role="user", content="Name the capital of France."),), reference={"answer": "Paris"}
)


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason=finish_reason)  # type: ignore[arg-type]


def pointwise(answer: Callable[[str], str], **settings: object) -> JudgeVerifier:
    return JudgeVerifier(judge=judge_model(answer), rubric=RUBRIC, **settings)  # type: ignore[arg-type]


def points(right: object, short: object) -> Callable[[str], str]:
    return lambda asked: f"Fine.\nVERDICT {nonce_of(asked)} right: {right}\nVERDICT {nonce_of(asked)} short: {short}\n"


@pytest.mark.capability("EV-58")
def test_the_score_is_the_weighted_share_of_the_scale() -> None:
    found = pointwise(points(5, 2))(TASK, said("Paris"))
    assert found.score == pytest.approx((3 * 1.0 + 0.25) / 4)
    assert found.passed
    assert found.measures == {"right": 1.0, "short": 0.25}
    assert found.provenance == {"judge": "scripted", "rubric": RUBRIC.digest}
    low = pointwise(points(1, 5))(TASK, said("London"))
    assert (low.score, low.passed) == (pytest.approx(0.25), False)


@pytest.mark.parametrize(
    "reply",
    [
        lambda asked: "It is very good.",
        lambda asked: "VERDICT right: 5\nVERDICT short: 5",
        lambda asked: "VERDICT 0123456789ab right: 5\nVERDICT 0123456789ab short: 5",
        lambda asked: points(5, 5)(asked) + points(5, 5)(asked),
        lambda asked: points(5, 5)(asked).replace("VERDICT", "I say VERDICT"),
        points(6, 5),
        points(0, 5),
        points("4/5", 5),
        points("4.5", 5),
        points("five", 5),
        points("", 5),
    ],
)
def test_a_judge_that_does_not_keep_the_form_has_given_no_score(reply: Callable[[str], str]) -> None:
    found = pointwise(reply)(TASK, said("Paris"))
    assert (found.score, found.passed, found.state, found.is_graded) == (None, False, "unparsable", False)
    assert found.reasons[0].startswith("the judge gave")


def test_a_judge_that_is_cut_off_or_cannot_be_asked_has_given_no_score() -> None:
    for reason, state in (("length", "unparsable"), ("deadline", "timeout")):
        model = judge_model(points(5, 5), finish_reason=reason)
        found = JudgeVerifier(judge=model, rubric=RUBRIC)(TASK, said("Paris"))
        assert (found.score, found.state) == (None, state)
    model = judge_model(points(5, 5), max_length=2000)
    answers = [(TASK, said(text)) for text in ("Paris", "x" * 3000, "Paris again", "y" * 3000)]
    verdicts = judge_all(JudgeVerifier(judge=model, rubric=RUBRIC), answers)
    assert [verdict.state for verdict in verdicts] == ["graded", "error", "graded", "error"]
    assert "too long" in verdicts[1].reasons[0]


def test_what_is_truncated_or_empty_is_not_asked_about() -> None:
    verifier = pointwise(points(5, 5))
    found = verifier.judge_many([(TASK, said("Paris", "length")), (TASK, said(" ")), (TASK, said("Paris"))])
    assert [(verdict.score, verdict.reasons[0]) for verdict in found[:2]] == [(0.0, "truncated"), (0.0, "empty answer")]
    assert found[2].passed
    assert len(verifier.judge.sampler.asked) == 1  # type: ignore[attr-defined]
    assert verifier.judge_many([]) == []


def test_the_judge_sees_task_and_answer_as_material_and_the_reference_only_if_asked() -> None:
    seen: list[str] = []
    pointwise(lambda asked: seen.append(asked) or points(5, 5)(asked))(TASK, said("Paris"))  # type: ignore[func-returns-value]
    assert material_of(seen[0]) == {"TASK": "user: Name the capital of France.", "ANSWER": "Paris"}
    assert "Is it right?" in instructions_of(seen[0])
    assert "Paris" not in instructions_of(seen[0])
    verifier = pointwise(points(5, 5), shows_reference=True)
    verifier(TASK, said("Lyon"))
    assert material_of(verifier.judge.sampler.asked[0])["REFERENCE"] == "Paris"  # type: ignore[attr-defined]
    with pytest.raises(VerifierError, match="no text in `answer`"):
        verifier(Task(id="t2", prompt=()), said("Lyon"))


def test_the_same_answer_gets_the_same_code_and_no_text_holds_its_own() -> None:
    seen: list[str] = []
    verifier = pointwise(lambda asked: seen.append(asked) or points(5, 5)(asked))  # type: ignore[func-returns-value]
    for text in ("Paris", "Paris", "Lyon"):
        verifier(TASK, said(text))
    codes = [nonce_of(asked) for asked in seen]
    assert codes[0] == codes[1] != codes[2]
    verifier(TASK, said(f"Paris {codes[0]}"))
    assert nonce_of(seen[-1]) not in material_of(seen[-1])["ANSWER"]


def test_the_digest_is_of_model_rubric_and_settings() -> None:
    model = judge_model(points(5, 5))
    verifiers = [
        JudgeVerifier(judge=model, rubric=RUBRIC),
        JudgeVerifier(judge=model, rubric=Rubric(criteria=RUBRIC.criteria, low=0, high=5)),
        JudgeVerifier(judge=model, rubric=RUBRIC, shows_reference=True),
        JudgeVerifier(judge=JudgeModel(sampler=model.sampler, model="another", template=model.template), rubric=RUBRIC),
    ]
    assert len({verifier.digest for verifier in verifiers}) == 4


def test_a_sampler_of_token_ids_needs_a_template() -> None:
    with pytest.raises(VerifierError, match="has no template"):
        JudgeVerifier(judge=JudgeModel(sampler=ScriptedSampler(points(5, 5)), model="m"), rubric=RUBRIC)(
            TASK, said("Paris")
        )


@pytest.mark.parametrize(
    "settings",
    [
        {"criteria": ()},
        {"criteria": (Criterion(name="a", text=""), Criterion(name="a", text=""))},
        {"criteria": (Criterion(name="A b", text=""),)},
        {"criteria": (Criterion(name="a", text="", weight=0.0),)},
        {"criteria": RUBRIC.criteria, "high": 0},
        {"criteria": RUBRIC.criteria, "pass_at": 0.0},
    ],
)
def test_what_is_no_rubric_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(VerifierError, match="rubric"):
        Rubric(**settings)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- both orders


def pairwise(choose: Callable[[str, str], str]) -> PairwiseJudge:
    def answer(asked: str) -> str:
        material = material_of(asked)
        return f"VERDICT {nonce_of(asked)}: {choose(material['FIRST'], material['SECOND'])}"

    return PairwiseJudge(judge=judge_model(answer), criterion="it is right")


def longer(first: str, second: str) -> str:
    return "TIE" if len(first) == len(second) else "FIRST" if len(first) > len(second) else "SECOND"


@pytest.mark.capability("EV-58")
@pytest.mark.parametrize(
    ("choose", "text", "score", "passed", "first_preferred", "reason"),
    [
        (longer, "Paris, France", 1.0, True, 0.5, "win"),
        (longer, "Rome", 0.0, False, 0.5, "loss"),
        (longer, "Milan", 0.5, False, 0.5, "tie"),
        (lambda first, second: "FIRST", "Rome", 0.5, False, 1.0, "undecided: the preference follows the place"),
        (lambda first, second: "SECOND", "Rome", 0.5, False, 0.0, "undecided: the preference follows the place"),
        (
            lambda first, second: "TIE" if first == "Paris" else "FIRST",
            "Rome",
            0.5,
            False,
            0.75,
            "undecided: the preference follows the place",
        ),
    ],
)
def test_only_a_preference_that_holds_in_both_orders_decides(
    choose: Callable[[str, str], str], text: str, score: float, passed: bool, first_preferred: float, reason: str
) -> None:
    found = pairwise(choose)(TASK, said(text))
    assert (found.score, found.passed, found.reasons) == (score, passed, (reason,))
    assert found.measures == {"first_preferred": first_preferred}


@pytest.mark.parametrize("word", ["first", "FIRST!", "NEITHER", "", "FIRST SECOND"])
def test_an_order_without_a_readable_verdict_leaves_no_score(word: str) -> None:
    found = pairwise(lambda first, second: word if first == "Paris" else "FIRST")(TASK, said("Rome"))
    assert (found.score, found.state) == (None, "unparsable")


@pytest.mark.capability("EV-58")
def test_position_bias_is_measured_over_the_comparisons() -> None:
    comparisons = [
        *[Comparison(outcome="win", said=("FIRST", "SECOND"))] * 6,
        *[Comparison(outcome="undecided", said=("FIRST", "FIRST"))] * 3,
        Comparison(outcome="tie", said=("TIE", "TIE")),
        Comparison(outcome=None, failure=Verdict(score=None, passed=False, state="unparsable")),
    ]
    found = position_bias(comparisons)
    assert (found.num_compared, found.inconsistent_rate) == (10, 0.3)
    assert found.first_rate == (6 * 1 + 3 * 2 + 1) / 20
    # Wilson by hand for 3 of 10 with z = 1.959964
    z2 = 1.959964**2
    half = 1.959964 * (10 * 0.3 * 0.7 + z2 / 4) ** 0.5
    assert found.inconsistent.low == pytest.approx((3 + z2 / 2 - half) / (10 + z2), abs=1e-6)
    assert found.inconsistent.high == pytest.approx((3 + z2 / 2 + half) / (10 + z2), abs=1e-6)
    with pytest.raises(ValueError, match="no comparison"):
        position_bias(comparisons[-1:])


def test_many_pairs_are_asked_in_one_call_in_both_orders() -> None:
    verifier = pairwise(longer)
    verdicts = judge_all(verifier, [(TASK, said(text)) for text in ("Rome", "Paris, France", "")])
    assert [verdict.score for verdict in verdicts] == [0.0, 1.0, 0.0]
    sampler = verifier.judge.sampler
    assert (sampler.calls, len(sampler.asked)) == (1, 4)  # type: ignore[attr-defined]
