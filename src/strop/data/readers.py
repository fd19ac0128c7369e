"""Files, folders and hub names become plain rows, each with the place it was read from.

A place is ``file.jsonl:12`` (lines count from 1) or ``file.parquet#12`` and ``owner/name/train#12`` (rows count from 0,
as ``dataset[12]`` does). Nothing here knows what a row means: ``shapes.py`` does.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from strop.errors import DataError, MissingDependencyError

LINES = (".jsonl", ".ndjson")
SUFFIXES = (*LINES, ".json", ".parquet")
METADATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""What ``datasets`` writes beside its rows."""
MAX_ENTRIES = 50_000
"""How many files and folders below a named folder are looked at, before it is taken for a mistake."""
SPLITS = {
    "train": ("train", "training"),
    "dev": ("dev", "validation", "valid", "val"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""A split's name in a recipe and the words that stand for it in the names of files."""


@dataclass(frozen=True)
class Row:
    """One row as it was read, and where."""

    values: Mapping[str, Any]
    where: str


def read_rows(source: str | Path, *, split: str = "train", limit: int | None = None) -> Iterator[Row]:
    """The rows of a JSONL, JSON or Parquet file, a folder of them, or a dataset on the hub (``owner/name[:config]``).

    A folder gives its files in the order of their names; where files are named after splits (``train.jsonl``,
    ``data/train-00000-of-00001.parquet``), those of ``split`` only. A single file is read whole, whatever its name.
    ``limit`` bounds the number of rows; what lies behind it is not read, hence not checked.
    Raises: DataError naming the file and line; MissingDependencyError for Parquet or the hub without ``strop[data]``.
    """
    return islice(_all_rows(source, split), limit)


def _all_rows(source: str | Path, split: str) -> Iterator[Row]:
    path = Path(source).expanduser()
    if path.is_dir():
        for file in _files_of(path, split):
            yield from _read_file(file)
    elif path.exists():
        yield from _read_file(path)
    elif isinstance(source, Path) or _looks_local(str(source)):
        raise DataError(
            f"{source} does not exist",
            where=str(path.absolute()),
            why="there is no such file or folder",
            do=_near(path),
        )
    else:
        yield from _read_hub(str(source), split)


def _looks_local(name: str) -> bool:
    repository = name.partition(":")[0]
    return (
        name.startswith((".", "/", "~"))
        or Path(repository).suffix in (*SUFFIXES, ".csv", ".txt", ".gz")
        or (repository.count("/") > 1)
    )


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f"check the path: the folder {path.parent} does not exist either"
    found = sorted(p.name for p in path.parent.iterdir() if p.suffix in SUFFIXES)[:5]
    return f"check the name: the folder holds {', '.join(found)}" if found else "check the path"


def _files_of(folder: Path, split: str) -> list[Path]:
    files = sorted(p for p in _walk(folder) if p.suffix in SUFFIXES and p.name not in METADATA and p.is_file())
    if not files:
        raise DataError(
            f"{folder} holds no data",
            where=str(folder),
            why=f"no file ends in {', '.join(SUFFIXES)}",
            do="check the path",
        )
    if not any(_is_split(file, name) for file in files for name in SPLITS):
        return files
    chosen = [file for file in files if _is_split(file, split)]
    if not chosen:
        raise DataError(
            f"{folder} has no split `{split}`",
            where=str(folder),
            why=f"its files are {', '.join(file.name for file in files[:8])}",
            do="name the file itself, or another split",
        )
    return chosen


def _walk(folder: Path) -> Iterator[Path]:
    """Every visible file below the folder; what vanishes meanwhile, or may not be read, is left out.

    Raises: DataError for a folder of so many files that it can hardly be a data set.
    """
    seen = 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen += len(folders) + len(names)
        if seen > MAX_ENTRIES:
            raise DataError(
                f"{folder} holds more than {MAX_ENTRIES} files and folders",
                where=str(folder),
                why="so many are not searched for data",
                do="name the folder of the data itself, or a file",
            )
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _is_split(file: Path, split: str) -> bool:
    words = "|".join(re.escape(word) for word in SPLITS.get(split, (split.lower(),)))
    return re.match(rf"({words})([-_.]|$)", file.stem.lower()) is not None


def _read_file(path: Path) -> Iterator[Row]:
    if path.suffix in LINES:
        return _read_lines(path)
    if path.suffix == ".json":
        return _read_json(path)
    if path.suffix == ".parquet":
        return _read_parquet(path)
    raise DataError(
        f"{path.name} is no data file that strop reads",
        where=str(path),
        why=f"its name ends in `{path.suffix}`; known are {', '.join(SUFFIXES)}",
        do="convert it to JSON lines: one object a line",
    )


def _read_lines(path: Path) -> Iterator[Row]:
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}:{number}"
            text = _decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, where)
            if text.strip():
                yield Row(_row(_parse(text, where), where), where)


