"""Plain values come back as they went, types and all; nothing else passes in either direction."""

import collections
import enum
import json
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strop.sandbox.codec import MAX_DEPTH, CodecError, decode, dumps, encode, loads

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
PLAIN = st.recursive(
    HASHABLE
    | st.binary().map(bytearray)
    | st.builds(lambda start, n: range(start, start + 3 * n, 3), st.integers(), st.integers(-9, 10**6)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(HASHABLE, max_size=3)
        | st.dictionaries(HASHABLE, inner, max_size=3)
    ),
    max_leaves=12,
)


def told(value: Any) -> str:
    """The value with all its types, the members of a set in order: an oracle of its own."""
    if isinstance(value, list | tuple):
        inner = ", ".join(map(told, value))
    elif isinstance(value, set | frozenset):
        inner = ", ".join(sorted(map(told, value)))
    elif isinstance(value, dict):
        inner = ", ".join(f"{told(key)}: {told(item)}" for key, item in value.items())
    else:
        inner = repr(value)
    return f"{type(value).__name__}({inner})"


@settings(max_examples=400)
@given(PLAIN)
def test_every_plain_value_survives_the_line_with_its_types(value: Any) -> None:
    line = dumps(encode(value))
    assert b"\n" not in line
    assert told(decode(loads(line))) == told(value)


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ((1, 2), {"tuple": [1, 2]}),
        ([1, 2], [1, 2]),
        ({1: "a"}, {"dict": [[1, "a"]]}),
        ({"tuple": [1]}, {"dict": [["tuple", [1]]]}),
        (float("nan"), {"float": "nan"}),
        (float("-inf"), {"float": "-inf"}),
        (2**60, {"int": "0x1000000000000000"}),
        (-(2**53), {"int": "-0x20000000000000"}),
        (b"\x00\xff", {"bytes": "00ff"}),
        (1 - 2j, {"complex": ["1.0", "-2.0"]}),
        (range(3), {"range": [0, 3, 1]}),
        (True, True),
        (None, None),
    ],
)
def test_the_form_on_the_wire_is_as_documented(value: Any, content: Any) -> None:
    assert encode(value) == content
    assert json.loads(dumps(content)) == content
    assert decode(content) is not None or value is None


def test_numbers_beyond_pythons_limit_of_decimal_digits_pass() -> None:
    huge = 7**20_000
    assert decode(loads(dumps(encode([huge, -huge])))) == [huge, -huge]


def test_what_is_short_to_say_and_long_to_use_is_refused_on_both_sides() -> None:
    assert decode(encode(range(-1, 2**20 - 1))) == range(-1, 2**20 - 1)
    assert decode(encode(1 - (1 << 2**20))) == 1 - (1 << 2**20)
    for large in (range(2**20 + 1), range(10**30), range(0, -(10**12), -3), 1 << 2**20, -(1 << 2**20)):
        with pytest.raises(CodecError, match="more than 1048576"):
            encode([large])
    for content in ({"range": [0, 2**20 + 1, 1]}, {"range": [0, {"int": hex(10**30)}, 1]}, {"int": hex(1 << 2**20)}):
        with pytest.raises(CodecError, match="more than 1048576"):
            decode([content])


@pytest.mark.parametrize("kind", ["set", "frozenset", "dict"])
def test_members_that_collide_are_refused_before_they_are_compared(kind: str) -> None:
    modulus = sys.hash_info.modulus
    colliding = [{"int": hex(number * modulus)} for number in range(1, 20_000)]
    members = [[one, 0] for one in colliding] if kind == "dict" else colliding
    began = time.process_time()
    with pytest.raises(CodecError, match="more than 100 members of one hash"):
        decode({kind: members})
    assert time.process_time() - began < 1.0, "comparing each with all others takes about 3 s"
    assert len(decode({kind: members[:100]})) == 100


class AlwaysEqual:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Text(str):
    pass


class Colour(enum.IntEnum):
    RED = 1


Pair = collections.namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    "value",
    [
        AlwaysEqual(),
        Liar(1),
        Text("a"),
        Colour.RED,
        Pair(1, 2),
        [Liar(1)],
        {Liar(1): 2},
        {1: Liar(2)},
        (AlwaysEqual(),),
        NotImplemented,
        ...,
        int,
        len,
        iter([1]),
        {}.keys(),
        memoryview(b"a"),
        type("list", (list,), {})([1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subclasses_and_objects_are_refused_wherever_they_stand(value: Any) -> None:
    with pytest.raises(CodecError, match="not a plain value"):
        encode(value)


def test_the_dictionaries_of_collections_arrive_as_the_dict_that_they_equal() -> None:
    for made in (collections.Counter("aab"), collections.OrderedDict(a=2, b=1), collections.defaultdict(int, a=2, b=1)):
        found = decode(loads(dumps(encode(made))))
        assert type(found) is dict
        assert found == {"a": 2, "b": 1}


def test_a_value_in_itself_and_one_too_deep_are_refused_on_both_sides() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CodecError, match="deep"):
        encode(loop)
    deepest: Any = 0
    for _ in range(MAX_DEPTH):
        deepest = [deepest]
    assert decode(encode(deepest)) == deepest
    with pytest.raises(CodecError, match="deep"):
        encode([deepest])
    with pytest.raises(CodecError, match="deep"):
        decode([deepest])


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"tuple": [1], "list": [1]},
        {"object": []},
        {"eval": "1"},
        {"tuple": "ab"},
        {"tuple": None},
        {"tuple": {"tuple": []}},
        {"int": "ten"},
        {"int": [1]},
        {"float": "1.5"},
        {"float": "infinity"},
        {"bytes": "zz"},
        {"bytes": [1]},
        {"complex": ["1"]},
        {"complex": [[], []]},
        {"range": [0, 1, 0]},
        {"range": []},
        {"range": [1.5]},
        {"set": [[]]},
        {"set": [1, True]},
        {"dict": [[1, 2], [1.0, 3]]},
        {"dict": [[[], 1]]},
        {"dict": [[1]]},
        {"dict": [1]},
        [1, {"a": 2}],
    ],
)
def test_what_encode_cannot_have_written_is_refused(content: Any) -> None:
    with pytest.raises(CodecError):
        decode(content)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"NaN",
        b"[Infinity]",
        b"\xff",
        '"é"'.encode(),
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
        b"[1] [2]",
    ],
    ids=range(11),
)
def test_a_line_that_is_not_one_json_value_is_refused(line: bytes) -> None:
    with pytest.raises(CodecError):
        loads(line)


def test_a_number_out_of_range_is_no_way_to_say_infinity() -> None:
    with pytest.raises(CodecError, match="out of range"):
        decode(loads(b"1e999"))
