"""Files, folders and hub names become rows, and what cannot be read is told with its place."""

import json
import os
import sys
from pathlib import Path

import pytest

from strop.data import readers
from strop.data.readers import read_rows
from strop.errors import DataError, MissingDependencyError

ROWS = [{"question": "1+1?", "answer": "2"}, {"question": "2+2?", "answer": "4"}, {"question": "é?", "answer": "€"}]


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict]) -> Path:
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), path)
    return path


def values(source: object, **settings: object) -> list[dict]:
    return [dict(row.values) for row in read_rows(source, **settings)]  # type: ignore[arg-type]


def test_json_lines_json_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps(ROWS))
    (tmp_path / "wrapped.json").write_text(json.dumps({"version": 1, "data": ROWS}))
    (tmp_path / "lines.json").write_text("\n".join(json.dumps(row, indent=None) for row in ROWS))
    write_lines(tmp_path / "rows.jsonl", ROWS)
    write_parquet(tmp_path / "rows.parquet", ROWS)
    for name in ("list.json", "wrapped.json", "lines.json", "rows.jsonl", "rows.parquet"):
        assert values(tmp_path / name) == ROWS, name
        assert values(str(tmp_path / name), limit=2) == ROWS[:2], name


def test_a_row_knows_its_line_and_blank_lines_count(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"a": 1}\n\n  \r\n{"a": 2}\r\n')
    assert [(row.values["a"], row.where) for row in read_rows(path)] == [(1, f"{path}:1"), (2, f"{path}:4")]


def test_a_limit_reads_nothing_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\nbroken\n')
    assert values(path, limit=2) == [{"a": 1}, {"a": 2}]


def test_a_folder_gives_the_files_of_the_split(tmp_path: Path) -> None:
    write_lines(tmp_path / "data" / "train-00000-of-00002.jsonl", ROWS[:1])
    write_lines(tmp_path / "data" / "train-00001-of-00002.jsonl", ROWS[1:2])
    write_lines(tmp_path / "data" / "validation.jsonl", ROWS[2:])
    (tmp_path / "dataset_info.json").write_text("{}")
    assert values(tmp_path) == ROWS[:2]
    assert values(tmp_path, split="dev") == ROWS[2:]
    with pytest.raises(DataError, match="no split `test`"):
        values(tmp_path, split="test")


def test_a_folder_without_names_of_splits_gives_all_its_files_in_order(tmp_path: Path) -> None:
    write_lines(tmp_path / "b.jsonl", ROWS[1:])
    write_lines(tmp_path / "a.jsonl", ROWS[:1])
    assert values(tmp_path) == ROWS


def test_parquet_structs_lose_the_keys_that_arrow_invented(tmp_path: Path) -> None:
    calls = [{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {"y": "a"}}]
    path = write_parquet(tmp_path / "calls.parquet", [{"calls": calls, "note": None}, {"calls": [], "note": "n"}])
    assert values(path) == [{"calls": calls, "note": None}, {"calls": [], "note": "n"}]


BROKEN = {
    "the JSON is broken": (b'{"a": 1}\n{"a": \n{"a": 3}\n', "rows.jsonl:2"),
    "the row is a list, not an object": (b'{"a": 1}\n\n[1]\n', "rows.jsonl:3"),
    "the row is null, not an object": (b"null\n", "rows.jsonl:1"),
    "the text is not UTF-8": ('{"a": 1}\n{"a": "é"}\n'.encode("latin1"), "rows.jsonl:2"),
    "the row holds half a character": (b'{"a": "\\ud83d"}\n', "rows.jsonl:1"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_line_is_named(tmp_path: Path, what: str) -> None:
    content, where = BROKEN[what]
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DataError) as caught:
        values(tmp_path / "rows.jsonl")
    assert caught.value.what == what
    assert caught.value.where.endswith(where)
    assert caught.value.why
    assert caught.value.do


def test_broken_json_says_the_column(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": ]')
    with pytest.raises(DataError, match=r"expecting value at column 7"):
        values(tmp_path / "rows.jsonl")


def test_a_missing_file_proposes_its_neighbours(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.jsonl", ROWS)
    with pytest.raises(DataError) as caught:
        values(str(tmp_path / "trian.jsonl"))
    assert "does not exist" in caught.value.what
    assert "train.jsonl" in caught.value.do


@pytest.mark.parametrize("name", ["rows.csv", "rows.txt", "rows"])
def test_an_unknown_kind_of_file_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a,b\n")
    with pytest.raises(DataError, match=r"\.jsonl.*\.parquet"):
        values(tmp_path / name)


def test_a_folder_without_data_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no data"):
        values(tmp_path)


def test_broken_parquet_is_a_data_error(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 this is no parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        values(tmp_path / "rows.parquet")


def test_a_hub_name_goes_through_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load_dataset(name: str, config: str | None, *, split: str) -> object:
        asked.append((name, config, split))
        if split == "dev":
            raise ValueError("Unknown split 'dev'. Should be one of ['train', 'validation', 'test'].")
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    rows = list(read_rows("openai/gsm8k:main", split="test", limit=2))
    assert [dict(row.values) for row in rows] == ROWS[:2]
    assert rows[1].where == "openai/gsm8k:main/test#1"
    assert asked == [("openai/gsm8k", "main", "test")]
    assert len(list(read_rows("openai/gsm8k", split="dev"))) == 3
    assert asked[1:] == [("openai/gsm8k", None, "dev"), ("openai/gsm8k", None, "validation")]


def test_a_hub_that_has_no_such_dataset_is_a_data_error(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def load_dataset(*_: object, **__: object) -> object:
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match="gives no rows") as caught:
        values("owner/name")
    assert "offline" in caught.value.why


@pytest.mark.parametrize(("package", "name"), [("datasets", "owner/name"), ("pyarrow", "rows.parquet")])
def test_a_missing_package_answers_with_the_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(tmp_path)
    if name.endswith(".parquet"):
        Path(name).write_bytes(b"PAR1")
    with pytest.raises(MissingDependencyError) as caught:
        values(name)
    assert caught.value.do == 'pip install "strop[data]"'


def test_a_folder_that_vanishes_while_it_is_searched_is_left_out(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "rows.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "a" / "rows.jsonl").write_text('{"prompt": "y"}\n')
    scandir = os.scandir

    def vanishing(place):  # as if another process removed it after its name was listed
        if str(place) == str(tmp_path / "a"):
            raise FileNotFoundError(2, "No such file or directory", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert [row.values["prompt"] for row in read_rows(tmp_path)] == ["x"]


def test_a_folder_of_too_many_files_is_not_searched_for_data(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "notes.txt").write_text("")
    monkeypatch.setattr(readers, "MAX_ENTRIES", 3)
    assert len(list(read_rows(tmp_path))) == 1
    monkeypatch.setattr(readers, "MAX_ENTRIES", 2)
    with pytest.raises(DataError, match="holds more than 2 files") as caught:
        list(read_rows(tmp_path))
    assert "name the folder of the data itself" in caught.value.do
