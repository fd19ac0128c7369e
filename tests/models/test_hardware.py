"""Device, precision and memory follow from what is there, and impossible wishes are refused."""

from __future__ import annotations

import pytest
import torch

from strop.errors import MemoryLimitError, RecipeError
from strop.models import LoRA, hardware
from training_rows import make_policy

CPU = torch.device("cpu")


def test_narrow_models_stay_in_float32_and_wide_ones_use_bfloat16_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for is_fast, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(hardware, "_has_fast_bfloat16", lambda device, told=is_fast: told)
        assert hardware.choose_dtype("auto", CPU, 255) == torch.float32
        assert hardware.choose_dtype("auto", CPU, 256) == expected
    assert hardware.choose_dtype("bfloat16", CPU, 32) == torch.bfloat16
    assert hardware.choose_dtype(torch.float32, CPU, 4096) == torch.float32


@pytest.mark.parametrize("asked", ["float16", "int8", "fast"])
def test_an_unknown_dtype_is_refused(asked: str) -> None:
    with pytest.raises(RecipeError, match="unknown dtype"):
        hardware.choose_dtype(asked, CPU, 32)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(RecipeError, match="unknown device"):
        hardware.choose_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(RecipeError, match="this machine has none"):
            hardware.choose_device("cuda")


def test_the_number_of_threads_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert hardware.choose_num_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert hardware.choose_num_threads() >= 1


def test_the_memory_plan_counts_weights_gradients_and_moments() -> None:
    policy = make_policy()
    size = sum(p.numel() for p in policy.model.parameters()) * 4
    plan = hardware.memory_plan(policy, micro_batch_tokens=100)
    assert (plan.weights, plan.gradients, plan.optimizer) == (size, size, 2 * size)
    adapted = hardware.memory_plan(make_policy(lora=LoRA(rank=1)), micro_batch_tokens=100)
    assert adapted.gradients < size / 10
    assert hardware.memory_plan(policy, micro_batch_tokens=200).activations == 2 * plan.activations
    assert hardware.memory_plan(policy, micro_batch_tokens=100, optimizer=None).gradients == 0


def test_micro_batches_shrink_with_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy()
    chosen = []
    for free in (1 << 40, 1 << 26, 0):
        monkeypatch.setattr(hardware, "free_memory_bytes", lambda device, told=free: told)
        chosen.append(hardware.memory_plan(policy).micro_batch_tokens)
    assert chosen[0] == 8192
    assert chosen[0] > chosen[1] > chosen[2] == 256


def test_the_plan_is_of_the_size_that_a_step_really_takes() -> None:
    """The bytes that autograd keeps for backward are within a factor of three of the estimate."""
    from strop.batches import collate
    from training_rows import make_rows

    policy = make_policy()
    batch = collate(make_rows(32))
    policy.forward(collate(make_rows(2)))
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in policy.model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = policy.forward(batch)
    assert outputs.logprobs.requires_grad
    measured = sum(size for pointer, size in kept.items() if pointer not in weights)
    planned = hardware.memory_plan(policy, micro_batch_tokens=batch.num_tokens).activations
    assert measured / 1.5 < planned < measured * 3


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("out of memory")]
)
def test_every_form_of_running_out_of_memory_gives_advice(error: Exception) -> None:
    with pytest.raises(MemoryLimitError, match="micro_batch_tokens"), hardware.memory_advice(512):
        raise error


def test_other_errors_pass_through_the_advice() -> None:
    with pytest.raises(RuntimeError, match="shape"), hardware.memory_advice(512):
        raise RuntimeError("shape mismatch")


def test_freed_memory_is_kept_where_glibc_is() -> None:
    import platform

    assert hardware.keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
