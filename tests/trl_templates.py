"""Every chat template inside the installed ``trl``, each on a small byte-level tokenizer with its control tokens."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from tiny_models import TEXTS

FOLDER = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jinja"))
EOS = {
    "cohere": "<|END_OF_TURN_TOKEN|>", "deepseek": "<｜end▁of▁sentence｜>",
    "gemma4": "<turn|>", "diffusion_gemma": "<turn|>",
    "gemma": "<end_of_turn>", "glm4moe": "<|endoftext|>", "gptoss": "<|return|>", "idefics3": "<end_of_utterance>",
    "smolvlm": "<end_of_utterance>", "llama3": "<|eot_id|>", "llava": "</s>", "muse": "<|eot|>",
    "phi3": "<|endoftext|>",
}  # fmt: skip
# Tokens that the models' tokenizers really have as added tokens, in the spellings that occur inside the templates.
TOKEN = re.compile(
    r"<\|[A-Za-z_0-9\"'\\/]+\|?>|<[a-z_]+\|>|<｜[^｜<>]+｜>|</?(?:think|tool_call|tool_response|tool_calls)>"
    r"|<(?:start|end)_of_[a-z]+>|</s>|\[gMASK\]|<sop>|</?arg_(?:key|value)>"
)
PLAIN = re.compile(r"[^A-Za-z_0-9<>|/｜▁\[\]]")


def source(name: str) -> str:
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def tokenizer_for(name: str) -> transformers.PreTrainedTokenizerFast:
    """Trained on a few sentences; tags such as ``<think>`` are added but not special, as in Qwen3."""
    base = Tokenizer(models.BPE())
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    base.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False))
    found = {token for token in TOKEN.findall(source(name)) if not PLAIN.search(token)}
    eos = next((token for prefix, token in EOS.items() if name.startswith(prefix)), "<|im_end|>")
    tags = {token for token in found if "|" not in token and "｜" not in token and "_of_" not in token} - {"</s>"}
    base.add_special_tokens([AddedToken(t, normalized=False) for t in sorted({"<bos>", eos, *found} - tags)])
    base.add_tokens([AddedToken(t, normalized=False) for t in sorted(tags)])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=base, bos_token="<bos>", eos_token=eos)
    fast.chat_template = source(name)
    return fast
