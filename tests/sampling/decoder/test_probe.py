"""The probe lets the hand-written step in only where it is the model, and says why elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from strop.models.policy import Policy
from strop.sampling.decoder import FastDecoder, probe, probing
from strop.sampling.decoder import native as native_module

SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def make(config: transformers.PretrainedConfig) -> Any:
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def policy_of(model: Any, **settings: Any) -> Policy:
    return Policy(model, template=None, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    [
        transformers.GraniteConfig(**SHAPE, logits_scaling=3.0, pad_token_id=0),
        transformers.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2),
        transformers.CohereConfig(**SHAPE, pad_token_id=0),
    ],
    ids=lambda config: config.model_type,
)
def test_another_family_is_named(config: transformers.PretrainedConfig) -> None:
    told = probe(policy_of(make(config)))
    assert isinstance(told, str)
    assert told.startswith(f"{config.model_type} is none of the families llama, mistral")


@pytest.mark.parametrize("what", ["scale", "softcap", "window", "norm_offset", "activation"])
def test_a_step_that_misreads_one_thing_is_not_let_in(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is something that a default initialisation hides from a comparison of logits."""
    config = transformers.Gemma2Config(
        **SHAPE, head_dim=8, sliding_window=4096, query_pre_attn_scalar=24, pad_token_id=0
    )
    read = probing.read_shape

    def misread(model: Any) -> Any:
        shape = read(model)
        changes: dict[str, Any] = {"scale": 8**-0.5, "softcap": 0.0, "window": 0}
        if what in changes:
            layers = tuple(dataclasses.replace(layer, **{what: changes[what]}) for layer in shape.layers)
            return dataclasses.replace(shape, layers=layers)
        return dataclasses.replace(shape, **{"norm_offset": 0.0} if what == "norm_offset" else {"activation": "silu"})

    policy = policy_of(make(config))
    assert isinstance(probe(policy), FastDecoder)
    monkeypatch.setattr(probing, "read_shape", misread)
    told = probe(policy)
    assert isinstance(told, str)
    assert told.startswith("with sharpened weights, its logits differ from the model's own by ")


def test_the_policy_is_left_as_it_was() -> None:
    model = make(transformers.MistralConfig(**SHAPE, sliding_window=64, pad_token_id=0)).train()
    before = {name: (p.clone(), p._version) for name, p in model.named_parameters()}
    assert isinstance(probe(policy_of(model)), FastDecoder)
    assert model.training
    assert model.config.sliding_window == 64
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter._version == before[name][1]
        assert parameter.requires_grad


def test_a_hook_on_a_module_is_a_reason() -> None:
    model = make(transformers.LlamaConfig(**SHAPE))
    model.model.layers[1].mlp.register_forward_hook(lambda module, inputs, output: output * 2)
    assert probe(policy_of(model)) == "model.layers.1.mlp has a hook"


def test_a_rotation_that_depends_on_the_length_is_a_reason() -> None:
    scaling = {"rope_type": "dynamic", "factor": 4.0}
    model = make(transformers.LlamaConfig(**SHAPE, rope_scaling=scaling))
    policy = policy_of(model)
    assert isinstance(probe(policy), FastDecoder)  # within its context it does not
    policy.max_length = 1024
    assert probe(policy) == "its rotary embedding depends on the sequence's length"


def test_bfloat16_products_are_close_to_the_policys_own() -> None:
    found = probe(policy_of(make(transformers.LlamaConfig(**SHAPE)), dtype=torch.bfloat16))
    assert isinstance(found, FastDecoder)


def test_without_a_compiler_torch_computes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_module.shutil, "which", lambda name: None)
    native_module.load_kernels.cache_clear()
    try:
        assert native_module.load_kernels() == "there is no C++ compiler (g++ or clang++) on this machine"
        found = probe(policy_of(make(transformers.LlamaConfig(**SHAPE))))
        assert isinstance(found, FastDecoder)
        assert found.name.startswith("the hand-written llama step with torch operations (there is no C++ compiler")
    finally:
        native_module.load_kernels.cache_clear()


def test_a_compiler_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native_module, "_FLAGS", ("--no-such-flag",))
    native_module.load_kernels.cache_clear()
    try:
        told = native_module.load_kernels()
        assert isinstance(told, str)
        assert told.startswith("the kernels could not be compiled: ")
    finally:
        native_module.load_kernels.cache_clear()


def test_a_damaged_binary_is_built_again_instead_of_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native_module.load_kernels.cache_clear()
    try:
        found = native_module.load_kernels()
        if isinstance(found, str):
            pytest.skip(f"no compiled kernels: {found}")
        (binary,) = (tmp_path / "strop").glob("*.so")
        whole = binary.read_bytes()
        damaged = binary.with_suffix(".new")
        damaged.write_bytes(whole[:1000])
        damaged.replace(binary)  # a new file: the one that is loaded stays as it is
        assert not native_module._is_whole(binary)
        native_module.load_kernels.cache_clear()
        assert not isinstance(native_module.load_kernels(), str)
        assert native_module._is_whole(binary)
    finally:
        native_module.load_kernels.cache_clear()
