"""Plain Python values as JSON and back, types kept: tuples stay tuples, 1 stays an int and 1.0 a float.

Plain are None, bool, int, float, complex, str, bytes, bytearray, range, and list, tuple, set, frozenset and dict of
plain values, by their exact types. A subclass is refused, since what it says about equality is its own; only the
dictionaries of ``collections`` travel, as the dict that they equal. What ``decode`` returns therefore compares as
Python's own types do, whoever wrote the text. Values travel by copy: an object that stands in two places arrives as
two, and what is done to the copy is not done to the original. Whoever decodes a hostile text pays no more than its
length: members of equal hashes, ranges and integers are bounded.

This file runs inside the sandbox too and uses the standard library only.
"""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, defaultdict
from typing import Any

MAX_DEPTH = 100
"""Containers nested deeper are refused, on both sides."""
MAX_RANGE = 1 << 20
"""A range of more numbers, which would be a list of them to whoever sorts it, is refused, on both sides."""
MAX_BITS = 1 << 20
"""A greater integer is refused, on both sides."""
MAX_EQUAL_HASHES = 100
"""More members of one set or dictionary with the same hash are refused: each is compared with all others."""
_PLAIN_INT = 1 << 53
_DICTS = (dict, OrderedDict, defaultdict, Counter)
_SEQUENCES: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_BYTES: dict[str, Any] = {"bytes": bytes, "bytearray": bytearray}


class CodecError(ValueError):
    """A value that is not plain, or a text that is no encoded value."""


def encode(value: Any) -> Any:
    """The value as JSON: scalars and lists as they are, everything else ``{type: content}``. Raises: CodecError."""
    return _encode(value, 0)


def decode(content: Any) -> Any:
    """The value that ``encode`` was given. Raises: CodecError if ``encode`` cannot have written it."""
    try:
        return _decode(content, 0)
    except CodecError:
        raise
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise CodecError(f"not an encoded value: {error}") from None


def dumps(content: Any) -> bytes:
    """The JSON as one line of ASCII, without its end."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def loads(line: bytes) -> Any:
    """The JSON of one line. Raises: CodecError, whatever is wrong with it."""
    try:
        return json.loads(line.decode("ascii"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError, MemoryError) as error:
        raise CodecError(f"not JSON: {type(error).__name__}") from None


def _encode(value: Any, depth: int) -> Any:
    kind = type(value)
    if depth > MAX_DEPTH:
        raise CodecError(f"nested more than {MAX_DEPTH} deep")
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -_PLAIN_INT < value < _PLAIN_INT else {"int": hex(_bounded_int(value))}
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if kind is list:
        return [_encode(item, depth + 1) for item in value]
    if kind in _DICTS:
        return {"dict": [[_encode(key, depth + 1), _encode(item, depth + 1)] for key, item in dict.items(value)]}
    if kind in (tuple, set, frozenset):
        return {kind.__name__: [_encode(item, depth + 1) for item in value]}
    if kind in (bytes, bytearray):
        return {kind.__name__: value.hex()}
    if kind is complex:
        return {"complex": [repr(value.real), repr(value.imag)]}
    if kind is range:
        value = _bounded_range(value)
        return {"range": [_encode(bound, depth + 1) for bound in (value.start, value.stop, value.step)]}
    raise CodecError(f"a {kind.__name__} is not a plain value")


def _decode(content: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise CodecError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(content, float) and not math.isfinite(content):
        raise CodecError("a number out of range")
    if content is None or isinstance(content, bool | int | float | str):
        return content
    if isinstance(content, list):
        return [_decode(item, depth + 1) for item in content]
    if not isinstance(content, dict) or len(content) != 1:
        raise CodecError("an object must have exactly one key, its type")
    ((kind, inner),) = content.items()
    if isinstance(inner, str):
        return _decode_text(kind, inner)
    if not isinstance(inner, list):
        raise CodecError(f"the content of {kind!r} is neither a text nor a list")
    if kind == "dict":
        return _collection(dict, [(_decode(key, depth + 1), _decode(item, depth + 1)) for key, item in inner])
    if kind == "complex":
        real, imaginary = inner
        return complex(float(real), float(imaginary))
    items = [_decode(item, depth + 1) for item in inner]
    if kind == "range":
        return _bounded_range(range(*items))
    if kind in _SEQUENCES:
        return _collection(_SEQUENCES[kind], items)
    raise CodecError(f"unknown type {kind!r}")


def _decode_text(kind: str, text: str) -> Any:
    if kind == "int":
        return _bounded_int(int(text, 16))
    if kind == "float" and text in ("nan", "inf", "-inf"):
        return float(text)
    if kind in _BYTES:
        return _BYTES[kind].fromhex(text)
    raise CodecError(f"unknown type {kind!r} of a text")


def _bounded_int(value: int) -> int:
    if value.bit_length() > MAX_BITS:
        raise CodecError(f"an integer of more than {MAX_BITS} bits")
    return value


def _bounded_range(value: range) -> range:
    if value[MAX_RANGE:]:
        raise CodecError(f"a range of more than {MAX_RANGE} numbers")
    return value


def _collection(kind: Any, items: list[Any]) -> Any:
    hashes = Counter(hash(item[0] if kind is dict else item) for item in items) if kind is not tuple else {}
    if max(hashes.values(), default=0) > MAX_EQUAL_HASHES:
        raise CodecError(f"a {kind.__name__} with more than {MAX_EQUAL_HASHES} members of one hash")
    made = kind(items)
    if len(made) != len(items):
        raise CodecError(f"a {kind.__name__} with equal members")
    return made


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise CodecError("an object with a key twice")
    return made


def _refuse_constant(name: str) -> Any:
    raise CodecError(f"{name} is not JSON")
