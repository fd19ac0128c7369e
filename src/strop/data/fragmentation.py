"""Which terms of a domain the tokenizer breaks into so many pieces that it may deserve new tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strop.chat import ChatTemplate

MIN_FRAGMENTS = 5


def fragmented_terms(
    terms: Iterable[str], template: ChatTemplate, *, min_fragments: int = MIN_FRAGMENTS
) -> dict[str, int]:
    """The terms that take ``min_fragments`` tokens or more, with how many, the most broken first.

    A term is counted as it stands inside a sentence: the tokens that it adds behind a preceding word and a space.
    """
    before = len(template.text_ids("the"))
    counts = {term: len(template.text_ids(f"the {term}")) - before for term in dict.fromkeys(terms)}
    broken = {term: count for term, count in counts.items() if count >= min_fragments}
    return dict(sorted(broken.items(), key=lambda item: (-item[1], item[0])))
