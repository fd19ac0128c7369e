"""The engine around the model: order, memory, streaming, endings, and errors that hit only whom they concern."""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scripted_decoder import ScriptedDecoder, hashed
from strop.errors import MemoryLimitError, ModelError, NonFiniteError, PromptError, RecipeError
from strop.models import LoRA, Policy
from strop.sampling import Engine, Event, Request, read_adapter
from strop.sampling.admission import default_cache_bytes
from strop.sampling.decoding import Decoder
from strop.sampling.generic import GenericDecoder
from strop.sampling.torch_sampler import choose_decoder
from strop.types import Completion, Constraint, SamplingParams


@pytest.fixture(scope="module")
def policy(chat_folder: Path) -> Policy:
    return Policy.load(chat_folder, device="cpu", dtype="float32")


def scripted(policy: Policy, *, never_stop: bool = True, **bounds: Any) -> tuple[Engine, ScriptedDecoder]:
    size = policy.template.vocab_size
    rule = hashed(size)

    def without_stop(token_ids: tuple[int, ...], adapter: int) -> torch.Tensor:
        logits = rule(token_ids, adapter)
        logits[list(policy.template.stop_token_ids)] = -torch.inf
        return logits

    decoder = ScriptedDecoder(size, without_stop if never_stop else rule)
    return Engine(policy, decoder=decoder, **bounds), decoder


def request(seed: int = 0, num: int = 8, prompt: tuple[int, ...] = (10, 11, 12), **fields: Any) -> Request:
    stream = fields.pop("stream", False)
    return Request(prompt=prompt, params=SamplingParams(max_new_tokens=num, **fields), seed=seed, stream=stream)


def drain(engine: Engine) -> dict[int, list[Event]]:
    events: dict[int, list[Event]] = {}
    while not engine.is_idle:
        for event in engine.step():
            events.setdefault(event.id, []).append(event)
    return events


def completion_of(events: list[Event]) -> Completion:
    [completion] = [event.completion for event in events if event.completion is not None]
    assert events[-1].completion is completion
    return completion


# ----------------------------------------------------------------------------------------------------------- the batch


def test_rows_enter_as_others_leave_within_the_bound_on_rows(policy: Policy) -> None:
    engine, decoder = scripted(policy, max_rows=3)
    engine.run([request(seed, num=2 + 3 * seed) for seed in range(7)])
    assert max(decoder.widths) == 3
    assert decoder.calls["add"] > 1
    # Seven requests one after another would take 2 + 5 + ... + 20 = 77 steps, less one each.
    assert decoder.calls["advance"] < 40


def test_rows_enter_within_the_bound_on_bytes_and_one_always_runs(policy: Policy) -> None:
    # The script counts a byte a token of prompt and room: 11 a row.
    engine, decoder = scripted(policy, max_bytes=25)
    engine.run([request(seed) for seed in range(5)])
    assert max(decoder.widths) == 2
    engine, decoder = scripted(policy, max_bytes=5)
    assert len(engine.run([request(seed) for seed in range(3)])) == 3
    assert max(decoder.widths) == 1


def test_a_full_batch_waits_for_an_eighth_before_it_prefills_again(policy: Policy) -> None:
    engine, decoder = scripted(policy, max_rows=16)
    engine.run([request(seed, num=4 + seed) for seed in range(48)])
    # One prefill a newcomer would be 33.
    assert decoder.calls["add"] <= 1 + 32 / 2
    assert max(decoder.widths) <= 16


