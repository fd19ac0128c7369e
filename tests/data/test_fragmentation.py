"""Terms that the tokenizer breaks into pieces, counted with the plain tokenizer."""

from __future__ import annotations

import pytest

from strop.data import fragmented_terms
from strop.models import names
from strop.models.loading import load_template

TERMS = ["account", "invoice", "pneumonoultramicroscopic", "Kreditorenbuchhaltung", "account"]


@pytest.mark.capability("A1-13")
def test_a_term_of_five_tokens_or_more_is_flagged_with_its_number() -> None:
    template = load_template(names.local_folder("strop:tiny"))
    plain = template.tokenizer
    counts = {
        term: len(plain(f"the {term}", add_special_tokens=False)["input_ids"])
        - len(plain("the", add_special_tokens=False)["input_ids"])
        for term in TERMS
    }
    found = fragmented_terms(TERMS, template)
    assert found == {term: count for term, count in counts.items() if count >= 5}
    assert 0 < len(found) < len(counts)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_the_limit_is_inclusive() -> None:
    template = load_template(names.local_folder("strop:tiny"))
    ((term, count),) = fragmented_terms(["pneumonoultramicroscopic"], template).items()
    assert fragmented_terms([term], template, min_fragments=count) == {term: count}
    assert fragmented_terms([term], template, min_fragments=count + 1) == {}
