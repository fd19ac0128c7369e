"""Names of models resolve to folders or hub ids, and everything else is one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from strop.errors import ModelError
from strop.models import resolve
from strop.models.names import local_folder


def test_folders_and_hub_ids_are_told_apart(tmp_path: Path, chat_folder: Path) -> None:
    assert resolve(chat_folder) == chat_folder
    assert resolve(str(chat_folder)) == chat_folder
    assert resolve("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
    assert resolve("gpt2") == "gpt2"


def test_a_local_folder_wins_over_a_hub_id(tmp_path: Path, chat_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "model").symlink_to(chat_folder)
    monkeypatch.chdir(tmp_path)
    assert resolve("owner/model") == Path("owner/model")


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", "../x", Path("models/mine")])
def test_a_missing_folder_is_refused(name: str | Path) -> None:
    with pytest.raises(ModelError, match="there is no model folder"):
        resolve(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a model folder"):
        resolve(tmp_path)


def test_an_unknown_embedded_name_is_refused() -> None:
    with pytest.raises(ModelError, match="no embedded model strop:huge"):
        resolve("strop:huge")


def test_a_hub_id_without_the_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="give a local folder, check the name and the network"):
        local_folder("strop-tests/there-is-no-such-model")
