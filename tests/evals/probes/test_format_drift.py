"""The format over long conversations: the slope by hand, planted drift found, a steady model left alone."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from scripted_probes import play
from strop import models
from strop.chat import ChatTemplate
from strop.errors import PromptError, RecipeError
from strop.evals.probes import drift, drift_of, format_drift_suite, long_run
from strop.types import Completion, SamplingParams, Task
from strop.worlds import get_world

FINANCE = get_world("finance")


@pytest.mark.capability("SF-21")
def test_the_slope_by_hand() -> None:
    # depths 0 2 4 8, mean 3.5, Σ(d - 3.5)² = 35; valid 1 1 1 0: Σ(d - 3.5) y = -4.5; the other conversation holds
    lost = [("a", depth, float(depth < 8)) for depth in (0, 2, 4, 8)]
    held = [("b", depth, 1.0) for depth in (0, 2, 4, 8)]
    alone, both = drift(lost), drift([*lost, *held])
    assert alone is not None
    assert (alone.slope, alone.interval, alone.num_conversations) == (pytest.approx(-4.5 / 35), None, 1)
    assert both is not None
    assert both.slope == pytest.approx(-4.5 / 70)
    assert both.by_depth == {0: 1.0, 2: 1.0, 4: 1.0, 8: 0.5}


def test_conversations_that_differ_are_no_drift() -> None:
    # one is always right and was asked early, the other never and late: pooled points would fall, neither does
    points = [("a", 0, 1.0), ("a", 2, 1.0), ("b", 4, 0.0), ("b", 8, 0.0)]
    found = drift(points)
    assert found is not None
    assert found.slope == 0.0


def test_without_two_depths_there_is_no_slope() -> None:
    assert drift([]) is None
    assert drift([("a", 0, 1.0), ("b", 2, 0.0)]) is None


def test_the_same_request_stands_behind_histories_that_begin_alike() -> None:
    suite = format_drift_suite("finance", 24, 0, {})
    assert len(suite.tasks) == 24
    for at in range(0, 24, 4):
        cluster = suite.tasks[at : at + 4]
        assert [len(task.prompt) - 2 for task in cluster] == [0, 2, 4, 8]
        assert len({task.cluster for task in cluster}) == 1
        assert len({task.prompt[-1] for task in cluster}) == 1
        assert all(task.prompt[1:3] == cluster[3].prompt[1:3] for task in cluster[1:])
        assert not any(turn.tool_calls for task in cluster for turn in task.prompt)


def test_the_history_may_be_of_calls_and_results_and_the_setting_is_checked() -> None:
    suite = format_drift_suite("finance", 8, 0, {"tool_history": 1})
    assert [len(task.prompt) - 2 for task in suite.tasks[:4]] == [0, 4, 8, 12]
    assert [turn.role for turn in suite.tasks[1].prompt] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert suite.digest != format_drift_suite("finance", 8, 0, {}).digest
    for wrong in ({"tool_history": 2}, {"tool_histroy": 1}):
        with pytest.raises(RecipeError, match="tool_hist"):
            format_drift_suite("finance", 8, 0, wrong)


@pytest.mark.capability("SF-21")
def test_a_model_that_loses_the_format_after_four_turns_has_a_falling_slope_and_a_steady_one_has_none() -> None:
    suite = format_drift_suite("finance", 80, 0, {})

    def drifting(task: Task) -> str:
        right = FINANCE.reference_text(task)
        return right if int(task.slices["depth"]) <= 4 else right.replace("}}", "}")

    lost, steady = drift_of(play(suite, drifting)), drift_of(play(suite, FINANCE.reference_text))
    assert lost is not None
    assert lost.by_depth == {0: 1.0, 2: 1.0, 4: 1.0, 8: 0.0}
    assert lost.slope == pytest.approx(-4.5 / 35)
    assert steady is not None
    assert steady.slope == 0.0


def test_a_wrong_call_in_the_right_format_is_drift_of_its_arguments_only() -> None:
    suite = format_drift_suite("finance", 40, 0, {})
    other = '<tool_call>{"name": "get_policy", "arguments": {"topic": "gifts"}}</tool_call>'
    found = play(suite, lambda task: FINANCE.reference_text(task) if task.slices["depth"] == "0" else other)
    valid, exact = drift_of(found), drift_of(found, "argument_exact")
    assert valid is not None
    assert valid.slope == 0.0
    assert exact is not None
    assert exact.slope < 0


def test_only_the_finance_world_has_tools_and_small_talk() -> None:
    with pytest.raises(RecipeError, match="there is no format_drift:lookup"):
        format_drift_suite("lookup", 10, 0, {})


# ------------------------------------------------------------------------------------------------- with its own answers

CALL = '<tool_call>{"name": "get_policy", "arguments": {"topic": "gifts"}}</tool_call>'


class Tiring:
    """Calls rightly formed until the prompt is longer than ``limit``; then it forgets a brace. Full at ``context``."""

    def __init__(self, limit: int, context: int = 10_000) -> None:
        self.limit, self.context = limit, context

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        (prompt,) = prompts
        if len(prompt) > self.context:
            raise PromptError("too long", index=0)
        text = CALL if len(prompt) <= self.limit else CALL.replace("}}", "}")
        return [Completion(token_ids=(5,), sampler_logprobs=(0.0,), text=text, finish_reason="stop")]


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return ChatTemplate.load(Path(models.__file__).parent / "tiny")


@pytest.mark.capability("SF-21")
def test_in_a_long_conversation_with_its_own_answers_a_tiring_model_is_found(template: ChatTemplate) -> None:
    steady = long_run(Tiring(10**9), template, num_conversations=3, num_requests=4)
    assert {turn.values["schema_valid"] for turn in steady.turns} == {1.0}
    depths = [turn.depth for turn in steady.turns if turn.conversation == "0"]
    assert depths == sorted(set(depths))
    assert depths[0] == 0
    tired = long_run(Tiring(200), template, num_conversations=3, num_requests=4)
    found = tired.drift()
    assert found is not None
    assert found.slope < 0
    assert found.by_depth[0] == 1.0
    assert found.by_depth[max(found.by_depth)] == 0.0


def test_a_conversation_that_outgrows_the_context_ends_and_is_counted(template: ChatTemplate) -> None:
    full = long_run(Tiring(10**9, context=0), template, num_conversations=2, num_requests=4)
    assert (full.turns, full.num_full, full.drift()) == ((), 2, None)
