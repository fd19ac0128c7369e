"""Adapters beside the policy: every row under its own equals the merged model run alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from sampling_reference import differences, plain_loop
from strop.errors import ModelError
from strop.models import LoRA, Policy
from strop.sampling import Adapter, Engine, Request, TorchSampler, read_adapter
from strop.sampling.adapters import policy_adapter
from strop.types import SamplingParams
from tiny_models import make_model_folder, make_tokenizer

LORAS = [
    LoRA(rank=4, targets="all-linear"),
    LoRA(rank=8, alpha=3.0, rslora=True, targets="attention"),
    LoRA(rank=2, targets="mlp"),
]
PARAMS = SamplingParams(max_new_tokens=14, temperature=0.8)


def noisy(folder: Path, lora: LoRA, seed: int) -> Policy:
    """A policy whose adapter does something."""
    policy = Policy.load(folder, lora=lora, device="cpu", dtype="float32")
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(seed))
    return policy


def merged(policy: Policy) -> Policy:
    return Policy(policy.merged().eval(), policy.template)


@pytest.mark.capability("AB-mixed-adapter-batch")
@pytest.mark.parametrize("family", ["llama", "gpt2"])  # gpt2 stores its matrices transposed
def test_every_row_runs_under_its_own_adapter_as_if_it_were_merged_and_alone(tmp_path: Path, family: str) -> None:
    folder = make_model_folder(tmp_path / "base", family)
    policies = [noisy(folder, lora, seed) for seed, lora in enumerate(LORAS)]
    base = Policy.load(folder, device="cpu", dtype="float32")
    sampler = TorchSampler(base)
    digests = [""]
    for number, policy in enumerate(policies):
        policy.save(tmp_path / f"adapter{number}")
        digests.append(sampler.load_adapter(tmp_path / f"adapter{number}"))
    assert len(set(digests)) == 4
    prompt = tuple(range(20, 40))
    adapters = [digests[i % 4] for i in range(8)]
    completions = sampler.sample([prompt] * 8, PARAMS, seeds=range(8), adapters=adapters)
    references = [base, *map(merged, policies)]
    for i, completion in enumerate(completions):
        # Merging rounds the weights anew, so a little more than the usual difference.
        assert differences(completion, plain_loop(references[i % 4], prompt, PARAMS, i), tolerance=5e-4) == 0
    again = Engine(base)
    again.load_adapter(read_adapter(tmp_path / "adapter1"))
    [alone] = again.run([Request(prompt=prompt, params=PARAMS, seed=2, adapter=digests[2])])
    assert alone.token_ids == completions[2].token_ids
    assert alone.sampler_logprobs == pytest.approx(completions[2].sampler_logprobs, abs=1e-5)


def test_a_row_with_an_adapter_leaves_the_policys_own_out(chat_folder: Path) -> None:
    own, other = noisy(chat_folder, LORAS[0], 5), noisy(chat_folder, LORAS[1], 6)
    sampler = TorchSampler(own)
    digest = sampler.load_adapter(policy_adapter(other))
    prompt = (30, 31, 32)
    mine, theirs = sampler.sample([prompt] * 2, PARAMS, seeds=[1, 1], adapters=["", digest])
    assert differences(mine, plain_loop(merged(own), prompt, PARAMS, 1), tolerance=5e-4) == 0
    assert differences(theirs, plain_loop(merged(other), prompt, PARAMS, 1), tolerance=5e-4) == 0
    assert mine.token_ids != theirs.token_ids


SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128}
UNUSUAL: dict[str, Callable[[int], transformers.PretrainedConfig]] = {
    # Their linear layers see all tokens of a batch in one row of rows, [B * T, H].
    "opt": lambda size: transformers.OPTConfig(**SHAPE, vocab_size=size, ffn_dim=48, word_embed_proj_dim=32),
    "qwen2_moe": lambda size: transformers.Qwen2MoeConfig(
        **SHAPE,
        vocab_size=size,
        num_key_value_heads=2,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=24,
        shared_expert_intermediate_size=48,
    ),
}


def sharp_folder(folder: Path, config: transformers.PretrainedConfig) -> Path:
    """A random model of that shape with weights large enough that an adapter in the wrong place shows."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.capability("AB-mixed-adapter-batch")
@pytest.mark.parametrize("family", sorted(UNUSUAL))
def test_layers_that_see_flattened_tokens_give_every_row_its_own_adapter(tmp_path: Path, family: str) -> None:
    folder = sharp_folder(tmp_path / family, UNUSUAL[family](len(make_tokenizer())))
    policies = [noisy(folder, lora, seed) for seed, lora in enumerate(LORAS[:1] * 2)]
    base = Policy.load(folder, device="cpu", dtype="float32")
    sampler = TorchSampler(base)
    assert "own forward" in sampler.execution
    adapters = ["", *(sampler.load_adapter(policy_adapter(policy)) for policy in policies)]
    prompts = [tuple(range(20, 40)), tuple(range(50, 57))]
    rows = [(prompts[i % 2], i % 3) for i in range(6)]
    found = sampler.sample([p for p, _ in rows], PARAMS, seeds=range(6), adapters=[adapters[a] for _, a in rows])
    references = [base, *map(merged, policies)]
    for i, (prompt, adapter) in enumerate(rows):
        assert differences(found[i], plain_loop(references[adapter], prompt, PARAMS, i), tolerance=5e-4) == 0


