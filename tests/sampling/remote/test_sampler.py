"""Sampling from a server process: what it answers, what it does wrong, and what is made of either."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from strop.errors import PromptError, RecipeError, RemoteError
from strop.sampling.remote import RemoteSampler
from strop.types import Completion, SamplingParams

PARAMS = SamplingParams(max_new_tokens=8)
PROMPT = (5, 6, 7)


def ask(server: Any, *faults: dict[str, Any], **settings: Any) -> tuple[Completion, RemoteSampler]:
    """One completion of a sampler that meets the faults in turn."""
    sampler = server.sampler(**settings)
    server.script(*faults)
    return sampler.sample([PROMPT], PARAMS, seeds=[3])[0], sampler


def refused(server: Any, *faults: dict[str, Any], **settings: Any) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        ask(server, *faults, **settings)
    return caught.value


def test_a_completion_has_the_servers_tokens_and_logprobs(server: Any) -> None:
    found, sampler = ask(server)
    assert found == Completion(
        token_ids=(13, 11, 2), sampler_logprobs=(-0.5, -0.5, -0.5), text="13 11", finish_reason="stop"
    )
    assert sampler.traffic.num_tokens == 3
    assert not sampler.traffic.retries


def test_every_parameter_and_seed_is_said_so_that_no_default_of_the_server_counts(server: Any) -> None:
    params = SamplingParams(max_new_tokens=3, stop=("x",), stop_token_ids=(9,))
    server.sampler().sample([PROMPT, PROMPT], params, seeds=[7, 2**63 - 1])
    bodies = server.seen()["requests"]
    assert sorted(body["seed"] for body in bodies) == [7, 2**63 - 1]
    told = {"prompt": [5, 6, 7], "max_tokens": 3, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "n": 1}
    told |= {"repetition_penalty": 1.0, "stop": ["x"], "stop_token_ids": [9], "model": "base", "ignore_eos": False}
    assert told.items() <= bodies[0].items()


@pytest.mark.capability("RL-01")
def test_a_cut_completion_is_never_a_whole_one(server: Any) -> None:
    found = server.sampler().sample([PROMPT], SamplingParams(max_new_tokens=2), seeds=[0])[0]
    assert (found.token_ids, found.finish_reason) == ((10, 11), "length")


def test_answers_come_in_the_order_of_the_prompts_and_no_more_than_asked_at_once(server: Any) -> None:
    slow = [{"stall": 0.05, "first": 20 + i} for i in range(0, 12, 2)]
    sampler = server.sampler(max_concurrency=4)
    sampler.max_length  # noqa: B018  (asked beforehand, so that only completions are counted)
    server.script(*slow)
    found = sampler.sample([(20 + i,) for i in range(12)], PARAMS, seeds=list(range(12)))
    assert [one.token_ids[0] for one in found] == [10 + i % 7 for i in range(12)]
    assert 2 <= server.seen()["most_under_way"] <= 4


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ({"status": 500}, "status 500"),
        ({"status": 503, "text": "busy"}, "status 503"),
        ({"status": 408}, "status 408"),
        ({"drop": "before"}, "dropped"),
        ({"drop": "middle"}, "dropped"),
        ({"raw": '{"choices": [{"ind'}, "garbled"),
        ({"raw": "<html>nginx</html>"}, "garbled"),
        ({"raw": ""}, "garbled"),
        ({"raw": "[]"}, "garbled"),
        ({"edit": {"choices": []}}, "garbled"),
        ({"edit": {"choices.0.finish_reason": None}}, "truncated"),
        ({"edit": {"choices.0.finish_reason": "abort"}}, "aborted"),
        ({"edit": {"choices.0.text": None}}, "garbled"),
    ],
)
def test_what_may_pass_is_asked_again_and_counted(server: Any, fault: dict[str, Any], cause: str) -> None:
    found, sampler = ask(server, fault, fault)
    assert found.token_ids == (13, 11, 2)
    assert dict(sampler.traffic.retries) == {cause: 2}


def test_what_does_not_pass_ends_after_the_last_try_with_its_cause(server: Any) -> None:
    error = refused(server, {"status": 500, "always": True}, max_retries=2)
    assert len(server.seen()["requests"]) == 3
    assert "answered 500: as scripted (tried 3 times)" in error.why
    assert error.where == f"{server.root}/v1/completions, model base"
    assert error.do


def test_a_server_that_asks_for_patience_is_given_it(server: Any) -> None:
    start = time.monotonic()
    found, sampler = ask(server, {"status": 429, "headers": {"Retry-After": "0.4"}})
    assert time.monotonic() - start >= 0.4
    assert found.finish_reason == "stop"
    assert sampler.traffic.retries["status 429"] == 1


def test_more_patience_than_there_is_time_is_an_error_at_once(server: Any) -> None:
    start = time.monotonic()
    error = refused(server, {"status": 429, "headers": {"Retry-After": "60"}}, deadline_s=2.0)
    assert time.monotonic() - start < 2
    assert "no answer within 2 s: answered 429" in error.why


def test_waits_double_and_stay_below_their_bound(server: Any) -> None:
    transport = server.sampler(backoff_s=1.0, max_backoff_s=5.0)._server.transport
    for num_failed, longest in ((0, 1.0), (1, 2.0), (2, 4.0), (3, 5.0), (9, 5.0)):
        waits = [transport._wait(num_failed, None) for _ in range(50)]
        assert longest / 2 <= min(waits) < max(waits) <= longest
    assert transport._wait(9, 0.25) == 0.25


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_the_clients_own_mistakes_are_not_asked_again(server: Any, status: int) -> None:
    error = refused(server, {"status": status, "text": '{"error": {"message": "no good"}}', "always": True})
    assert len(server.seen()["requests"]) == 1
    assert f"answered {status}: no good" in error.why


def test_what_every_request_would_meet_is_met_once(server: Any) -> None:
    server.script({"status": 401, "always": True})
    with pytest.raises(RemoteError, match="not sent, since another request showed"):
        server.sampler(max_concurrency=2).sample([PROMPT] * 20, PARAMS, seeds=range(20))
    assert len(server.seen()["requests"]) <= 3


def test_a_silent_server_is_told_from_a_slow_one(server: Any) -> None:
    found, sampler = ask(server, {"stall": 0.6}, timeout_s=0.2)
    assert found.finish_reason == "stop"
    assert sampler.traffic.retries["stalled"] == 1
    error = refused(server, {"stall": 0.5, "always": True}, timeout_s=0.1, max_retries=1)
    assert "nothing came for 0.1 s (tried 2 times)" in error.why


def test_a_server_that_drips_meets_the_deadline(server: Any) -> None:
    start = time.monotonic()
    error = refused(server, {"drip": 0.05}, deadline_s=0.5)
    assert time.monotonic() - start < 2
    assert "no answer within 0.5 s" in error.why


def test_the_overall_deadline_keeps_what_came_before_it(server: Any) -> None:
    server.script({"stall": 3.0, "first": 6})
    with pytest.raises(RemoteError) as caught:
        server.sampler(overall_deadline_s=0.5).sample([(5,), (6,)], PARAMS, seeds=[0, 1])
    assert caught.value.failures == {1: "no answer within the overall deadline of 0.5 s"}
    kept = caught.value.completions
    assert kept[0].token_ids == (10, 11, 2)
    assert kept[1] is None


def test_partial_failure_names_the_prompts_and_keeps_the_other_completions(server: Any) -> None:
    server.script({"status": 400, "text": "bad prompt", "first": 6, "always": True})
    with pytest.raises(RemoteError) as caught:
        server.sampler().sample([(5,), (6,), (7,), (6,)], PARAMS, seeds=[0, 1, 2, 3])
    error = caught.value
    assert error.what == "2 of 4 prompts have no completion"
    assert error.failures == {1: "answered 400: bad prompt", 3: "answered 400: bad prompt"}
    assert [one and one.token_ids[0] for one in error.completions] == [10, None, 12, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices.0.token_ids.1": -1}, "the token id -1"),
        ({"choices.0.token_ids.1": "7"}, "the token id '7'"),
        ({"choices.0.token_ids.1": True}, "the token id True"),
        ({"choices.0.logprobs.token_logprobs.1": None}, "log-probability of token 1 is None"),
        ({"choices.0.logprobs.token_logprobs.0": 0.7}, "log-probability of token 0 is 0.7"),
        ({"choices.0.logprobs.token_logprobs.2": float("nan")}, "log-probability of token 2 is nan"),
        ({"choices.0.logprobs.token_logprobs.2": -9999.0}, "log-probability of token 2 is -9999.0"),
        ({"choices.0.logprobs.token_logprobs": [-1.0]}, "1 log-probabilities came for 3 tokens"),
        ({"choices.0.logprobs": None}, "without log-probabilities"),
        ({"choices.0.finish_reason": "content_filter"}, "finish_reason 'content_filter'"),
        ({"choices.0.finish_reason": "length"}, "cut at 3 of 8 tokens"),
        ({"choices.0.prompt_token_ids": [1, 5, 6, 7]}, "completed another prompt: 4 tokens for 3"),
        ({"usage.completion_tokens": 4}, "counts 4 tokens and sent 3"),
        ({"model": "other"}, "'other' answered, 'base' was asked"),
        ({"choices.0.token_ids": [], "choices.0.logprobs.token_logprobs": [], "usage": None}, "0 tokens came"),
        ({"choices": [{}, {}]}, "2 choices, one was asked for"),
    ],
)
def test_an_answer_that_cannot_be_believed_is_an_error(server: Any, change: dict[str, Any], message: str) -> None:
    error = refused(server, {"edit": change})
    assert message in error.why
    assert len(server.seen()["requests"]) == 1


def test_weights_of_another_version_are_an_error(server: Any) -> None:
    found, _ = ask(server, {"edit": {"weight_version": "abc"}}, weights="abc")
    assert found.finish_reason == "stop"
    error = refused(server, {"edit": {"weight_version": "abd"}}, weights="abc")
    assert "weights of version 'abd' answered, 'abc' were asked" in error.why


def test_ids_beyond_the_vocabulary_and_false_stops_are_seen_with_a_template(server: Any) -> None:
    template: Any = type("T", (), {"vocab_size": 13, "stop_token_ids": (2,), "text_of": staticmethod(text_of)})
    assert "the token id 13, the vocabulary has 13" in refused(server, template=template).why
    template.vocab_size = 50
    found, _ = ask(server, template=template)
    assert found.text == "<13><11>"
    error = refused(server, {"edit": {"choices.0.token_ids.2": 4}}, template=template)
    assert "says that it stopped, but token 3 of 8 is 4, which ends nothing" in error.why


def text_of(ids: Sequence[int]) -> str:
    """A text that shows the ids."""
    return "".join(f"<{token}>" for token in ids)


def test_a_stop_text_ends_a_completion_whose_tokens_stay(server: Any) -> None:
    template: Any = type("T", (), {"vocab_size": 50, "stop_token_ids": (40,), "text_of": staticmethod(text_of)})
    params = SamplingParams(max_new_tokens=8, stop=("<2>",))
    found = server.sampler(template=template).sample([PROMPT], params, seeds=[0])[0]
    assert found.token_ids == (10, 11, 2)
    assert found.text == "<10><11>"


# ------------------------------------------------------------------------------------------------------------- streams


def test_a_stream_says_the_same_as_a_whole_answer(server: Any) -> None:
    streamed, _ = ask(server, stream=True)
    whole, _ = ask(server)
    assert (streamed.token_ids, streamed.sampler_logprobs) == (whole.token_ids, whole.sampler_logprobs)
    assert streamed.finish_reason == "stop"


def test_a_stream_that_ends_early_is_asked_again(server: Any) -> None:
    found, sampler = ask(server, {"cut": 2}, stream=True)
    assert found.token_ids == (13, 11, 2)
    assert dict(sampler.traffic.retries) == {"truncated": 1}
    error = refused(server, {"cut": 1, "always": True}, stream=True, max_retries=0)
    assert "the stream ended after 1 tokens, before the completion did" in error.why


def test_a_stream_that_stops_moving_is_asked_again(server: Any) -> None:
    found, sampler = ask(server, {"stall_after": 1, "seconds": 0.8}, stream=True, timeout_s=0.3)
    assert found.finish_reason == "stop"
    assert dict(sampler.traffic.retries) == {"stalled": 1}


def test_after_its_deadline_a_streamed_completion_ends_with_what_it_has(server: Any) -> None:
    sampler = server.sampler(stream=True)
    server.script({"stall_after": 2, "seconds": 1.0})
    found = sampler.sample([PROMPT], SamplingParams(max_new_tokens=8, deadline_s=0.4), seeds=[3])[0]
    assert (found.token_ids, found.finish_reason) == ((13, 11), "deadline")


def test_the_deadline_of_a_request_bounds_all_its_tries_together(server: Any) -> None:
    sampler = server.sampler(stream=True, timeout_s=0.5, max_retries=9)
    server.script({"stall_after": 1, "seconds": 0.8}, {"stall_after": 2, "seconds": 5.0, "always": True})
    start = time.monotonic()
    found = sampler.sample([PROMPT], SamplingParams(max_new_tokens=8, deadline_s=0.8), seeds=[3])[0]
    assert time.monotonic() - start < 1.6
    assert (found.token_ids, found.finish_reason) == ((13, 11), "deadline")  # of the second try
    assert dict(sampler.traffic.retries) == {"stalled": 1}


def test_before_its_first_token_the_deadline_leaves_nothing_and_no_token_of_a_failed_try(server: Any) -> None:
    sampler = server.sampler(stream=True, timeout_s=5.0)
    for faults in ([{"stall": 3.0}], [{"cut": 2}, {"stall": 3.0}]):
        server.script(*faults)
        found = sampler.sample([PROMPT], SamplingParams(max_new_tokens=8, deadline_s=0.4), seeds=[3])[0]
        assert (found.token_ids, found.text, found.finish_reason) == ((), "", "deadline")


def test_a_failure_that_outlasts_the_deadline_of_a_request_is_told_as_what_it_is(server: Any) -> None:
    sampler = server.sampler(stream=True, max_retries=9)
    server.script({"status": 503, "headers": {"Retry-After": "2"}, "always": True})
    with pytest.raises(RemoteError, match=r"no answer within 0\.5 s: answered 503"):
        sampler.sample([PROMPT], SamplingParams(max_new_tokens=8, deadline_s=0.5), seeds=[3])


# ---------------------------------------------------------------------------------------------- what servers cannot do


def test_a_server_without_token_ids_is_refused_by_name(plain_server: Any) -> None:
    named, sampler = ask(plain_server)
    assert sampler.dialect == "openai"
    assert named.token_ids == (13, 11, 2)  # ids that stand in the names of tokens
    error = refused(plain_server, {"edit": {"choices.0.logprobs.tokens": ["a", "b", "c"]}})
    assert "the server answers without token ids" in error.why
    assert "return_token_ids" in error.do


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(top_k=3),
        SamplingParams(min_p=0.1),
        SamplingParams(repetition_penalty=1.1),
        SamplingParams(stop_token_ids=(3,)),
        SamplingParams(stop=("a", "b", "c", "d", "e")),
    ],
)
def test_what_a_plain_server_would_ignore_is_refused(plain_server: Any, params: SamplingParams) -> None:
    with pytest.raises(RecipeError, match="cannot sample with"):
        plain_server.sampler().sample([PROMPT], params, seeds=[0])


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(logit_bias={3: float("-inf")}),
        SamplingParams(logit_bias={3: 100.5}),
        SamplingParams(min_p=0.1, top_p=0.9),
        SamplingParams(deadline_s=1.0),
        SamplingParams(temperature=0.7, full_logprobs=True),
    ],
)
def test_what_no_server_does_is_refused(server: Any, params: SamplingParams) -> None:
    with pytest.raises(RecipeError, match="cannot sample with"):
        server.sampler().sample([PROMPT], params, seeds=[0])


def test_full_logprobs_are_the_servers_where_the_distribution_is_the_models_own(server: Any) -> None:
    found = server.sampler().sample([PROMPT], SamplingParams(max_new_tokens=3, full_logprobs=True), seeds=[0])[0]
    assert found.full_logprobs == found.sampler_logprobs


def test_a_temperature_is_refused_where_logprobs_are_reported_before_it(server: Any) -> None:
    tempered = server.sampler()
    assert tempered.sample([PROMPT], SamplingParams(temperature=0.7), seeds=[0])
    assert tempered.reporting(PROMPT) == "tempered"
    fixed = {"choices.0.logprobs.top_logprobs": [{"a": -0.5, "b": -1.5}]}
    server.script({"edit": fixed, "always": True})
    with pytest.raises(RecipeError, match="processed_logprobs"):
        server.sampler().sample([PROMPT], SamplingParams(temperature=0.7), seeds=[0])
    sure = {"choices.0.logprobs.top_logprobs": [{"a": 0.0, "b": -99.0}]}
    server.script({"edit": sure, "always": True})
    with pytest.raises(RecipeError, match="could not be seen"):
        server.sampler().sample([PROMPT], SamplingParams(top_p=0.9), seeds=[0])


def test_bad_prompts_are_refused_before_anything_is_sent(server: Any) -> None:
    sampler = server.sampler()
    for prompts, match in (
        ([PROMPT, ()], "the prompt is empty"),
        ([PROMPT, (3, None)], "holds None, which is no token id"),
        ([PROMPT, (3, -1)], "the token id -1"),
        ([PROMPT, (3,) * 249], "249 tokens, and 8 new tokens"),
    ):
        with pytest.raises(PromptError, match=match) as caught:
            sampler.sample(prompts, PARAMS, seeds=[0, 1])
        assert caught.value.index == 1
    assert server.seen()["requests"] == []
    assert sampler.sample([], PARAMS, seeds=[]) == []


@pytest.mark.parametrize(
    ("seeds", "adapters", "match"),
    [
        ([0], None, "2 prompts with 1 seeds"),
        ([0, 1, 2], None, "2 prompts with 3 seeds"),
        ([0, 1], ["a"], "2 prompts with 1 adapters"),
        ([0, 1.5], None, "the seed 1.5 is no whole number"),
        ([0, None], None, "the seed None is no whole number"),
        ([0, -1], None, "the seed -1 cannot be sent"),
        ([0, 2**63], None, "the seed 9223372036854775808 cannot be sent"),
    ],
)
def test_bad_rows_are_refused_before_anything_is_sent(server: Any, seeds: Any, adapters: Any, match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        server.sampler().sample([PROMPT, PROMPT], PARAMS, seeds=seeds, adapters=adapters)
    assert server.seen()["requests"] == []


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32])
def test_prompts_and_seeds_of_numpy_are_as_good(server: Any, dtype: Any) -> None:
    found = server.sampler().sample(np.array([PROMPT, PROMPT], dtype), PARAMS, seeds=np.array([3, 4], dtype))
    assert [one.token_ids for one in found] == [(13, 11, 2), (14, 11, 2)]
    assert {(tuple(body["prompt"]), body["seed"]) for body in server.seen()["requests"]} == {(PROMPT, 3), (PROMPT, 4)}


def test_an_unknown_model_is_told_with_those_that_there_are(server: Any) -> None:
    sampler = RemoteSampler(f"{server.root}/v1", "bass")
    with pytest.raises(RemoteError, match=r"no model bass(.|\n)*it has base"):
        sampler.sample([PROMPT], PARAMS, seeds=[0])
    sampler.close()
