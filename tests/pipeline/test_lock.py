"""One run at a time on one stage, however the run before it ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from strop.errors import OutputError
from strop.pipeline.lock import is_locked, locked

HOLD = """
import sys, time
from pathlib import Path
from strop.pipeline.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_held_stage_is_refused_with_the_holder_named(tmp_path: Path) -> None:
    with locked(tmp_path / "work"):
        assert is_locked(tmp_path / "work")
        with pytest.raises(OutputError, match=f"process {os.getpid()}"), locked(tmp_path / "work"):
            pass
    assert not is_locked(tmp_path / "work")


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OutputError, match=f"process {holder.pid}"), locked(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with locked(tmp_path):
        pass


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path):
        raise RuntimeError
    assert not is_locked(tmp_path)


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"), locked(tmp_path / "file" / "work"):
        pass
