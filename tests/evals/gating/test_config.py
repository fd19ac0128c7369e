"""The gate's settings are read strictly."""

from pathlib import Path

import pytest

from strop.errors import RecipeError
from strop.evals import parse_gate_config, read_gate_config

GATE = """\
[gate]
min_items = 50
[gate.thresholds]
"finance.schema_valid" = { min = 0.95 }
"finance.violation[kind=refusal]" = { max = 0, on = "bound", hard = true }
[gate.max_drop]
"finance.accuracy" = 0.02
"""


def test_a_gate_file_is_read_with_its_keys_under_gate_or_at_the_top(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text(GATE)
    config = read_gate_config(tmp_path / "gate.toml")
    assert config.min_items == 50
    assert config.thresholds["finance.schema_valid"].min == 0.95
    assert config.thresholds["finance.violation[kind=refusal]"].hard
    (tmp_path / "top.toml").write_text(GATE.replace("[gate]\n", "").replace("gate.", ""))
    assert read_gate_config(tmp_path / "top.toml") == config


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"min_item": 5}, "unknown key `min_item` in the gate\n  where: .*\n  do: did you mean `min_items`"),
        ({"thresholds": {"a.b": {"mn": 1}}}, "did you mean `min`"),
        ({"thresholds": {"a.b": {}}}, "needs `min` or `max`"),
        ({"alpha": 2}, "`alpha` cannot be used"),
        ({"min_items": 0}, "`min_items` cannot be used"),
        ({"go_live": [{"suite": "a", "min": 1, "saef": ["b"]}]}, "did you mean `safe`"),
        ({"thresholds": {"a.b": 0.9}}, r'do: write "a.b" = \{ min = 0.9 \}'),
        ({"thresholds": {"a.b": "high"}}, r'do: write "a.b" = \{ min = 0.9 \}'),
        ({"dimensions": ["harmlesness"]}, "do: did you mean `harmlessness`"),
        ({"alpha": 2}, "do: write a chance between 0 and 0.5"),
        ({"min_items": 0}, "do: write a whole number of items"),
        ({"min_items": "many"}, "do: write a whole number of items"),
        ({"margins": {"a.b": 5}}, "do: write a share between 0 and 1: 0.05 for five points"),
        ({"go_live": [{"suite": "a", "min": 1.5, "safe": ["b"]}]}, "do: write a share between 0 and 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(tables: dict[str, object], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        parse_gate_config(tables)


def test_a_file_that_is_missing_or_not_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read the gate"):
        read_gate_config(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("[gate")
    with pytest.raises(RecipeError, match="cannot read the gate"):
        read_gate_config(tmp_path / "bad.toml")
