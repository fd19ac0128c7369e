"""The process side of ``pool``: holds a copy of the verifier and judges one pair a request; never imported."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

_held: dict[str, Any] = {}


def answer(request: Mapping[str, Any], call: object) -> dict[str, Any]:
    """``{"verdict", "seconds"}``, ``{"refused"}`` for an error the user can mend, or ``{"raised"}`` for any other.

    The first request brings the verifier and where its code is found; where this process cannot find it all the same,
    every answer is ``{"absent"}``.
    """
    if "verifier" in request:
        sys.path[:] = request["path"]
    from strop.errors import UserError
    from strop.verifiers.packing import packed, unpacked

    if "verifier" in request:
        try:
            _held["verifier"] = unpacked(request["verifier"])
        except (ModuleNotFoundError, AttributeError) as error:
            _held["absent"] = str(error)
        return {}
    if "absent" in _held:
        return {"absent": _held["absent"]}
    task, completion = unpacked(request["pair"])
    start = time.perf_counter()
    try:
        verdict = _held["verifier"](task, completion)
        seconds = time.perf_counter() - start
        return {"verdict": packed(verdict), "seconds": seconds}
    except UserError as error:
        return {"refused": packed([type(error), error.what, error.where, error.why, error.do])}
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"[:500]}
