"""The compiled kernels of ``kernels.cpp``: built once a machine by its own C++ compiler, absent where there is none.

A kernel takes one pointer to a struct, so that everything but a few pointers is bound once, not at every step.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

PAGE = 16
"""Positions in a page of keys and values; ``W`` in kernels.cpp."""
QUERIES = 8
"""Tokens that share one pass over their common pages."""
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fopenmp")
_BUILD_TIMEOUT_S = 120


def _fields(names: str, kind: Any) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


_INT, _PTR, _FLOAT = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float


class Norm(ctypes.Structure):
    """Arguments of ``normalise``."""

    _fields_ = [
        *_fields("rows size", _INT),
        ("eps", _FLOAT),
        *_fields("x weight out", _PTR),
        *_fields("add threads", _INT),
    ]


class Row(ctypes.Structure):
    """Arguments of ``row_product``."""

    _fields_ = [*_fields("inputs outputs", _INT), *_fields("x weight bias y", _PTR), ("threads", _INT)]


class Gate(ctypes.Structure):
    """Arguments of ``gate``."""

    _fields_ = [*_fields("rows size gelu", _INT), *_fields("x out", _PTR), ("threads", _INT)]


class Piece(ctypes.Structure):
    """One module of one adapter."""

    _fields_ = [*_fields("a b", _PTR), *_fields("rank offset width", _INT)]


class LowRank(ctypes.Structure):
    """Arguments of ``low_rank``."""

    _fields_ = [
        *_fields("inputs outputs", _INT),
        *_fields("x y", _PTR),
        ("num_tasks", _INT),
        *_fields("task_start task_piece rows pieces", _PTR),
        ("threads", _INT),
    ]


class Tokens(ctypes.Structure):
    """The tokens of one forward, for ``attention``."""

    _fields_ = [
        ("count", _INT),
        *_fields("row position order", _PTR),
        ("num_blocks", _INT),
        *_fields("block_start block_shared table", _PTR),
        ("table_width", _INT),
        ("threads", _INT),
    ]


class Attention(ctypes.Structure):
    """Arguments of ``attention``."""

    _fields_ = [
        *_fields("tokens pages", _PTR),
        *_fields("heads kv_heads size padded", _INT),
        *_fields("qkv out query_norm key_norm", _PTR),
        *_fields("eps scale softcap", _FLOAT),
        ("window", _INT),
        *_fields("cosines sines", _PTR),
    ]


@dataclass(frozen=True)
class Kernels:
    """The compiled functions, each ``f(pointer to its struct)``."""

    normalise: Callable[[Any], None]
    row_product: Callable[[Any], None]
    gate: Callable[[Any], None]
    low_rank: Callable[[Any], None]
    attention: Callable[[Any], None]


def address(tensor: Tensor) -> int:
    """Where a contiguous tensor's numbers lie."""
    assert tensor.is_contiguous()
    return tensor.data_ptr()


@cache
def load_kernels() -> Kernels | str:
    """The kernels, or why there are none; compiled on first use (seconds), kept in the user's cache by content."""
    compiler = shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")
    if os.environ.get("STROP_KERNELS", "1") == "0":
        return "STROP_KERNELS=0 switches the compiled kernels off"
    if compiler is None:
        return "there is no C++ compiler (g++ or clang++) on this machine"
    source = Path(__file__).with_name("kernels.cpp")
    try:
        path = _cache_folder() / f"kernels-{_identity(source, compiler)}.so"
        if not _is_whole(path):
            _build(compiler, source, path)
        library = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", "") or str(error)
        return f"the kernels could not be compiled: {told.strip().splitlines()[0] if told.strip() else error}"
    functions = {}
    for name in ("normalise", "row_product", "gate", "low_rank", "attention"):
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_void_p], None
        functions[name] = function
    return Kernels(**functions)


def _is_whole(path: Path) -> bool:
    """Whether the binary is the one that was built: loading a damaged one would end the process without a word."""
    digest = path.with_suffix(".sha256")
    return path.exists() and digest.exists() and digest.read_text() == hashlib.sha256(path.read_bytes()).hexdigest()


def _cache_folder() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "strop"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


def _identity(source: Path, compiler: str) -> str:
    """What the binary depends on: source, flags, compiler, and the processor that ``-march=native`` means."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    content = [source.read_text(), *_FLAGS, version, platform.machine(), _processor()]
    return hashlib.sha256("\0".join(content).encode()).hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _build(compiler: str, source: Path, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / "kernels.so"
        command = [compiler, *_FLAGS, "-o", str(built), str(source)]
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=_BUILD_TIMEOUT_S)
        digest = Path(folder) / "kernels.sha256"
        digest.write_text(hashlib.sha256(built.read_bytes()).hexdigest())
        # Two processes may build at once, and their binaries may differ: the loser of the race builds again.
        built.replace(path)
        digest.replace(path.with_suffix(".sha256"))
