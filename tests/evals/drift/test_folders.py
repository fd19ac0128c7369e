"""``strop drift`` on folders of models and of results: exit 0 for none, 1 for drift, 2 for what cannot be compared."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strop.chat import ChatTemplate
from strop.cli import main
from strop.errors import MismatchError, ModelError
from strop.evals import GateConfig, SuiteResult, gate
from strop.evals.drift import Probe, drift, lock_index
from strop.evals.drift.folders import folder_drift, folder_surroundings
from strop.evals.drift.weights import weights_digest
from strop.models import LoRA, Policy
from strop.tools import Caller, IndexedDocument, SearchIndex, ToolContract, ToolRegistry, lock_tools
from suite_outcomes import ones, result
from tiny_models import make_tokenizer

TINY = Path(sys.modules["strop"].__file__).parent / "models" / "tiny"  # type: ignore[arg-type]
PROBE = Probe(query="gifts", caller=Caller(tenant="bank_A"))
CONTRACT = ToolContract(name="total", description="A sum.", parameters={"type": "object", "properties": {}})


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """``strop:tiny`` with a lock of its tools and of its index, as a release is served."""
    folder = tmp_path / "before"
    shutil.copytree(TINY, folder)
    lock_tools(ToolRegistry([CONTRACT]), folder / "tools.lock.json")
    lock_index(SearchIndex([IndexedDocument(id="gifts", text="Gifts above 50.")]), [PROBE], folder)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_template(folder: Path) -> None:
    edit(folder / "chat_template.jinja", "'<|system|>'", "'<|system|> '")


def edit_token(folder: Path) -> None:
    config = json.loads((folder / "tokenizer.json").read_text())
    last = config["added_tokens"][-1]
    config["added_tokens"].append({**last, "id": last["id"] + 1, "content": "<|planted|>"})
    (folder / "tokenizer.json").write_text(json.dumps(config))


def edit_tool(folder: Path) -> None:
    lock_tools(ToolRegistry([replace(CONTRACT, effect="write", version="2.0.0")]), folder / "tools.lock.json")


def edit_index(folder: Path) -> None:
    lock_index(SearchIndex([IndexedDocument(id="gifts", text="Gifts above 80.")]), [PROBE], folder)


def edit_decoding(folder: Path) -> None:
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": 0.3}))


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "template": (edit_template, "golden conversation 'tool call' differs"),
    "tokenizer": (edit_token, "<|planted|>: None -> "),
    "tools": (edit_tool, "effect changed"),
    "index": (edit_index, "1 of 1 replayed queries are answered differently"),
    "decoding": (edit_decoding, "temperature: None -> 0.3"),
}


@pytest.mark.capability("EV-48")
@pytest.mark.parametrize("part", list(CHANGES))
def test_what_is_changed_in_a_copy_of_a_served_folder_is_found_and_nothing_else(part: str, before: Path) -> None:
    """The lock of the template still says what it said: what the files do is what counts."""
    after = before.parent / "after"
    shutil.copytree(before, after)
    assert folder_drift(before, after) == []
    change, told = CHANGES[part]
    change(after)
    found = folder_drift(before, after)
    assert [(check.name, check.outcome) for check in found] == [(f"after: {part}", "BLOCK")]
    assert found[0].reason.startswith("the weights are the same, the ")
    assert told in found[0].reason
    assert [check.outcome for check in folder_drift(before, after, allowed=frozenset({part}))] == ["PASS"]


@pytest.mark.slow
def test_a_model_that_was_loaded_and_saved_has_not_drifted_and_an_adapter_has_other_weights(tmp_path: Path) -> None:
    policy = Policy.load("strop:tiny")
    policy.save(tmp_path / "again")
    assert folder_drift("strop:tiny", tmp_path / "again") == []
    adapted = Policy.load("strop:tiny", lora=LoRA(rank=2))
    adapted.save(tmp_path / "adapter")
    assert folder_drift("strop:tiny", tmp_path / "adapter") == []
    assert folder_surroundings(tmp_path / "adapter").weights != weights_digest(TINY)


def test_weights_are_the_same_however_they_are_split_and_other_by_one_bit(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(TINY / "model.safetensors")
    names = sorted(tensors)
    for folder in ("split", "bit"):
        (tmp_path / folder).mkdir()
        shutil.copy(TINY / "config.json", tmp_path / folder)
    save_file({name: tensors[name] for name in names[::2]}, tmp_path / "split" / "model-1.safetensors")
    save_file({name: tensors[name] for name in names[1::2]}, tmp_path / "split" / "model-2.safetensors")
    assert weights_digest(tmp_path / "split") == weights_digest(TINY)
    tensors[names[0]].flatten().view(torch.uint8)[0] ^= 1
    save_file(tensors, tmp_path / "bit" / "model.safetensors")
    assert weights_digest(tmp_path / "bit") != weights_digest(TINY)
    torn = (tmp_path / "bit" / "model.safetensors").read_bytes()[:-100]
    (tmp_path / "bit" / "model.safetensors").write_bytes(torn)
    with pytest.raises(ModelError, match="ends within the tensor"):
        weights_digest(tmp_path / "bit")


# -------------------------------------------------------------------------------------------------------------- results


def evaluated(template: ChatTemplate, *, model: str = "m", **more: Any) -> SuiteResult:
    made = result(ones(120, 120), model=model, template=template.digest, tokenizer=str(template.lock["tokenizer"]))
    tools = {"total": CONTRACT.described}
    return replace(made, surroundings={"template": dict(template.lock), "tools": tools, **more})


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return ChatTemplate.from_tokenizer(make_tokenizer())


@pytest.fixture(scope="module")
def other() -> ChatTemplate:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("content }}<|end|>", "content }} <|end|>")
    return ChatTemplate.from_tokenizer(tokenizer)


@pytest.mark.capability("EV-53")
def test_the_gate_blocks_a_template_that_changed_under_the_same_weights_and_shows_the_conversation(
    template: ChatTemplate, other: ChatTemplate
) -> None:
    candidate, baseline = evaluated(other), evaluated(template)
    decision = gate({"finance": candidate}, {"finance": baseline}, GateConfig())
    assert decision.outcome == "BLOCK"
    found = next(check for check in decision.checks if check.name == "finance: template")
    assert found.outcome == "BLOCK"
    assert '+"<|user|>Hello <|end|><|assistant|>"' in found.reason
    allowed = gate({"finance": candidate}, {"finance": baseline}, GateConfig(allow_template_change=True))
    assert allowed.outcome == "PASS"
    kept = next(check for check in allowed.checks if check.name == "finance: template")
    assert kept.reason.startswith("allowed by allow_template_change: the weights are the same, the template is not")


@pytest.mark.parametrize(("part", "switch"), [("tools", "allow_tool_change"), ("index", "allow_index_change")])
def test_a_tool_and_an_index_block_unless_their_own_switch_allows_them(
    part: str, switch: str, template: ChatTemplate
) -> None:
    changed = {"tools": {"total": {**CONTRACT.described, "note": 1}}, "index": {"digest": "b" * 64}}[part]
    candidate = evaluated(template, **{part: changed})
    baseline = evaluated(template, **({"index": {"digest": "a" * 64}} if part == "index" else {}))
    sides = {"finance": candidate}, {"finance": baseline}
    assert gate(*sides, GateConfig()).outcome == "BLOCK"
    assert gate(*sides, GateConfig(allow_template_change=True)).outcome == "BLOCK"
    assert gate(*sides, GateConfig(**{switch: True})).outcome == "PASS"


def test_results_that_were_saved_and_loaded_have_not_drifted(template: ChatTemplate, tmp_path: Path) -> None:
    kept = evaluated(template)
    kept.save(tmp_path)
    loaded = SuiteResult.load(tmp_path, "finance")
    assert drift(loaded, kept).findings() == []
    assert drift(loaded, kept).digest == drift(kept, kept).digest
    trained = evaluated(template, model="trained")
    assert drift(trained, kept).findings() == []


@pytest.mark.capability("EV-48")
def test_the_command_exits_with_0_without_drift_1_with_it_and_2_for_what_cannot_be_compared(
    template: ChatTemplate,
    other: ChatTemplate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluated(template).save(tmp_path / "before")
    evaluated(template).save(tmp_path / "same")
    evaluated(other).save(tmp_path / "after")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["strop", "drift", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    code, out, _ = run(tmp_path / "before", tmp_path / "same")
    assert (code, out.startswith("no drift: ")) == (0, True)
    code, out, _ = run(tmp_path / "before", tmp_path / "after")
    assert code == 1
    assert "DRIFT  finance: template: the weights are the same, the template is not" in out
    code, out, _ = run(tmp_path / "before", tmp_path / "after", "--allow", "template")
    assert (code, "but for what is allowed" in out) == (0, True)
    code, _, err = run(tmp_path / "before", TINY)
    assert (code, "are not of one kind" in err) == (2, True)
    code, _, err = run(tmp_path / "before", tmp_path / "after", "--allow", "weather")
    assert (code, "choose from template, tokenizer" in err) == (2, True)
    code, _, err = run(TINY, tmp_path / "nothing")
    assert (code, "no model folder" in err) == (2, True)


@pytest.mark.slow
@pytest.mark.capability("EV-48")
def test_a_template_that_is_edited_in_a_copy_of_the_model_is_blocked_by_the_gate_as_a_change_around_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From ``strop eval`` of two folders to ``strop gate``: the folders' digests differ, their weights do not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STROP_HOME", str(tmp_path / "home"))
    shutil.copytree(TINY, "before")
    shutil.copytree(TINY, "after")
    edit(tmp_path / "after" / "chat_template.jinja", "'<|system|>'", "'<|system|> '")
    (tmp_path / "after" / "strop.lock.json").unlink()
    rows = [{"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(2)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["strop", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    for model in ("before", "after"):
        asked = ("--suite", "sums.jsonl", "--verifier", "number", "--max-new-tokens", 2)
        code, out = run("eval", model, *asked, "--output", f"results-{model}")
        assert code == 0, out
    code, out = run("gate", "results-after", "--baseline", "results-before")
    assert code == 1
    assert "the weights are the same, the template is not: the chat template differs" in out
    assert "golden conversation 'tool call' differs" in out
    assert run("drift", "results-before", "results-after")[0] == 1


def test_suites_that_stand_on_one_side_only_are_refused(template: ChatTemplate, tmp_path: Path) -> None:
    evaluated(template).save(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    replace(evaluated(template), name="more").save(tmp_path / "two")
    with pytest.raises(MismatchError, match=r"suite more stands in .*two only"):
        folder_drift(tmp_path / "one", tmp_path / "two")