def test_the_policys_own_adapter_is_left_out_of_its_embedding_too(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        **SHAPE, vocab_size=len(make_tokenizer()), intermediate_size=48, tie_word_embeddings=False
    )
    folder = sharp_folder(tmp_path / "base", config)
    own, other = noisy(folder, LoRA(rank=2, targets=("embed_tokens", "q_proj")), 5), noisy(folder, LORAS[1], 6)
    sampler = TorchSampler(own)
    digest = sampler.load_adapter(policy_adapter(other))
    mine, theirs = sampler.sample([(30, 31, 32)] * 2, PARAMS, seeds=[1, 1], adapters=["", digest])
    assert differences(mine, plain_loop(merged(own), (30, 31, 32), PARAMS, 1), tolerance=5e-4) == 0
    assert differences(theirs, plain_loop(merged(other), (30, 31, 32), PARAMS, 1), tolerance=5e-4) == 0


def test_beside_a_merged_own_adapter_no_other_is_used(chat_folder: Path) -> None:
    own, other = noisy(chat_folder, LORAS[0], 5), noisy(chat_folder, LORAS[1], 6)
    engine = Engine(own)
    request = Request(prompt=(30, 31, 32), params=PARAMS, adapter=engine.load_adapter(policy_adapter(other)))
    before = engine.run([request])
    own.model.merge_adapter()
    with pytest.raises(ModelError, match="merged into its base"):
        engine.run([request])
    own.model.unmerge_adapter()
    assert engine.run([request])[0].token_ids == before[0].token_ids


def test_an_adapter_on_a_layer_whose_matrix_is_read_without_a_call_is_refused(chat_folder: Path) -> None:
    base = Policy.load(chat_folder, device="cpu", dtype="float32")
    mlp = base.model.model.layers[1].mlp

    def forward(x: torch.Tensor) -> torch.Tensor:
        return mlp.down_proj(mlp.act_fn(x @ mlp.gate_proj.weight.t()) * mlp.up_proj(x))

    mlp.forward = forward
    engine = Engine(base)
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.gate_proj(.|\n)*instead of calling"):
        engine.load_adapter(policy_adapter(noisy(chat_folder, LORAS[2], 1)))
    attention = noisy(chat_folder, LORAS[1], 1)
    digest = engine.load_adapter(policy_adapter(attention))
    [found] = engine.run([Request(prompt=(30, 31, 32), params=PARAMS, seed=2, adapter=digest)])
    assert differences(found, plain_loop(merged(attention), (30, 31, 32), PARAMS, 2), tolerance=5e-4) == 0


def test_an_adapter_is_known_by_its_content(chat_folder: Path, tmp_path: Path) -> None:
    policy = noisy(chat_folder, LORAS[0], 1)
    policy.save(tmp_path / "one")
    before = policy_adapter(policy)
    assert read_adapter(tmp_path / "one").digest == before.digest
    sampler = TorchSampler(Policy.load(chat_folder, device="cpu", dtype="float32"))
    assert sampler.load_adapter(before) == sampler.load_adapter(tmp_path / "one") == before.digest
    with torch.no_grad():
        next(iter(policy.trainable().values())).add_(1e-3)
    after = policy_adapter(policy)
    assert after.digest != before.digest
    doubled = Adapter(digest="", scaling=2 * before.scaling, weights=before.weights)
    assert doubled.scaling == 2 * before.scaling
    # The weights in force when it was read stay in force.
    assert policy_adapter(noisy(chat_folder, LORAS[0], 1)).digest == before.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"peft_type": "IA3"}, "type IA3"),
    ],
)
def test_what_is_not_plain_lora_is_refused(
    chat_folder: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    noisy(chat_folder, LORAS[2], 1).save(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=message):
        read_adapter(tmp_path / "adapter")


def test_weights_that_are_no_products_or_not_there_are_refused(chat_folder: Path, tmp_path: Path) -> None:
    noisy(chat_folder, LORAS[2], 1).save(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({**load_file(path), "base_model.model.lm_head.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ModelError, match=r"lm_head\.weight"):
        read_adapter(tmp_path / "adapter")
    path.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        read_adapter(tmp_path / "adapter")


def test_an_adapter_of_another_shape_or_model_is_refused(chat_folder: Path) -> None:
    engine = Engine(Policy.load(chat_folder, device="cpu", dtype="float32"))
    a, b = torch.zeros(2, 32), torch.zeros(32, 2)
    for name, pair in (
        ("model.layers.7.self_attn.q_proj", (a, b)),
        ("model.layers.0.self_attn.q_proj", (torch.zeros(2, 33), b)),
        ("model.layers.0.self_attn.q_proj", (a, torch.zeros(31, 2))),
    ):
        with pytest.raises(ModelError, match="does not fit"):
            engine.load_adapter(Adapter(digest="x", scaling=1.0, weights={name: pair}))
