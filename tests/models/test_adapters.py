"""LoRA: identity at the start, a frozen base, gradients in the adapter only, and a merge that changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from strop.batches import collate
from strop.errors import ModelError, RecipeError
from strop.models import LoRA, adapters, padded
from strop.objectives import CrossEntropy
from strop.training import AdamW, train
from tiny_models import make_config
from training_rows import make_policy, make_rows, make_stream

FAMILIES = ["llama", "qwen3", "mistral", "gemma2", "granite", "gpt2"]


def make_model(family: str = "llama", **changes: Any) -> Any:
    torch.manual_seed(0)
    config = make_config(family, 64)
    for name, value in changes.items():
        setattr(config, name, value)
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def trained(lora: LoRA, family: str = "llama") -> Any:
    policy = make_policy(lora=lora, family=family)
    rows = make_stream(make_rows(16))
    for _ in train(policy, rows, CrossEntropy(), optimizer=AdamW(lr=2e-2, warmup=0.0), num_steps=3):
        pass
    return policy


@pytest.mark.capability("AB-LoRA-identity")
@pytest.mark.capability("PE-01")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_adapter_leaves_every_bit_of_the_output(family: str) -> None:
    batch = collate(make_rows(6))
    base = make_policy(family=family).forward(batch).logprobs
    adapted = make_policy(family=family, lora=LoRA(rank=4)).forward(batch).logprobs
    assert torch.equal(adapted, base)


@pytest.mark.capability("AB-LoRA-merge")
@pytest.mark.capability("PE-01")
@pytest.mark.parametrize("family", FAMILIES)
def test_training_moves_the_adapter_only_and_merging_gives_the_same_logits(family: str) -> None:
    policy = trained(LoRA(rank=4), family)
    fresh = make_policy(lora=LoRA(rank=4), family=family)
    assert policy.base_digest() == fresh.base_digest()
    assert policy.digest() != fresh.digest()
    ids = torch.randint(0, 64, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = policy.model(ids).logits
        assert (before - fresh.model(ids).logits).abs().max() > 1e-2
        torch.testing.assert_close(policy.merged()(ids).logits, before, atol=1e-5, rtol=1e-5)
        assert torch.equal(policy.model(ids).logits, before), "merging works on a copy"
    assert type(policy.merged()) is type(make_model(family))


@pytest.mark.capability("PE-01")
def test_gradients_reach_the_adapter_and_nothing_else() -> None:
    policy = make_policy(lora=LoRA(rank=4))
    (-policy.forward(collate(make_rows(4))).logprobs.sum()).backward()
    for name, parameter in policy.model.named_parameters():
        assert (parameter.grad is not None) == (".lora_" in name), name
        assert parameter.requires_grad == (name in policy.trainable())


@pytest.mark.capability("A1-2")
@pytest.mark.capability("PE-02")
@pytest.mark.parametrize(("rank", "expected"), [(16, 131_072), (8, 65_536)])
def test_one_square_matrix_of_4096_gets_rank_times_both_sides(rank: int, expected: int) -> None:
    with torch.device("meta"):
        config = make_config("llama", 8)
        config.hidden_size, config.num_hidden_layers, config.head_dim = 4096, 1, 1024
        config.num_attention_heads, config.intermediate_size = 4, 16
        model: Any = transformers.AutoModelForCausalLM.from_config(config)
        assert model.model.layers[0].self_attn.q_proj.weight.shape == (4096, 4096)
        adapted = adapters.attach(model, LoRA(rank=rank, targets=("q_proj",)), seed=0)
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", ["attention", "mlp", "all-linear"])
def test_targets_select_exactly_these_layers(family: str, targets: str) -> None:
    adapted: Any = adapters.attach(make_model(family), LoRA(rank=2, targets=targets), seed=0)
    chosen = {name.partition(".lora_A")[0] for name, _ in adapted.named_parameters() if ".lora_A" in name}
    attention = {"gpt2": 2}.get(family, 4)  # GPT-2 fuses q, k and v
    mlp = {"gpt2": 2}.get(family, 3)
    expected = {"attention": attention, "mlp": mlp, "all-linear": attention + mlp}[targets]
    assert len(chosen) == 2 * expected
    words = {"attention": ("attn",), "mlp": ("mlp",), "all-linear": ("attn", "mlp")}[targets]
    assert all(any(word in name for word in words) for name in chosen)


def test_rslora_scales_by_the_root_of_the_rank() -> None:
    model: Any = adapters.attach(make_model(), LoRA(rank=16, alpha=8.0, rslora=True), seed=0)
    plain: Any = adapters.attach(make_model(), LoRA(rank=16), seed=0)
    assert model.base_model.model.model.layers[0].self_attn.q_proj.scaling["default"] == pytest.approx(8 / 4)
    assert plain.base_model.model.model.layers[0].self_attn.q_proj.scaling["default"] == pytest.approx(2.0)


def test_the_seed_alone_draws_the_adapter() -> None:
    state = torch.get_rng_state()
    first, second = (make_policy(lora=LoRA(rank=4), seed=3).state() for _ in range(2))
    torch.set_rng_state(state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    attached: Any = adapters.attach(make_model(), LoRA(rank=4), seed=4)
    assert any(not torch.equal(p, first[n]) for n, p in attached.named_parameters() if "lora_A" in n and n in first)


def test_dropout_acts_within_its_context_only() -> None:
    policy = trained(LoRA(rank=4, dropout=0.5))
    batch = collate(make_rows(4))
    with torch.no_grad():
        plain = policy.forward(batch).logprobs
        assert torch.equal(policy.forward(batch).logprobs, plain)
        with policy.dropout(7):
            dropped = policy.forward(batch).logprobs
        with policy.dropout(7):
            assert torch.equal(policy.forward(batch).logprobs, dropped)
        assert not torch.equal(dropped, plain)
        assert torch.equal(policy.forward(batch).logprobs, plain)


@pytest.mark.parametrize(("max_logit_bytes", "probes"), [(2**26, 0), (1, 1)])
def test_the_head_is_probed_before_dropout_where_logits_may_need_chunks_and_only_there(
    max_logit_bytes: int, probes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_head, calls = padded.plain_head, []

    def counted(*args: Any) -> Any:
        calls.append(args)
        return plain_head(*args)

    monkeypatch.setattr(padded, "plain_head", counted)
    policy = trained(LoRA(rank=4, dropout=0.5))
    policy.max_logit_bytes = max_logit_bytes
    batch = collate(make_rows(4))
    with torch.no_grad():
        with policy.dropout(7):
            dropped = policy.forward(batch).logprobs
        with policy.dropout(7):  # a probe within the first one would have used up random numbers
            assert torch.equal(policy.forward(batch).logprobs, dropped)
    assert len(calls) == probes


def test_the_dropout_of_the_model_itself_stays_off() -> None:
    policy = make_policy(family="gpt2", lora=LoRA(rank=4, dropout=0.5))  # GPT-2 drops a tenth of everything
    batch = collate(make_rows(4))
    with torch.no_grad(), policy.dropout(1):
        first = policy.forward(batch).logprobs
    with torch.no_grad():  # B = 0 hides the adapter's dropout, so only the model's own would show
        assert torch.equal(policy.forward(batch).logprobs, first)


@pytest.mark.parametrize(
    ("targets", "what"), [(("q_prj",), "names no module"), ("everything", "names no module"), (("lm_head",), "shares")]
)
def test_impossible_targets_are_refused(targets: str | tuple[str, ...], what: str) -> None:
    model = make_model(tie_word_embeddings=True)
    with pytest.raises(ModelError, match=what):
        adapters.attach(model, LoRA(targets=targets), seed=0)


@pytest.mark.parametrize("settings", [{"rank": 0}, {"dropout": 1.0}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="lora"):
        LoRA(**settings)
