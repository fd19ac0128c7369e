"""The template contract: the only way text becomes token ids, with spans by role, masks, and a lock file."""

from strop.chat.goldens import GOLDENS, Golden
from strop.chat.lock import LOCK_NAME, differences, read_lock
from strop.chat.spans import Rendered, Span
from strop.chat.template import ChatTemplate

__all__ = ["GOLDENS", "LOCK_NAME", "ChatTemplate", "Golden", "Rendered", "Span", "differences", "read_lock"]
