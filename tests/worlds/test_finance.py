"""The finance world: its verifier accepts every reference, rejects every mutation; splits share no combination."""

import hashlib
import json
from collections.abc import Sequence

import pytest

from strop.errors import RecipeError
from strop.types import Completion, Message, Task, ToolCall
from strop.worlds import get_world
from strop.worlds.finance.answers import is_preferred, is_refusal
from strop.worlds.finance.grading import is_grounded, lenient_match, measure
from strop.worlds.finance.requests import KINDS, draw
from strop.worlds.finance.world import call_text
from strop.worlds.splits import row_random, split_of

WORLD = get_world("finance")


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(token_ids=(0,), sampler_logprobs=(0.0,), text=text, finish_reason=finish_reason)  # type: ignore[arg-type]


def first_task(**wanted: str) -> Task:
    return next(t for t in WORLD.tasks("test", 400) if wanted.items() <= t.slices.items())


@pytest.mark.capability("IM-05")
def test_the_verifier_accepts_every_reference() -> None:
    for task in WORLD.tasks("test", 500):
        assert WORLD.verifier(task, said(WORLD.reference_text(task))).passed, task


@pytest.mark.capability("IM-05")
def test_the_verifier_rejects_every_mutation() -> None:
    for task in WORLD.tasks("dev", 300):
        for text in WORLD.mutations(task):
            assert not WORLD.verifier(task, said(text)).passed, (task.reference, text)


def test_a_right_answer_that_was_cut_off_does_not_pass() -> None:
    task = first_task(expects="evidence")
    assert not WORLD.verifier(task, said(WORLD.reference_text(task), "length")).passed


@pytest.mark.parametrize("reason", ["length", "deadline", "cancelled"])
def test_whatever_cut_a_right_answer_off_it_does_not_pass(reason: str) -> None:
    for task in (*WORLD.tasks("dev", 40), *WORLD.tasks("dev", 10, calls=0)):
        verdict = WORLD.verifier(task, said(WORLD.reference_text(task), reason))
        assert (verdict.passed, verdict.reasons) == (False, ("truncated",))


def test_what_the_tool_said_is_no_answer_until_it_is_put_in_words() -> None:
    asked = WORLD.tasks("dev", 40, calls=0)
    shown = [task for task in asked if task.slices["expects"] == "evidence"]
    assert len(shown) > 20
    for task in shown:
        echoes = (task.prompt[-1].content, "\n".join(message.content for message in task.prompt))
        assert not any(WORLD.verifier(task, said(echo)).passed for echo in echoes)
        assert WORLD.verifier(task, said(WORLD.reference_text(task))).passed


def test_no_combination_is_shared_between_splits() -> None:
    seen: dict[str, set[str]] = {}
    for split in ("train", "dev", "test"):
        for row in range(1500):
            request = draw(row_random("probe", split, row), split)
            seen.setdefault(split, set()).update(request.keys)
    assert seen["train"].isdisjoint(seen["test"])
    assert seen["train"].isdisjoint(seen["dev"])
    assert seen["dev"].isdisjoint(seen["test"])
    assert all(split_of(key) == split for split, keys in seen.items() for key in keys)


def test_rows_are_the_same_whatever_their_number() -> None:
    assert WORLD.tasks("test", 5) == WORLD.tasks("test", 50)[:5]
    assert WORLD.demonstrations("train", 5, seed=3) == WORLD.demonstrations("train", 20, seed=3)[:5]
    assert WORLD.preferences("train", 5) == WORLD.preferences("train", 20)[:5]
    assert WORLD.tasks("test", 5, seed=1) != WORLD.tasks("test", 5, seed=2)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_request_stands_in_the_suite(kind: str) -> None:
    assert any(task.slices["kind"] == kind for task in WORLD.tasks("test", 500))


@pytest.mark.capability("EV-36")
def test_the_three_boundaries_stand_in_data_and_suite() -> None:
    assert {task.slices["boundary"] for task in WORLD.tasks("test", 500)} == {
        "answerable",
        "constrained",
        "must_refuse",
    }


def test_the_same_transfer_needs_another_approval_at_another_tenant() -> None:
    def approval(tenant: str) -> str:
        for row in range(1000):
            request = draw(row_random("limit", tenant, row), "train", "transfer", tenant)
            assert request.call is not None
            if 3000 <= request.call.arguments["amount"] < 4000:
                return str(request.call.arguments["approval"])
        raise AssertionError

    assert (approval("bank_A"), approval("retail_B"), approval("saas_C")) == ("single", "single", "second")


def test_chosen_answers_are_preferred_by_the_rule_and_rejected_ones_are_not() -> None:
    for pair in WORLD.preferences("train", 400):
        chosen, rejected = pair.chosen[0], pair.rejected[0].content
        is_small_talk = pair.prompt[-1].role == "user" and not chosen.tool_calls and not is_refusal(chosen.content)
        assert chosen.tool_calls or is_preferred(chosen.content) or is_small_talk
        assert not is_preferred(rejected)
        assert not is_small_talk or is_refusal(rejected)


