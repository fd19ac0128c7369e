"""The hand-written decoder answers the model's own logits: every family, batch and adapter, on both kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.errors import ModelError
from strop.models.adapters import LoRA, attach
from strop.models.policy import Policy
from strop.sampling.adapters import make_adapter
from strop.sampling.decoder import FastDecoder, probe
from strop.sampling.decoder.native import PAGE, load_kernels
from strop.sampling.decoder.probing import sharpen
from strop.sampling.decoding import Adapter

VOCABULARY = 300
WINDOW = 16
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 72,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CONFIGS: dict[str, transformers.PretrainedConfig] = {
    "llama": transformers.LlamaConfig(**SHAPE),
    "llama with biases and llama3 rotation": transformers.LlamaConfig(
        **SHAPE, attention_bias=True, mlp_bias=True, rope_scaling=LLAMA3
    ),
    "llama with yarn": transformers.LlamaConfig(
        **SHAPE, rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
    ),
    "qwen2": transformers.Qwen2Config(**SHAPE),
    "qwen3": transformers.Qwen3Config(**SHAPE, head_dim=8),
    "mistral": transformers.MistralConfig(**SHAPE, sliding_window=WINDOW),
    "gemma": transformers.GemmaConfig(**SHAPE, head_dim=24),
    "gemma2": transformers.Gemma2Config(
        **SHAPE, head_dim=8, sliding_window=WINDOW, query_pre_attn_scalar=8, attn_logit_softcapping=5.0
    ),
    "gemma3": transformers.Gemma3TextConfig(**SHAPE, head_dim=8, sliding_window=WINDOW),
}
KERNELS = ["compiled", "torch"]
MODELS: dict[str, Any] = {}
DECODERS: dict[tuple[str, str], FastDecoder] = {}


def model_of(family: str) -> Any:
    """A sharpened model of the family, made once."""
    if family not in MODELS:
        torch.manual_seed(0)
        MODELS[family] = transformers.AutoModelForCausalLM.from_config(CONFIGS[family], dtype=torch.float32).eval()
        sharpen(MODELS[family])
    return MODELS[family]


def policy_of(model: Any, **settings: Any) -> Policy:
    return Policy(model, template=None, **settings)  # type: ignore[arg-type]


def decoder_of(model: Any, kernels: str = "compiled", **settings: Any) -> FastDecoder:
    if kernels == "compiled" and isinstance(load_kernels(), str):
        pytest.skip(f"no compiled kernels: {load_kernels()}")
    found = probe(policy_of(model, **settings), None if kernels == "compiled" else "not for this test")
    assert isinstance(found, FastDecoder), found
    assert ("compiled" in found.name) == (kernels == "compiled")
    return found


def prompt(length: int, seed: int = 0) -> list[int]:
    return torch.randint(0, VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def uncached(model: Any, token_ids: Sequence[int]) -> torch.Tensor:
    """The slow independent version: the model's own forward on the whole row alone."""
    return model(input_ids=torch.tensor([token_ids]), use_cache=False).logits[0, -1]