def _read_json(path: Path) -> Iterator[Row]:
    with _open(path) as file:
        text = _decode(file.read().removeprefix(b"\xef\xbb\xbf"), str(path))
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if not _begins_with_a_line(text):
            raise _broken(error, f"{path}:{error.lineno}") from error
        yield from _read_lines(path)
        return
    if isinstance(value, dict):
        lists = [key for key, item in value.items() if isinstance(item, list)]
        value = value[lists[0]] if len(lists) == 1 and lists[0] in ("data", "rows", "train", "test") else [value]
    for number, item in enumerate(value if isinstance(value, list) else [value]):
        where = f"{path}#{number}"
        yield Row(_row(item, where), where)


def _begins_with_a_line(text: str) -> bool:
    """Whether a ``.json`` file is really JSON lines, as several published ones are."""
    first, _, rest = text.lstrip().partition("\n")
    try:
        return isinstance(json.loads(first), dict) and rest.lstrip().startswith("{")
    except json.JSONDecodeError:
        return False


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        raise _missing("Parquet files", "pyarrow", str(path)) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            values = (value for batch in file.iter_batches(batch_size=1024) for value in batch.to_pylist())
            yield from _arrow_rows(values, str(path))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path.name} cannot be read as Parquet",
            where=str(path),
            why=str(error).splitlines()[0],
            do="write the file again",
        ) from error


def _read_hub(name: str, split: str) -> Iterator[Row]:
    try:
        import datasets
    except ImportError as error:
        raise _missing("datasets from the hub", "datasets", name) from error
    repository, _, config = name.partition(":")
    try:
        loaded = _load(datasets, repository, config or None, SPLITS.get(split, (split,)))
    except Exception as error:  # datasets raises a dozen kinds; all of them mean that the name gave no rows
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"`{name}` gives no rows",
            where=f"split `{split}`",
            why=f"no such file or folder is here, and the hub answered: {reason}",
            do="check the name (owner/name, or owner/name:config), the split and the network; or name a local file",
        ) from error
    yield from _arrow_rows(loaded, f"{name}/{split}")


def _load(datasets: Any, repository: str, config: str | None, splits: Sequence[str]) -> Any:
    """The first of these splits that the dataset has."""
    for split in splits[:-1]:
        try:
            return datasets.load_dataset(repository, config, split=split)
        except ValueError as error:
            if "nknown split" not in str(error):
                raise
    return datasets.load_dataset(repository, config, split=splits[-1])


def _missing(what: str, package: str, where: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"{what} need the package `{package}`", where=where, why="it is not installed", do='pip install "strop[data]"'
    )


def _arrow_rows(values: Iterable[Mapping[str, Any]], name: str) -> Iterator[Row]:
    for number, value in enumerate(values):
        yield Row({key: _without_absent(item) for key, item in value.items()}, f"{name}#{number}")


def _without_absent(value: Any) -> Any:
    """The value in JSON terms, without null fields of nested structs.

    Arrow gives every struct the union of all rows' keys and fills them with null: ``arguments`` would name parameters
    that were never passed.
    """
    if isinstance(value, dict):
        return {key: _without_absent(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_absent(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _open(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be opened",
            where=str(path),
            why=str(error.strerror).lower(),
            do="check its permissions",
        ) from error


def _decode(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            "the text is not UTF-8",
            where=where,
            why=f"byte {line[error.start]:#04x} at position {error.start} begins no UTF-8 character",
            do="convert the file, for example: iconv -f latin1 -t utf-8",
        ) from error


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken(error, where) from error


def _broken(error: json.JSONDecodeError, where: str) -> DataError:
    return DataError(
        "the JSON is broken",
        where=where,
        why=f"{error.msg.lower()} at column {error.colno}",
        do="mend or remove the line; a file of JSON lines has one whole object a line",
    )


def _row(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(
            f"the row is {_kind(value)}, not an object",
            where=where,
            why="a row names its columns",
            do='write {"prompt": ..., "completion": ...}',
        )
    if not _is_unicode(value):
        raise DataError(
            "the row holds half a character",
            where=where,
            why="a \\ud800-\\udfff escape without its partner cannot be tokenised",
            do="mend the text: such escapes come in pairs",
        )
    return value


def _is_unicode(value: dict[str, Any]) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "a boolean"}
    return names.get(type(value), "null")