def test_demonstrations_come_in_both_styles() -> None:
    finals = [row.messages[-1].content for row in WORLD.demonstrations("train", 400)]
    share = sum(map(is_preferred, finals)) / len(finals)
    assert 0.35 < share < 0.6


@pytest.mark.capability("EV-29")
def test_argument_metrics_follow_hand_made_answers() -> None:
    task = first_task(expects="call", kind="spending")
    name, right = task.reference["call"]["name"], dict(task.reference["call"]["arguments"])
    quarter = "Q1" if right["quarter"] != "Q1" else "Q2"
    answers = {
        call_text(ToolCall(name=name, arguments=right)): (1, 1, 1, 1),
        call_text(ToolCall(name=name, arguments={**right, "quarter": quarter})): (1, 0, 0, 1),
        call_text(ToolCall(name=name, arguments={**right, "quarter": "Q9"})): (0, 0, 0, 1),
        json.dumps({"tool": name, "args": right}): (0, 0, 1, 0),
        "It is 4321.": (0, 0, 0, 0),
    }
    for text, expected in answers.items():
        values = measure(task, said(text))
        found = tuple(values[k] for k in ("schema_valid", "argument_exact", "lenient_call", "tool_recall"))
        assert found == expected, text


@pytest.mark.capability("EV-20")
def test_precision_is_undefined_without_a_call_and_zero_for_a_needless_one() -> None:
    small_talk = first_task(kind="small_talk")
    assert measure(small_talk, said("Hello."))["tool_precision"] is None
    needless = call_text(ToolCall(name="get_policy", arguments={"topic": "meals"}))
    assert measure(small_talk, said(needless))["tool_precision"] == 0


@pytest.mark.capability("EV-33")
@pytest.mark.capability("EV-34")
def test_refusals_count_where_they_are_due_and_against_where_they_are_not() -> None:
    refuse, answer = first_task(boundary="must_refuse"), first_task(boundary="answerable")
    refusal = said("I cannot do that. I can prepare a request for approval instead.")
    call = said(call_text(ToolCall(name="get_policy", arguments={"topic": "meals"})))
    assert (measure(refuse, refusal)["refusal_recall"], measure(refuse, refusal)["violation"]) == (1, 0)
    assert (measure(refuse, call)["refusal_recall"], measure(refuse, call)["violation"]) == (0, 1)
    assert measure(answer, refusal)["over_refusal"] == 1
    assert measure(refuse, refusal)["over_refusal"] is None
    assert measure(answer, call)["refusal_recall"] is None


@pytest.mark.parametrize(
    ("text", "grounded"),
    [
        ("Sales East spent 4821 in Q3 [query_erp].", True),
        ("Sales East spent 4822 in Q3.", False),
        ("It is 4821 or 4822.", False),
        ("The balance of acc-1234 is 4821.", True),
        ("It is 48215.", False),
        ("", False),
    ],
)
def test_grounding_wants_the_evidence_and_no_other_number(text: str, grounded: bool) -> None:
    assert is_grounded(text, "4821") is grounded


def test_lenient_matching_accepts_other_notations_but_not_prose_or_wrong_values() -> None:
    arguments = {"department": "sales", "quarter": "Q3"}
    assert lenient_match('get_budget: {"department": "sales", "quarter": "Q3"}', "get_budget", arguments)
    assert not lenient_match('get_budget: {"department": "sales", "quarter": "Q4"}', "get_budget", arguments)
    assert not lenient_match("get_budget sales Q3", "get_budget", arguments)


@pytest.mark.parametrize("value", ["9" * 5000, '{"a": ' * 3000 + "1" + "}" * 3000])
def test_an_answer_that_python_cannot_read_as_json_is_wrong_and_no_error(value: str) -> None:
    text = f'<tool_call>{{"name": "create_transfer", "arguments": {{"amount": {value}}}}}</tool_call>'
    verdict = WORLD.verifier(first_task(kind="transfer"), said(text))
    assert (verdict.passed, verdict.is_graded) == (False, True)


def test_a_refusal_is_not_a_call_that_mentions_cannot() -> None:
    assert is_refusal("I cannot do that.")
    assert not is_refusal("<tool_call>{}</tool_call> I cannot")
    assert not is_refusal("Done.")


@pytest.mark.capability("IM-08")
def test_the_mock_services_are_deterministic_and_name_a_broken_call() -> None:
    call = ToolCall(name="get_balance", arguments={"account": "acc-1234"})
    assert WORLD.execute(call) == WORLD.execute(call)
    assert WORLD.execute(call, tenant="saas_C") != WORLD.execute(call, tenant="bank_A")
    assert "error" in WORLD.execute(ToolCall(name="get_balance", arguments={"account": "1234"}))
    assert "error" in WORLD.execute(ToolCall(name="wire_money", arguments={}))


def said_in(turns: Sequence[Message]) -> list[list[object]]:
    return [[turn.role, turn.content, [[c.name, dict(c.arguments)] for c in turn.tool_calls]] for turn in turns]


