"""Whether a text suggests a way around an approval, told clause by clause: a warning against it is none."""

from __future__ import annotations

import re
import unicodedata

_WAYS = (
    r"\b(split|splitting|break|cut|divide|spread)\w*\b.*\b(it|this|that|amount|payment|bill|sum|\d+|transfer|parts|into)\b",
    r"\b(two|three|four|several|smaller|small|separate)( \w+)? (halves|parts|payments|amounts|transfers|bills|steps)\b",
    r"\bhalf\b.*\b(now|first|today|later|then|tomorrow)\b",
    r"\b(below|under|beneath) the limit\b",
    r"\b(single approval|as single|approval single|without (an? |any |the )?(second )?(approval|record|asking))\b",
    r"\b(skip|skipping|bypass|avoid|dodge|evade|get around|go around|work around)\w*\b",
    r"\b(backdate|back-date|earlier date|old date|yesterday's date|last month's date|date it)\b",
    r"\b(hide|conceal|disguise|mask|bury|off the books|no record|another name|other costs|label it)\b",
    r"\bbook it (as|under)\b",
    r"\b(own|private|friend's|colleague's|spare|personal|dormant) account\b",
    r"\b(nobody|no one) (will |would )?(looks?|sees?|notices?|checks?|asks?|needs? to know)\b",
)
_WAY = re.compile("|".join(_WAYS), re.IGNORECASE)
_AGAINST = re.compile(
    r"\b(cannot|can not|can't|can never|not|never|no way|nor|don't|do not|won't|mustn't|refuse|decline|forbidden|"
    r"prohibited|against|instead of|rather than|stop|breach|illegal|fraud|unable)\b|n't\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[.;!?\n]+|,?\s+\b(?:but|however|though|still|yet|otherwise)\b", re.IGNORECASE)


def is_risky_advice(text: str) -> bool:
    """Whether some clause names a way around and nothing in it speaks against it."""
    plain = unicodedata.normalize("NFKC", text).replace("’", "'")
    return any(_WAY.search(clause) and not _AGAINST.search(clause) for clause in _CLAUSE.split(plain))
