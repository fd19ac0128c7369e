"""Reading a Hugging Face model folder, refusing what would go wrong later in silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from strop.digests import digest_json, digest_tensors
from strop.errors import ModelError

if TYPE_CHECKING:
    from strop.chat import ChatTemplate

_VOLATILE = frozenset({"transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache", "architectures"})


def load_model(folder: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The causal language model in ``folder``, in eval mode with weights of ``dtype``.

    Raises: ModelError if a file is missing or torn, or if the folder lacks weights that would be drawn at random.
    """
    from transformers import AutoModelForCausalLM

    try:
        with quiet():
            model, told = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, local_files_only=True, output_loading_info=True
            )
    except Exception as error:  # the formats behind it raise a dozen unrelated types
        raise ModelError(
            f"the model in {folder} cannot be loaded",
            where=str(folder),
            why=(str(error).strip().splitlines() or [type(error).__name__])[0],
            do="check that the folder is whole and holds a causal language model",
        ) from error
    missing = sorted(told.get("missing_keys", ()))
    if missing:
        raise ModelError(
            f"the weights of {folder} are incomplete",
            where=str(folder),
            why=f"{len(missing)} tensors are missing and would be random, the first is {missing[0]}",
            do="give a folder whose weights belong to its config.json",
        )
    loaded: nn.Module = model.to(device).eval()
    return loaded


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of ``transformers``, which are drawn even for models that load in a blink."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def load_template(folder: Path) -> ChatTemplate:
    """The chat template of a model folder, checked against the folder's lock if it has one.

    Raises: TemplateError without a chat template, MismatchError if the lock differs.
    """
    from strop.chat import ChatTemplate

    return ChatTemplate.load(folder)


def check_vocabulary(model: Any, template: ChatTemplate, folder: Path) -> None:
    """Refuse a tokenizer that can name tokens the model has no row for. Raises: ModelError."""
    rows = int(model.get_input_embeddings().weight.shape[0])
    if template.vocab_size > rows:
        raise ModelError(
            f"the tokenizer knows {template.vocab_size} tokens, the model only {rows}",
            where=str(folder),
            why="a token without an embedding row cannot be read or written",
            do="use the tokenizer that belongs to the model, or extend the model's vocabulary",
        )


def has_tokenizer(folder: Path) -> bool:
    """Whether ``folder`` brings a tokenizer of its own."""
    return (folder / "tokenizer_config.json").is_file() or (folder / "tokenizer.json").is_file()


def context_length(model: Any) -> int:
    """The longest sequence that the model's positions allow; a million where the configuration sets no bound."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1_000_000)


def digest_model(model: Any) -> str:
    """The digest of a model's weights and architecture, the same with and without adapters around it."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    weights = {
        name.replace(".base_layer.", "."): tensor for name, tensor in inner.state_dict().items() if ".lora_" not in name
    }
    config = {key: value for key, value in inner.config.to_dict().items() if key not in _VOLATILE}
    return digest_json([digest_tensors(weights), _plain(config)])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if key not in _VOLATILE}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