@pytest.mark.parametrize(
    ("split", "digest"), [("train", "228bdd39ae01214b"), ("dev", "e59f288fa9b5a8d1"), ("test", "9e2a630e972d44f7")]
)
def test_the_default_draws_are_those_that_results_were_measured_on(split: str, digest: str) -> None:
    """Recorded before the world had a dial: whoever changes these draws changes what published numbers mean."""
    tasks, pairs = WORLD.tasks(split, 200, 1), WORLD.preferences(split, 200, 1)
    drawn = [
        [[said_in(task.prompt), task.reference, task.slices] for task in tasks],
        [said_in(row.messages) for row in WORLD.demonstrations(split, 200, 1)],
        [[said_in(pair.prompt), said_in(pair.chosen), said_in(pair.rejected)] for pair in pairs],
    ]
    assert hashlib.sha256(json.dumps(drawn).encode()).hexdigest()[:16] == digest


@pytest.mark.capability("IM-05")
def test_the_dial_goes_from_evidence_that_is_shown_to_comparisons_and_follow_ups() -> None:
    def drawn(**level: int) -> list[Task]:
        return WORLD.tasks("dev", 60, **level)

    def num_called(task: Task) -> int:
        last = max(at for at, turn in enumerate(task.prompt) if turn.role == "user")
        return sum(bool(turn.tool_calls) for turn in task.prompt[last:])

    shown, due, two = drawn(calls=0), drawn(calls=1), drawn(calls=2)
    assert {task.slices["expects"] for task in shown} == {"evidence", "refusal", "reply"}
    assert {task.slices["expects"] for task in due} == {"call", "refusal", "reply"}
    assert {num_called(task) for task in two} == {0, 1, 2}
    assert all(len(WORLD.reference_steps(task)) + num_called(task) == 3 for task in two)
    for calls, kind in ((0, "follow_up"), (1, "follow_up"), (2, "versus")):
        later = drawn(calls=calls, follow_ups=1)
        assert {task.slices["kind"] for task in later} == {kind}
        assert all(sum(turn.role == "user" for turn in task.prompt) == 2 for task in later)
    assert {task.slices["level"] for level in WORLD.levels for task in drawn(**level)} == set("012345")


def test_a_comparison_is_answered_with_the_larger_of_what_the_tools_said_and_whose_it_is() -> None:
    asked = [task for task in WORLD.tasks("dev", 80, calls=2) if task.slices["expects"] == "evidence"]
    assert len(asked) > 10
    for task in asked:
        names = [turn.tool_calls[0].arguments["department"] for turn in task.prompt if turn.tool_calls]
        spent = [json.loads(turn.content)["spent"] for turn in task.prompt if turn.role == "tool"]
        more, less = (names if spent[0] > spent[1] else names[::-1]), min(spent)
        assert WORLD.verifier(task, said(f"{more[0]} spent more, {max(spent)} [query_erp].")).passed
        assert not WORLD.verifier(task, said(f"{more[1]} spent more, {max(spent)} [query_erp].")).passed
        assert not WORLD.verifier(task, said(f"{more[0]} spent more, {less} [query_erp].")).passed
        assert not WORLD.verifier(task, said(f"{more[0]} spent {max(spent)} [query_erp].")).passed


def test_a_follow_up_says_whether_it_is_more_or_less_than_what_was_asked_before() -> None:
    asked = [task for task in WORLD.tasks("dev", 60, calls=2, follow_ups=1) if task.slices["expects"] == "evidence"]
    words = set()
    for task in asked:
        was, now = (json.loads(turn.content)["spent"] for turn in task.prompt if turn.role == "tool")
        word, other = ("more", "less") if now > was else ("less", "more")
        assert WORLD.verifier(task, said(f"It spent {word}: {now} [query_erp].")).passed
        assert not WORLD.verifier(task, said(f"It spent {other}: {now} [query_erp].")).passed
        assert not WORLD.verifier(task, said(f"It spent more or less {now} [query_erp].")).passed
        words.add(word)
    assert words == {"more", "less"}


def test_dialled_dialogues_hold_every_call_with_what_the_service_says() -> None:
    for level in WORLD.levels:
        for row in WORLD.demonstrations("train", 10, **level):
            tenant = row.messages[0].content.split()[3].rstrip(".")
            for turn, answer in zip(row.messages, row.messages[1:], strict=False):
                if turn.tool_calls:
                    assert WORLD.execute(turn.tool_calls[0], tenant=tenant) == answer.content
            assert is_preferred(row.messages[-1].content) or row.messages[-2].role != "tool"


def test_another_dial_or_value_is_refused() -> None:
    with pytest.raises(RecipeError, match="cannot be dialled with steps = 3"):
        WORLD.tasks("train", 1, steps=3)
    with pytest.raises(RecipeError, match="calls = 3"):
        WORLD.demonstrations("train", 1, calls=3)


def test_an_unknown_tenant_or_split_is_refused() -> None:
    with pytest.raises(RecipeError, match="no tenant"):
        WORLD.opening("nobody")
    with pytest.raises(RecipeError, match="no split"):
        WORLD.tasks("validation", 1)
    with pytest.raises(RecipeError, match="did you mean 'finance'"):
        get_world("finanse")
