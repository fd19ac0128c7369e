"""The embedded engine against ``transformers`` on the same weights, and against the machine's own kernels.

    python benchmarks/sampler.py [--models tiny 25M 110M] [--cases 1 16 64 256 8x8+64 8x8+256 adapters] [--threads N]

Per case: useful tokens a second of ``TorchSampler``, of its decoder alone, of ``generate`` in its better dtype, and of
``generate_batch`` where it runs; warmed up, repeats interleaved, medians of the pairwise ratios. No answer stops early,
so that all do the same work. The limit of a step is the sum of the matrix products of its shapes, each by the faster of
torch's two libraries, and of torch's attention over a contiguous cache of the mean length: nothing else, no Python.
For groups the limit too reads a shared prompt once. ``8x8+256`` is 8 groups of 8 rows with a shared prompt of 256.
Rows of a case that exists in the result file already are replaced, others stay.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from sampler_limit import limit_tokens_per_s
from torch import Tensor

from strop.files import write_json
from strop.models import Policy, hardware
from strop.sampling import TorchSampler
from strop.sampling.adapters import make_adapter
from strop.sampling.decoder import FastDecoder, probe
from strop.types import SamplingParams

RESULTS = Path(__file__).parent / "results" / "sampler.json"
SHAPES = {"25M": (512, 8, 1408, 8, 4), "110M": (768, 12, 2048, 12, 12)}
"""Hidden size, layers, feed-forward size, heads, key heads; a vocabulary of 8192."""
Rate = Callable[[], float]
"""Runs once and answers useful tokens a second."""


_clock = time.perf_counter
"""``--cpu-time`` replaces it: on a machine that others use too, one thread's own seconds are what can be compared."""


class _Endless:
    """A template whose answers never stop, so that every engine draws the same number of tokens."""

    stop_token_ids: tuple[int, ...] = ()

    def text_of(self, token_ids: Sequence[int]) -> str:
        return ""


