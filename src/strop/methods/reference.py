"""The reference of a stage: log-probabilities under the policy as it stood when the stage began."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from strop.batches import collate
from strop.errors import MismatchError
from strop.files import write_bytes
from strop.methods.rows import samples_digest
from strop.types import Progress, Sample

if TYPE_CHECKING:
    from strop.models import Policy

_CHUNK_TOKENS = 2**15
_FILE = "ref_logprobs.safetensors"


def reference_logprobs(
    policy: Policy, samples: Sequence[Sample], cache: Path | None, progress: Progress | None = None
) -> list[list[float]]:
    """For each sample the log-probability of every token, 0 where it is not trained; without gradient.

    With a folder ``cache`` they are stored there (atomically) under the digests of policy, template and samples, and
    read from it the next time. Other samples under the same policy are computed again: such a policy still stands at
    the stage's start.
    Raises: MismatchError if the cache was made by another policy, for then this one may have been trained already and
    is not the reference; OutputError.
    """
    identity = {
        "policy": policy.digest(),
        "precision": str(policy.dtype),
        "template": policy.template.digest,
        "samples": samples_digest(samples),
    }
    lengths = [len(sample.token_ids) for sample in samples]
    stored = None if cache is None else _read(cache / _FILE, identity)
    if stored is None:
        stored = torch.cat([*_compute(policy, samples, progress)])
        if cache is not None:
            _write(cache / _FILE, stored, identity)
    return [piece.tolist() for piece in torch.split(stored, lengths)]


@torch.no_grad()
def _compute(policy: Policy, samples: Sequence[Sample], progress: Progress | None) -> Iterator[Tensor]:
    start = 0
    while start < len(samples):
        end, num_tokens = start, 0
        while end < len(samples) and (end == start or num_tokens + len(samples[end].token_ids) <= _CHUNK_TOKENS):
            num_tokens += len(samples[end].token_ids)
            end += 1
        yield policy.forward(collate(samples[start:end])).logprobs.float().cpu()
        start = end
        if progress is not None:
            progress("reference log-probabilities", end, len(samples), {})


def _write(path: Path, logprobs: Tensor, identity: Mapping[str, str]) -> None:
    from safetensors.torch import save

    write_bytes(path, save({"ref_logprobs": logprobs}, metadata=dict(identity)))


def _read(path: Path, identity: Mapping[str, str]) -> Tensor | None:
    """What is stored for ``identity``; None if nothing is, or only other samples of the same policy."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
            logprobs: Tensor = file.get_tensor("ref_logprobs")
    except SafetensorError as error:
        raise MismatchError(
            "the stored reference log-probabilities cannot be read",
            where=str(path),
            why=str(error),
            do="delete the file and start the stage from its beginning",
        ) from error
    if found.get("policy") != identity["policy"]:
        raise MismatchError(
            "the stored reference log-probabilities belong to another policy",
            where=str(path),
            why="the reference is the policy at the stage's start, and this one may have been trained since",
            do="load the policy that the stage began with; for a new stage, delete the file or name another folder",
        )
    return logprobs if found == dict(identity) else None
