"""A resumed run equals the uninterrupted one to the bit, and nothing torn or foreign is ever resumed from."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from strop.errors import CheckpointError, MismatchError, OutputError
from strop.models import LoRA, Policy
from strop.objectives import CrossEntropy
from strop.training import AdamW, Step, latest_checkpoint, train
from training_rows import make_policy, make_rows, make_stream, train_to_the_end

ROWS = make_rows(24)
OPTIMIZER = AdamW(lr=1e-2, schedule="cosine", warmup=0.2, weight_decay=0.01)


def steps(policy: Policy, **options: Any) -> Any:
    settings: dict[str, Any] = {"optimizer": OPTIMIZER, "num_steps": 8, "identity": "data-1"}
    return train(policy, make_stream(ROWS), CrossEntropy(), **{**settings, **options})


def curve(found: list[Step]) -> list[tuple[int, float, float, float]]:
    return [(step.number, step.loss, step.grad_norm, step.learning_rate) for step in found]


@pytest.mark.capability("IM-02")
@pytest.mark.parametrize("lora", [None, LoRA(rank=4, dropout=0.3)], ids=["full", "lora with dropout"])
@pytest.mark.parametrize("stop", [1, 4, 7, 8])
def test_a_resumed_run_equals_the_uninterrupted_one_to_the_bit(tmp_path: Path, lora: LoRA | None, stop: int) -> None:
    whole = make_policy(lora=lora)
    expected = curve(list(steps(whole)))
    first = make_policy(lora=lora)
    for step in steps(first):
        if step.number == stop:
            step.save(tmp_path)
            break
    second = make_policy(lora=lora)
    with torch.no_grad():
        for parameter in second.trainable().values():
            parameter.add_(1.0)  # everything that is trained must come from the checkpoint
    found = curve(list(steps(second, resume=latest_checkpoint(tmp_path))))
    assert found == expected[stop:]
    assert second.digest() == whole.digest()


def test_optimizer_moments_survive_to_the_bit(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    def moments(folder: Path) -> dict[str, torch.Tensor]:
        return load_file(folder / "optimizer.safetensors")

    kept = [step.save(tmp_path / "whole") for step in steps(make_policy()) if step.number in (3, 8)]
    resumed = steps(make_policy(), resume=tmp_path / "whole" / "step_000003")
    again = next(step.save(tmp_path / "again") for step in resumed if step.number == 8)
    one, other = moments(kept[-1]), moments(again)
    assert one.keys() == other.keys()
    assert len(one) == 3 * len(make_policy().trainable())
    assert all(torch.equal(one[name], other[name]) for name in one)


def save_some(folder: Path, numbers: set[int], keep: int = 2) -> None:
    for step in steps(make_policy()):
        if step.number in numbers:
            step.save(folder, keep=keep)


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    save_some(tmp_path, {2, 4, 6})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000004", "step_000006"]
    assert latest_checkpoint(tmp_path) == tmp_path / "step_000006"


@pytest.mark.parametrize("file", ["policy.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_torn_checkpoint_is_passed_over(tmp_path: Path, file: str, damage: str) -> None:
    save_some(tmp_path, {2, 4})
    torn = tmp_path / "step_000004" / file
    content = torn.read_bytes()
    middle = len(content) // 2
    if damage == "remove":
        torn.unlink()
    else:
        cut = content[:middle]
        torn.write_bytes(cut if damage == "cut" else cut + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    assert latest_checkpoint(tmp_path) == tmp_path / "step_000002"
    with pytest.raises(CheckpointError, match="torn or changed"):
        next(steps(make_policy(), resume=tmp_path / "step_000004"))


def test_a_folder_without_checkpoints_has_no_latest(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "nowhere") is None


def test_litter_of_killed_writers_is_swept_and_never_resumed(tmp_path: Path) -> None:
    litter = tmp_path / ".step_000099.abc.tmp"
    litter.mkdir()
    (litter / "policy.safetensors").write_bytes(b"half")
    assert latest_checkpoint(tmp_path) is None
    save_some(tmp_path, {2})
    assert [p.name for p in tmp_path.iterdir()] == ["step_000002"]


def test_checkpoints_of_an_abandoned_future_do_not_outlive_a_new_start(tmp_path: Path) -> None:
    save_some(tmp_path, {7})
    save_some(tmp_path, {2})
    assert latest_checkpoint(tmp_path) == tmp_path / "step_000002"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"identity": "data-2"}, "identity"),
        ({"num_steps": 9}, "num_steps"),
        ({"seed": 1}, "seed"),
        ({"optimizer": replace(OPTIMIZER, lr=2e-2)}, "optimizer"),
    ],
)
def test_a_changed_run_is_refused_by_name(tmp_path: Path, changed: dict[str, Any], named: str) -> None:
    save_some(tmp_path, {2})
    policy = make_policy()
    before = policy.digest()
    with pytest.raises(MismatchError, match=f"{named} was .* now"):
        next(steps(policy, resume=latest_checkpoint(tmp_path), **changed))
    assert policy.digest() == before


def test_an_adapter_is_not_resumed_on_another_base(tmp_path: Path) -> None:
    lora = LoRA(rank=4)
    next(steps(make_policy(lora=lora))).save(tmp_path)
    with pytest.raises(MismatchError, match="base was"):
        next(steps(make_policy(lora=lora, seed=1), resume=latest_checkpoint(tmp_path)))


def test_a_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    save_some(tmp_path, {2})
    names = sorted(p.name for p in (tmp_path / "step_000002").iterdir())
    assert names == ["manifest.json", "optimizer.safetensors", "policy.safetensors", "state.json"]
    assert json.loads((tmp_path / "step_000002" / "state.json").read_text())["cursor"] == {"given": 2}


def test_a_checkpoint_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="could not write"):
        next(steps(make_policy())).save(tmp_path / "file" / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_run_killed_at_random_moments_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training_rows"])
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    chance = random.Random(0)

    def live(folder: Path, seconds: float | None) -> int | None:
        child = context.Process(target=train_to_the_end, args=(str(folder),))
        child.start()
        child.join(seconds)
        child.kill()  # SIGKILL: nothing of the child's own runs after it
        child.join()
        return child.exitcode

    assert live(undisturbed, None) == 0
    killed = sum(live(disturbed, chance.uniform(0.05, 0.6)) != 0 for _ in range(10))
    assert live(disturbed, None) == 0
    assert killed >= 3
    assert (disturbed / "digest").read_text() == (undisturbed / "digest").read_text()
    assert _most_steps_done_again(disturbed / "log") <= 2
    assert not list(disturbed.glob(".*"))


def _most_steps_done_again(log: Path) -> int:
    numbers = [int(line) for line in log.read_text().split()]
    return max((before - after + 1 for before, after in itertools.pairwise(numbers)), default=0)


def test_what_may_change_on_purpose_is_named_and_nothing_else_may(tmp_path: Path) -> None:
    save_some(tmp_path, {4})
    kept = tmp_path / "step_000004"
    lower = replace(OPTIMIZER, lr=OPTIMIZER.lr / 2)
    with pytest.raises(MismatchError, match="optimizer"):
        next(iter(steps(make_policy(), resume=kept, optimizer=lower)))
    with pytest.raises(MismatchError, match="identity"):
        next(iter(steps(make_policy(), resume=kept, optimizer=lower, may_change=("optimizer",), identity="data-2")))
    usual = [step.learning_rate for step in steps(make_policy(), resume=kept)]
    halved = [
        step.learning_rate for step in steps(make_policy(), resume=kept, optimizer=lower, may_change=["optimizer"])
    ]
    assert halved == pytest.approx([rate / 2 for rate in usual], rel=1e-12)