@dataclass(frozen=True)
class Case:
    """What is sampled: groups of rows with one prompt each."""

    name: str
    num_groups: int
    group_size: int
    prompt_length: int

    @property
    def batch(self) -> int:
        return self.num_groups * self.group_size

    def prompts(self, vocab_size: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(0)
        found = torch.randint(3, vocab_size, (self.num_groups, self.prompt_length), generator=generator).tolist()
        return [prompt for prompt in found for _ in range(self.group_size)]


def read_case(name: str) -> Case:
    """``64``: 64 rows of their own prompts of 64 tokens; ``8x8+256``: 8 groups of 8 with a prompt of 256."""
    if "x" not in name:
        return Case(name, int(name), 1, 64)
    groups, _, rest = name.partition("x")
    size, _, length = rest.partition("+")
    return Case(name, int(groups), int(size), int(length))


def make_policy(name: str, dtype: str = "float32") -> Policy:
    """The embedded base, or a random Llama of that size, without stop tokens; products in ``dtype``."""
    if name == "tiny":
        policy = Policy.load("strop:tiny", dtype=dtype)
        policy.template = _Endless()  # type: ignore[assignment]
        return policy
    hardware.keep_freed_memory()
    hidden, layers, feed_forward, heads, kv_heads = SHAPES[name]
    config = transformers.LlamaConfig(
        vocab_size=8192,
        hidden_size=hidden,
        num_hidden_layers=layers,
        intermediate_size=feed_forward,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    return Policy(model, _Endless(), dtype=getattr(torch, dtype))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------- engines


def engine(policy: Policy, case: Case, new_tokens: int) -> Rate:
    sampler = TorchSampler(policy)
    prompts = case.prompts(policy.model.config.vocab_size)

    def run() -> float:
        start = _clock()
        found = sampler.sample(prompts, SamplingParams(max_new_tokens=new_tokens), seeds=range(case.batch))
        return sum(len(completion.token_ids) for completion in found) / (_clock() - start)

    return run


def decoder_alone(decoder: FastDecoder, case: Case, new_tokens: int, adapters: Sequence[int] | None = None) -> Rate:
    """Greedy, without the engine: what the step itself does."""
    prompts = case.prompts(decoder.vocab_size)

    @torch.inference_mode()
    def run() -> float:
        start = _clock()
        slots, logits = decoder.add(prompts, [new_tokens] * case.batch, adapters or [-1] * case.batch)
        named = torch.tensor(slots)
        for _ in range(new_tokens - 1):
            logits = decoder.advance(named, logits.argmax(-1))
        logits.argmax(-1)
        seconds = _clock() - start
        decoder.remove(slots)
        return case.batch * new_tokens / seconds

    return run


def generate(model: Any, case: Case, new_tokens: int) -> Rate:
    ids = torch.tensor(case.prompts(model.config.vocab_size))

    @torch.inference_mode()
    def run() -> float:
        start = _clock()
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=True,
            top_k=0,
            pad_token_id=0,
        )
        return (out.shape[1] - ids.shape[1]) * case.batch / (_clock() - start)

    return run


def generate_batch(model: Any, case: Case, new_tokens: int) -> Rate:
    prompts = case.prompts(model.config.vocab_size)
    config = transformers.GenerationConfig(
        max_new_tokens=new_tokens, do_sample=True, top_k=0, eos_token_id=-1, pad_token_id=0
    )

    def run() -> float:
        start = _clock()
        out = model.generate_batch(inputs=prompts, generation_config=config)
        return sum(len(found.generated_tokens) for found in out.values()) / (_clock() - start)

    return run


def better_model(policy: Policy, case: Case) -> tuple[Any, str]:
    """The policy's model in the dtype in which ``generate`` is faster here."""
    low = copy.deepcopy(policy.model).to(torch.bfloat16)
    rates = {}
    for name, model in (("float32", policy.model), ("bfloat16", low)):
        run = generate(model, case, 6)
        run()
        rates[name] = run()
    best = max(rates, key=lambda name: rates[name])
    return (policy.model, best) if best == "float32" else (low, best)


# -------------------------------------------------------------------------------------------------------------- report


def interleaved(runs: dict[str, Rate], repeats: int) -> dict[str, list[float]]:
    """Every engine once a repeat, in turn, after a warm-up."""
    for run in runs.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(run())
    return found


def measure(policy: Policy, model_name: str, case: Case, options: argparse.Namespace) -> dict[str, Any]:
    decoder = probe(policy)
    assert isinstance(decoder, FastDecoder), decoder
    peer, dtype = better_model(policy, case)
    runs = {
        "engine": engine(policy, case, options.new_tokens),
        "decoder": decoder_alone(decoder, case, options.new_tokens),
        "generate": generate(peer, case, options.new_tokens),
    }
    if options.continuous:
        runs["generate_batch"] = generate_batch(peer, case, options.new_tokens)
    limits = [limit_tokens_per_s(policy.model.config, case, options.new_tokens, _clock)]
    rates = interleaved(runs, options.repeats)
    limits.append(limit_tokens_per_s(policy.model.config, case, options.new_tokens, _clock))
    limit = max(limits, key=lambda found: found["limit_tokens_per_s"])
    row: dict[str, Any] = {"model": model_name, "case": case.name, "batch": case.batch, "generate_dtype": dtype}
    row |= {f"{name}_tokens_per_s": statistics.median(found) for name, found in rates.items()}
    for mine in ("engine", "decoder"):
        for other in set(runs) - {"engine", "decoder"}:
            row[f"{mine}_over_{other}"] = statistics.median(
                a / b for a, b in zip(rates[mine], rates[other], strict=True)
            )
        row[f"{mine}_share_of_limit"] = row[f"{mine}_tokens_per_s"] / limit["limit_tokens_per_s"]
    return row | limit


def measure_adapters(policy: Policy, model_name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Batch 64 under 32 adapters of rank 16 against all rows under one of them."""
    decoder = probe(policy)
    assert isinstance(decoder, FastDecoder), decoder
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return 0.02 * torch.randn(shape, generator=generator)

    indices = []
    for _ in range(32):
        tensors = {}
        for name, layer in policy.model.named_modules():
            if isinstance(layer, torch.nn.Linear) and name != "lm_head":
                tensors[f"base_model.model.{name}.lora_A.weight"] = random(16, layer.in_features)
                tensors[f"base_model.model.{name}.lora_B.weight"] = random(layer.out_features, 16)
        indices.append(decoder.load(make_adapter(tensors, 2.0, where="the benchmark")))
    case = Case("adapters", 64, 1, 64)
    runs = {
        "many": decoder_alone(decoder, case, options.new_tokens, [indices[i % 32] for i in range(64)]),
        "one": decoder_alone(decoder, case, options.new_tokens, [indices[0]] * 64),
        "none": decoder_alone(decoder, case, options.new_tokens),
    }
    rates = interleaved(runs, options.repeats)
    row: dict[str, Any] = {"model": model_name, "case": "adapters", "batch": 64}
    row |= {f"{name}_tokens_per_s": statistics.median(found) for name, found in rates.items()}
    for other in ("one", "none"):
        row[f"many_over_{other}"] = statistics.median(a / b for a, b in zip(rates["many"], rates[other], strict=True))
    return row


def _rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for model_name in options.models:
        policy = make_policy(model_name, options.dtype)
        for name in options.cases:
            if name == "adapters":
                row = measure_adapters(policy, model_name, options)
            else:
                row = measure(policy, model_name, read_case(name), options)
            row |= {
                "dtype": options.dtype,
                "threads": options.threads,
                "new_tokens": options.new_tokens,
                "repeats": options.repeats,
            }
            row["clock"] = "cpu" if options.cpu_time else "wall"
            print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
            yield row


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["tiny", "25M", "110M"], choices=["tiny", *SHAPES])
    parser.add_argument("--cases", nargs="+", default=["1", "16", "64", "256", "8x8+64", "8x8+256", "adapters"])
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of our matrix products")
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=hardware.choose_num_threads())
    parser.add_argument("--continuous", action="store_true", help="also time generate_batch (slow)")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument(
        "--cpu-time", action="store_true", help="count this process's own seconds; with one thread only"
    )
    options = parser.parse_args()
    if options.cpu_time:
        assert options.threads == 1, "waiting threads would count twice"
        globals()["_clock"] = time.process_time
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    for row in _rows(options):
        held = json.loads(options.json.read_text())["results"] if options.json.exists() else []
        key = ("model", "case", "threads", "dtype")
        results = [old for old in held if any(old.get(name) != row[name] for name in key)] + [row]
        machine = {"processor": _processor(), "torch": torch.__version__, "transformers": transformers.__version__}
        write_json(options.json, {"machine": machine, "results": results})


if __name__ == "__main__":
    main()
