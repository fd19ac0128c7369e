"""Small random model folders for tests: a real tokenizer, a real chat template, real ``transformers`` classes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHATML = """\
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
<|assistant|>{% generation %}{{ message.content }}\
{%- for call in message.tool_calls or [] -%}
<tool_call>{{ call.function | tojson }}</tool_call>
{%- endfor -%}<|end|>{% endgeneration %}
{%- else -%}
<|{{ message.role }}|>{{ message.content }}<|end|>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""
CONTROL = ["<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
TEXTS = [
    "What did the sales department spend in Q3? Sales spent 1200 in Q3.",
    '{"name": "query_erp", "arguments": {"department": "sales", "quarter": "Q3"}}',
    "The quick brown fox jumps over the lazy dog. 0123456789 + - * / = ; : , . ! ?",
    "Compute 34 + 17 - 9 mod 100. 34+17=51; 51-9=42. Answer: 42",
]


def make_tokenizer(template: str | None = CHATML) -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE of 400 entries with chat control tokens, trained on a few sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens(["<tool_call>", "</tool_call>"])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", bos_token="<|bos|>"
    )
    if template is not None:
        fast.chat_template = template
    return fast


def make_config(family: str, vocab_size: int) -> transformers.PretrainedConfig:
    """A two-layer configuration of the family, hidden size 32, with a short attention window where it has one."""
    shape = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if family == "gpt2":
        return transformers.GPT2Config(
            vocab_size=vocab_size, n_embd=32, n_layer=2, n_head=4, n_positions=512, bos_token_id=1, eos_token_id=2
        )
    config = {
        "llama": transformers.LlamaConfig,
        "qwen3": transformers.Qwen3Config,
        "mistral": transformers.MistralConfig,
        "gemma2": transformers.Gemma2Config,
        "granite": transformers.GraniteConfig,
    }[family]
    extra = {
        "qwen3": {"head_dim": 8},
        "mistral": {"sliding_window": 16},
        "gemma2": {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8},
        "granite": {"logits_scaling": 3.0, "residual_multiplier": 0.5, "embedding_multiplier": 2.0},
    }.get(family, {})
    return config(**shape, **extra)


def make_model_folder(folder: Path, family: str = "llama", *, seed: int = 0, template: str | None = CHATML) -> Path:
    """Save a randomly initialised model with sharpened weights and its tokenizer to ``folder``."""
    tokenizer = make_tokenizer(template)
    torch.manual_seed(seed)
    config = make_config(family, len(tokenizer))
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.mul_(4.0 if "embed" not in name and "wte" not in name else 8.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    json.loads((folder / "config.json").read_text())
    return folder
