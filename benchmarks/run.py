"""Side by side with the peer, in one run, as ratios: sampling against ``generate``, SFT against TRL, on the base.

    python benchmarks/run.py [--repeats 5] [--json FILE]

Both sides are warmed up, repeats are interleaved, and the median of the pairwise ratios is reported. Only useful tokens
count: drawn before the end of each answer when sampling, not padding when training.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from strop.files import write_json
from strop.methods import sft
from strop.models import Policy
from strop.sampling import TorchSampler
from strop.training import AdamW, train
from strop.types import SamplingParams
from strop.worlds import get_world

Rate = Callable[[], float]
"""Runs once and answers useful tokens a second."""
NEW_TOKENS = 96


def sampling(batch: int) -> tuple[Rate, Rate]:
    """Ours and ``generate`` on the same prompts at temperature 1."""
    policy = Policy.load("strop:tiny")
    tasks = get_world("finance").tasks("test", batch)
    prompts = [policy.template.prompt_ids(task.prompt, task.tools) for task in tasks]
    stop = policy.template.stop_token_ids
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])

    def ours() -> float:
        start = time.monotonic()
        params = SamplingParams(max_new_tokens=NEW_TOKENS)
        found = TorchSampler(policy).sample(prompts, params, seeds=range(batch))
        return sum(len(completion.token_ids) for completion in found) / (time.monotonic() - start)

    def theirs() -> float:
        start = time.monotonic()
        with torch.inference_mode():
            out = policy.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=NEW_TOKENS,
                do_sample=True,
                top_k=0,
                eos_token_id=list(stop),
                pad_token_id=0,
            )[:, width:]
        ended = (out == stop[0]).int().cumsum(1)
        return float(((ended - (out == stop[0]).int()) == 0).sum()) / (time.monotonic() - start)

    return ours, theirs


def fine_tuning(num_rows: int, batch: int) -> tuple[Rate, Rate]:
    """Our loop and TRL's trainer for one pass over the same rows, same batch size, all weights, fp32."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = get_world("arithmetic").demonstrations("train", num_rows)
    messages = [[{"role": m.role, "content": m.content} for m in row.messages] for row in rows]
    template = Policy.load("strop:tiny").template
    num_tokens = sum(len(template.render(row.messages).token_ids) for row in rows)

    def ours() -> float:
        policy = Policy.load("strop:tiny")
        stream, objective = sft(policy, rows, batch_size=batch)
        start = time.monotonic()
        for _ in train(policy, stream, objective, optimizer=AdamW(lr=1e-4), num_steps=num_rows // batch):
            pass
        return num_tokens / (time.monotonic() - start)

    def theirs() -> float:
        policy = Policy.load("strop:tiny")
        with tempfile.TemporaryDirectory() as folder:
            config = SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=batch,
                num_train_epochs=1,
                learning_rate=1e-4,
                assistant_only_loss=True,
                report_to=[],
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
            )
            trainer = SFTTrainer(
                model=policy.model,
                args=config,
                train_dataset=Dataset.from_list([{"messages": row} for row in messages]),
                processing_class=template.tokenizer,
            )
            start = time.monotonic()
            trainer.train()
            return num_tokens / (time.monotonic() - start)

    return ours, theirs


def compare(name: str, pair: tuple[Rate, Rate], repeats: int) -> dict[str, float | str]:
    """Medians of interleaved repeats, and of their ratios."""
    ours, theirs = pair
    ours(), theirs()
    runs = [(ours(), theirs()) for _ in range(repeats)]
    ratio = statistics.median(mine / other for mine, other in runs)
    medians = statistics.median(mine for mine, _ in runs), statistics.median(other for _, other in runs)
    print(f"{name:32} strop {medians[0]:8.0f} tok/s   peer {medians[1]:8.0f} tok/s   ratio {ratio:.2f}", flush=True)
    return {"name": name, "strop_tokens_per_s": medians[0], "peer_tokens_per_s": medians[1], "ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = [
        compare("sampling, batch 1, generate", sampling(1), options.repeats),
        compare("sampling, batch 64, generate", sampling(64), options.repeats),
        compare("sampling, batch 256, generate", sampling(256), options.repeats),
        compare("SFT, 512 rows, batch 16, TRL", fine_tuning(512, 16), options.repeats),
    ]
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
        write_json(options.json, {"machine": machine, "torch": torch.__version__, "results": results})


if __name__ == "__main__":
    main()
