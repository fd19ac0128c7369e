"""Building a base: a plain Hugging Face folder, the same weights from the same seed, and the shipped one's promises."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from strop.digests import digest_file
from strop.errors import RecipeError
from strop.methods.pretrain import CONTROL_TOKENS, PHASES, BaseSettings, Phase, build_base
from strop.models import resolve

SMALL = BaseSettings(
    phases=(
        Phase(name="copying", guess=0.1, num_steps=3, rows_per_step=2, learning_rate=3e-3),
        Phase(name="skills", guess=0.4, num_steps=3, rows_per_step=2, learning_rate=3e-3, decays=True),
    ),
    tokenizer_documents=400,
    hidden_size=32,
    num_layers=1,
    intermediate_size=64,
    row_length=64,
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_base(tmp_path_factory.mktemp("bases") / "small", SMALL)


@pytest.mark.capability("IM-04")
def test_a_base_is_a_plain_folder_that_transformers_loads(built: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(built)
    model = AutoModelForCausalLM.from_pretrained(built)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Compute 3 + 4 mod 100."}], return_dict=True)
    assert model(torch.tensor([ids["input_ids"]])).logits.isfinite().all()


def test_the_same_seed_builds_the_same_weights_and_another_does_not(built: Path, tmp_path: Path) -> None:
    def weights(folder: Path) -> str:
        return digest_file(folder / "model.safetensors")

    assert weights(build_base(tmp_path / "again", SMALL)) == weights(built)
    assert weights(build_base(tmp_path / "other", replace(SMALL, seed=1))) != weights(built)


def test_training_lowers_the_loss_from_that_of_chance(tmp_path: Path) -> None:
    losses: list[float] = []
    phase = Phase(name="skills", guess=0.4, num_steps=40, rows_per_step=4, learning_rate=1e-2)
    progress = lambda label, done, total, metrics: losses.append(metrics["loss"])  # noqa: E731
    build_base(tmp_path / "base", replace(SMALL, phases=(phase,)), progress)
    assert losses[0] == pytest.approx(math.log(768), abs=0.3)
    assert losses[-1] < losses[0] - 1.5


def test_an_unknown_mixture_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="P1"):
        build_base(tmp_path / "base", replace(SMALL, mixture="P2"))
    assert not (tmp_path / "base").exists()


@pytest.mark.capability("IM-04")
def test_the_shipped_base_is_small_and_its_tokenizer_keeps_digits_single() -> None:
    from transformers import AutoConfig, AutoTokenizer

    folder = resolve("strop:tiny")
    assert sum(file.stat().st_size for file in Path(folder).iterdir()) < 8 * 2**20
    assert AutoConfig.from_pretrained(folder).model_type == "llama"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("4821") == list("4821")
    assert max(map(len, set(tokenizer.get_vocab()) - set(CONTROL_TOKENS))) <= 16
    assert [len(tokenizer.encode(token, add_special_tokens=False)) for token in CONTROL_TOKENS] == [1] * 10


def test_the_card_tells_the_phases_and_the_digest_of_the_shipped_weights() -> None:
    from strop.models import Policy

    folder = Path(resolve("strop:tiny"))
    card = (folder / "CARD.md").read_text()
    assert Policy.load(folder).digest() in card
    tokens = sum(phase.num_steps * phase.rows_per_step for phase in PHASES) * BaseSettings().row_length
    assert f"about {tokens / 1e6:.0f} million tokens" in card
