"""LoRA adapters beside the policy: read from PEFT folders, and applied to single rows of a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from strop.digests import digest_json, digest_tensors
from strop.errors import ModelError
from strop.models.adapters import LoRA, described, linear_layers, read_config
from strop.sampling.decoding import Adapter

if TYPE_CHECKING:
    from strop.models import Policy

_UNSUPPORTED = ("rank_pattern", "alpha_pattern", "use_dora", "modules_to_save", "lora_bias", "layer_replication")


def read_adapter(folder: Path | str) -> Adapter:
    """The LoRA adapter of a PEFT folder. Raises: ModelError for one that is not plain LoRA on linear layers."""
    from safetensors.torch import load_file

    folder = Path(folder)
    config = read_config(folder)
    for setting in _UNSUPPORTED:
        if config.get(setting):
            raise ModelError(
                f"the adapter in {folder} uses {setting}",
                where=str(folder),
                why="rows of one batch can only differ by plain low-rank products",
                do="merge it into its base and load that",
            )
    try:
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the weights in {folder} cannot be read", where=str(folder), why=str(error), do="save the adapter again"
        ) from error
    return make_adapter(tensors, _scaling(described(config)), where=str(folder))


def policy_adapter(policy: Policy) -> Adapter:
    """The policy's own LoRA weights as they are now, as an adapter beside it: a copy."""
    assert policy.lora is not None, "the policy has no adapter"
    return make_adapter(policy.state(), _scaling(policy.lora), where="the policy")


def _scaling(lora: LoRA) -> float:
    return lora.scaling_alpha / (math.sqrt(lora.rank) if lora.rslora else lora.rank)


def make_adapter(tensors: dict[str, Tensor], scaling: float, *, where: str) -> Adapter:
    """The adapter of PEFT-named tensors, ``base_model.model.LAYER.lora_A[.default].weight``. Raises: ModelError."""
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parts = name.removeprefix("base_model.model.").removesuffix(".weight").removesuffix(".default")
        layer, _, half = parts.rpartition(".")
        if half not in ("lora_A", "lora_B"):
            raise ModelError(
                f"the adapter changes {name}, which is no low-rank product of a linear layer",
                where=where,
                do="merge it into its base and load that",
            )
        halves.setdefault(layer, {})[half] = tensor.detach().clone()
    weights = {layer: (pair["lora_A"], pair["lora_B"]) for layer, pair in sorted(halves.items())}
    flat = {f"{layer}|{half}": tensor for layer, pair in halves.items() for half, tensor in pair.items()}
    return Adapter(digest=digest_json([digest_tensors(flat), scaling]), scaling=scaling, weights=weights)


class AdapterHooks:
    """Adds each row's own low-rank product to the linear layers of any model, while a forward runs.

    A row with an adapter runs on the base: where the policy has an adapter of its own, its part is left out there.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._adapters: list[dict[str, tuple[Tensor, Tensor, float]]] = []
        self._layers: dict[str, nn.Module] | None = None

    def load(self, adapter: Adapter) -> int:
        """Its index. Raises: ModelError where it does not fit the model."""
        layers = self._plain_layers()
        for name, (a, b) in adapter.weights.items():
            layer: Any = layers.get(name)
            if layer is None or a.shape[1] != _widths(layer)[0] or b.shape[0] != _widths(layer)[1]:
                raise ModelError(
                    f"the adapter {adapter.digest[:12]} does not fit the model",
                    where=name,
                    why="the model has no linear layer of that name and shape",
                    do="load it on the base that it was trained on",
                )
        device = self._policy.device
        self._adapters.append(
            {name: (a.to(device), b.to(device), adapter.scaling) for name, (a, b) in adapter.weights.items()}
        )
        return len(self._adapters) - 1

    def _plain_layers(self) -> dict[str, nn.Module]:
        """Every linear layer by its name in the plain model; PEFT's wrapper where the policy's own adapter is."""
        if self._layers is None:
            found: dict[str, nn.Module] = {}
            for name, module in linear_layers(self._policy.model).items():
                plain = name.removeprefix("base_model.model.")
                if ".lora_" in plain:
                    continue
                if plain.endswith(".base_layer"):
                    plain = plain.removesuffix(".base_layer")
                    module = self._policy.model.get_submodule(name.removesuffix(".base_layer"))
                found[plain] = module
            self._layers = found
        return self._layers

    @contextmanager
    def active(self, adapters: Sequence[int]) -> Iterator[None]:
        """Within it, row i of every forward runs under ``adapters[i]``; -1 is the policy as it is."""
        wanted = sorted(set(adapters) - {-1})
        if not wanted:
            yield
            return
        rows = {i: torch.tensor([r for r, a in enumerate(adapters) if a == i]) for i in wanted}
        rows = {i: chosen.to(self._policy.device) for i, chosen in rows.items()}
        beside = torch.cat(list(rows.values()))
        handles = []
        for name, module in self._plain_layers().items():
            has_own = hasattr(module, "base_layer")
            mine = [(rows[i], *self._adapters[i][name]) for i in wanted if name in self._adapters[i]]
            if mine or has_own:
                handles.append(module.register_forward_hook(_hook(beside if has_own else None, mine)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _widths(layer: Any) -> tuple[int, int]:
    """Inputs and outputs of a linear layer, or of a ``Conv1D``, which stores its matrix transposed."""
    layer = getattr(layer, "base_layer", layer)
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return int(layer.weight.shape[0]), int(layer.weight.shape[1])


def _hook(beside: Tensor | None, mine: list[tuple[Tensor, Tensor, Tensor, float]]) -> Any:
    def changed(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0]
        output = output.clone()
        if beside is not None:
            output[beside] = module.base_layer(x[beside]).to(output.dtype)
        for rows, a, b, scaling in mine:
            product = nn.functional.linear(nn.functional.linear(x[rows], a.to(x.dtype)), b.to(x.dtype))
            output[rows] += (product * scaling).to(output.dtype)
        return output

    return changed
