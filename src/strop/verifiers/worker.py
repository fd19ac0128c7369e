"""The process side of ``processes``: started by it, never imported.

It speaks JSON lines over two inherited pipes, so that whatever the script prints cannot be taken for an answer, and it
uses the standard library only, so that it starts in milliseconds. It ends, with everything that was started in its
process group, when the pipe from its parent closes.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO


def main(requests_fd: int, answers_fd: int, lifeline_fd: int, memory_mb: int, script: str) -> None:
    """Answer one request after the other with the script's ``answer(request, call)`` until the pipe closes."""
    faulthandler.register(signal.SIGUSR1)  # so that the parent can ask where the script hangs
    threading.Thread(target=_die_with_parent, args=(lifeline_fd,), daemon=True).start()
    if memory_mb:
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    answer = _load(script)
    with os.fdopen(requests_fd, "rb") as requests, os.fdopen(answers_fd, "wb") as answers:

        def call(request: Mapping[str, Any]) -> Any:
            _send(answers, json.dumps({"call": request}))
            return json.loads(requests.readline())

        for line in requests:
            try:
                message = json.dumps({"answer": answer(json.loads(line), call)})
            except BaseException as error:
                message = json.dumps({"raised": f"{type(error).__name__}: {error}"[:2000]})
            _send(answers, message)


def _die_with_parent(lifeline_fd: int) -> None:
    """Wait until the parent's end closes, by whatever death, then end the whole process group."""
    os.read(lifeline_fd, 1)
    os.killpg(0, signal.SIGKILL)


def _send(answers: BinaryIO, line: str) -> None:
    answers.write(line.encode() + b"\n")
    answers.flush()


def _load(script: str) -> Callable[..., Mapping[str, Any]]:
    spec = importlib.util.spec_from_file_location("strop_worker_script", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    answer: Callable[..., Mapping[str, Any]] = module.answer
    return answer


if __name__ == "__main__":
    _requests_fd, _answers_fd, _lifeline_fd, _memory_mb = map(int, sys.argv[1:5])
    main(_requests_fd, _answers_fd, _lifeline_fd, _memory_mb, sys.argv[5])
