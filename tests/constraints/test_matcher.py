import json
import math

import pytest
import torch

from constraint_texts import big_vocabulary, compiled, drawn, tiny_vocabulary, write
from strop.constraints import apply, fill_batch, log_allowed_mass
from strop.constraints.guard import Guard
from strop.errors import ConstraintError

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array", "items": {}}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def ids(text: str) -> list[int]:
    return tiny_vocabulary().engine.tokenize_str(text)


def after(language, text: str):
    matcher = language.matcher()
    for token in ids(text):
        matcher.consume(token)
    return matcher


@pytest.mark.capability("CD-02")
@pytest.mark.parametrize(
    ("kind", "value", "inside", "whole"),
    [
        ("regex", "[ab]{2,3}c?", ["", "a"], ["ab", "abc", "abac"]),
        ("choice", ["yes", "yesterday"], ["", "ye", "yest"], ["yes", "yesterday"]),
        ("lark", 'start: "(" start ")" | "x"', ["", "(", "(x", "((x)"], ["x", "(x)", "((x))"]),
        ("json_schema", PERSON, ["", "{", '{"name":"a","age":1'], ['{"name":"a","age":1}']),
    ],
)
def test_stop_tokens_are_allowed_exactly_where_the_text_may_end(kind, value, inside, whole) -> None:
    language = compiled(value, kind=kind)
    stops = list(language.vocabulary.stop_ids)
    for text in inside:
        matcher = after(language, text)
        assert not matcher.is_accepting
        assert not matcher.allowed()[stops].any(), text
        with pytest.raises(ConstraintError, match="not allowed"):
            matcher.consume(stops[0])
    for text in whole:
        matcher = after(language, text)
        assert matcher.is_accepting
        assert matcher.allowed()[stops].all(), text
        matcher.consume(stops[0])
        assert matcher.is_finished
        with pytest.raises(ConstraintError, match="finished"):
            matcher.allowed()


@pytest.mark.capability("CD-02")
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("regex", r"(?:[0-9]{4}-)?[a-f]+(?:\.[xyz]{3})*"),
        ("choice", ["sales", "salesforce", "it", 'with "quotes"\n']),
        ("lark", 'start: expr\nexpr: NUM | "(" expr ("+" expr)+ ")"\nNUM: /[0-9]{1,3}/'),
    ],
)
def test_what_is_written_is_in_the_language(kind, value) -> None:
    language = compiled(value, kind=kind)
    for seed in range(12):
        text, finished, _ = write(language, 40, seed)
        assert finished
        assert language.validate(text) == ()


def test_masks_are_the_tokens_that_the_matcher_takes_but_one_where_the_bytes_are_forced() -> None:
    language = compiled(PERSON)
    for text in ("", "{", '{"na', '{"name":"x', '{"name":"x","age":', '{"name":"x","age":3'):
        matcher = after(language, text)
        offered = set(matcher.allowed().nonzero().flatten().tolist())
        taken = set()
        for token in range(language.vocabulary.size):
            try:
                matcher.copy().consume(token)
            except ConstraintError:
                continue
            taken.add(token)
        if forced := matcher.forced():
            assert offered == {forced[0]}
            assert offered <= taken
        else:
            assert offered == taken


def test_rollback_and_copy_restore_the_same_masks() -> None:
    language = compiled(PERSON)
    matcher = language.matcher()
    *_, (last, token_ids) = drawn(language, 60, seed=3)
    masks, bounded = [], []
    for taken, token in enumerate(token_ids):
        masks.append(matcher.allowed())
        bounded.append(matcher.copy().allowed(60 - taken))
        matcher.consume(token)
    assert matcher.is_finished
    assert last.is_finished
    for back in range(1, len(token_ids) + 1):
        twin = matcher.copy()
        twin.rollback(back)
        assert not twin.is_finished
        place = len(token_ids) - back
        assert twin.num_tokens == place
        assert torch.equal(twin.allowed(), masks[place])
        for token in token_ids[place:]:
            twin.consume(token)
        assert twin.is_finished
    assert matcher.is_finished, "copies are independent"


def test_a_refused_token_leaves_the_matcher_as_it_was() -> None:
    matcher = after(compiled(PERSON), '{"name":')
    before = matcher.allowed()
    with pytest.raises(ConstraintError, match="is not allowed after"):
        matcher.consume(ids("x")[0])
    assert torch.equal(matcher.allowed(), before)
    assert matcher.num_tokens == len(ids('{"name":'))


def test_forced_tokens_spell_what_must_come() -> None:
    vocabulary = tiny_vocabulary()
    matcher = after(compiled(PERSON), "{")
    assert vocabulary.template.decode(matcher.forced()) == '"name":'
    matcher = after(compiled(PERSON), '{"name":"x')
    assert matcher.forced() == ()
    assert after(compiled(["only this"], kind="choice"), "on").forced() == tuple(ids("ly this"))


