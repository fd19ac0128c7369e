"""The lock file: written on save, checked on load, and readable when something differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from strop.chat import LOCK_NAME, ChatTemplate, differences, read_lock
from strop.errors import MismatchError
from tiny_models import CHATML, make_tokenizer


def save(folder: Path, source: str = CHATML) -> ChatTemplate:
    chat = ChatTemplate.from_tokenizer(make_tokenizer(source))
    chat.save(folder)
    return chat


@pytest.mark.capability("CT-06")
def test_a_saved_template_loads_with_the_same_digest(tmp_path: Path) -> None:
    saved = save(tmp_path)
    loaded = ChatTemplate.load(tmp_path)
    assert loaded.digest == saved.digest
    assert (tmp_path / LOCK_NAME).exists()
    again = ChatTemplate.load(save_again(loaded, tmp_path / "again"))
    assert again.digest == saved.digest


def save_again(chat: ChatTemplate, folder: Path) -> Path:
    chat.save(folder)
    return folder


@pytest.mark.capability("AB-template-ids-golden")
@pytest.mark.capability("CT-07")
def test_the_lock_pins_goldens_as_strings_and_ids(tmp_path: Path) -> None:
    chat = save(tmp_path)
    goldens = read_lock(tmp_path)["goldens"]
    one_turn = goldens["one turn"]
    assert one_turn["text"] == "<|user|>Hello<|end|><|assistant|>Hi, how can I help?<|end|>"
    assert chat.tokenizer.decode(one_turn["token_ids"]) == one_turn["text"]
    assert goldens["reasoning"] == {"refused": "the chat template drops the reasoning of the assistant role"}


def change_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("{{ message.content }}<|end|>", "{{ message.content }} <|end|>"))


def change_nothing_visible(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text("{#- a comment -#}" + path.read_text())


def change_merges(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"].pop()
    path.write_text(json.dumps(content))


def change_special_tokens(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text())
    content["eos_token"] = "<|pad|>"
    path.write_text(json.dumps(content))


def add_a_token(folder: Path) -> None:
    tokenizer = ChatTemplate.load(folder).tokenizer
    tokenizer.add_tokens(["Hello"])
    tokenizer.save_pretrained(folder)


@pytest.mark.capability("CT-06", "CT-07", "SF-19")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (change_template, "the chat template differs"),
        (change_nothing_visible, "the chat template differs"),
        (change_merges, "the tokenizer differs"),
        (change_special_tokens, "the special tokens differs: eos_token: '<|end|>' -> '<|pad|>'"),
        (add_a_token, "the control tokens differs: Hello: None -> 394"),
    ],
)
def test_one_changed_byte_is_refused_on_load_and_named(
    tmp_path: Path, change: Callable[[Path], None], named: str
) -> None:
    before = save(tmp_path).digest
    change(tmp_path)
    with pytest.raises(MismatchError) as caught:
        ChatTemplate.load(tmp_path)
    assert named in caught.value.why
    (tmp_path / LOCK_NAME).unlink()
    assert ChatTemplate.load(tmp_path).digest != before


@pytest.mark.capability("CT-08")
def test_a_changed_template_is_shown_as_a_diff_of_what_it_renders(tmp_path: Path) -> None:
    save(tmp_path)
    change_template(tmp_path)
    with pytest.raises(MismatchError) as caught:
        ChatTemplate.load(tmp_path)
    assert '-"<|user|>Hello<|end|><|assistant|>Hi, how can I help?<|end|>"' in caught.value.why
    assert '+"<|user|>Hello <|end|><|assistant|>Hi, how can I help?<|end|>"' in caught.value.why


@pytest.mark.capability("CT-08")
def test_the_same_string_with_other_ids_shows_the_first_id(tmp_path: Path) -> None:
    locked = dict(save(tmp_path).lock)
    found = json.loads(json.dumps(locked))
    found["goldens"]["prompt"]["token_ids"][2] = 7
    (told,) = differences(locked, found)
    assert "golden conversation 'prompt' differs" in told
    assert "other ids from token 2" in told


def test_a_golden_that_the_lock_does_not_know_is_no_difference(tmp_path: Path) -> None:
    found = dict(save(tmp_path).lock)
    locked = {**found, "goldens": {"prompt": found["goldens"]["prompt"]}}
    assert differences(locked, found) == []
    assert len(differences(found, locked)) == len(found["goldens"]) - 1


def test_another_folders_lock_is_not_ours(tmp_path: Path) -> None:
    save(tmp_path / "one")
    other = save(tmp_path / "two", CHATML.replace("<|end|>", "<|end|>\n"))
    other.check_lock(tmp_path / "two")
    with pytest.raises(MismatchError, match="another tokenizer or chat template"):
        other.check_lock(tmp_path / "one")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"goldens": 3}'])
def test_a_broken_lock_is_refused(tmp_path: Path, content: str) -> None:
    save(tmp_path)
    (tmp_path / LOCK_NAME).write_text(content)
    with pytest.raises(MismatchError, match="lock file"):
        ChatTemplate.load(tmp_path)


def test_using_the_tokenizer_does_not_change_the_digest() -> None:
    tokenizer = make_tokenizer()
    before = ChatTemplate.from_tokenizer(tokenizer).digest
    tokenizer(["a", "a longer text"], padding=True, truncation=True, max_length=4)
    tokenizer.backend_tokenizer.enable_truncation(3)
    assert ChatTemplate.from_tokenizer(tokenizer).digest == before