class Rows:
    """A decoder with the rows that it should hold; every logits row is compared with the uncached forward."""

    def __init__(self, decoder: FastDecoder, model: Any) -> None:
        self.decoder, self.model = decoder, model
        self.tokens: dict[int, list[int]] = {}
        self.next: dict[int, int] = {}
        self.worst = 0.0

    def add(self, prompts: Sequence[Sequence[int]]) -> list[int]:
        slots, logits = self.decoder.add(prompts, [40] * len(prompts), [-1] * len(prompts))
        assert not set(slots) & set(self.tokens)
        assert len(set(slots)) == len(slots)
        for slot, given_ids in zip(slots, prompts, strict=True):
            self.tokens[slot] = list(given_ids)
        self._check(slots, logits)
        return slots

    def advance(self, slots: Sequence[int]) -> None:
        tokens = [self.next[slot] for slot in slots]
        logits = self.decoder.advance(torch.tensor(slots), torch.tensor(tokens))
        for slot, token in zip(slots, tokens, strict=True):
            self.tokens[slot].append(token)
        self._check(slots, logits)

    def extend(self, slots: Sequence[int], tokens: Sequence[Sequence[int]]) -> None:
        logits = self.decoder.extend(slots, tokens)
        at = 0
        for slot, fed in zip(slots, tokens, strict=True):
            for token in fed:
                self.tokens[slot].append(token)
                self._check([slot], logits[at : at + 1])
                at += 1
        assert at == len(logits)

    def fork(self, slot: int) -> int:
        new = self.decoder.fork(slot)
        assert new not in self.tokens
        self.tokens[new] = list(self.tokens[slot])
        self.next[new] = (self.next[slot] + 1) % VOCABULARY  # goes its own way
        return new

    def remove(self, slots: Sequence[int]) -> None:
        self.decoder.remove(slots)
        for slot in slots:
            del self.tokens[slot], self.next[slot]

    def _check(self, slots: Sequence[int], logits: torch.Tensor) -> None:
        assert logits.shape == (len(slots), VOCABULARY)
        assert logits.dtype == torch.float32
        for slot, found in zip(slots, logits, strict=True):
            expected = uncached(self.model, self.tokens[slot])
            self.worst = max(self.worst, float((found - expected).abs().max() / expected.abs().max()))
            self.next[slot] = int(found.argmax())
        assert self.worst < 1e-4


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.capability("RL-01")
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("family", list(CONFIGS))
def test_greedy_decoding_has_the_logits_of_the_uncached_model_at_every_step(family: str, kernels: str) -> None:
    model = model_of(family)
    rows = Rows(decoder_of(model, kernels), model)
    shared = prompt(PAGE + 9, seed=1)
    first = rows.add([prompt(3), prompt(41, seed=2), [*shared, 5, 6], [*shared, 5, 6], [*shared, 7]])
    for _ in range(8):
        rows.advance(first)
    rows.remove([first[0]])
    late = rows.add([prompt(30, seed=3), [*shared, 5, 6]])
    for _ in range(12):
        rows.advance([first[3], late[0], first[1], late[1], first[2]])
    copied = rows.fork(late[0])
    rows.extend([late[0], first[4]], [prompt(9, seed=4), prompt(2, seed=5)])
    for _ in range(6):
        rows.advance([copied, late[0], first[4]])
    for _ in range(3):
        rows.advance([copied])  # one row has kernels of its own
    rows.remove([*late, copied, *first[1:]])
    assert rows.decoder.bytes_used == 0


