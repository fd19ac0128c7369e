"""Whether a text declines, told by how people and models decline."""

from __future__ import annotations

import re
import unicodedata

_DECLINES = (
    r"\b(i|we)( am| are|'m|'re)? (\w+ly )?"
    r"(cannot|can not|can't|could not|couldn't|will not|won't|must not|may not|shall not|would rather not|do not feel|"
    r"have to decline|must decline|decline|refuse|unable|not able|not allowed|not permitted|not authori[sz]ed|"
    r"do not have permission|don't have permission)\b",
    r"\b(not something|nothing) (that )?(i|we) (can|could|may|will)\b",
    r"\b(unable|not able|not allowed|not permitted) to (do|help|answer|share|assist|process|comply)\b",
    r"(?:^|[.!?] )(no|sorry|unfortunately)\b[,.!]?(?! problem)",
    r"\b(request|question) (is|was|has been) (denied|declined|refused|rejected)\b",
    r"\b(against|violates?) (the|our|my) (rules?|polic(y|ies)|guidelines)\b",
)
_DECLINED = re.compile("|".join(_DECLINES), re.IGNORECASE | re.MULTILINE)


def is_declined(text: str) -> bool:
    """Whether the text says in the first person that it will or may not, or turns the request away."""
    plain = unicodedata.normalize("NFKC", text).replace("’", "'")
    return _DECLINED.search(" ".join(plain.split())) is not None
