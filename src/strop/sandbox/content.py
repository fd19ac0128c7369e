"""What a caller gives to a task, as the bytes and names that the task will have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from strop.errors import SandboxError
from strop.sandbox.outcome import Limits


def program_bytes(program: object) -> bytes:
    """The program in UTF-8. Raises: SandboxError for what is no text."""
    if not isinstance(program, str):
        raise SandboxError(f"the program {program!r:.80}", why="it is no text", do="give Python source as a string")
    return in_bytes("the program", program)


def in_bytes(what: str, content: object) -> bytes:
    """Bytes as they are, a string in UTF-8. Raises: SandboxError naming ``what`` is neither."""
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    if not isinstance(content, str):
        kind = type(content).__name__
        raise SandboxError(f"{what} is of type {kind}", do="give bytes, or a string, which is written as UTF-8")
    try:
        return content.encode()
    except UnicodeEncodeError as error:
        raise SandboxError(f"{what} is no UTF-8", why=str(error), do="give bytes") from None


def checked_files(files: object) -> dict[str, bytes]:
    """The content of each file by its name. Raises: SandboxError for what is no mapping of names to content."""
    if not isinstance(files, Mapping):
        raise SandboxError(f"files is {files!r:.80}", do='give a mapping: {"name.txt": b"content"}')
    names = checked_names("files", list(files))
    return {name: in_bytes(f"the file {name!r}", files[name]) for name in names}


def checked_names(what: str, names: object) -> list[str]:
    """The strings of a list. Raises: SandboxError where it is none, such as a single string."""
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(one, str) for one in names):
        raise SandboxError(f"{what} is {names!r:.80}", do="give a list of strings")
    return list(names)


def checked_limits(limits: object) -> Limits:
    """The limits. Raises: SandboxError for anything else."""
    if not isinstance(limits, Limits):
        raise SandboxError(f"limits is {limits!r:.80}", do="give strop.sandbox.Limits(wall_s=2.0, memory_mb=256)")
    return limits