def test_a_batch_of_masks_forbids_row_by_row_and_a_free_row_keeps_everything() -> None:
    languages = [compiled(PERSON), None, compiled("a+", kind="regex")]
    matchers = [language and language.matcher() for language in languages]
    mask = fill_batch(matchers, [None, None, 9])
    logits = torch.randn(3, 768, generator=torch.Generator().manual_seed(0))
    masked = apply(logits, mask)
    for row, matcher in enumerate(matchers):
        allowed = torch.ones(768, dtype=torch.bool) if matcher is None else matcher.allowed()
        assert torch.equal(masked[row].isfinite(), allowed)
        assert torch.equal(masked[row][allowed], logits[row][allowed])


@pytest.mark.capability("CD-08")
def test_the_allowed_mass_is_the_probability_of_the_allowed_tokens() -> None:
    matcher = compiled(["aa", "bb"], kind="choice").matcher()
    allowed = matcher.allowed()
    logits = torch.full((2, 768), -20.0)
    logits[0, ids("a")[0]] = math.log(3)  # p = 3/4 on an allowed token, 1/4 on one that is not
    logits[0, ids("z")[0]] = 0.0
    logits[1, ids("b")[0]] = 10.0
    assert not allowed[ids("z")[0]]
    mask = fill_batch([matcher, matcher.copy()], [None, None])
    mass = log_allowed_mass(logits, mask)
    assert mass[0].item() == pytest.approx(math.log(0.75), abs=1e-4)
    assert mass[1].item() == pytest.approx(0.0, abs=1e-4)
    assert (mass <= 0).all()


def test_a_row_without_constraint_has_all_of_its_mass() -> None:
    mask = fill_batch([None, compiled("a", kind="regex").matcher()], [None, None])
    assert log_allowed_mass(torch.randn(2, 768), mask)[0].item() == pytest.approx(0.0, abs=1e-5)


def test_no_name_stands_twice_however_it_is_spelt() -> None:
    language = compiled({"type": "object", "additionalProperties": {"type": "integer"}})
    matcher = after(language, '{"ab":1,"ab')
    quote = ids('"')[0]
    assert not matcher.allowed()[quote]
    with pytest.raises(ConstraintError):
        matcher.consume(quote)
    assert after(language, '{"ab":1,"abc').allowed()[quote]
    assert not after(language, '{"":1,"').allowed()[quote]
    nested = compiled({"type": "object", "additionalProperties": {"type": "object"}})
    assert after(nested, '{"a":{"a').allowed()[quote], "another object has names of its own"
    assert not after(nested, '{"a":{"b":1},"a').allowed()[quote]


def test_a_name_spelt_with_an_escape_is_the_same_name() -> None:
    assert Guard().after(b'{"a\\n":1,"a\\u000a"') is None
    assert Guard().after(b'{"a\\n":1,"a\\u000b"') is not None


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("1e99", True), ("1e999", False), ("-1.5E+12", True), ("1e-100", False), ("1" * 300, True), ("1" * 301, False),
        ("1" * 201 + "e1", False), ("1" * 200 + "e99", True), ('["1e999"]', True), ('{"1e999":1}', True),
        ("[1e9,1e99]", True), ("[1e9,1e999]", False),
    ],
)  # fmt: skip
def test_numbers_stay_below_every_doubles_end(text, stands) -> None:
    assert (Guard().after(text.encode()) is not None) == stands
    if stands:
        assert "inf" not in repr(json.loads(text, parse_int=float))


@pytest.mark.capability("CD-01")
def test_an_exponent_of_three_digits_is_not_offered() -> None:
    matcher = after(compiled({"type": "number"}), "1e99")
    assert not matcher.allowed()[[ids(digit)[0] for digit in "0123456789"]].any()
    assert matcher.is_accepting


def test_half_a_character_must_be_finished_before_the_string_ends() -> None:
    vocabulary = tiny_vocabulary()
    matcher = after(compiled({"type": "string"}), '"')
    for byte in "é€"[0].encode()[:1] + b"":
        matcher.consume(vocabulary.token_bytes.index(bytes([byte])))
    allowed = matcher.allowed()
    assert not allowed[ids('"')[0]]
    assert all(0x80 <= vocabulary.token_bytes[t][0] < 0xC0 for t in allowed.nonzero().flatten().tolist())


def test_no_white_space_is_offered_between_tokens_of_json() -> None:
    matcher = after(compiled(PERSON), "{")
    for space in (" ", "\n", "\t"):
        assert not matcher.allowed()[ids(space)[0]]


def test_escaped_names_cannot_dodge_the_schema_of_a_listed_property() -> None:
    language = compiled({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert not language.accepts('{"\\u0061":"x"}')


@pytest.mark.parametrize("vocabulary", [tiny_vocabulary, big_vocabulary])
def test_every_character_can_be_written_in_a_free_string(vocabulary) -> None:
    language = compiled({"type": "string"}, vocabulary())
    for text in ("", "äöü€😀", 'quote " and \\ slash /', "\b\f\n\r\t", "\x00\x1f\x7f", "\u2028\ufeff", "<|end|>"):
        assert language.accepts(language.canonical(text)), repr(text)


def test_a_language_that_this_vocabulary_cannot_go_on_with_is_an_error_not_a_nan() -> None:
    language = compiled({"type": "object", "patternProperties": {"^[ab]{1}$": {}}, "additionalProperties": False})
    with pytest.raises(ConstraintError, match="no token is allowed here"):
        after(language, '{"a":1,"b":1,"a').allowed()