@pytest.mark.parametrize("kernels", KERNELS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_else_is_in_the_batch_changes_no_row(kernels: str, data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(["llama", "mistral", "gemma2"]))
    if (family, kernels) not in DECODERS:
        DECODERS[family, kernels] = decoder_of(model_of(family), kernels)
    rows = Rows(DECODERS[family, kernels], model_of(family))
    beginnings = [prompt(n, seed=n) for n in (1, PAGE, 2 * PAGE + 3)]
    for _ in range(data.draw(st.integers(3, 7))):
        live = list(rows.tokens)
        action = data.draw(st.sampled_from(["add", "advance", "advance", "fork", "extend", "remove"]))
        if action == "add" or not live:
            ends = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=4))
            rows.add([data.draw(st.sampled_from(beginnings)) + prompt(n, seed=n % 3) for n in ends])
            continue
        chosen = data.draw(st.lists(st.sampled_from(live), min_size=1, unique=True))
        if action == "advance":
            for _ in range(data.draw(st.integers(1, 5))):
                rows.advance(chosen)
        elif action == "fork":
            rows.fork(chosen[0])
        elif action == "extend":
            rows.extend(chosen, [prompt(data.draw(st.integers(1, 19)), seed=9) for _ in chosen])
        else:
            rows.remove(chosen)
    rows.remove(list(rows.tokens))
    assert rows.decoder.bytes_used == 0


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_prompt_longer_than_a_chunk_of_prefill_is_the_same_prompt(
    kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strop.sampling.decoder.decoder._CHUNK_TOKENS", 23)
    model = model_of("mistral")
    rows = Rows(decoder_of(model, kernels), model)
    rows.advance(rows.add([prompt(70), prompt(70)[:50], prompt(4), prompt(23, seed=8)]))


# -------------------------------------------------------------------------------------------------------------- memory


def test_a_shared_beginning_is_held_once() -> None:
    decoder = decoder_of(model_of("llama"))
    alone, _ = decoder.add([prompt(4 * PAGE)], [PAGE], [-1])
    one = decoder.bytes_used
    assert one == decoder.bytes_for([4 * PAGE])
    decoder.remove(alone)
    slots, logits = decoder.add([prompt(4 * PAGE)] * 8, [PAGE] * 8, [-1] * 8)
    assert decoder.bytes_used == one  # four full pages for all eight
    decoder.advance(torch.tensor(slots), logits.argmax(-1))
    assert decoder.bytes_used == one + 8 * one // 4  # and a new page each
    decoder.remove(slots[1:])
    assert decoder.bytes_used == one + one // 4
    decoder.remove(slots[:1])
    assert decoder.bytes_used == 0


def test_a_thousand_rows_coming_and_going_need_the_memory_of_those_that_are_there() -> None:
    decoder = decoder_of(model_of("llama"))
    slots, _ = decoder.add([prompt(20, seed=s) for s in range(4)], [40] * 4, [-1] * 4)
    size = decoder._pages.arena.numel()
    for seed in range(250):
        decoder.remove([slots.pop(0)])
        slots += decoder.add([prompt(20, seed=seed)], [40], [-1])[0]
        decoder.advance(torch.tensor(slots), torch.ones(4, dtype=torch.int64))
    assert decoder._pages.arena.numel() <= 2 * size
    assert max(slots) < 8
    decoder.remove(slots)
    assert decoder.bytes_used == 0


@pytest.mark.parametrize("failing", ["the forward", "a copy of a row", "the second prompt"])
def test_a_failed_add_leaves_nothing_behind(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = decoder_of(model_of("llama"))
    pages = decoder._pages
    rows = Rows(decoder, model_of("llama"))
    kept = rows.add([prompt(20, seed=9)])
    before = decoder.bytes_used
    opened = [prompt(40), prompt(3), prompt(3)]
    with monkeypatch.context() as patch:
        if failing == "the forward":
            patch.setattr(decoder._step, "run", lambda *_: 1 / 0)
        elif failing == "a copy of a row":
            patch.setattr(pages, "fork", lambda *_: 1 / 0)
        else:
            fill = pages._fill
            patch.setattr(pages, "_fill", lambda slot, row, length: 1 / 0 if length == 3 else fill(slot, row, length))
        with pytest.raises(ZeroDivisionError):
            decoder.add(opened, [5] * 3, [-1] * 3)
    assert decoder.bytes_used == before
    assert pages.slots() == kept
    rows.advance(kept + rows.add(opened))


def test_garbage_that_an_earlier_row_left_in_a_page_is_not_seen() -> None:
    model = model_of("llama")
    for kernels in KERNELS:
        decoder = decoder_of(model, kernels)
        decoder._pages.arena.fill_(torch.nan)
        rows = Rows(decoder, model)
        rows.advance(rows.add([prompt(5), prompt(40)]))


# ------------------------------------------------------------------------------------------------------------- weights


def test_a_changed_weight_is_taken_over_by_refresh_and_an_unchanged_one_costs_nothing() -> None:
    torch.manual_seed(3)
    with torch.inference_mode(False):
        model: Any = transformers.AutoModelForCausalLM.from_config(CONFIGS["qwen2"], dtype=torch.float32).eval()
        sharpen(model)
    decoder = decoder_of(model)
    for change in ("q_proj", "o_proj", "gate_proj", "input_layernorm", "lm_head", ".data"):
        assert decoder.refresh() == 0.0
        with torch.inference_mode(False), torch.no_grad():
            for name, parameter in model.named_parameters():
                if change == ".data":
                    parameter.data.mul_(0.9)  # goes around the version counter
                elif change in name:
                    parameter.add_(0.05 * torch.ones_like(parameter))
        assert decoder.refresh() > 0.0
        rows = Rows(decoder, model)
        rows.advance(rows.add([prompt(20)]))
        rows.remove(list(rows.tokens))


@pytest.mark.parametrize("change", ["odd columns", "signs of odd columns", "one row", "rows in reverse", "one norm"])
def test_every_write_through_data_is_seen(change: str) -> None:
    torch.manual_seed(5)
    with torch.inference_mode(False):
        model: Any = transformers.AutoModelForCausalLM.from_config(CONFIGS["llama"], dtype=torch.float32).eval()
        sharpen(model)
    decoder = decoder_of(model)
    layer = model.model.layers[1]
    gate, down, norm = layer.mlp.gate_proj.weight.data, layer.mlp.down_proj.weight.data, layer.input_layernorm.weight
    if change == "odd columns":
        gate[:, 1::2] *= -3
    elif change == "signs of odd columns":
        gate[:, 1::2] *= -1
    elif change == "one row":
        down[3] *= 1.5
    elif change == "rows in reverse":
        down.copy_(down.flip(0))
    else:
        norm.data[7] *= 2
    assert decoder.refresh() > 0.0
    assert decoder.refresh() == 0.0
    rows = Rows(decoder, model)
    rows.advance(rows.add([prompt(20)]))


@pytest.mark.parametrize("beside", [False, True])
def test_the_own_adapter_counts_as_peft_would_apply_it_now(beside: bool) -> None:
    with torch.inference_mode(False):
        torch.manual_seed(0)
        base: Any = transformers.AutoModelForCausalLM.from_config(CONFIGS["llama"], dtype=torch.float32).eval()
        sharpen(base)
        lora = LoRA(rank=4)
        model: Any = attach(base, lora, seed=0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.normal_(std=0.2)
    decoder = decoder_of(model, lora=lora)
    if beside:
        decoder.load(make_adapter({}, 1.0, where="an adapter that changes nothing"))

    @torch.inference_mode()
    def check() -> torch.Tensor:
        decoder.refresh()
        slots, logits = decoder.add([prompt(20)], [2], [-1])
        decoder.remove(slots)
        expected = uncached(model, prompt(20))
        torch.testing.assert_close(logits[0], expected, atol=1e-4, rtol=1e-4)
        return expected

    whole = check()
    with torch.inference_mode(False), model.disable_adapter():
        assert (check() - whole).abs().max() > 0.1
    torch.testing.assert_close(check(), whole)
    for module in model.modules():
        if hasattr(module, "lora_A"):
            module.scaling["default"] *= 0.25
    assert (check() - whole).abs().max() > 0.1
    with torch.inference_mode(False), torch.no_grad():
        model.merge_adapter()
    for _ in range(2):  # refused every time, never forgotten
        with pytest.raises(ModelError, match="merged into its base"):
            decoder.refresh()
    with torch.inference_mode(False), torch.no_grad():
        model.unmerge_adapter()
    check()


def adapter_of(model: Any, rank: int, *, seed: int, rslora: bool = False, targets: str = "all-linear") -> Adapter:
    """A random LoRA adapter for ``model``, as PEFT would write it."""
    from strop.models.adapters import linear_layers

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, layer in linear_layers(model).items():
        if targets == "all-linear" or targets in name:
            shapes = {"lora_A": (rank, layer.in_features), "lora_B": (layer.out_features, rank)}
            for half, shape in shapes.items():
                tensors[f"base_model.model.{name}.{half}.weight"] = 0.2 * torch.randn(shape, generator=generator)
    return make_adapter(tensors, 2.0 / rank**0.5 if rslora else 2.0 / rank, where="a test")


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen3"])
def test_many_adapters_in_one_batch_are_each_the_model_with_that_adapter(family: str, kernels: str) -> None:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    with torch.inference_mode(False):
        torch.manual_seed(0)
        model: Any = transformers.AutoModelForCausalLM.from_config(CONFIGS[family], dtype=torch.float32).eval()
        sharpen(model)
    decoder = decoder_of(model, kernels)
    settings_of = [(4, False, "all-linear"), (1, True, "all-linear"), (9, True, "q_proj"), (3, False, "down_proj")]
    adapters = [adapter_of(model, r, seed=i, rslora=s, targets=t) for i, (r, s, t) in enumerate(settings_of)]
    indices = [decoder.load(adapter) for adapter in adapters]
    assert indices == [0, 1, 2, 3]
    chosen = [2, -1, 0, 3, 1, 0, 0, 2, *[1] * 11]
    prompts = [prompt(12 + i % 3, seed=i % 2) for i in range(len(chosen))]
    slots, logits = decoder.add(prompts, [4] * len(chosen), chosen)
    tokens = logits.argmax(-1)
    after = decoder.advance(torch.tensor(slots), tokens)
    with torch.inference_mode(False), torch.no_grad():
        for index in range(-1, 4):
            reference = model
            if index >= 0:
                rank, rslora, _ = settings_of[index]
                names = [name.split(".")[-1] for name in adapters[index].weights]
                config = LoraConfig(r=rank, lora_alpha=2.0, use_rslora=rslora, target_modules=sorted(set(names)))
                reference = get_peft_model(model, config).eval()
                state = {}
                for name, (a, b) in adapters[index].weights.items():
                    state |= {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b}
                set_peft_model_state_dict(reference, state)
            for row in [i for i, found in enumerate(chosen) if found == index]:
                expected = uncached(reference, [*prompts[row], int(tokens[row])])
                assert float((after[row] - expected).abs().max() / expected.abs().max()) < 1e-5
            if index >= 0:
                model = reference.unload()


def test_rows_with_adapters_equal_the_rows_run_alone() -> None:
    model = model_of("llama")
    decoder = decoder_of(model)
    indices = [decoder.load(adapter_of(model, 1 + i % 8, seed=i)) for i in range(32)]
    prompts = [prompt(10 + i, seed=i) for i in range(64)]
    slots, logits = decoder.add(prompts, [2] * 64, [indices[i % 32] for i in range(64)])
    together = decoder.advance(torch.tensor(slots), logits.argmax(-1))
    decoder.remove(slots)
    for i in range(0, 64, 7):
        slots, alone = decoder.add([prompts[i]], [2], [indices[i % 32]])
        torch.testing.assert_close(alone[0], logits[i], atol=1e-5 * float(logits[i].abs().max()), rtol=0)
        alone = decoder.advance(torch.tensor(slots), alone.argmax(-1))
        torch.testing.assert_close(alone[0], together[i], atol=1e-5 * float(together[i].abs().max()), rtol=0)
        decoder.remove(slots)


def test_rows_under_different_adapters_share_no_prefix() -> None:
    model = model_of("llama")
    decoder = decoder_of(model)
    index = decoder.load(adapter_of(model, 4, seed=0))
    first, _ = decoder.add([prompt(3 * PAGE)], [2], [-1])
    _, beside = decoder.add([prompt(3 * PAGE)], [2], [index])
    decoder.remove(first)
    _, again = decoder.add([prompt(3 * PAGE)], [2], [-1])
    assert (beside - again).abs().max() > 0.1
    torch.testing.assert_close(again[0], uncached(model, prompt(3 * PAGE)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kernels", KERNELS)
def test_the_policys_own_adapter_is_followed_folded_and_beside_others(kernels: str) -> None:
    with torch.inference_mode(False):
        torch.manual_seed(0)
        base: Any = transformers.AutoModelForCausalLM.from_config(CONFIGS["llama"], dtype=torch.float32).eval()
        sharpen(base)
        lora = LoRA(rank=4, rslora=True)
        model: Any = attach(base, lora, seed=0)
    decoder = decoder_of(model, kernels, lora=lora)
    plain = uncached(model, prompt(20))  # B is 0

    def train() -> None:
        with torch.inference_mode(False), torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.add_(0.1 * torch.randn_like(parameter))

    train()
    assert decoder.refresh() > 0.0
    rows = Rows(decoder, model)
    rows.advance(rows.add([prompt(20)]))
    rows.remove(list(rows.tokens))
    assert (uncached(model, prompt(20)) - plain).abs().max() > 0.1

    index = decoder.load(make_adapter({}, 1.0, where="an adapter that changes nothing"))
    for _ in range(2):
        slots, logits = decoder.add([prompt(20), prompt(20)], [2, 2], [-1, index])
        torch.testing.assert_close(logits[0], uncached(model, prompt(20)), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(logits[1], plain, atol=1e-4, rtol=1e-4)
        decoder.remove(slots)
        train()
        assert decoder.refresh() > 0.0


@pytest.mark.parametrize("kernels", KERNELS)
def test_running_rows_keep_the_own_adapter_when_a_first_one_is_loaded_beside_it(kernels: str) -> None:
    with torch.inference_mode(False):
        torch.manual_seed(0)
        base: Any = transformers.AutoModelForCausalLM.from_config(CONFIGS["llama"], dtype=torch.float32).eval()
        sharpen(base)
        lora = LoRA(rank=4)
        model: Any = attach(base, lora, seed=0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.normal_(std=0.2)
    rows = Rows(decoder_of(model, kernels, lora=lora), model)
    slots = rows.add([prompt(20), prompt(7)])
    rows.advance(slots)
    rows.decoder.load(make_adapter({}, 1.0, where="an adapter that changes nothing"))
    rows.advance(slots)


@pytest.mark.parametrize("wrong", ["name", "shape"])
def test_an_adapter_of_another_model_is_refused(wrong: str) -> None:
    model = model_of("llama")
    weights = {"model.layers.0.self_attn.q_proj": (torch.zeros(2, 32), torch.zeros(32, 2))}
    if wrong == "name":
        weights["model.layers.7.self_attn.q_proj"] = (torch.zeros(2, 32), torch.zeros(32, 2))
    else:
        weights["model.layers.1.mlp.down_proj"] = (torch.zeros(2, 32), torch.zeros(32, 2))
    with pytest.raises(ModelError, match="does not fit the model"):
        decoder_of(model).load(Adapter(digest="abc", scaling=1.0, weights=weights))
