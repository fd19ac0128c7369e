"""The engine equals a plain uncached ``transformers`` loop, for every family, setting and company in the batch."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling_reference import Reference, differences, plain_loop
from strop.batches import collate
from strop.models import Policy
from strop.sampling import Engine, Event, Request, TorchSampler
from strop.sampling.decoding import Decoder
from strop.sampling.generic import GenericDecoder
from strop.sampling.torch_sampler import choose_decoder
from strop.types import Completion, Sample, SamplingParams
from tiny_models import make_model_folder

FAMILIES = ["llama", "qwen3", "mistral", "gemma2", "granite", "gpt2"]
SETTINGS = [
    SamplingParams(temperature=0),
    SamplingParams(temperature=1.0, full_logprobs=True),
    SamplingParams(temperature=0.7, top_k=20),
    SamplingParams(temperature=1.5, top_p=0.8),
    SamplingParams(temperature=1.2, min_p=0.05),
    SamplingParams(temperature=0, repetition_penalty=1.6),
    SamplingParams(temperature=0.9, repetition_penalty=1.3, logit_bias={40: 4.0, 41: -3.0}, full_logprobs=True),
    SamplingParams(temperature=2.0, top_k=50, top_p=0.9, min_p=0.01),
]


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Policy]:
    root = tmp_path_factory.mktemp("families")
    folders = {family: make_model_folder(root / family, family) for family in FAMILIES}
    return {family: Policy.load(folder, device="cpu", dtype="float32") for family, folder in folders.items()}


@cache
def request_of(index: int) -> Request:
    """A request of the pool: prompts on both sides of the attention window of 16, and every setting."""
    rng = random.Random(index)
    prompt = tuple(rng.randrange(7, 250) for _ in range([3, 30, 1, 17, 30, 9, 24, 12][index]))
    fields = {**SETTINGS[index].__dict__, "max_new_tokens": [20, 9, 24, 1, 15, 18, 6, 12][index]}
    return Request(prompt=prompt, params=SamplingParams(**fields), seed=100 + index)


@pytest.fixture(scope="module")
def decoders(policies: dict[str, Policy]) -> dict[tuple[str, str], Decoder]:
    """For every family the one through its own forward, and the one that a sampler chooses."""
    generic = {(family, "generic"): GenericDecoder(policy) for family, policy in policies.items()}
    return {**generic, **{(family, "chosen"): choose_decoder(policy)[0] for family, policy in policies.items()}}


@pytest.fixture(scope="module")
def references(policies: dict[str, Policy]) -> dict[tuple[str, int], Reference]:
    return {
        (family, index): plain_loop(policy, request_of(index).prompt, request_of(index).params, 100 + index)
        for family, policy in policies.items()
        for index in range(len(SETTINGS))
    }


@pytest.mark.capability("RL-01")
@pytest.mark.parametrize("kind", ["generic", "chosen"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_and_setting_equals_the_plain_loop(
    policies: dict[str, Policy],
    decoders: dict[tuple[str, str], Decoder],
    references: dict[tuple[str, int], Reference],
    family: str,
    kind: str,
    record_property: Callable[[str, object], None],
) -> None:
    engine = Engine(policies[family], decoder=decoders[family, kind])
    completions = engine.run([request_of(index) for index in range(len(SETTINGS))])
    near = sum(differences(c, references[family, i]) for i, c in enumerate(completions))
    record_property("near_ties", near)
    assert near <= 1


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_request_does_not_depend_on_who_else_comes_stays_or_is_cancelled(
    policies: dict[str, Policy],
    decoders: dict[tuple[str, str], Decoder],
    references: dict[tuple[str, int], Reference],
    data: st.DataObject,
) -> None:
    family, kind = data.draw(st.sampled_from(FAMILIES)), data.draw(st.sampled_from(["generic", "chosen"]))
    engine = Engine(policies[family], decoder=decoders[family, kind], max_rows=data.draw(st.integers(1, 6)))
    arrivals = data.draw(st.lists(st.integers(0, len(SETTINGS) - 1), min_size=1, max_size=8))
    pool_index: dict[int, int] = {}
    done: dict[int, Completion] = {}

    def step() -> None:
        for event in engine.step():
            collect(event)

    def collect(event: Event) -> None:
        assert event.error is None
        if event.completion is not None:
            done[event.id] = event.completion

    for index in arrivals:
        pool_index[engine.submit(request_of(index))] = index
        for _ in range(data.draw(st.integers(0, 4))):
            step()
    if data.draw(st.booleans()):
        engine.cancel(data.draw(st.sampled_from(sorted(pool_index))))
    while not engine.is_idle:
        step()
    assert sorted(done) == sorted(pool_index)
    near = 0
    for id, completion in done.items():
        reference = references[family, pool_index[id]]
        if completion.finish_reason == "cancelled":
            assert completion.token_ids == tuple(reference.token_ids[: len(completion.token_ids)])
        else:
            near += differences(completion, reference)
    assert near <= 1


@pytest.mark.capability("AB-temperature-in-logp")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_log_probabilities_are_the_trainers(policies: dict[str, Policy], family: str) -> None:
    policy = policies[family]
    prompts = [request_of(index).prompt for index in (0, 1, 3)]
    for temperature in (1.0, 0.6):
        params = SamplingParams(max_new_tokens=20, temperature=temperature)
        completions = TorchSampler(policy).sample(prompts, params, seeds=[1, 2, 3])
        batch = collate(
            [
                Sample(
                    name=str(i),
                    token_ids=(*prompt, *completion.token_ids),
                    loss_mask=(False,) * len(prompt) + (True,) * len(completion.token_ids),
                )
                for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
            ]
        )
        trainer = policy.forward(batch, temperature=temperature).logprobs[batch.loss_mask]
        sampler = [logprob for completion in completions for logprob in completion.sampler_logprobs]
        assert trainer.tolist() == pytest.approx(sampler, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["generic", "chosen"])
@pytest.mark.parametrize("family", FAMILIES)
def test_long_completions_in_a_crowd_equal_the_plain_loop_but_for_counted_near_ties(
    policies: dict[str, Policy],
    decoders: dict[tuple[str, str], Decoder],
    family: str,
    kind: str,
    record_property: Callable[[str, object], None],
) -> None:
    rng = random.Random(family)
    requests = []
    for seed in range(48):
        fields = {**rng.choice(SETTINGS).__dict__, "max_new_tokens": rng.randrange(1, 80)}
        prompt = tuple(rng.randrange(7, 250) for _ in range(rng.randrange(1, 60)))
        requests.append(Request(prompt=prompt, params=SamplingParams(**fields), seed=seed))
    engine = Engine(policies[family], decoder=decoders[family, kind], max_rows=7)
    completions = engine.run(requests)
    near = sum(
        differences(completion, plain_loop(policies[family], request.prompt, request.params, request.seed))
        for request, completion in zip(requests, completions, strict=True)
    )
    record_property("near_ties", near)
    print(f"{family}, {engine.decoder.name}: {near} of {len(requests)} leave the plain loop, each at a near tie")
    assert near <= 5
