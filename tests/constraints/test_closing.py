import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from constraint_texts import big_vocabulary, compiled, drawn, tiny_vocabulary, write
from strop.constraints.closing import measure_growth, opening_growth
from strop.errors import ConstraintError

ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "item": {"type": "string"},
                    "count": {"type": "integer", "minimum": 1},
                    "unit": {"enum": ["kilogram", "litre", "piece"]},
                },
                "required": ["item", "count", "unit"],
                "additionalProperties": False,
            },
        },
        "note": {"type": "string"},
        "when": {"type": "string", "format": "date"},
    },
    "required": ["id", "lines"],
    "additionalProperties": False,
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "number"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["value", "children"],
            "additionalProperties": False,
        }
    },
}
WORDS = 'start: sentence+\nsentence: WORD (" " WORD)* "."\nWORD: /[a-z]{3,9}/'


@pytest.mark.capability("CD-03")
@pytest.mark.parametrize("vocabulary", [tiny_vocabulary, big_vocabulary])
@pytest.mark.parametrize("schema", [ORDER, TREE, {"type": "string"}, {}])
def test_a_text_ends_within_every_budget_that_lets_it_end(schema, vocabulary) -> None:
    language = compiled(schema, vocabulary())
    for extra in (0, 1, 2, 5, 11, 23, 60):
        budget = language.min_tokens + extra
        for seed in range(3):
            text, finished, token_ids = write(language, budget, seed)
            assert finished, (budget, text)
            assert len(token_ids) <= budget
            assert language.validate(text) == ()
    assert language.closing.misses == 0


@pytest.mark.capability("CD-03")
def test_the_smallest_budget_is_what_the_shortest_text_takes() -> None:
    # {"id":"AA-0000","lines":[]} and the stop token, the names and dash spelt by the tokenizer
    assert compiled({"type": "boolean"}).min_tokens <= 5
    assert compiled(["a", "abcabcabc"], kind="choice").min_tokens == 2
    assert compiled("x{7}", kind="regex").min_tokens == 8
    assert compiled(ORDER).min_tokens <= len(tiny_vocabulary().engine.tokenize_str('{"id":"AA-0000","lines":[]}')) + 1


@pytest.mark.capability("CD-03")
def test_a_budget_below_the_shortest_text_is_refused_with_its_number() -> None:
    language = compiled(ORDER)
    with pytest.raises(ConstraintError, match=f"needs {language.min_tokens} tokens and the budget is 5"):
        language.matcher().allowed(5)


@pytest.mark.capability("CD-03")
def test_an_ample_budget_forbids_nothing() -> None:
    language = compiled(ORDER)
    for matcher, _ in drawn(language, 200, seed=1):
        if matcher.is_finished or matcher.num_tokens > 20:
            break
        assert torch.equal(matcher.allowed(100_000), matcher.allowed())


@pytest.mark.capability("CD-03")
def test_the_last_tokens_follow_a_completion_and_a_free_string_may_use_what_is_left() -> None:
    language = compiled({"type": "string"})
    matcher = language.matcher()
    matcher.consume(language.vocabulary.spell('"')[0])
    quote = language.vocabulary.spell('"')[0]
    assert matcher.allowed(2).nonzero().flatten().tolist() == [quote], "two tokens: the quote and the stop"
    roomy = matcher.allowed(3)
    assert roomy[quote]
    assert roomy.sum() > 300, "one token of text still fits before the quote"


def test_every_offered_token_leaves_a_completion_within_the_budget() -> None:
    language = compiled(ORDER)
    budget = language.min_tokens + 9
    matcher = language.matcher()
    while not matcher.is_accepting:
        left = budget - matcher.num_tokens
        offered = matcher.allowed(left).nonzero().flatten().tolist()
        for token in offered[:: max(1, len(offered) // 6)]:
            twin = matcher.copy()
            twin.consume(token)
            assert twin.need(left - 1) <= left - 1
        matcher.consume(offered[len(offered) // 2])


def test_a_language_without_an_end_is_refused() -> None:
    endless = {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}
    with pytest.raises(ConstraintError, match="no completion was found after 0 tokens"):
        compiled(endless)


@pytest.mark.capability("CD-03")
def test_a_rare_part_that_demands_much_is_known_before_a_text_opens_it() -> None:
    fields = {f"field_{i}": {"type": "string"} for i in range(12)}
    rare = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    flags = {f"p{i}": {"type": "boolean"} for i in range(12)}
    language = compiled({"type": "object", "properties": {**flags, "rare": rare}, "additionalProperties": False})
    empty = '"rare":{' + ",".join(f'"{name}":""' for name in fields) + "}"
    needed = len(tiny_vocabulary().engine.tokenize_str(empty))
    assert opening_growth(language) >= needed - 2
    for budget in range(language.min_tokens, needed + 30, 9):
        assert write(language, budget, seed=budget)[1]
    assert language.closing.misses == 0


def test_the_growth_of_a_token_is_at_least_what_opening_an_element_takes() -> None:
    # after '{"id":"AA-0000","lines":[' a brace commits to an element: {"item":"","count":1,"unit":"litre"}
    assert measure_growth(compiled(ORDER)) >= 10


@pytest.mark.capability("CD-03")
@settings(max_examples=25, deadline=None, derandomize=True)
@given(extra=st.integers(0, 70), seed=st.integers(0, 10**6), source=st.sampled_from(["regex", "lark", "choice"]))
def test_languages_that_are_not_json_end_in_time_too(extra, seed, source) -> None:
    value = {"regex": r"([0-9]+,)*[a-f]{4,}(x|yy{12}z)", "lark": WORDS, "choice": ["on", "off and then some more"]}[
        source
    ]
    language = compiled(value, kind=source)
    text, finished, _ = write(language, language.min_tokens + extra, seed)
    assert finished
    assert language.validate(text) == ()


def test_nothing_but_the_tokens_of_the_text_is_remembered_by_a_matcher_that_went_back() -> None:
    language = compiled(ORDER)
    one, other = language.matcher(), language.matcher()
    *_, (_, token_ids) = drawn(language, language.min_tokens + 20, seed=5)
    for token in token_ids[:12]:
        one.allowed(40 - one.num_tokens)
        one.consume(token)
    one.rollback(4)
    for token in token_ids[:8]:
        other.consume(token)
    for left in (24, 30, 90):
        assert torch.equal(one.copy().allowed(left), other.copy().allowed(left))
