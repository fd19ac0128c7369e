"""LoRA adapters beside the policy: read from PEFT folders, and applied while a forward of any model runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from strop.digests import digest_json, digest_tensors
from strop.errors import ModelError
from strop.models.adapters import LoRA, described, linear_layers, read_config
from strop.sampling.decoding import Adapter, evaluating

if TYPE_CHECKING:
    from strop.models import Policy

_UNSUPPORTED = ("rank_pattern", "alpha_pattern", "use_dora", "modules_to_save", "lora_bias", "layer_replication")
_PROBE_TOKENS = 4
_NOISE = 1e-5
"""Of the logits' largest size: what two forwards of the same weights may differ by."""


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
                why="beside the policy only plain low-rank products can be added",
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
    """Adds an adapter's low-rank products to the linear layers of any model, while a forward runs.

    The adapter is that of the whole forward: some layers see their tokens flattened, others those of one expert, so
    that within one forward nobody could tell whose token is whose. It runs on the base: where the policy has an adapter
    of its own, that is left out.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._adapters: list[dict[str, tuple[Tensor, Tensor, float]]] = []
        self._layers: dict[str, Any] = {}
        self._own: list[Any] = []

    def load(self, adapter: Adapter) -> int:
        """Its index. Raises: ModelError where it does not fit the model, or the model does not call its layers."""
        model = self._policy.model
        layers = self._layers = _plain_layers(model)
        self._own = [m for m in model.modules() if hasattr(m, "base_layer") and hasattr(m, "merged")]
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
        weights = {name: (a.to(device), b.to(device), adapter.scaling) for name, (a, b) in adapter.weights.items()}
        _require_called(self._policy, {name: layers[name] for name in weights}, weights)
        self._adapters.append(weights)
        return len(self._adapters) - 1

    @contextmanager
    def active(self, adapter: int) -> Iterator[None]:
        """Within it, every forward runs under that adapter; -1 is the policy as it is. Raises: ModelError."""
        if adapter < 0:
            yield
            return
        if any(module.merged for module in self._own):
            raise ModelError(
                "the policy's own adapter is merged into its base",
                why="a row with another adapter runs on the base without it",
                do="call unmerge_adapter on the model first",
            )
        with ExitStack() as stack:
            for module in self._own:
                stack.enter_context(_hooked(module, _base_alone))
            for name, product in self._adapters[adapter].items():
                stack.enter_context(_hooked(self._layers[name], partial(_added, product)))
            yield


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., Tensor | None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _base_alone(module: Any, inputs: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> Tensor:
    found: Tensor = module.base_layer(*inputs, **named)
    return found.to(output.dtype)


def _added(
    product: tuple[Tensor, Tensor, float], module: Any, inputs: tuple[Any, ...], named: dict[str, Any], output: Tensor
) -> Tensor:
    (a, b, scaling), (x, *_) = product, (*inputs, *named.values())
    added = nn.functional.linear(nn.functional.linear(x, a.to(x.dtype)), b.to(x.dtype))
    return output + (added * scaling).to(output.dtype)


def _plain_layers(model: Any) -> dict[str, Any]:
    """Every linear layer by its name in the plain model; PEFT's wrapper where the policy's own adapter is."""
    found: dict[str, Any] = {}
    for name, module in linear_layers(model).items():
        plain = name.removeprefix("base_model.model.")
        if ".lora_" in plain:
            continue
        if plain.endswith(".base_layer"):
            plain = plain.removesuffix(".base_layer")
            module = model.get_submodule(name.removesuffix(".base_layer"))
        found[plain] = module
    return found


def _widths(layer: Any) -> tuple[int, int]:
    """Inputs and outputs of a linear layer, or of a ``Conv1D``, which stores its matrix transposed."""
    layer = getattr(layer, "base_layer", layer)
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return int(layer.weight.shape[0]), int(layer.weight.shape[1])


def _require_called(
    policy: Policy, layers: Mapping[str, Any], weights: Mapping[str, tuple[Tensor, Tensor, float]]
) -> None:
    """Refuse an adapter on a layer that the model never calls and whose matrix it reads: nothing would be added there.

    A layer that is neither called nor read, as an expert that no token was sent to, is none of these.
    """
    model, called = policy.model, set[str]()
    token_ids = torch.arange(_PROBE_TOKENS, device=policy.device)[None]
    plainly = torch.autocast(policy.device.type, enabled=False)
    with evaluating(model), torch.no_grad(), plainly:
        with ExitStack() as stack:
            for name, layer in layers.items():
                stack.enter_context(_hooked(layer, lambda *_, name=name: called.add(name)))
            before = model(input_ids=token_ids).logits
        for name in layers.keys() - called:
            with _merged(layers[name], weights[name]):
                after = model(input_ids=token_ids).logits
            if (after - before).abs().max() > _NOISE * before.abs().max():
                raise ModelError(
                    "an adapter cannot be used beside this model",
                    where=name,
                    why="the model reads that layer's matrix instead of calling the layer",
                    do="merge it into its base and load that",
                )


@contextmanager
def _merged(layer: Any, product: tuple[Tensor, Tensor, float]) -> Iterator[None]:
    layer, (a, b, scaling) = getattr(layer, "base_layer", layer), product
    before, change = layer.weight.data, scaling * (b.float() @ a.float())
    layer.weight.data = before + (change if isinstance(layer, nn.Linear) else change.t()).to(before.dtype)
    try:
        yield
    finally:
        layer.weight.data = before
