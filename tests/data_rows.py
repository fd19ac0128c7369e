"""The real template over the tiny tokenizer, and conversations to try on it."""

from functools import cache

from hypothesis import settings, strategies

from strop.chat import ChatTemplate
from strop.types import Conversation, Message
from tiny_models import CHATML, make_tokenizer

REASONING = CHATML.replace(
    "{% generation %}",
    "{% generation %}{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}",
)


@cache
def tiny_template(source: str = CHATML) -> ChatTemplate:
    """The template over the tiny byte-level BPE."""
    return ChatTemplate.from_tokenizer(make_tokenizer(source))


def ids_of(text: str) -> list[int]:
    """The tokenizer's own ids, control tokens recognised."""
    ids: list[int] = tiny_template().tokenizer.encode(text, add_special_tokens=False)
    return ids


def talk(*texts: str, system: str = "", name: str = "row") -> Conversation:
    """User and assistant in turns, after a system turn if one is given."""
    roles = ["user", "assistant"] * len(texts)
    turns = [Message(role=role, content=text) for role, text in zip(roles, texts)]
    if system:
        turns.insert(0, Message(role="system", content=system))
    return Conversation(id=name, messages=tuple(turns), source="rows.jsonl:1")


def masked_by_hand(token_ids: list[int]) -> list[bool]:
    """An independent mask for CHATML: everything after ``<|assistant|>`` up to and including ``<|end|>``."""
    [assistant], [end] = ids_of("<|assistant|>"), ids_of("<|end|>")
    mask, is_open = [], False
    for token in token_ids:
        mask.append(is_open)
        is_open = token == assistant or (is_open and token != end)
    return mask


steady = settings(deadline=None, max_examples=30, derandomize=True)
"""Property tests that try the same examples on every machine, however slow."""
words = strategies.text(alphabet="abc def 0123 {}<|>é", min_size=1, max_size=25)
conversations = strategies.builds(
    lambda pairs, system: talk(*(text for pair in pairs for text in pair), system=system),
    strategies.lists(strategies.tuples(words, words), min_size=1, max_size=4),
    strategies.one_of(strategies.just(""), words),
)
