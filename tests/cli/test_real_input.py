"""Real data through the command line: the loss of an independent loop, a lower held-out loss, six model families."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from strop.data.order import epoch_order
from strop.models import resolve
from strop.pipeline.metrics_log import read_metrics
from tiny_models import make_model_folder

TINY = resolve("strop:tiny")
RATE = 1e-3


def rows_of(file: Path, number: int) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()[:number]]


class PlainLoop:
    """Padding, shift, masked cross-entropy and AdamW as a textbook writes them, on the base's plain files."""

    def __init__(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(TINY)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE, weight_decay=0.0)

    def encode(self, row: dict[str, str]) -> tuple[list[int], list[int]]:
        messages = [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}]
        found = self.tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        return found["input_ids"], found["assistant_masks"]

    def loss(self, rows: list[dict[str, str]]) -> Tensor:
        encoded = [self.encode(row) for row in rows]
        width = max(len(ids) for ids, _ in encoded)
        ids = torch.tensor([found + [0] * (width - len(found)) for found, _ in encoded])
        mask = torch.tensor([found + [0] * (width - len(found)) for _, found in encoded])
        padding = torch.tensor([[1] * len(found) + [0] * (width - len(found)) for found, _ in encoded])
        logits = self.model(input_ids=ids, attention_mask=padding).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        return (losses * mask[:, 1:]).sum() / mask[:, 1:].sum()

    def step(self, rows: list[dict[str, str]]) -> float:
        loss = self.loss(rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


def test_gsm8k_losses_follow_an_independent_loop_step_for_step(strop, shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "gsm8k" / "train-3000.jsonl"
    settings = ["--limit", 48, "--batch-size", 8, "--learning-rate", RATE, "--schedule", "constant", "--warmup", 0]
    answer = strop("sft", file, *settings, "--epochs", 1, "--output", "out")
    assert answer.code == 0, answer.err
    found = [record["loss"] for record in read_metrics(tmp_path / "out" / "metrics.jsonl")]

    loop, rows, order = PlainLoop(), rows_of(file, 48), epoch_order(48, 0, 0)
    expected = [loop.step([rows[row] for row in order[start : start + 8]]) for start in range(0, 48, 8)]
    assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.slow
def test_gsm8k_training_lowers_the_held_out_loss(strop, shared_data: Path, tmp_path: Path) -> None:
    train, test = shared_data / "gsm8k" / "train-3000.jsonl", shared_data / "gsm8k" / "test.jsonl"
    with torch.no_grad():
        before = float(PlainLoop().loss(rows_of(test, 32)))
    settings = ["--limit", 160, "--batch-size", 8, "--learning-rate", RATE, "--validation", test]
    answer = strop("sft", train, *settings, "--output", "out")
    assert answer.code == 0, answer.err
    from strop.data import read_conversations
    from strop.methods import sft
    from strop.models import Policy
    from strop.training import validate

    policy = Policy.load(tmp_path / "out")
    stream, objective = sft(policy, read_conversations(str(test), limit=32), batch_size=32)
    after = validate(policy, objective, [next(stream(policy))])["loss"]
    assert after < before - 0.5


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gemma2", "granite", "gpt2"])
def test_the_same_command_trains_every_family_and_plain_libraries_load_the_result(
    family: str, strop, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = make_model_folder(tmp_path / family, family)
    rows = [{"question": f"What is {n} + 4?", "answer": f"It is {n + 4}."} for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ["--model", base, "--lora-rank", 4, "--learning-rate", 1e-2, "--epochs", 2, "--output", "out"]
    answer = strop("sft", "rows.jsonl", *arguments)
    assert answer.code == 0, answer.err
    answer = strop("merge", "out", "--output", "merged")
    assert answer.code == 0, answer.err

    ids = torch.tensor([list(range(5, 60))])
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        before = plain(ids).logits
        adapted = PeftModel.from_pretrained(plain, tmp_path / "out").eval()(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)(ids).logits
    assert (adapted - before).abs().max() > 1e-3
    torch.testing.assert_close(merged, adapted, atol=1e-4, rtol=1e-4)
