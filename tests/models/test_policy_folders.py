"""Policies on disk: Hugging Face and PEFT folders that load in plain transformers and peft, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from strop.batches import collate
from strop.errors import MismatchError, ModelError, OutputError, RecipeError, TemplateError
from strop.models import LoRA, Policy, export, exporting
from strop.objectives import CrossEntropy
from strop.training import AdamW, train
from tiny_models import make_model_folder
from training_rows import make_rows, make_stream

FAMILIES = ["llama", "qwen3", "mistral", "gemma2", "granite", "gpt2"]
IDS = torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def base(root: Path) -> Path:
    return root / "llama" if (root / "llama").exists() else make_model_folder(root / "llama")


def learn(policy: Policy, num_steps: int = 2) -> Policy:
    optimizer = AdamW(lr=1e-2, warmup=0.0)
    for _ in train(policy, make_stream(make_rows(16)), CrossEntropy(), optimizer=optimizer, num_steps=num_steps):
        pass
    return policy


def plain(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def plain_adapter(folder: Path) -> Any:
    from peft import PeftModel

    config = json.loads((folder / "adapter_config.json").read_text())
    return PeftModel.from_pretrained(plain(Path(config["base_model_name_or_path"])), folder).eval()


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=IDS).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_adapter_and_its_merge_load_in_plain_transformers_and_peft(root: Path, family: str) -> None:
    source = make_model_folder(root / f"{family}-source", family)
    policy = learn(Policy.load(source, lora=LoRA(rank=4)))
    assert (logits(policy.model) - logits(plain(source))).abs().max() > 1e-2
    assert export(policy, root / f"{family}-adapter", merge=False) == 0.0
    assert export(policy, root / f"{family}-merged", merge=True) < 1e-4
    expected = logits(policy.model)
    assert torch.equal(logits(plain_adapter(root / f"{family}-adapter")), expected)
    scale = float(expected.abs().max())
    merged = plain(root / f"{family}-merged")
    torch.testing.assert_close(logits(merged), expected, atol=1e-5 * scale, rtol=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(root / f"{family}-merged")
    assert tokenizer.chat_template == policy.template.tokenizer.chat_template
    again = Policy.load(root / f"{family}-adapter")
    assert again.digest() == policy.digest()
    assert again.trainable().keys() == policy.trainable().keys()


def test_a_whole_model_survives_saving_to_the_bit(base: Path, tmp_path: Path) -> None:
    policy = learn(Policy.load(base))
    policy.save(tmp_path / "saved")
    assert torch.equal(logits(plain(tmp_path / "saved")), logits(policy.model))
    assert Policy.load(tmp_path / "saved").digest() == policy.digest()
    assert policy.digest() != Policy.load(base).digest()


def test_tied_embeddings_stay_tied(root: Path, tmp_path: Path) -> None:
    source = make_model_folder(root / "tied", "gemma2")  # Gemma ties by default
    policy = learn(Policy.load(source, lora=LoRA(rank=4)))
    export(policy, tmp_path / "merged", merge=True)
    from safetensors import safe_open

    with safe_open(tmp_path / "merged" / "model.safetensors", framework="pt") as file:
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118  (a safetensors handle is no dict)
    model = plain(tmp_path / "merged")
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_an_adapter_is_continued_by_default(base: Path, tmp_path: Path) -> None:
    policy = learn(Policy.load(base, lora=LoRA(rank=4, targets="attention")))
    policy.save(tmp_path / "adapter")
    again = Policy.load(tmp_path / "adapter", lora=LoRA(rank=4, targets="attention"))
    assert torch.equal(logits(again.model), logits(policy.model))
    assert learn(again).base_digest() == policy.base_digest()
    with pytest.raises(RecipeError, match="rank 8 instead of 4"):
        Policy.load(tmp_path / "adapter", lora=LoRA(rank=8, alpha=8, targets="attention"))
    with pytest.raises(RecipeError, match="targets"):
        Policy.load(tmp_path / "adapter", lora=LoRA(rank=4))


@pytest.mark.capability("PE-05")
def test_the_scaling_of_rslora_is_not_lost_on_loading(base: Path, tmp_path: Path) -> None:
    policy = learn(Policy.load(base, lora=LoRA(rank=9, alpha=6.0, rslora=True)))
    policy.save(tmp_path / "adapter")
    for model in (Policy.load(tmp_path / "adapter").model, plain_adapter(tmp_path / "adapter")):
        assert model.base_model.model.model.layers[0].self_attn.q_proj.scaling["default"] == pytest.approx(6 / 3)
        assert torch.equal(logits(model), logits(policy.model))


def test_a_merged_adapter_becomes_the_base_of_the_next_and_travels_with_it(base: Path, tmp_path: Path) -> None:
    first = learn(Policy.load(base, lora=LoRA(rank=4)))
    first.save(tmp_path / "first")
    second = Policy.load(tmp_path / "first", lora=LoRA(rank=2), adapter="merge")
    torch.testing.assert_close(logits(second.model), logits(first.model), atol=1e-3, rtol=1e-5)
    assert second.lora == LoRA(rank=2)
    learn(second).save(tmp_path / "second")
    assert torch.equal(logits(plain_adapter(tmp_path / "second")), logits(second.model))
    third = Policy.load(tmp_path / "second")
    assert third.digest() == second.digest()
    third.save(tmp_path / "third")
    shutil.rmtree(tmp_path / "second")
    assert Policy.load(tmp_path / "third").digest() == second.digest()


def test_a_merged_adapter_without_a_new_one_is_trained_whole(base: Path, tmp_path: Path) -> None:
    learn(Policy.load(base, lora=LoRA(rank=4))).save(tmp_path / "first")
    whole = Policy.load(tmp_path / "first", adapter="merge")
    assert whole.lora is None
    assert whole.trainable().keys() == Policy.load(base).trainable().keys()
    learn(whole).save(tmp_path / "whole")
    assert torch.equal(logits(plain(tmp_path / "whole")), logits(whole.model))


def test_a_fresh_adapter_starts_on_the_same_base(base: Path, tmp_path: Path) -> None:
    learn(Policy.load(base, lora=LoRA(rank=4))).save(tmp_path / "first")
    fresh = Policy.load(tmp_path / "first", adapter="fresh")
    assert torch.equal(logits(fresh.model), logits(plain(base)))
    assert fresh.lora is not None
    assert fresh.lora.rank == 4
    with pytest.raises(RecipeError, match="has no effect"):
        Policy.load(base, adapter="fresh")


def test_an_adapter_of_the_embedded_base_finds_it_wherever_the_package_lies(tmp_path: Path) -> None:
    policy = learn(Policy.load("strop:tiny", lora=LoRA(rank=2)), num_steps=1)
    policy.save(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert Path(config["base_model_name_or_path"]).joinpath("config.json").is_file()
    config["base_model_name_or_path"] = "/another/machine/strop/models/tiny"
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    again = Policy.load(tmp_path / "adapter")
    assert again.digest() == policy.digest()
    assert again.base.name == "strop:tiny"


def test_a_changed_base_is_refused(root: Path, tmp_path: Path) -> None:
    source = make_model_folder(tmp_path / "base")
    learn(Policy.load(source, lora=LoRA(rank=4))).save(tmp_path / "adapter")
    make_model_folder(tmp_path / "base", seed=1)
    with pytest.raises(MismatchError, match="has changed"):
        Policy.load(tmp_path / "adapter")
    shutil.rmtree(source)
    with pytest.raises(ModelError, match=r"the base of the adapter .* is not there"):
        Policy.load(tmp_path / "adapter")


def test_only_folders_of_our_own_are_replaced(base: Path, tmp_path: Path) -> None:
    policy = Policy.load(base)
    policy.save(tmp_path / "mine")
    policy.save(tmp_path / "mine")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="could not write"):
        policy.save(tmp_path / "theirs")
    assert (tmp_path / "theirs" / "thesis.tex").read_text() == "years of work"


def test_an_untrained_adapter_is_not_exported_as_if_it_were_something(base: Path, tmp_path: Path) -> None:
    policy = Policy.load(base, lora=LoRA(rank=4))
    for merge in (True, False):
        with pytest.raises(ModelError, match="equals the base"):
            export(policy, tmp_path / "nothing", merge=merge)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (lambda policy: Policy.load(policy.base.folder).model, "equals the base"),
        (lambda policy: _noisy(policy.merged()), "diverged"),
    ],
)
def test_a_merge_gone_wrong_leaves_nothing_behind(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Any, what: str
) -> None:
    policy = learn(Policy.load(base, lora=LoRA(rank=4)))
    wrong = broken(policy)
    monkeypatch.setattr(policy, "merged", lambda: wrong)
    if what == "equals the base":
        monkeypatch.setattr(exporting, "_MAX_DRIFT", 1e9)
    with pytest.raises(ModelError, match=what):
        export(policy, tmp_path / "wrong", merge=True)
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def _noisy(model: Any) -> Any:
    model.get_input_embeddings().weight.add_(0.05)
    return model


def test_merging_a_whole_model_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapter to merge"):
        export(Policy.load(base), tmp_path / "merged", merge=True)


def test_a_full_disk_leaves_nothing_half_written(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy.load(base)

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(policy.model, "save_pretrained", full)
    with pytest.raises(OutputError, match="no space left"):
        policy.save(tmp_path / "saved")
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="chat template"):
        Policy.load(make_model_folder(tmp_path / "bare", template=None))


def test_a_tokenizer_that_differs_from_the_lock_is_refused(base: Path, tmp_path: Path) -> None:
    Policy.load(base).save(tmp_path / "saved")
    template = tmp_path / "saved" / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|end|>", "<|end|>\n"))
    with pytest.raises(MismatchError):
        Policy.load(tmp_path / "saved")


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "small")
    model = plain(folder)
    model.resize_token_embeddings(300)
    model.save_pretrained(folder)
    with pytest.raises(ModelError, match="the tokenizer knows 394 tokens, the model only 300"):
        Policy.load(folder)


def test_missing_weights_are_never_drawn_at_random(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_model_folder(tmp_path / "holey")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"weights of .* are incomplete"):
        Policy.load(folder)


def test_torn_weights_are_one_clear_error(tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "torn")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="cannot be loaded"):
        Policy.load(folder)


def test_a_row_beyond_the_context_is_refused_by_name(base: Path) -> None:
    from strop.errors import DataError
    from strop.types import Sample

    policy = Policy.load(base)
    assert policy.max_length == 512
    rows = [
        Sample(name=f"of-{length}", token_ids=(5,) * length, loss_mask=(False,) * (length - 1) + (True,))
        for length in (9, 513)
    ]
    with pytest.raises(DataError, match="the row of-513 has 513 tokens"):
        policy.forward(collate(rows))
