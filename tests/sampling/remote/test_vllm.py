"""Weights and adapters of a server that speaks vLLM's API: what is loaded is checked by what it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from strop.errors import MismatchError, ModelError, RecipeError, RemoteError
from strop.models import LoRA, Policy
from strop.sampling import read_adapter
from strop.sampling.remote import VllmSampler
from strop.types import SamplingParams

PARAMS = SamplingParams(max_new_tokens=8)
PROMPT = (5, 6, 7)


@pytest.fixture(scope="module")
def adapters(chat_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """PEFT folders: ``effect`` and ``other`` change the model, ``zero`` does not. The scripted server sees the name."""
    folder = tmp_path_factory.mktemp("adapters")
    policy = Policy.load(chat_folder, device="cpu", dtype="float32", lora=LoRA(rank=2))
    policy.save(folder / "zero")
    found = {"zero": folder / "zero"}
    for name in ("effect", "other"):
        with torch.no_grad():
            for key, parameter in policy.trainable().items():
                if "lora_B" in key:
                    parameter.normal_(0, 0.1)
        policy.save(folder / name)
        found[name] = folder / name
    return found


def test_rows_are_drawn_by_the_adapter_that_their_digest_names(server: Any, adapters: dict[str, Path]) -> None:
    sampler = server.vllm()
    digest = sampler.load_adapter(adapters["effect"])
    assert digest == read_adapter(adapters["effect"]).digest
    found = sampler.sample([PROMPT, PROMPT], PARAMS, seeds=[0, 0], adapters=["", digest])
    assert [one.sampler_logprobs[0] for one in found] == [-0.5, -0.75]
    assert {f"strop-{digest[:16]}", "base"} <= sampler.models().keys()
    sampler.unload_adapter(digest)
    assert sampler.models().keys() == {"base"}
    with pytest.raises(RemoteError, match=f"the adapter {digest[:12]} is not loaded"):
        sampler.sample([PROMPT], PARAMS, seeds=[0], adapters=[digest])


def test_an_adapter_is_loaded_again_in_place(server: Any, adapters: dict[str, Path]) -> None:
    sampler = server.vllm()
    digest = sampler.load_adapter(adapters["effect"])
    assert sampler.load_adapter(adapters["effect"]) == digest
    sampler.unload_adapter(digest)


def test_an_adapter_that_loads_without_effect_is_an_error_and_unloaded(server: Any, adapters: dict[str, Path]) -> None:
    sampler = server.vllm()
    with pytest.raises(RemoteError, match="was loaded without effect"):
        sampler.load_adapter(adapters["other"])
    assert sampler.models().keys() == {"base"}


def test_an_adapter_of_zeros_must_change_nothing(server: Any, adapters: dict[str, Path], tmp_path: Path) -> None:
    sampler = server.vllm()
    sampler.unload_adapter(sampler.load_adapter(adapters["zero"]))
    wrong = tmp_path / "effect"
    wrong.symlink_to(adapters["zero"])
    with pytest.raises(RemoteError, match="changes what it should not"):
        sampler.load_adapter(wrong)


def test_another_adapter_that_answers_is_an_error(server: Any, adapters: dict[str, Path]) -> None:
    sampler = server.vllm()
    digest = sampler.load_adapter(adapters["effect"])
    server.script({"edit": {"model": "base"}})
    with pytest.raises(RemoteError, match="'base' answered, 'strop-"):
        sampler.sample([PROMPT], PARAMS, seeds=[0], adapters=[digest])
    sampler.unload_adapter(digest)


@pytest.fixture
def weights(tmp_path: Path) -> Callable[[str], Path]:
    """A folder of that name that looks like a model's."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").touch()
        (folder / "model.safetensors").touch()
        return folder

    return make


def logprob(sampler: VllmSampler) -> float:
    return sampler.sample([PROMPT], PARAMS, seeds=[0])[0].sampler_logprobs[0]


def test_weights_are_replaced_and_known_by_their_digest(server: Any, weights: Callable[[str], Path]) -> None:
    sampler = server.vllm()
    sampler.reload_weights(weights("w"), "first")
    first = logprob(sampler)
    sampler.reload_weights(weights("w1"), "second")
    assert sampler.weights == "second"
    assert logprob(sampler) != first  # the scripted server's follow from the length of the path
    sampler.reload_weights(weights("w"), "first")
    assert logprob(sampler) == first


def test_a_folder_without_weights_is_refused_before_the_server_hears_of_it(server: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there are no weights in"):
        server.vllm().reload_weights(tmp_path, "first")


def test_weights_that_reload_without_effect_are_an_error(server: Any, weights: Callable[[str], Path]) -> None:
    sampler = server.vllm()
    sampler.reload_weights(weights("w"), "first")
    with pytest.raises(RemoteError, match="reloaded without effect"):
        sampler.reload_weights(weights("ignored"), "second")
    sampler.reload_weights(weights("ignored"), "second")  # the same digest need not change anything


def test_weights_that_someone_else_replaced_are_an_error(server: Any, weights: Callable[[str], Path]) -> None:
    sampler, other = server.vllm(), server.vllm()
    sampler.reload_weights(weights("w"), "mine")
    assert sampler.sample([PROMPT], PARAMS, seeds=[0])
    other.reload_weights(weights("w12"), "theirs")
    with pytest.raises(MismatchError, match="'theirs', 'mine' were loaded"):
        sampler.sample([PROMPT], PARAMS, seeds=[0])


def test_a_server_that_has_no_such_api_says_so(plain_server: Any) -> None:
    with pytest.raises(RemoteError, match="weight_info"):
        plain_server.vllm(weights="x").sample([PROMPT], PARAMS, seeds=[0])
    with pytest.raises(RecipeError, match="use RemoteSampler"):
        VllmSampler("http://127.0.0.1:1/v1", "base", dialect="openai")


def test_given_tokens_are_scored(server: Any) -> None:
    scores: list[Any] = [None, {"6": {"logprob": -1.5}}, {"7": {"logprob": -2.5}}]
    server.script({"edit": {"choices.0.prompt_logprobs": scores}})
    assert server.vllm().score([PROMPT]) == [(-1.5, -2.5)]
    server.script({"edit": {"choices.0.prompt_logprobs": [None, {"5": {"logprob": -1.5}}, None]}})
    with pytest.raises(RemoteError, match="prompt's token 6 is None"):
        server.vllm().score([PROMPT])
    with pytest.raises(RemoteError, match="without log-probabilities of the prompt"):
        server.vllm().score([PROMPT])
