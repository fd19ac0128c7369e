"""Logits in chunks: used where the head is a plain product, with the numbers of the model's own head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from strop.batches import collate
from strop.models import padded
from strop.models.policy import Policy
from strop.types import Sample
from tiny_models import make_model_folder

FAMILIES = {"llama": True, "qwen3": True, "mistral": True, "gpt2": True, "gemma2": False, "granite": False}
"""Whether the logits are plainly the head's: Gemma 2 caps them, Granite divides them."""
BOTH = frozenset({"logprobs", "entropy"})


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("heads")
    found = {}
    for family in FAMILIES:
        folder = make_model_folder(root / family, family)
        found[family] = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return found


def policy_of(model: Any, max_logit_bytes: int, dtype: torch.dtype = torch.float32) -> Policy:
    policy = Policy(model, template=None, dtype=dtype)  # type: ignore[arg-type]
    policy.max_logit_bytes = max_logit_bytes
    return policy


def samples() -> list[Sample]:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number, length in enumerate([23, 5, 17]):
        ids = torch.randint(0, 300, (length,), generator=generator).tolist()
        trained = (torch.rand(length, generator=generator) < 0.7).tolist()
        rows.append(Sample(name=str(number), token_ids=tuple(ids), loss_mask=(False, *trained[1:])))
    return rows


def run(policy: Policy) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    policy.model.zero_grad()
    outputs = policy.forward(collate(samples()), BOTH, temperature=1.3)
    assert outputs.entropy is not None
    (outputs.logprobs.sum() + 0.3 * outputs.entropy.square().sum()).backward()
    gradients = {n: p.grad.clone() for n, p in policy.model.named_parameters() if p.grad is not None}
    return outputs.logprobs.detach(), outputs.entropy.detach(), gradients


def assert_equal_runs(model: Any) -> None:
    plain, chunked = run(policy_of(model, 2**30)), run(policy_of(model, 3 * 400 * 4))
    torch.testing.assert_close(chunked[0], plain[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(chunked[1], plain[1], atol=1e-5, rtol=1e-5)
    assert chunked[2].keys() == plain[2].keys()
    for name, gradient in plain[2].items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(chunked[2][name], gradient, atol=1e-5 * scale + 1e-6, rtol=1e-4)


def count_chunked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the hidden states were asked for instead of the logits."""
    calls: list[int] = []
    original = padded.kept_hidden
    monkeypatch.setattr(padded, "kept_hidden", lambda *a, **k: calls.append(1) or original(*a, **k))
    return calls


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_same_numbers_and_gradients_in_chunks_or_falls_back(
    families: dict[str, Any], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_chunked(monkeypatch)
    assert_equal_runs(families[family])
    assert bool(calls) == FAMILIES[family]


def test_a_bucket_whose_logits_fit_takes_the_models_own_head(
    families: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, model = count_chunked(monkeypatch), families["llama"]
    sample = Sample(name="a", token_ids=(5, 9, 31), loss_mask=(False, True, True))
    exactly = 2 * model.config.vocab_size * 4
    policy_of(model, exactly).forward(collate([sample]))
    assert not calls
    policy_of(model, exactly - 1).forward(collate([sample]))
    assert calls == [1]


def test_a_soft_cap_is_noticed_however_small_the_logits_are(families: dict[str, Any]) -> None:
    gemma = families["gemma2"]
    weights = gemma.get_output_embeddings().weight
    original = weights.data.clone()
    weights.data.mul_(1e-6)  # a cap of 30 changes logits near 0 by nothing that a tolerance would see
    try:
        assert padded.plain_head(gemma, gemma.config.vocab_size, torch.device("cpu")) is None
    finally:
        weights.data.copy_(original)


def test_the_model_is_left_as_it_was(families: dict[str, Any]) -> None:
    model = families["llama"]
    ids = torch.tensor([[5, 9, 31]])
    before = model(ids).logits
    policy = policy_of(model, 1)
    policy.forward(collate(samples()))
    assert "forward" not in vars(model.get_output_embeddings())
    torch.testing.assert_close(model(ids).logits, before, rtol=0, atol=0)


def test_a_head_that_something_has_patched_is_left_alone(families: dict[str, Any]) -> None:
    model, device = families["llama"], torch.device("cpu")
    head = model.get_output_embeddings()
    for hook in (
        lambda: head.register_forward_hook(lambda *a: None),
        lambda: head.register_forward_pre_hook(lambda *a: None),
    ):
        handle = hook()
        assert padded.plain_head(model, 400, device) is None
        handle.remove()
    head.forward = head.forward
    assert padded.plain_head(model, 400, device) is None
    del head.forward
    assert padded.plain_head(model, model.config.vocab_size, device) is head


def lora(folder: Path, targets: list[str], **settings: Any) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False, **settings)
    return peft.get_peft_model(model, config).eval()


def test_an_adapted_model_has_the_same_numbers_and_its_frozen_head_gets_no_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_chunked(monkeypatch)
    model = lora(make_model_folder(tmp_path / "base"), ["q_proj", "down_proj"])
    assert_equal_runs(model)
    assert calls
    assert all("lora" in name for name in run(policy_of(model, 1))[2])


@pytest.mark.parametrize(
    "settings", [{"targets": ["lm_head"]}, {"targets": ["q_proj"], "modules_to_save": ["lm_head"]}]
)
def test_a_head_that_is_itself_adapted_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    calls = count_chunked(monkeypatch)
    assert_equal_runs(lora(make_model_folder(tmp_path / "base"), **settings))
    assert not calls


def test_a_head_tied_to_the_embedding_gets_both_gradients(tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.lm_head.weight = model.model.embed_tokens.weight
    assert_equal_runs(model)


def test_bfloat16_execution_has_the_same_numbers_in_chunks(families: dict[str, Any]) -> None:
    plain = run(policy_of(families["llama"], 2**30, torch.bfloat16))
    chunked = run(policy_of(families["llama"], 3 * 400 * 4, torch.bfloat16))
    torch.testing.assert_close(chunked[0], plain[0], atol=1e-4, rtol=1e-4)
    assert chunked[0].dtype == torch.float32


def test_the_execution_says_what_is_used(families: dict[str, Any]) -> None:
    assert "in chunks of rows" in policy_of(families["llama"], 2**25).execution
    assert policy_of(families["gemma2"], 2**25).execution.endswith("forward and head")


@torch.no_grad()
def test_logits_are_those_of_the_trained_tokens_in_flat_order_undivided(families: dict[str, Any]) -> None:
    model, rows = families["llama"], samples()
    batch = collate(rows)
    outputs = policy_of(model, 1).forward(batch, frozenset({"logprobs", "logits"}), temperature=2.0)
    expected = torch.cat(
        [model(torch.tensor([sample.token_ids])).logits[0][:-1][torch.tensor(sample.loss_mask[1:])] for sample in rows]
    )
    assert outputs.logits is not None
    torch.testing.assert_close(outputs.logits, expected, atol=1e-4, rtol=1e-4)
    assert policy_of(model, 1).forward(batch).logits is None
    empty = Sample(name="a", token_ids=(5, 9), loss_mask=(False, False))
    nothing = policy_of(model, 1).forward(collate([empty]), frozenset({"logprobs", "entropy", "logits"}))
    assert nothing.logits is not None
    assert nothing.logits.shape == (0, model.config.vocab_size)
    assert nothing.entropy is not None
