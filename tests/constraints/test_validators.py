import json

import pytest

from constraint_texts import compiled
from strop.constraints import SchemaValidator, call_errors, read_json
from strop.constraints.formats import conforms, pattern_of
from strop.constraints.patterns import portable_pattern, python_pattern
from strop.types import ToolCall

INVOICE = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{4}$"},
        "total": {"type": "number", "exclusiveMinimum": 0},
        "due": {"type": "string", "format": "date"},
        "lines": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": True},
    },
    "required": ["number", "total"],
    "additionalProperties": False,
}
GOOD = '{"number":"AB1234","total":12.5,"due":"2024-02-29","lines":[1,2]}'
MALFORMED = {
    "": "not JSON",
    "{": "not JSON",
    GOOD + "x": "not JSON",
    GOOD[:-1] + ',"total":1}': "stands twice",
    '{"number":"AB1234","total":NaN}': "NaN is not JSON",
    '{"number":"AB1234","total":1e999}': "beyond every double",
    '{"number":"AB1234","total":' + "9" * 400 + "}": "beyond every double",
    '{"number":"AB1234"}': "'total' is a required property",
    '{"number":"ab1234","total":1}': "does not match",
    '{"number":"AB1234\\n","total":1}': "does not match",
    '{"number":"AB1234","total":0}': "$.total: 0 is less than or equal to the minimum of 0",
    '{"number":"AB1234","total":"1"}': "is not of type 'number'",
    '{"number":"AB1234","total":true}': "is not of type 'number'",
    '{"number":"AB1234","total":1,"due":"2023-02-29"}': "is not a date",
    '{"number":"AB1234","total":1,"lines":[]}': "$.lines",
    '{"number":"AB1234","total":1,"lines":[1,1]}': "non-unique",
    '{"number":"AB1234","total":1,"lines":[1,2.5]}': "$.lines[1]",
    '{"number":"AB1234","total":1,"more":1}': "'more' was unexpected",
    "[" * 100_000: "nested too deeply",
}
TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "transfer",
            "parameters": {
                "type": "object",
                "properties": {"amount": {"type": "number"}, "to": {"enum": ["ops", "it"]}},
                "required": ["amount"],
            },
        },
    },
    {"type": "function", "function": {"name": "ping"}},
)
CALLS = {
    ("transfer", '{"amount":1}'): "",
    ("transfer", '{"amount":1.5,"to":"it"}'): "",
    ("ping", "{}"): "",
    ("pong", "{}"): "there is no tool 'pong', only ping, transfer",
    ("transfer", "{}"): "'amount' is a required property",
    ("transfer", '{"amount":"1"}'): "$.amount: '1' is not of type 'number'",
    ("transfer", '{"amount":1,"to":"hr"}'): "$.to",
    ("transfer", '{"amount":1,"memo":"x"}'): "'memo' was unexpected",
    ("ping", '{"x":1}'): "unexpected",
}


@pytest.mark.capability("TU-08")
@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:60])
def test_the_schema_validator_rejects_each_malformed_text_with_its_reason(text) -> None:
    errors = SchemaValidator(INVOICE).text_errors(text)
    assert any(MALFORMED[text].lower() in error.lower() for error in errors), errors


@pytest.mark.capability("TU-08")
def test_the_schema_validator_accepts_the_well_formed_text() -> None:
    assert SchemaValidator(INVOICE).text_errors(GOOD) == ()
    assert SchemaValidator(INVOICE).text_errors(json.dumps(json.loads(GOOD), indent=2)) == ()


@pytest.mark.capability("TU-08")
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_the_signature_validator_judges_name_and_arguments(call) -> None:
    errors = call_errors(TOOLS, ToolCall(name=call[0], arguments=json.loads(call[1])))
    assert bool(errors) == bool(CALLS[call])
    assert CALLS[call] in "".join(errors)


def test_the_record_does_not_ask_the_grammar() -> None:
    language = compiled({"type": "integer"})
    assert not language.accepts("1.0")
    assert language.validate("1.0") == (), "1.0 is an integer to JSON Schema; the grammar writes it 1"
    assert language.canonical(1.0) == "1"


def test_numbers_and_strings_have_one_spelling() -> None:
    language = compiled({})
    assert language.canonical([1e3, 1e-7, -0.5, 1e22, True, None]) == (
        "[1000,0.0000001,-0.5,10000000000000000000000,true,null]"
    )
    assert language.canonical("é\u007f\n") == '"é\\u007f\\n"'
    assert read_json("1e2") == 100.0


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "date",
            ["2024-02-29", "2000-02-29"],
            ["2023-02-29", "1900-02-29", "2024-13-01", "2024-1-1", "２０２４-01-01"],
        ),
        ("time", ["23:59:60Z", "00:29:60+00:30", "12:00:00.5-08:00"], ["12:00:00", "23:59:60+01:00", "24:00:00Z"]),
        ("date-time", ["1998-12-31T23:59:60Z"], ["1998-12-31T22:59:60Z", "1998-12-31 23:59:59Z"]),
        ("ipv6", ["::", "1::2", "::ffff:1.2.3.4"], [":::", "1::2::3", "1:2:3:4:5:6:7:8:9", "::256.1.1.1"]),
        ("uri", ["http://a/b?c#d", "urn:x:y"], ["//a/b", "a b", "http://[::1", "\\\\x"]),
        ("email", ["a@b", '"a b"@c.d', "a@[127.0.0.1]"], ["a", "a@b@c", ".a@b", "a@-b"]),
        ("duration", ["P1Y2M3DT4H5M6S", "P2W"], ["P", "P1D2Y", "PT", "P1Y2W"]),
        ("hostname", ["a-b.c"], ["-a", "a..b", "a" * 64, ".".join(["a" * 60] * 5)]),
        ("regex", ["a+"], ["(a"]),
    ],
)
def test_formats_are_checked(name, good, bad) -> None:
    assert all(conforms(name, text) for text in good)
    assert not any(conforms(name, text) for text in bad)


def test_formats_agree_with_the_official_suite(shared_data) -> None:
    judged = 0
    for path in sorted((shared_data / "json-schema/tests/draft2020-12/optional/format").glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            name = case["schema"].get("format")
            if name is None or pattern_of(name) is None:
                continue
            language = compiled({"format": name})
            for test in case["tests"]:
                judged += 1
                assert (language.validate(json.dumps(test["data"])) == ()) == test["valid"], test
                assert language.accepts(language.canonical(test["data"])) == test["valid"], test
    assert judged > 400


def test_patterns_mean_what_ecma_262_says() -> None:
    assert portable_pattern(r"^\d[\d.][^\w]$") == r"^[0-9][0-9.][^A-Za-z0-9_]$"
    assert python_pattern("^a$").search("a")
    assert not python_pattern("^a$").search("a\n")
    assert not python_pattern(r"^\d$").search("٣")
    assert python_pattern(r"^\s$").search("\ufeff")
    assert not python_pattern(r"^\S$").search("\ufeff")
    assert python_pattern(r"^[[/\/]$").search("[")


@pytest.mark.parametrize(
    ("number", "divisor", "is_multiple"),
    [
        (320069.85, 0.01, True),
        (0.075, 0.0001, True),
        (0.00751, 0.0001, False),
        (1e308, 0.123456789, False),
        (7, 2, False),
    ],
)
def test_a_multiple_is_one_of_the_decimals_as_written(number: float, divisor: float, is_multiple: bool) -> None:
    validator = SchemaValidator({"type": "number", "multipleOf": divisor})
    assert (validator.errors(number) == ()) is is_multiple
    assert SchemaValidator({"multipleOf": divisor}).errors("no number") == ()
