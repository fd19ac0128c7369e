"""The embedded engine against a plain loop without cache, padding or companions."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from scripted_decoder import ScriptedDecoder
from strop.errors import NonFiniteError, PromptError, UserError
from strop.models import LoRA, Policy
from strop.sampling import Request, TorchSampler, row_seed
from strop.sampling.generic import GenericDecoder
from strop.types import Completion, SamplingParams
from tiny_models import make_model_folder

FAMILIES = ["llama", "qwen3", "mistral", "gemma2", "granite", "gpt2"]
NEAR_TIE = 1e-4


@pytest.fixture(scope="module", params=FAMILIES)
def family_policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder = make_model_folder(tmp_path_factory.mktemp("models") / request.param, request.param)
    return Policy.load(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def policy(chat_folder: Path) -> Policy:
    return Policy.load(chat_folder, device="cpu", dtype="float32")


def make_prompts(lengths: list[int], seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(7, 250) for _ in range(length)] for length in lengths]


@torch.no_grad()
def plain_logprobs(policy: Policy, prompt: list[int], completion: Completion, temperature: float = 1.0) -> torch.Tensor:
    """The log-distribution before each new token, [T, V], from one forward without cache, padding or companions."""
    token_ids = torch.tensor([[*prompt, *completion.token_ids]])
    logits = policy.model(input_ids=token_ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return (logits.double() / temperature).log_softmax(-1)


def check_logprobs(logprobs: torch.Tensor, completion: Completion) -> torch.Tensor:
    """That the sampler's log-probabilities are the plain forward's; returns the latter, [T]."""
    chosen = logprobs.gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
    assert completion.sampler_logprobs == pytest.approx(chosen.tolist(), abs=5e-5)
    return chosen


def check_greedy(policy: Policy, prompt: list[int], completion: Completion) -> None:
    """Every token is the most likely one of the plain forward, or as good as."""
    logprobs = plain_logprobs(policy, prompt, completion)
    assert (logprobs.max(-1).values - check_logprobs(logprobs, completion)).max() <= NEAR_TIE


def test_greedy_equals_a_plain_loop_without_cache_for_every_family(family_policy: Policy) -> None:
    # Longer than the attention window of 16 where there is one, with padding, and with a prompt that occurs twice.
    prompts = make_prompts([3, 30, 7, 21])
    prompts.append(prompts[1])
    params = SamplingParams(max_new_tokens=24, temperature=0)
    completions = TorchSampler(family_policy).sample(prompts, params, seeds=range(5))
    for prompt, completion in zip(prompts, completions, strict=True):
        check_greedy(family_policy, prompt, completion)
    assert completions[1] == completions[4]


def test_sampling_logprobs_are_those_of_the_tempered_model(family_policy: Policy) -> None:
    prompts = make_prompts([5, 19])
    params = SamplingParams(max_new_tokens=12, temperature=0.7)
    completions = TorchSampler(family_policy).sample(prompts, params, seeds=[1, 2])
    for prompt, completion in zip(prompts, completions, strict=True):
        check_logprobs(plain_logprobs(family_policy, prompt, completion, 0.7), completion)


def test_a_row_does_not_depend_on_its_companions(policy: Policy) -> None:
    prompts = make_prompts([4, 9, 9, 15, 30, 6])
    params = SamplingParams(max_new_tokens=16)
    seeds = [10, 20, 30, 40, 50, 60]
    together = TorchSampler(policy).sample(prompts, params, seeds=seeds)
    backwards = TorchSampler(policy).sample(prompts[::-1], params, seeds=seeds[::-1])[::-1]
    cut = TorchSampler(policy, max_batch_tokens=60).sample(prompts, params, seeds=seeds)
    alone = [
        TorchSampler(policy).sample([prompt], params, seeds=[seed])[0]
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    for other in (backwards, cut, alone):
        assert [c.token_ids for c in other] == [c.token_ids for c in together]
        assert [c.finish_reason for c in other] == [c.finish_reason for c in together]


def test_a_group_shares_its_prompt_and_not_its_randomness(policy: Policy) -> None:
    prompt = make_prompts([12])[0]
    params = SamplingParams(max_new_tokens=8, temperature=2.0)
    group = TorchSampler(policy).sample([prompt] * 6, params, seeds=range(6))
    assert len({completion.token_ids for completion in group}) == 6
    assert TorchSampler(policy).sample([prompt], params, seeds=[4])[0].token_ids == group[4].token_ids


@pytest.mark.capability("RL-01")
def test_a_completion_ends_at_its_stop_token_or_says_that_it_was_cut(policy: Policy) -> None:
    prompts = make_prompts([8] * 32)
    params = SamplingParams(max_new_tokens=100, temperature=3.0)
    stops = set(policy.template.stop_token_ids)
    assert stops
    reasons = set()
    for completion in TorchSampler(policy).sample(prompts, params, seeds=range(32)):
        reasons.add(completion.finish_reason)
        assert len(completion.sampler_logprobs) == len(completion.token_ids)
        assert not stops & set(completion.token_ids[:-1])
        if completion.finish_reason == "stop":
            assert completion.token_ids[-1] in stops
        else:
            assert len(completion.token_ids) == 100
            assert completion.token_ids[-1] not in stops
    assert reasons == {"stop", "length"}


def test_the_text_is_decoded_without_the_stop_token(policy: Policy) -> None:
    completions = TorchSampler(policy).sample(
        make_prompts([8] * 16), SamplingParams(max_new_tokens=80, temperature=3.0), seeds=range(16)
    )
    for completion in completions:
        assert completion.text == policy.template.decode(completion.token_ids)
        assert not completion.text.endswith("<|end|>")


def test_the_sampler_sees_the_weights_as_they_are_now(chat_folder: Path) -> None:
    policy = Policy.load(chat_folder, device="cpu", dtype="float32")
    sampler = TorchSampler(policy)
    prompts, params = make_prompts([10]), SamplingParams(max_new_tokens=8, temperature=0)
    before = sampler.sample(prompts, params, seeds=[0])
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.mul_(-0.5)
    after = sampler.sample(prompts, params, seeds=[0])
    assert before != after
    check_greedy(policy, prompts[0], after[0])


def test_an_adapter_takes_part(chat_folder: Path) -> None:
    policy = Policy.load(chat_folder, lora=LoRA(rank=4), device="cpu", dtype="float32")
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    prompts = make_prompts([10, 6])
    completions = TorchSampler(policy).sample(prompts, SamplingParams(max_new_tokens=10, temperature=0), seeds=[0, 1])
    for prompt, completion in zip(prompts, completions, strict=True):
        check_greedy(policy, prompt, completion)


def test_sampling_leaves_modes_and_gradients_as_they_were(chat_folder: Path) -> None:
    policy = Policy.load(chat_folder, device="cpu", dtype="float32")
    modules = list(policy.model.modules())
    for index, module in enumerate(modules):
        module.training = index % 2 == 0
    TorchSampler(policy).sample(make_prompts([5]), SamplingParams(max_new_tokens=3), seeds=[0])
    assert [module.training for module in modules] == [index % 2 == 0 for index in range(len(modules))]
    policy.model(input_ids=torch.tensor([[5, 6, 7]])).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in policy.trainable().values())


def test_a_prompt_that_leaves_no_room_is_refused_by_its_place(policy: Policy) -> None:
    prompts = make_prompts([10, policy.max_length - 7])
    with pytest.raises(PromptError, match=f"context of {policy.max_length}") as error:
        TorchSampler(policy).sample(prompts, SamplingParams(max_new_tokens=8), seeds=[0, 1])
    assert error.value.index == 1
    full = TorchSampler(policy).sample(prompts, SamplingParams(max_new_tokens=7, temperature=0), seeds=[0, 1])
    assert len(full) == 2


def test_an_empty_prompt_is_refused(policy: Policy) -> None:
    with pytest.raises(PromptError, match="empty"):
        TorchSampler(policy).sample([[]], SamplingParams(), seeds=[0])


def test_no_prompts_give_no_completions(policy: Policy) -> None:
    assert TorchSampler(policy).sample([], SamplingParams(), seeds=[]) == []


def test_logits_that_are_not_finite_stop_the_sampling(chat_folder: Path) -> None:
    policy = Policy.load(chat_folder, device="cpu", dtype="float32")
    with torch.no_grad():
        next(iter(policy.trainable().values())).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="new token 1"):
        TorchSampler(policy).sample(make_prompts([5]), SamplingParams(), seeds=[0])


def test_throughput_counts_the_tokens_of_all_calls(policy: Policy) -> None:
    sampler = TorchSampler(policy)
    assert sampler.throughput.tokens_per_second == 0
    num_tokens = 0
    for seed in range(2):
        completions = sampler.sample(make_prompts([5, 6]), SamplingParams(max_new_tokens=5), seeds=[seed, seed + 9])
        num_tokens += sum(len(completion.token_ids) for completion in completions)
    assert sampler.throughput.num_tokens == num_tokens
    assert sampler.throughput.tokens_per_second > 0


def test_n_completions_a_prompt_are_those_of_the_seeds_of_their_places(policy: Policy) -> None:
    prompts, params = make_prompts([9, 5]), SamplingParams(max_new_tokens=8, temperature=2.0)
    groups = TorchSampler(policy).sample_n(prompts, params, 3, seeds=[7, 8])
    assert [len(group) for group in groups] == [3, 3]
    [alone] = TorchSampler(policy).sample([prompts[1]], params, seeds=[row_seed(8, 2)])
    assert groups[1][2].token_ids == alone.token_ids
    assert len({completion.token_ids for completion in groups[0]}) == 3


@pytest.mark.parametrize("by", ["mean", "sum"])
def test_the_best_of_n_is_the_most_likely_whole_answer(policy: Policy, by: Literal["mean", "sum"]) -> None:
    prompts = make_prompts([8, 8, 8])
    params = SamplingParams(max_new_tokens=100, temperature=3.0)
    groups = TorchSampler(policy).sample_n(prompts, replace(params, full_logprobs=True), 6, seeds=[1, 2, 3])
    best = TorchSampler(policy).best_of(prompts, params, 6, seeds=[1, 2, 3], by=by)
    assert {completion.finish_reason for group in groups for completion in group} == {"stop", "length"}
    for group, found in zip(groups, best, strict=True):
        whole = [completion for completion in group if completion.finish_reason == "stop"] or group
        scores = {}
        for completion in whole:
            assert completion.full_logprobs is not None
            size = len(completion.full_logprobs) if by == "mean" else 1
            scores[completion.token_ids] = sum(completion.full_logprobs) / size
        assert found.token_ids == max(scores, key=scores.__getitem__)
        assert found.full_logprobs is None


def test_every_request_may_have_its_own_parameters(policy: Policy) -> None:
    prompts = make_prompts([6, 11])
    mixed = [
        Request(prompt=prompts[0], params=SamplingParams(max_new_tokens=9, temperature=0), seed=1),
        Request(prompt=prompts[1], params=SamplingParams(max_new_tokens=4, top_k=5), seed=2),
    ]
    first, second = TorchSampler(policy).run(mixed)
    assert first.token_ids == TorchSampler(policy).sample([prompts[0]], mixed[0].params, seeds=[1])[0].token_ids
    assert second.token_ids == TorchSampler(policy).sample([prompts[1]], mixed[1].params, seeds=[2])[0].token_ids


def test_a_stop_text_is_cut_from_the_text_and_its_tokens_stay(policy: Policy) -> None:
    prompts = make_prompts([8] * 6)
    params = SamplingParams(max_new_tokens=30, temperature=1.5)
    plain = TorchSampler(policy).sample(prompts, params, seeds=range(6))
    chosen = [completion.text[4:6] for completion in plain if "\ufffd" not in completion.text[4:6]]
    assert len(chosen) > 1
    stops = tuple(chosen)
    for whole, cut in zip(plain, TorchSampler(policy).sample(prompts, replace(params, stop=stops), seeds=range(6))):
        place = min((whole.text.find(stop) for stop in stops if stop in whole.text), default=-1)
        assert whole.token_ids[: len(cut.token_ids)] == cut.token_ids
        assert cut.text == (whole.text if place < 0 else whole.text[:place])
        assert cut.finish_reason == ("stop" if place >= 0 else whole.finish_reason)
        if place >= 0:
            assert any(stop in policy.template.decode(cut.token_ids) for stop in stops)
            assert not any(stop in policy.template.decode(cut.token_ids[:-1]) for stop in stops)


def test_the_execution_says_what_decodes_and_why(policy: Policy) -> None:
    told = TorchSampler(policy, decoder=GenericDecoder(policy)).execution
    assert told == "the model's own forward: as it was asked for"
    assert ": " in TorchSampler(policy).execution


def test_the_time_to_take_over_the_weights_is_reported(policy: Policy) -> None:
    sampler = TorchSampler(policy, decoder=ScriptedDecoder(policy.template.vocab_size))
    sampler.sample(make_prompts([5]), SamplingParams(max_new_tokens=2), seeds=[0])
    sampler.sample(make_prompts([5]), SamplingParams(max_new_tokens=2), seeds=[0])
    assert sampler.throughput.refresh_seconds == pytest.approx(0.5)


@pytest.mark.parametrize(("prompts", "what"), [([1, 2, 3], "3 prompts with 1 seeds"), ([["hello"]], "'hello'")])
def test_what_is_no_list_of_prompts_is_refused(family_policy: Policy, prompts: Any, what: str) -> None:
    with pytest.raises(UserError, match=what):
        TorchSampler(family_policy).sample(prompts, SamplingParams(max_new_tokens=2), seeds=[0])
