"""One template from the first stage to the evaluation: another one anywhere is refused."""

import shutil
from pathlib import Path

import pytest

from small_run import run, tables, write_files
from strop.errors import MismatchError
from strop.models import Policy


@pytest.mark.capability("CT-03")
def test_all_stages_and_the_evaluation_carry_one_template_and_another_is_refused(
    tmp_path: Path, chat_folder: Path
) -> None:
    write_files(tmp_path)
    result = run(tables(chat_folder), tmp_path, tmp_path / "home")
    used = {stage.record["input"]["template_digest"] for stage in result.stages}
    used |= {suite.digests["template"] for suites in result.results.values() for suite in suites.values()}
    assert used == {Policy.load(chat_folder).template.digest}

    model = tmp_path / "changed"
    shutil.copytree(result.stages[-1].folder / "model", model)
    template = model / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|assistant|>", "[assistant]"))
    with pytest.raises(MismatchError):
        Policy.load(model)
