"""What the command line says of sandboxes: which tier holds here, and which one judged in place of a stronger."""

from __future__ import annotations

from strop.cli import console


def tier_here() -> tuple[str, str]:
    """The tier that ``Sandbox.open`` takes here, or ``none``, and why no stronger one; attacks them until one holds."""
    from strop.sandbox import TIERS, probe

    why: list[str] = []
    for tier in TIERS:
        (found,) = probe([tier])
        if found.is_sound:
            return tier, "; ".join(why) or "the strongest; it withstood every attack of the probe"
        why.append(f"{tier}: {found.why}")
    return "none", "; ".join([*why, "code and proofs that a model wrote cannot be judged here"])


def say_weaker_tier() -> None:
    """Say on standard error which tier judged, if it was used and is not the strongest."""
    from strop.sandbox import TIERS
    from strop.sandbox.probing import probed

    done = {one.tier: one for one in probed()}
    held = next((tier for tier in TIERS if tier in done and done[tier].is_sound), None)
    if held is not None and held != TIERS[0] and TIERS[0] in done:
        why = "; ".join(f"{tier}: {done[tier].why}" for tier in TIERS[: TIERS.index(held)] if tier in done)
        console.say_on_stderr(f"code ran in the sandbox tier `{held}`, not the strongest ({why})")
