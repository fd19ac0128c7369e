"""Untrusted programs, isolated by what this machine offers and by what of it withstands attacks.

``Sandbox.open()`` takes the strongest tier that is sound here, or refuses. ``Sandbox.run`` runs a Python program to its
end, ``Sandbox.start`` talks to one, ``Sandbox.command`` runs a program of the system; each in a process tree of its
own, of which nothing is left when its ``Outcome`` is told. ``probe`` says what each tier withstood.
"""

from strop.sandbox.outcome import TIERS, Limits, Outcome, SessionEnded, Tier
from strop.sandbox.probing import TierProbe, probe
from strop.sandbox.sandbox import Sandbox
from strop.sandbox.session import Session

__all__ = ["TIERS", "Limits", "Outcome", "Sandbox", "Session", "SessionEnded", "Tier", "TierProbe", "probe"]
