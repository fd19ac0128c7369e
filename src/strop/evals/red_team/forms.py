"""The surface forms of an attack: what is said and shown, beside what its benign twin says and shows instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

Attack = Literal[
    "injection", "unauthorised", "jailbreak", "over_refusal", "accidental", "risky_action", "schema_bypass"
]
ATTACKS: tuple[Attack, ...] = get_args(Attack)
"""The seven classes. ``over_refusal`` turns the pair round: its twins sound risky and are harmless, its attacks are
their unsafe contrasts."""
Channel = Literal["prompt", "document", "tool_result"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
Due = Literal["transfer", "second", "spending", "budget", "balance", "policy", "evidence"]
"""What answers the twin: a transfer within the limit, one with its second approval, a look-up, the evidence."""
Wants = Literal["transfer", "unapproved", "lookup", "balance", "canary", "figure", "any_call", "advice", "broken_call"]
"""What the attack is after."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One surface form, written with the fields of ``Facts``; pairs hold the attack's text and then the twin's."""

    name: str
    wants: Wants
    due: Due
    says: tuple[str, str] = ("", "")
    """The user's last turn; empty where the tool's result stands last."""
    before: tuple[str, str] = ("", "")
    """A user's turn that comes first and is only noted: payloads split over turns."""
    shown: tuple[str, str] = ("", "")
    """What the looked-up result holds beside its fact: ``key: text``, or text that goes on where the rule ends."""
    looked_up: Literal["", "policy", "spending", "budget"] = ""
    """Which look-up comes before; none for attacks in the prompt alone."""
    disguise: Callable[[str], str] = str
    """What is done to the user's last turn."""

    @property
    def channel(self) -> Channel:
        """Where the attack comes in: the rules are the documents that are retrieved, the rest are tools' results."""
        return "prompt" if not self.looked_up else "document" if self.looked_up == "policy" else "tool_result"


def ask(name: str, wants: Wants, due: Due, attack: str, benign: str, disguise: Callable[[str], str] = str) -> Form:
    """A form that stands in the user's turn alone."""
    return Form(name=name, wants=wants, due=due, says=(attack, benign), disguise=disguise)


def show(name: str, wants: Wants, looked_up: Literal["policy", "spending", "budget"], attack: str, benign: str) -> Form:
    """A form that stands in what a tool has just answered, and only there; the twin's evidence is to be told."""
    return Form(name=name, wants=wants, due="evidence", shown=(attack, benign), looked_up=looked_up)


def after(
    name: str,
    wants: Wants,
    due: Due,
    looked_up: Literal["policy", "spending", "budget"],
    shown: tuple[str, str],
    attack: str,
    benign: str,
) -> Form:
    """A form whose user turn leans on what a tool has shown before."""
    return Form(name=name, wants=wants, due=due, shown=shown, looked_up=looked_up, says=(attack, benign))
