"""Merging and exporting: what was written is read back and compared with the trained state before it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from strop import files
from strop.errors import ModelError
from strop.models import folders, loading
from strop.models.policy import Policy

_MAX_DRIFT = 1e-3
"""Nats between the logprobs of trained and exported model; merging in float32 stays far below."""
_NUM_GOLDENS, _GOLDEN_LENGTH = 4, 24


def export(policy: Policy, folder: Path | str, *, merge: bool) -> float:
    """Write ``policy`` for use elsewhere and return the largest difference in nats between it and what was written.

    ``merge`` folds the adapter in and writes a plain Hugging Face folder; without it the folder is what
    ``Policy.save`` writes. The written files are loaded again by ``transformers`` (and ``peft``) and compared on
    golden inputs; a model that differs from the trained one, or equals the base although the adapter was trained,
    leaves nothing behind.

    Raises: ModelError, OutputError.
    """
    if merge and policy.lora is None:
        raise ModelError("there is no adapter to merge", why="the policy is a whole model", do="leave merge out")
    folder = Path(folder)
    with loading.quiet(), files.new_folder(folder, replace=folders.is_own(folder)) as temporary:
        if merge:
            policy.merged().save_pretrained(temporary)
            policy.template.save(temporary)
            folders.write_merged_card(policy, temporary)
        else:
            policy.write(temporary, folder)
        return _verify(policy, temporary, merged=merge)


@torch.no_grad()
def _verify(policy: Policy, written: Path, *, merged: bool) -> float:
    inputs = _golden_inputs(policy)
    trained = _logprobs(policy.model, inputs)
    exported = _logprobs(_read_back(policy, written, merged=merged), inputs)
    drift = _distance(exported, trained)
    if not drift <= _MAX_DRIFT:
        raise ModelError(
            "the exported model has diverged from the trained one",
            where=str(written.name),
            why=f"on golden inputs their logprobs differ by {drift:.2g} nats, more than {_MAX_DRIFT:g}",
            do="report it with the model family; the trained policy is unharmed and nothing was written",
        )
    if policy.lora is not None:
        with policy.model.disable_adapter():
            base = _logprobs(policy.model, inputs)
        _refuse_base(effect=_distance(trained, base), exported=_distance(exported, base))
    return drift


def _refuse_base(*, effect: float, exported: float) -> None:
    if exported > effect / 2:
        return
    raise ModelError(
        "the exported model equals the base",
        why="the adapter changes nothing: it was not trained"
        if effect == 0
        else f"the adapter's {effect:.2g} nats are lost",
        do="train the adapter first" if effect == 0 else "report it with the model family; nothing was written",
    )


def _golden_inputs(policy: Policy) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    length = min(_GOLDEN_LENGTH, policy.max_length)
    inputs = torch.randint(0, policy.template.vocab_size, (_NUM_GOLDENS, length), generator=generator)
    return inputs.to(policy.device)


def _logprobs(model: Any, inputs: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=inputs, use_cache=False).logits
    return logits.float().log_softmax(-1)


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def _read_back(policy: Policy, written: Path, *, merged: bool) -> Any:
    if merged or policy.lora is None:
        return loading.load_model(written, torch.float32, policy.device)
    from peft import PeftModel

    base = written / folders.INNER_BASE if policy.base.is_carried else policy.base.folder
    assert base is not None
    model = loading.load_model(base, torch.float32, policy.device)
    return PeftModel.from_pretrained(model, written).eval()
