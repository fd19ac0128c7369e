"""Values on their way into a worker process and back: pickled by this very code on both sides, as text."""

from __future__ import annotations

import base64
import pickle
from typing import Any


def packed(value: object) -> str:
    """The value as text. Raises: what pickle does."""
    return base64.b64encode(pickle.dumps(value)).decode()


def unpacked(text: str) -> Any:
    """The value again; only for what one of our own processes wrote."""
    return pickle.loads(base64.b64decode(text))


def portable(verifier: Any) -> str | None:
    """The verifier as text that another process can read; None where a copy would not be the same verifier.

    Only a frozen dataclass is a value whatever it is asked. What is defined in ``__main__`` or inside a function does
    not exist elsewhere.
    """
    settings = getattr(type(verifier), "__dataclass_params__", None)
    if settings is None or not settings.frozen:
        return None
    try:
        content = pickle.dumps(verifier)
    except Exception:  # whatever a field's own pickling raises
        return None
    return None if b"__main__" in content else base64.b64encode(content).decode()
