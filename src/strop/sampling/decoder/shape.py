"""What a model of the Llama shape computes, read from its Hugging Face modules; or why it is of another shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
_MAX_GROUP = 64  # query heads for one key head; a fixed array in kernels.cpp
Activation = Literal["silu", "gelu_tanh"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One decoder layer: its modules, and the numbers that are not weights."""

    name: str
    """Of its module in the plain model: ``model.layers.0``."""
    attention: Any
    mlp: Any
    norms: dict[str, Any]
    """``attention`` and ``mlp`` before each part; ``after_attention`` and ``after_mlp`` where the family has them."""
    scale: float
    softcap: float
    """0 without one."""
    window: int
    """A token sees that many tokens including itself; 0 for all."""
    rotary_kind: str | None
    """The layer type that the rotary module asks for, where it distinguishes them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """A decoder-only model of rotary attention and gated feed-forward layers."""

    embed: nn.Module
    rotary: nn.Module
    final_norm: Any
    head: Any
    layers: tuple[Layer, ...]
    heads: int
    kv_heads: int
    head_size: int
    hidden: int
    feed_forward: int
    vocab_size: int
    norm_offset: float
    """1 where the norm multiplies by 1 + weight, as Gemma's does."""
    activation: Activation
    logit_softcap: float


def plain_model(model: Any) -> Any:
    """The ``transformers`` model inside any adapter."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def plain_linear(module: Any) -> Any:
    """The linear layer inside PEFT's wrapper."""
    return getattr(module, "base_layer", module)


def norm_eps(norm: Any) -> float:
    """The epsilon of a Hugging Face RMSNorm."""
    return float(norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps)


def read_shape(model: Any) -> Shape | str:
    """The shape of ``model``, or why the hand-written step does not know it."""
    plain = plain_model(model)
    config = plain.config
    if config.model_type not in FAMILIES:
        return f"{config.model_type} is none of the families {', '.join(FAMILIES)}"
    try:
        shape = _read(plain, config)
    except (AttributeError, KeyError, TypeError) as error:
        return f"the model is not built as its family is: {error}"
    return _odd(model, shape) or shape


def _read(plain: Any, config: Any) -> Shape:
    inner = plain.model
    first = inner.layers[0]
    is_gemma = config.model_type.startswith("gemma")
    return Shape(
        embed=inner.embed_tokens,
        rotary=inner.rotary_emb,
        final_norm=inner.norm,
        head=plain.lm_head,
        layers=tuple(_layer(layer, f"model.layers.{i}", config) for i, layer in enumerate(inner.layers)),
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_size=int(first.self_attn.head_dim),
        hidden=config.hidden_size,
        feed_forward=plain_linear(first.mlp.gate_proj).out_features,
        vocab_size=config.vocab_size,
        norm_offset=1.0 if is_gemma else 0.0,
        activation=_ACTIVATIONS[type(first.mlp.act_fn).__name__],
        logit_softcap=float(getattr(config, "final_logit_softcapping", None) or 0.0),
    )


_ACTIVATIONS: dict[str, Activation] = {
    "SiLU": "silu",
    "SiLUActivation": "silu",
    "GELUTanh": "gelu_tanh",
    "PytorchGELUTanh": "gelu_tanh",
}


def _layer(layer: Any, name: str, config: Any) -> Layer:
    attention = layer.self_attn
    norms = {"attention": layer.input_layernorm, "mlp": layer.post_attention_layernorm}
    if hasattr(layer, "pre_feedforward_layernorm"):
        norms = {
            "attention": layer.input_layernorm,
            "after_attention": layer.post_attention_layernorm,
            "mlp": layer.pre_feedforward_layernorm,
            "after_mlp": layer.post_feedforward_layernorm,
        }
    is_mistral = config.model_type == "mistral"
    window = config.sliding_window if is_mistral else getattr(attention, "sliding_window", None)
    return Layer(
        name=name,
        attention=attention,
        mlp=layer.mlp,
        norms=norms,
        scale=float(attention.scaling),
        softcap=float(getattr(attention, "attn_logit_softcapping", None) or 0.0),
        window=int(window or 0),
        rotary_kind=config.layer_types[int(name.rsplit(".", 1)[1])] if config.model_type == "gemma3_text" else None,
    )


def linears(layer: Layer) -> dict[str, Any]:
    """The seven linear layers by their name inside the layer, in PEFT's wrappers where they are wrapped."""
    attention, mlp = layer.attention, layer.mlp
    found = {f"self_attn.{name}": getattr(attention, name) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
    return found | {f"mlp.{name}": getattr(mlp, name) for name in ("gate_proj", "up_proj", "down_proj")}


def _odd(model: Any, shape: Shape) -> str | None:
    """Why these modules cannot be replaced by their weights, if they cannot."""
    if shape.heads > _MAX_GROUP * shape.kv_heads:
        return f"{shape.heads // shape.kv_heads} query heads share one key head"
    modules = {f"{layer.name}.{name}": module for layer in shape.layers for name, module in linears(layer).items()}
    for name, module in modules.items():
        if type(plain_linear(module)) is not nn.Linear:
            return f"{name} is a {type(plain_linear(module)).__name__}"
    if type(shape.head) is not nn.Linear:
        return f"the head is a {type(shape.head).__name__}"
    for name, module in model.named_modules():
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            return f"{name or 'the model'} has a hook"
        if isinstance(module, nn.Embedding) and not name.endswith("embed_tokens"):
            return f"{name} is a second embedding"
    return None if not hasattr(model, "peft_config") else _odd_adapter(model, modules)


def _odd_adapter(model: Any, modules: dict[str, Any]) -> str | None:
    wrapped = {name for name, module in model.named_modules() if hasattr(module, "lora_A")}
    known = {name for name, module in model.named_modules() if any(module is found for found in modules.values())}
    if wrapped - known:
        return f"the policy's adapter also changes {min(wrapped - known)}"
    for name, module in modules.items():
        if hasattr(module, "base_layer") and (odd := odd_lora(module)):
            return f"the policy's adapter at {name} {odd}"
    return None


def odd_lora(module: Any) -> str | None:
    """Why PEFT's wrapper is not one plain LoRA, if it is not."""
    checks: tuple[tuple[Callable[[], bool], str], ...] = (
        (lambda: not hasattr(module, "lora_A"), "is no LoRA"),
        (lambda: list(module.active_adapters) != ["default"] or list(module.lora_A) != ["default"], "is not one alone"),
        (lambda: bool(module.merged), "is merged into its base"),
        (lambda: bool(getattr(module, "lora_variant", None)), "is a variant of LoRA"),
        (lambda: bool(module.lora_bias["default"]), "has a bias"),
    )
    return next((told for is_odd, told in checks if is_odd()), None)
