"""Completions under a constraint: always in the language, in time, with the mass that the constraint left."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from scripted_decoder import ScriptedDecoder, hashed
from strop.errors import ConstraintError
from strop.models import Policy
from strop.sampling import Engine, Request, TorchSampler
from strop.sampling.generic import GenericDecoder
from strop.types import Completion, Constraint, SamplingParams

SCHEMA = {
    "type": "object",
    "properties": {
        "department": {"enum": ["sales", "logistics"]},
        "amount": {"type": "integer", "minimum": 0, "maximum": 999},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["department", "amount", "notes"],
    "additionalProperties": False,
}
JSON = Constraint(kind="json_schema", value=SCHEMA)


@pytest.fixture(scope="module")
def policy(chat_folder: Path) -> Policy:
    return Policy.load(chat_folder, device="cpu", dtype="float32")


def params(constraint: Constraint, num: int = 64, temperature: float = 1.5, **fields: object) -> SamplingParams:
    return SamplingParams(max_new_tokens=num, temperature=temperature, constraint=constraint, **fields)  # type: ignore[arg-type]


@pytest.mark.capability("CD-01", "CD-03")
def test_a_random_model_writes_valid_json_and_ends_in_time(policy: Policy) -> None:
    prompts = [[10 + i, 20, 30] for i in range(12)]
    completions = TorchSampler(policy).sample(prompts, params(JSON), seeds=range(12))
    for completion in completions:
        value = json.loads(completion.text)
        assert list(value) == ["department", "amount", "notes"]
        assert value["department"] in ("sales", "logistics")
        assert 0 <= value["amount"] <= 999
        assert all(isinstance(note, str) for note in value["notes"])
        assert completion.finish_reason == "stop"
        assert completion.token_ids[-1] in policy.template.stop_token_ids
        assert completion.violations == ()
        assert completion.log_allowed_mass is not None
        assert completion.log_allowed_mass < -1  # a random model would not have written this
    assert len({completion.text for completion in completions}) > 6


@pytest.mark.capability("CD-02")
@pytest.mark.parametrize(
    ("constraint", "language"),
    [
        (Constraint(kind="choice", value=("yes", "no", "not at all")), {"yes", "no", "not at all"}),
        (Constraint(kind="regex", value="[ab]{2}"), {"aa", "ab", "ba", "bb"}),
        (Constraint(kind="lark", value='start: "x" ("y" | "z")'), {"xy", "xz"}),
    ],
)
def test_every_word_of_a_small_language_is_drawn_and_nothing_else(
    policy: Policy, constraint: Constraint, language: set[str]
) -> None:
    completions = TorchSampler(policy).sample([[50]] * 60, params(constraint, 16, 8.0), seeds=range(60))
    assert {completion.text for completion in completions} == language
    assert all(completion.finish_reason == "stop" for completion in completions)


@pytest.mark.capability("CD-08")
def test_log_probabilities_and_mass_are_those_of_masked_plain_forwards(policy: Policy) -> None:
    constraint = Constraint(kind="choice", value=("ab", "ac", "b"))
    [completion] = TorchSampler(policy).sample([[50, 60]], params(constraint, 6, 0.8), seeds=[4])
    mass = total = 0.0
    remaining = ["ab", "ac", "b"]
    ids = [50, 60]
    token_bytes = [policy.template.tokenizer.decode([i]) for i in range(policy.template.vocab_size)]
    told = ""
    for token, logprob in zip(completion.token_ids, completion.sampler_logprobs, strict=True):
        with torch.no_grad():
            p = (policy.model(input_ids=torch.tensor([ids])).logits[0, -1].double() / 0.8).softmax(-1)
        # By hand: a token may come if what it spells begins the rest of a choice, a stop if a choice is whole.
        allowed = [
            i
            for i, text in enumerate(token_bytes)
            if (i in policy.template.stop_token_ids and told in remaining)
            or (i not in policy.template.stop_token_ids and text and any(w.startswith(told + text) for w in remaining))
        ]
        z = float(p[allowed].sum())
        mass += math.log(z)
        total += math.log(float(p[token]) / z)
        assert logprob == pytest.approx(math.log(float(p[token]) / z), abs=1e-4)
        told += token_bytes[token] if token not in policy.template.stop_token_ids else ""
        ids.append(token)
    assert completion.log_allowed_mass == pytest.approx(mass, abs=1e-4)


def test_constrained_and_free_rows_share_a_batch_without_touching_each_other(policy: Policy) -> None:
    free = Request(prompt=(10, 11), params=SamplingParams(max_new_tokens=20), seed=7)
    held = Request(prompt=(10, 11), params=params(JSON), seed=7)
    together = Engine(policy).run([free, held, free])
    assert together[0].token_ids == together[2].token_ids
    [free_alone], [held_alone] = Engine(policy).run([free]), Engine(policy).run([held])
    assert together[0].token_ids == free_alone.token_ids
    assert together[0].log_allowed_mass is None
    assert together[1].token_ids == held_alone.token_ids


def with_script(
    policy: Policy, *, can_extend: bool, penalty: float = 1.0, num: int = 4
) -> tuple[list[Completion], ScriptedDecoder]:
    decoder = ScriptedDecoder(policy.template.vocab_size, can_extend=can_extend)
    requests = [
        Request(
            prompt=(9, i),
            params=params(
                JSON, 80, 0.7 + 0.1 * i, full_logprobs=True, repetition_penalty=penalty if i % 2 == 0 else 1.0
            ),
            seed=i,
        )
        for i in range(4)
    ]
    return Engine(policy, decoder=decoder).run(requests), decoder


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_forced_tokens_in_one_forward_change_nothing_but_the_number_of_forwards(policy: Policy, penalty: float) -> None:
    slow, one_by_one = with_script(policy, can_extend=False, penalty=penalty)
    fast, leaping = with_script(policy, can_extend=True, penalty=penalty)
    for a, b in zip(slow, fast, strict=True):
        assert a.token_ids == b.token_ids
        assert a.text == b.text
        assert a.sampler_logprobs == pytest.approx(b.sampler_logprobs, abs=1e-9)
        assert a.full_logprobs == pytest.approx(b.full_logprobs, abs=1e-9)
        assert a.log_allowed_mass == pytest.approx(b.log_allowed_mass, abs=1e-9)
    assert leaping.calls["extend"] > 0
    # Rows with a penalty go one by one, and the longest row decides the number of steps.
    assert leaping.calls["advance"] <= one_by_one.calls["advance"] - (penalty == 1)
    # '{"department":"' leaves no choice: its tokens have probability one under the constraint.
    opening = len(policy.template.text_ids('{"department":"')) - 2
    assert all(completion.sampler_logprobs[:opening] == (0.0,) * opening for completion in slow)


def test_every_decoder_writes_the_same_under_a_constraint(policy: Policy) -> None:
    prompts = [[10 + i, 20, 30] for i in range(6)]
    chosen = TorchSampler(policy)
    generic = TorchSampler(policy, decoder=GenericDecoder(policy))
    fast = chosen.sample(prompts, params(JSON), seeds=range(6))
    slow = generic.sample(prompts, params(JSON), seeds=range(6))
    for a, b in zip(fast, slow, strict=True):
        assert a.token_ids == b.token_ids
        assert a.sampler_logprobs == pytest.approx(b.sampler_logprobs, abs=1e-4)
        assert a.log_allowed_mass == pytest.approx(b.log_allowed_mass, abs=1e-3)
    assert chosen.engine.decoder.can_extend  # so that forced tokens were fed at once


def test_ids_of_the_model_that_the_tokenizer_lacks_are_never_drawn_under_a_constraint(policy: Policy) -> None:
    size = policy.template.vocab_size + 37

    def tail(token_ids: tuple[int, ...], adapter: int) -> torch.Tensor:
        logits = hashed(size)(token_ids, adapter)
        logits[policy.template.vocab_size :] += 9.0
        return logits

    engine = Engine(policy, decoder=ScriptedDecoder(size, tail))
    free, held = engine.run(
        [Request(prompt=(9,), params=SamplingParams(max_new_tokens=5)), Request(prompt=(9,), params=params(JSON))]
    )
    assert max(free.token_ids) >= policy.template.vocab_size
    assert max(held.token_ids) < policy.template.vocab_size
    json.loads(held.text)


def test_a_leap_waits_while_it_would_cost_more_than_it_saves(policy: Policy) -> None:
    # One constrained row among forty free ones: a forward of its own would save less than it costs.
    decoder = ScriptedDecoder(policy.template.vocab_size, can_extend=True)
    free = [Request(prompt=(9, i), params=SamplingParams(max_new_tokens=80, temperature=0.5)) for i in range(40)]
    Engine(policy, decoder=decoder).run([*free, Request(prompt=(8,), params=params(JSON, 80))])
    assert decoder.calls["extend"] == 0


def test_a_streamed_constrained_completion_is_told_whole(policy: Policy) -> None:
    for can_extend in (False, True):
        decoder = ScriptedDecoder(policy.template.vocab_size, can_extend=can_extend)
        engine = Engine(policy, decoder=decoder)
        id = engine.submit(Request(prompt=(9,), params=params(JSON), seed=3, stream=True))
        events = []
        while not engine.is_idle:
            events += engine.step()
        assert {event.id for event in events} == {id}
        completion = events[-1].completion
        assert completion is not None
        assert "".join(event.text for event in events) == completion.text
        assert tuple(t for event in events for t in event.token_ids) == completion.token_ids
        json.loads(completion.text)


def test_a_budget_below_the_shortest_completion_is_refused_before_anything_runs(policy: Policy) -> None:
    engine = Engine(policy)
    with pytest.raises(ConstraintError, match="max_new_tokens = 3 is too small"):
        engine.submit(Request(prompt=(9,), params=params(JSON, 3)))
    assert engine.is_idle


@pytest.mark.capability("CD-07")
def test_an_impossible_constraint_is_refused_before_anything_runs(policy: Policy) -> None:
    nothing = Constraint(kind="json_schema", value={"type": "string", "minLength": 5, "maxLength": 2})
    with pytest.raises(ConstraintError):
        TorchSampler(policy).sample([[9]], params(nothing), seeds=[0])


def test_what_was_not_enforced_is_judged_and_told(policy: Policy) -> None:
    # `format: hostname` cannot be enforced token by token: a random text is hardly ever one.
    loose = Constraint(kind="json_schema", value={"type": "string", "format": "hostname"}, strict=False)
    completions = TorchSampler(policy).sample([[9, i] for i in range(8)], params(loose, 30, 2.0), seeds=range(8))
    finished = [completion for completion in completions if completion.finish_reason == "stop"]
    assert any(completion.violations for completion in finished)
    for completion in finished:
        assert bool(completion.violations) == (not is_hostname(json.loads(completion.text)))


def is_hostname(text: str) -> bool:
    labels = text.split(".")
    inner = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
    return all(label and set(label) <= inner and label[0] != "-" != label[-1] and len(label) < 64 for label in labels)


def test_a_constraint_that_fails_on_the_way_ends_its_row_alone(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    from strop.constraints import Matcher

    check = Matcher._check_engine

    def failing(matcher: Matcher) -> None:
        if matcher.compiled.constraint.kind == "regex" and matcher.num_tokens >= 2:
            raise ConstraintError("no token is allowed here")
        check(matcher)

    engine = Engine(policy)
    sick = engine.submit(Request(prompt=(9,), params=params(Constraint(kind="regex", value="[a-z]{9}"), 20)))
    well = engine.submit(Request(prompt=(9,), params=params(JSON)))
    monkeypatch.setattr(Matcher, "_check_engine", failing)
    events = {}
    while not engine.is_idle:
        events |= {event.id: event for event in engine.step()}
    assert isinstance(events[sick].error, ConstraintError)
    assert events[well].completion is not None
    json.loads(events[well].completion.text)
