"""The decoder for every architecture: what it adds, drops, splits and copies equals plain forwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling_reference import differences, plain_loop
from strop.chat import ChatTemplate
from strop.models import Policy
from strop.sampling import Engine, Request, generic
from strop.sampling.generic import GenericDecoder
from strop.types import SamplingParams
from tiny_models import make_model_folder, make_tokenizer

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
HEADS = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
}
OTHERS: dict[str, Callable[[int], transformers.PretrainedConfig]] = {
    # Windows and global layers with rotations of their own; no positions at all; running states; no cache.
    "gemma3": lambda size: transformers.Gemma3TextConfig(
        **SHAPE,
        **HEADS,
        vocab_size=size,
        head_dim=8,
        sliding_window=16,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "bloom": lambda size: transformers.BloomConfig(
        vocab_size=size, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2
    ),
    "lfm2": lambda size: transformers.Lfm2Config(
        **SHAPE, **HEADS, vocab_size=size, layer_types=["conv", "full_attention"]
    ),
    "mamba": lambda size: transformers.MambaConfig(**SHAPE, vocab_size=size, state_size=8),
}


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """Gemma2: every other layer sees 16 tokens."""
    return Policy.load(make_model_folder(tmp_path_factory.mktemp("m") / "g", "gemma2"), device="cpu", dtype="float32")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", sorted(OTHERS))
def test_architectures_without_a_plain_cache_equal_the_plain_loop_too(family: str) -> None:
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(OTHERS[family](len(tokenizer)), dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4.0)
    policy = Policy(model, ChatTemplate.from_tokenizer(tokenizer))
    params = [SamplingParams(max_new_tokens=num, temperature=0.7) for num in (8, 3, 9, 6)]
    prompts = [tuple(range(10, 10 + length)) for length in (5, 22, 5, 13)]
    requests = [Request(prompt=p, params=q, seed=i) for i, (p, q) in enumerate(zip(prompts, params, strict=True))]
    engine = Engine(policy, max_rows=3)
    for i, completion in enumerate(engine.run(requests)):
        assert differences(completion, plain_loop(policy, prompts[i], params[i], i)) == 0
    assert engine.decoder.bytes_used == 0


@torch.inference_mode()
def next_logits(policy: Policy, token_ids: list[int]) -> torch.Tensor:
    return policy.model(input_ids=torch.tensor([token_ids]), use_cache=False).logits[0, -1]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_sequence_of_adding_feeding_forking_and_removing_equals_plain_forwards(
    windowed: Policy, data: st.DataObject
) -> None:
    decoder = GenericDecoder(windowed)
    rows: dict[int, list[int]] = {}
    draw = data.draw

    def check(slots: list[int], logits: torch.Tensor) -> None:
        for slot, found in zip(slots, logits, strict=True):
            torch.testing.assert_close(found, next_logits(windowed, rows[slot]), atol=2e-4, rtol=1e-4)

    with torch.inference_mode():
        for _ in range(draw(st.integers(4, 10))):
            act = draw(st.sampled_from(["add", "advance", "advance", "part", "fork", "remove"])) if rows else "add"
            if act == "add":
                lengths = draw(st.lists(st.sampled_from([1, 4, 20, 33]), min_size=1, max_size=3))
                prompts = [draw(st.lists(st.integers(7, 250), min_size=n, max_size=n)) for n in lengths]
                prompts.append(prompts[0])
                slots, logits = decoder.add(prompts, [60] * len(prompts), [-1] * len(prompts))
                rows |= {slot: list(prompt) for slot, prompt in zip(slots, prompts, strict=True)}
                assert len(rows) == len(set(rows))
                check(slots, logits)
            elif act == "fork":
                slot = draw(st.sampled_from(sorted(rows)))
                rows[decoder.fork(slot)] = list(rows[slot])
            elif act == "remove":
                gone = draw(st.lists(st.sampled_from(sorted(rows)), unique=True, min_size=1))
                decoder.remove(gone)
                for slot in gone:
                    del rows[slot]
            else:
                slots = list(draw(st.permutations(sorted(rows))))
                slots = slots[: draw(st.integers(1, len(slots)))] if act == "part" else slots
                tokens = [draw(st.integers(7, 250)) for _ in slots]
                for slot, token in zip(slots, tokens, strict=True):
                    rows[slot].append(token)
                check(slots, decoder.advance(torch.tensor(slots), torch.tensor(tokens)))
        decoder.remove(list(rows))
    assert decoder.bytes_used == 0


def test_identical_prompts_under_one_adapter_are_computed_once(
    windowed: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, widths = GenericDecoder(windowed), []
    forward = windowed.model.forward

    def counted(*args: object, **kwargs: object) -> object:
        widths.append(tuple(kwargs["input_ids"].shape))  # type: ignore[attr-defined]
        return forward(*args, **kwargs)

    monkeypatch.setattr(windowed.model, "forward", counted)
    with torch.inference_mode():
        decoder.add([[5, 6, 7], [8, 9], [5, 6, 7], [5, 6, 7]], [4] * 4, [-1] * 4)
    assert widths == [(2, 3)]


@pytest.mark.parametrize("failing", ["the second forward", "joining the rows"])
def test_a_failed_add_leaves_nothing_behind(windowed: Policy, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = GenericDecoder(windowed)
    monkeypatch.setattr(generic, "_PREFILL_TOKENS", 4)
    prompts = [[5, 6, 7, 8], [9, 10, 11], [12, 13, 14]]
    with torch.inference_mode():
        [kept], _ = decoder.add([[20, 21]], [4], [-1])
        before = decoder.bytes_used
        with monkeypatch.context() as patch:
            if failing == "joining the rows":
                patch.setattr(generic.caches, "join", lambda *_: 1 / 0)
            else:
                forward = windowed.model.forward
                calls = iter([forward])
                patch.setattr(windowed.model, "forward", lambda **named: next(calls)(**named))
            with pytest.raises((ZeroDivisionError, StopIteration)):
                decoder.add(prompts, [4] * 3, [-1] * 3)
        assert decoder.bytes_used == before
        slots, logits = decoder.add(prompts, [4] * 3, [-1] * 3)
        assert max(slots) <= 3  # those of the failed call are free again
        for prompt, found in zip(prompts, logits, strict=True):
            torch.testing.assert_close(found, next_logits(windowed, prompt), atol=2e-4, rtol=1e-4)
        after = decoder.advance(torch.tensor([kept, *slots]), torch.tensor([30, 31, 32, 33]))
        torch.testing.assert_close(after[0], next_logits(windowed, [20, 21, 30]), atol=2e-4, rtol=1e-4)
        decoder.remove([kept, *slots])
    assert decoder.bytes_used == 0


def test_the_estimate_is_not_below_what_the_cache_takes(chat_folder: Path) -> None:
    policy = Policy.load(chat_folder, device="cpu", dtype="float32")
    decoder = GenericDecoder(policy)
    with torch.inference_mode():
        decoder.add([[5] * 30, [6] * 10, [7] * 3], [12] * 3, [-1] * 3)
    # Two layers, two key-value heads of 8, keys and values, 4 bytes: 256 a token; 3 rows of 42.
    assert decoder.bytes_used == 256 * 3 * 42
    assert decoder.bytes_for([42, 22, 15]) == 256 * 3 * 42
    assert decoder.bytes_for([]) == 0
