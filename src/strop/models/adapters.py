"""LoRA: a frozen model plus trainable low-rank products, in PEFT's own classes and folder format.

    y = W x + s · B A x,   A [r, in], B [out, r], B = 0 at the start,   s = alpha / r, or alpha / sqrt(r) (rsLoRA)

Source: Hu et al., 2106.09685, equation 3; Kalajdzievski, 2312.03732, for rsLoRA.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from strop.errors import ModelError, RecipeError

_KINDS = {"attention": ("attn", "attention"), "mlp": ("mlp", "feed_forward", "ffn")}


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """How a policy is parameterised by low-rank adapters."""

    rank: int = 16
    alpha: float | None = None
    """Twice the rank where it is None."""
    dropout: float = 0.0
    """On the adapter's input, in training steps only."""
    targets: str | tuple[str, ...] = "all-linear"
    """``attention``, ``mlp``, ``all-linear`` (both), or module names."""
    rslora: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise RecipeError(
                f"lora rank is {self.rank}", why="an adapter needs a rank of at least 1", do="use rank = 16"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise RecipeError(f"lora dropout is {self.dropout}", why="it is a share", do="use a number in [0, 1)")

    @property
    def scaling_alpha(self) -> float:
        """The alpha in force."""
        return 2.0 * self.rank if self.alpha is None else self.alpha


def linear_layers(model: Any) -> dict[str, nn.Module]:
    """Every linear layer by its full name, without the output head."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head
    }


def target_names(model: nn.Module, targets: str | tuple[str, ...]) -> list[str]:
    """Name endings that select exactly the layers of ``targets`` in ``model``. Raises: ModelError if there are none."""
    names = list(linear_layers(model))
    if isinstance(targets, tuple):
        _require_known(model, targets)
        return list(targets)
    if targets in _KINDS:
        chosen = [name for name in names if _is_inside(name, _KINDS[targets])]
    elif targets == "all-linear":
        chosen = names
    else:
        _require_known(model, (targets,))
        return [targets]
    if not chosen:
        raise ModelError(
            f"no layer of this model counts as {targets}",
            why=f"its linear layers are {', '.join(_suffixes(names))}",
            do="name the layers in lora targets",
        )
    return _suffixes(chosen)


def _is_inside(name: str, words: tuple[str, ...]) -> bool:
    return any(word in part for part in name.split(".")[:-1] for word in words)


def _suffixes(names: list[str]) -> list[str]:
    # The last name alone is ambiguous: GPT-2 has a c_proj in its attention and in its MLP.
    return sorted({".".join(name.split(".")[-2:]) for name in names})


def _require_known(model: nn.Module, targets: tuple[str, ...]) -> None:
    modules = list(model.named_modules())
    for target in targets:
        chosen = [module for name, module in modules if name == target or name.endswith(f".{target}")]
        if not chosen:
            known = ", ".join(_suffixes(list(linear_layers(model))))
            raise ModelError(
                f"lora target {target!r} names no module",
                why=f"the linear layers are {known}",
                do="use one of them, or attention, mlp or all-linear",
            )
        _refuse_tied(model, target, chosen)


def _refuse_tied(model: Any, target: str, chosen: list[nn.Module]) -> None:
    if not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return
    if any(module in (model.get_output_embeddings(), model.get_input_embeddings()) for module in chosen):
        raise ModelError(
            f"lora target {target!r} shares its matrix with the other end of the model",
            why="merging an adapter into one of two tied embeddings would tear them apart",
            do="leave embeddings and the head out of lora targets",
        )


def attach(model: nn.Module, lora: LoRA, *, seed: int) -> nn.Module:
    """``model`` wrapped in a fresh adapter whose A is drawn from ``seed`` and whose B is 0; the base is frozen."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.scaling_alpha,
        lora_dropout=lora.dropout,
        target_modules=target_names(model, lora.targets),
        use_rslora=lora.rslora,
        fan_in_fan_out=_stores_transposed(model),
        bias="none",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wrapped: nn.Module = get_peft_model(model, config)
    return wrapped.eval()


def _stores_transposed(model: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())


def read_config(folder: Path) -> dict[str, Any]:
    """The PEFT configuration of an adapter folder. Raises: ModelError if it is not a LoRA adapter."""
    path = folder / "adapter_config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read", where=str(path), why=str(error), do="save the adapter again"
        ) from error
    if config.get("peft_type") != "LORA":
        raise ModelError(
            f"{folder} holds an adapter of type {config.get('peft_type')}",
            where=str(path),
            why="only LoRA adapters can be continued or merged",
            do="merge it with its own tool and give the merged folder",
        )
    return config


def described(config: dict[str, Any]) -> LoRA:
    """The LoRA that a PEFT configuration describes."""
    targets = config["target_modules"]
    return LoRA(
        rank=config["r"],
        alpha=float(config["lora_alpha"]),
        dropout=float(config.get("lora_dropout") or 0.0),
        targets=targets if isinstance(targets, str) else tuple(sorted(targets)),
        rslora=bool(config.get("use_rslora")),
    )


def load(model: nn.Module, folder: Path) -> nn.Module:
    """``model`` wrapped in the adapter of ``folder``, ready to be trained further. Raises: ModelError."""
    from peft import PeftModel

    try:
        wrapped: nn.Module = PeftModel.from_pretrained(model, folder, is_trainable=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"the adapter in {folder} does not fit its base",
            where=str(folder),
            why=(str(error).strip().splitlines() or ["?"])[0],
            do="load it on the base that it was trained on",
        ) from error
    return wrapped.eval()


def require_same(asked: LoRA, found: LoRA, model: nn.Module, folder: Path) -> None:
    """Refuse settings that a continued adapter cannot take over. Raises: RecipeError."""
    pairs = (
        ("rank", asked.rank, found.rank),
        ("alpha", asked.scaling_alpha, found.scaling_alpha),
        ("rslora", asked.rslora, found.rslora),
        ("targets", _selected(model, asked.targets), _selected(model, found.targets)),
    )
    differs = [
        name if name == "targets" else f"{name} {mine} instead of {theirs}"
        for name, mine, theirs in pairs
        if mine != theirs
    ]
    if differs:
        raise RecipeError(
            f"the stage asks for another adapter than the one it continues: {', '.join(differs)}",
            where=str(folder),
            why="an adapter keeps its shape for life",
            do='leave lora out, or use adapter = "merge" or adapter = "fresh"',
        )


def _selected(model: nn.Module, targets: str | tuple[str, ...]) -> frozenset[str]:
    suffixes = target_names(model, targets)
    names = [name for name, _ in model.named_modules()]
    return frozenset(name for name in names for end in suffixes if name == end or name.endswith(f".{end}"))


def set_dropout(model: nn.Module, active: bool) -> None:
    """Switch the adapters' own dropout; the model's stays off, since logprobs are compared between forwards."""
    for name, module in model.named_modules():
        if name.endswith("lora_dropout.default"):
            module.train(active)
