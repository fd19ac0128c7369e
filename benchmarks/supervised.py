"""Supervised fine-tuning side by side with TRL on the embedded base, in one run, as a ratio.

    python benchmarks/supervised.py [--repeats 5] [--json FILE]

Both sides are warmed up, repeats are interleaved, and the median of the pairwise ratios is reported. Padding does not
count.
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
from strop.training import AdamW, train
from strop.worlds import get_world

Rate = Callable[[], float]
"""Runs once and answers useful tokens a second."""


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
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "supervised.json")
    options = parser.parse_args()
    results = [compare("SFT, 512 rows, batch 16, TRL", fine_tuning(512, 16), options.repeats)]
    machine = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    write_json(options.json, {"machine": machine, "torch": torch.__version__, "results": results})


if __name__ == "__main__":
    main()