def test_many_long_prompts_are_not_prefilled_in_one_step(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strop.sampling.admission._PREFILL_TOKENS", 40)
    engine, decoder = scripted(policy)
    prompts = [tuple(range(10 + i, 30 + i)) for i in range(4)]
    for prompt in [*prompts, *[prompts[3]] * 3]:  # a group's prompt counts once
        engine.submit(request(prompt=prompt, num=9))
    sizes = []
    for _ in range(3):
        engine.step()
        sizes.append(len(decoder.rows))
    assert sizes == [2, 7, 7]
    engine, decoder = scripted(policy)
    engine.submit(request(prompt=tuple(range(10, 90))))  # alone it enters whatever its length
    engine.step()
    assert len(decoder.rows) == 1


def test_requests_start_in_the_order_they_came(policy: Policy) -> None:
    engine, _ = scripted(policy, max_rows=1)
    ids = [engine.submit(request(seed, num=2)) for seed in range(4)]
    assert list(drain(engine)) == ids


def test_weights_are_taken_over_when_the_batch_is_empty_and_the_time_is_counted(policy: Policy) -> None:
    engine, decoder = scripted(policy)
    engine.run([request(0), request(1)])
    assert decoder.calls["refresh"] == 1
    engine.submit(request(2))
    engine.step()
    engine.step()
    assert decoder.calls["refresh"] == 2
    assert engine.refresh_seconds == pytest.approx(0.5)


def test_weights_changed_inside_a_held_session_are_taken_over_before_the_next_request(policy: Policy) -> None:
    decoder, _ = choose_decoder(policy)
    engine = Engine(policy, decoder=decoder)
    weight = policy.model.model.layers[0].mlp.gate_proj.weight
    before = weight.detach().clone()
    try:
        with engine.session():
            [first] = engine.run([request(1, num=6, temperature=0.0)])
            with torch.inference_mode(False), torch.no_grad():
                weight.copy_(40 * before.flip(0))
            [held] = engine.run([request(1, num=6, temperature=0.0)])
        [fresh] = Engine(policy).run([request(1, num=6, temperature=0.0)])
    finally:
        with torch.no_grad():
            weight.copy_(before)
    assert held.token_ids == fresh.token_ids != first.token_ids


def test_an_error_while_weights_are_taken_over_is_told_and_the_engine_goes_on(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, decoder = scripted(policy)

    def broken() -> float:
        raise ZeroDivisionError("of the weights")

    with monkeypatch.context() as patch:
        patch.setattr(decoder, "refresh", broken)
        with pytest.raises(ZeroDivisionError, match="of the weights"):
            engine.run([request(0), request(1)])
    assert engine.is_idle
    assert len(engine.run([request(0)])) == 1


def test_run_keeps_the_events_of_requests_submitted_before(policy: Policy) -> None:
    engine, _ = scripted(policy)
    id = engine.submit(request(5, num=3))
    [other] = engine.run([request(6, num=9)])
    assert len(other.token_ids) == 9
    [event] = engine.step()
    assert event.id == id
    assert event.completion is not None
    assert len(event.completion.token_ids) == 3
    assert engine.is_idle


# ------------------------------------------------------------------------------------------------------------ streaming


def test_streamed_pieces_are_the_completion_and_never_split_a_character(policy: Policy) -> None:
    template = policy.template
    texts = ["naïve 漢字 🙂 end", "stop here STOP not this", "€€€ half \N{SNOWMAN}"]
    for text in texts:
        ids = template.text_ids(text)
        prompt = (10, 11)

        def rule(token_ids: tuple[int, ...], adapter: int, ids: tuple[int, ...] = ids) -> torch.Tensor:
            at = len(token_ids) - 2
            logits = torch.full((template.vocab_size,), -30.0)
            logits[ids[at] if at < len(ids) else template.stop_token_ids[0]] = 0.0
            return logits

        engine = Engine(policy, decoder=ScriptedDecoder(template.vocab_size, rule))
        stop = ("STOP", "never")
        params = SamplingParams(max_new_tokens=100, temperature=0, stop=stop)
        id = engine.submit(Request(prompt=prompt, params=params, stream=True))
        events = drain(engine)[id]
        completion = completion_of(events)
        assert "".join(event.text for event in events) == completion.text == text.split("STOP")[0]
        assert all("\N{REPLACEMENT CHARACTER}" not in event.text for event in events)
        assert tuple(t for event in events for t in event.token_ids) == completion.token_ids
        assert tuple(p for event in events for p in event.logprobs) == completion.sampler_logprobs
        assert completion.finish_reason == "stop"
        assert len(events) == len(completion.token_ids)
        # The tokens of the stop text stay, and where it was found no stop token follows.
        assert (completion.token_ids[-1] in template.stop_token_ids) == ("STOP" not in text)


def test_a_text_that_ends_inside_a_character_is_told_when_it_is_over(policy: Policy) -> None:
    ids = policy.template.text_ids("a€")
    assert len(ids) == 4  # the sign has three bytes, each a token

    def rule(token_ids: tuple[int, ...], adapter: int) -> torch.Tensor:
        logits = torch.full((policy.template.vocab_size,), -30.0)
        logits[ids[len(token_ids) - 1]] = 0.0
        return logits

    engine = Engine(policy, decoder=ScriptedDecoder(policy.template.vocab_size, rule))
    id = engine.submit(Request(prompt=(5,), params=SamplingParams(max_new_tokens=3, temperature=0), stream=True))
    events = drain(engine)[id]
    assert [event.text for event in events] == ["a", "", "\N{REPLACEMENT CHARACTER}"]
    assert completion_of(events).finish_reason == "length"
    assert completion_of(events).text == "a\N{REPLACEMENT CHARACTER}"


def test_only_streamed_requests_tell_every_token(policy: Policy) -> None:
    engine, _ = scripted(policy)
    quiet, told = engine.submit(request(1)), engine.submit(request(1, stream=True))
    events = drain(engine)
    assert len(events[quiet]) == 1
    assert len(events[told]) == 8
    assert completion_of(events[quiet]) == completion_of(events[told])


# ------------------------------------------------------------------------------------------------------------- endings


def test_a_stop_token_of_the_request_ends_it_and_is_not_in_the_text(policy: Policy) -> None:
    engine, _ = scripted(policy)
    [plain] = engine.run([request(3, num=12)])
    stop = plain.token_ids[5]
    [cut] = engine.run([request(3, num=12, stop_token_ids=(stop,))])
    end = plain.token_ids.index(stop) + 1
    assert cut.token_ids == plain.token_ids[:end]
    assert cut.finish_reason == "stop"
    assert cut.text == policy.template.decode(plain.token_ids[: end - 1])
    assert plain.finish_reason == "length"


def test_a_deadline_ends_a_request_with_what_it_has_running_or_waiting(policy: Policy) -> None:
    now = [0.0]
    engine, decoder = scripted(policy, max_rows=1, clock=lambda: now[0])
    running = engine.submit(request(1, num=50, deadline_s=3.5))
    waiting = engine.submit(request(2, num=50, deadline_s=1.5))
    patient = engine.submit(request(3, num=2))
    events: list[Event] = []
    while not engine.is_idle:
        events += engine.step()
        now[0] += 1.0
    done = {event.id: event.completion for event in events}
    assert done[running] is not None
    assert done[running].finish_reason == "deadline"
    assert len(done[running].token_ids) == 4
    assert done[waiting] is not None
    assert (done[waiting].finish_reason, done[waiting].token_ids, done[waiting].text) == ("deadline", (), "")
    assert done[patient] is not None
    assert done[patient].finish_reason == "length"
    assert not decoder.rows


def test_a_cancelled_request_frees_its_row_at_once_and_keeps_what_it_has(policy: Policy) -> None:
    engine, decoder = scripted(policy)
    first, second = engine.submit(request(1, num=20)), engine.submit(request(2, num=6))
    for _ in range(3):
        engine.step()
    assert decoder.bytes_used == 2000
    assert engine.cancel(first)
    assert decoder.bytes_used == 1000
    assert engine.num_running == 1
    assert not engine.cancel(first)
    assert not engine.cancel(99)
    events = drain(engine)
    [alone] = scripted(policy)[0].run([request(2, num=6)])
    assert completion_of(events[second]) == alone
    assert completion_of(events[first]).finish_reason == "cancelled"
    assert len(completion_of(events[first]).token_ids) == 3


def test_a_waiting_request_can_be_cancelled(policy: Policy) -> None:
    engine, _ = scripted(policy, max_rows=1)
    engine.submit(request(1, num=3))
    waiting = engine.submit(request(2, num=3))
    engine.step()
    assert engine.cancel(waiting)
    assert engine.num_waiting == 0
    assert completion_of(drain(engine)[waiting]).token_ids == ()


def test_a_cancelled_request_frees_the_memory_of_a_real_cache(policy: Policy) -> None:
    engine = Engine(policy)
    ids = [engine.submit(request(seed, num=40, prompt=tuple(range(10, 40)))) for seed in range(4)]
    engine.step()
    before = engine.decoder.bytes_used
    for id in ids[:3]:
        engine.cancel(id)
    assert engine.decoder.bytes_used == before / 4
    engine.cancel(ids[3])
    assert engine.decoder.bytes_used == 0


# -------------------------------------------------------------------------------------------------------------- errors


def test_logits_that_are_not_finite_end_only_the_row_that_has_them(policy: Policy) -> None:
    size = policy.template.vocab_size
    rule = hashed(size)

    def poisoned(token_ids: tuple[int, ...], adapter: int) -> torch.Tensor:
        return (
            torch.full((size,), torch.nan) if token_ids[0] == 66 and len(token_ids) == 5 else rule(token_ids, adapter)
        )

    decoder = ScriptedDecoder(size, poisoned)
    engine = Engine(policy, decoder=decoder)
    sick = engine.submit(request(1, prompt=(66, 7, 8)))
    well = engine.submit(request(2, prompt=(67, 7, 8)))
    events = drain(engine)
    [told] = events[sick]
    assert isinstance(told.error, NonFiniteError)
    assert f"new token 3\n  where: sampling, request {sick}" in str(told.error)
    [alone] = Engine(policy, decoder=ScriptedDecoder(size, rule)).run([request(2, prompt=(67, 7, 8))])
    assert completion_of(events[well]) == alone
    assert not decoder.rows
    with pytest.raises(NonFiniteError, match="new token 3"):
        engine.run([request(2), request(1, prompt=(66, 7, 8))])
    assert engine.is_idle
    assert not decoder.rows


def test_an_error_in_a_run_loses_nothing_of_requests_submitted_before(policy: Policy) -> None:
    size = policy.template.vocab_size

    def poisoned(token_ids: tuple[int, ...], adapter: int) -> torch.Tensor:
        is_sick = token_ids[0] == 66 and len(token_ids) == 5
        return torch.full((size,), torch.nan) if is_sick else hashed(size)(token_ids, adapter)

    engine = Engine(policy, decoder=ScriptedDecoder(size, poisoned))
    engine.submit(request(1, num=9))
    sick = request(1, prompt=(66, 7, 8))
    # Over in the very step that stops the run: they have three tokens, and the sick one fails at its third.
    late = [engine.submit(request(seed, num=3, prompt=(67, 7, 8))) for seed in range(2)]
    with pytest.raises(NonFiniteError):
        engine.run([sick])
    events = drain(engine)
    assert set(late) < set(events)
    assert all(completion_of(told) for told in events.values())


def test_where_the_callers_biases_leave_no_token_the_model_is_not_blamed(policy: Policy) -> None:
    size, stop = policy.template.vocab_size, policy.template.stop_token_ids[0]
    [a] = policy.template.text_ids("a")

    def told(params: SamplingParams, rule: Any = None) -> str:
        engine = Engine(policy, decoder=ScriptedDecoder(size, rule))
        with pytest.raises(RecipeError) as error:
            engine.run([Request(prompt=(5,), params=params)])
        return str(error.value)

    only_a = Constraint(kind="choice", value=("a",))
    ban = SamplingParams(max_new_tokens=4, constraint=only_a, logit_bias={a: -math.inf})
    assert "no token is left to draw at new token 1" in told(ban)
    assert "logit_bias rule out (-inf) every token that the constraint allows" in told(ban)
    endless = dict.fromkeys(policy.template.stop_token_ids, -math.inf)
    message = told(SamplingParams(max_new_tokens=4, constraint=only_a, logit_bias=endless))
    assert "a constraint and logit_bias = -inf for every stop token" in message

    def silent(token_ids: tuple[int, ...], adapter: int) -> torch.Tensor:
        logits = hashed(size)(token_ids, adapter)
        logits[[stop, a]] = -torch.inf
        return logits

    assert "the model rule out (-inf) every token that the constraint allows" in told(
        SamplingParams(max_new_tokens=4, constraint=only_a), silent
    )
    others = {token: -math.inf for token in range(size) if token not in (stop, a)}
    assert "logit_bias and the model rule out (-inf) every token\n" in told(SamplingParams(logit_bias=others), silent)

    def enormous(token_ids: tuple[int, ...], adapter: int) -> torch.Tensor:
        return torch.linspace(0, 3e38, size)

    assert "the model's logits go up to 3e+38" in told(SamplingParams(temperature=1e-6), enormous)


@pytest.mark.parametrize("where", ["add", "advance"])
def test_after_an_error_of_the_model_the_engine_goes_on(
    policy: Policy, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, decoder = scripted(policy)
    ids = [engine.submit(request(seed)) for seed in range(2)]
    with monkeypatch.context() as patch:

        def broken(*_: object) -> None:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")

        patch.setattr(decoder, where, broken)
        events = drain(engine)
    for id in ids:
        [event] = events[id]
        assert isinstance(event.error, MemoryLimitError)
        assert "max_bytes" in str(event.error)
    assert not decoder.rows
    [after] = engine.run([request(3)])
    [fresh] = scripted(policy)[0].run([request(3)])
    assert after == fresh


def test_an_unexpected_error_is_raised_by_run_as_it_is(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, decoder = scripted(policy)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("of the decoder")

    monkeypatch.setattr(decoder, "advance", broken)
    with pytest.raises(ZeroDivisionError, match="of the decoder"):
        engine.run([request(0), request(1)])
    assert engine.is_idle
    assert not decoder.rows


def test_an_interrupt_leaves_no_rows_behind(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, decoder = scripted(policy)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(decoder, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.run([request(0), request(1)])
    assert not decoder.rows
    assert engine.is_idle
    assert len(engine.run([request(0)])) == 1


@pytest.mark.parametrize(
    ("prompt", "message"),
    [((), "empty"), ((5, 9_999), "token id 9999"), ((-1,), "token id -1"), (tuple([9] * 505), "context of 512")],
)
def test_a_prompt_that_cannot_be_taken_is_refused_when_it_comes(
    policy: Policy, prompt: tuple[int, ...], message: str
) -> None:
    engine = Engine(policy)
    with pytest.raises(PromptError, match=message):
        engine.submit(request(prompt=prompt))
    with pytest.raises(PromptError, match=message) as error:
        engine.run([request(), request(prompt=prompt)])
    assert error.value.index == 1
    assert engine.is_idle


def test_an_adapter_is_loaded_from_its_folder_and_what_is_none_is_refused(
    policy: Policy, chat_folder: Path, tmp_path: Path
) -> None:
    Policy.load(chat_folder, device="cpu", dtype="float32", lora=LoRA(rank=2)).save(tmp_path / "lora")
    engine = Engine(policy)
    assert engine.load_adapter(tmp_path / "lora") == engine.load_adapter(read_adapter(tmp_path / "lora"))
    with pytest.raises(ModelError):
        engine.load_adapter(tmp_path / "nothing")


def test_an_adapter_that_is_not_loaded_is_refused(policy: Policy) -> None:
    with pytest.raises(ModelError, match="no adapter 'bank_A'"):
        Engine(policy).submit(Request(prompt=(5,), adapter="bank_A"))


def test_parameters_are_checked_against_the_vocabulary(policy: Policy) -> None:
    with pytest.raises(RecipeError, match="stop token 70000"):
        Engine(policy).submit(request(stop_token_ids=(70_000,)))


# -------------------------------------------------------------------------------------------------------------- memory


def churn(engine: Engine, num_requests: int) -> None:
    """Requests in a row with cancellations and errors among them, at most eight at a time."""
    for number in range(num_requests):
        id = engine.submit(request(number, num=2, stream=number % 3 == 0))
        if number % 5 == 0:
            engine.cancel(id)
        if number % 7 == 0:
            with pytest.raises(PromptError):
                engine.submit(request(prompt=()))
        if number % 8 == 7:
            drain(engine)
    drain(engine)
    gc.collect()


@pytest.mark.parametrize("choose", [GenericDecoder, lambda policy: choose_decoder(policy)[0]])
def test_hundreds_of_requests_leave_no_memory_behind(policy: Policy, choose: Callable[[Policy], Decoder]) -> None:
    engine = Engine(policy, decoder=choose(policy))
    tracemalloc.start()
    try:
        churn(engine, 200)
        before = tracemalloc.get_traced_memory()[0]
        churn(engine, 400)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert engine.decoder.bytes_used == 0
    assert after - before < 400 * 100  # a completion takes some 400 bytes, a row 2,000


@pytest.mark.slow
@pytest.mark.parametrize("choose", [GenericDecoder, lambda policy: choose_decoder(policy)[0]])
def test_ten_thousand_requests_leave_no_memory_behind(policy: Policy, choose: Callable[[Policy], Decoder]) -> None:
    def resident() -> int:
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(fields["VmRSS"].split()[0]) * 1024

    engine = Engine(policy, decoder=choose(policy))
    churn(engine, 1000)
    before = resident()
    churn(engine, 10_000)
    assert resident() - before < 10_000 * 400
    assert engine.decoder.bytes_used == 0


def test_the_generic_decoder_is_what_an_engine_takes_by_itself(policy: Policy) -> None:
    assert isinstance(Engine(policy).decoder, GenericDecoder)


def test_an_unbounded_engine_takes_a_quarter_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strop.models.hardware.free_memory_bytes", lambda device: 40 * 2**30)
    assert default_cache_bytes(torch.device("cpu")) == 10 * 2**30
    monkeypatch.setattr("strop.models.hardware.free_memory_bytes", lambda device: 2**30)
    assert default_cache_bytes(torch.device("cpu")) == 2**30
