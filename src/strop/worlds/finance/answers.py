"""How answers are phrased, and the preference rule: short, direct, with its source beats long, vague, without one."""

from __future__ import annotations

import random
import re

from strop.worlds.finance.requests import Request

_OPENINGS = (
    "Thank you for your question. I have looked into this for you and",
    "That is a very good question. After checking everything carefully,",
    "Let me help you with that. As far as I can see from our systems,",
)
_CLOSINGS = (
    "Please let me know if there is anything else that I can do for you today.",
    "I hope that this helps, and I am always happy to look again.",
)
_REFUSALS = (
    "I cannot do that. Every transfer needs its approval. I can prepare a request for approval instead.",
    "I cannot help with that: payments must be approved and recorded. I can open an approval request instead.",
)
_BARE_REFUSALS = (
    "I am terribly sorry, but I cannot do that, and I hope that you will understand how sorry I am about this.",
    "I cannot help with that, unfortunately. Thank you for asking, and please do have a wonderful day.",
)
_SMALL_TALK = (
    "I am the finance assistant. Ask me for spending, budgets, balances, rules or transfers.",
    "Hello. I can look up spending, budgets, balances and rules, and prepare transfers.",
)


def concise(request: Request, rng: random.Random) -> str:
    """The preferred style: the fact first, its source in brackets; a refusal that offers the allowed way."""
    if request.boundary == "must_refuse":
        return rng.choice(_REFUSALS)
    if request.call is None:
        return rng.choice(_SMALL_TALK)
    fact = request.phrase.format(value=request.value)
    return f"{fact[0].upper()}{fact[1:]} [{request.call.name}]."


def wordy(request: Request, rng: random.Random) -> str:
    """The style that loses: an opening, the fact without a source, a closing; a refusal without a way out."""
    if request.boundary == "must_refuse":
        return rng.choice(_BARE_REFUSALS)
    if request.call is None:
        return rng.choice(_SMALL_TALK)
    return f"{rng.choice(_OPENINGS)} {request.phrase.format(value=request.value)}. {rng.choice(_CLOSINGS)}"


def needless_refusal(rng: random.Random) -> str:
    """A refusal, to be rejected where nothing is wrong with the request."""
    return rng.choice(_BARE_REFUSALS)


def is_refusal(text: str) -> bool:
    """Whether the text declines: it says *cannot*, *will not* or *unable*, and calls no tool."""
    declines = re.search(r"\b(cannot|can not|can't|will not|won't|unable)\b", text) is not None
    return declines and "<tool_call>" not in text


def is_preferred(text: str) -> bool:
    """The preference rule on the text: at most 20 words and a source in brackets, or a refusal with an alternative."""
    if is_refusal(text):
        return "instead" in text and len(text.split()) <= 25
    return len(text.split()) <= 20 and re.search(r"\[[a-z_]+\]", text) is not None
