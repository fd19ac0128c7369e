from strop.sandbox.sandbox import Limits, Outcome, Sandbox, Session, SessionEnded, Tier

__all__ = ["Limits", "Outcome", "Sandbox", "Session", "SessionEnded", "Tier"]
