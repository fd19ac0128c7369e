"""A real browser and a real server for the labelling page: what a person does at it, by keyboard."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAM = "from strop.cli import main; main()"
READ = """
return {place: Number(document.body.dataset.place), left: document.getElementById("left").textContent,
        right: document.getElementById("right").textContent, turns: document.getElementById("turns").textContent,
        count: document.getElementById("count").textContent, error: document.getElementById("error").textContent,
        chosen: [...document.querySelectorAll('[aria-checked="true"]')].map((button) => button.dataset.value)}
"""


@dataclass
class Server:
    """``strop label`` as a process of its own."""

    process: subprocess.Popen[str]
    address: str

    def kill(self) -> None:
        """Signal 9: no farewell."""
        self.process.kill()
        self.process.communicate()

    def stop(self) -> str:
        """Ctrl-C: what it says then; fails unless it ends well."""
        self.process.send_signal(signal.SIGINT)
        said, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        return said


@contextmanager
def serving(folder: Path, *arguments: object) -> Iterator[Server]:
    """``strop label ARGUMENTS`` run in ``folder`` until the block ends."""
    command = [sys.executable, "-c", PROGRAM, "label", *map(str, arguments)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.match(r"open (http://\S+)", line):
                yield Server(process, found[1])
                break
        else:
            raise AssertionError(process.communicate()[1])
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


class Page:
    """The page in a browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str) -> dict[str, Any]:
        """What it shows first."""
        self.driver.get(address)
        self.wait("return document.body.dataset.state")
        return self.read()

    def press(self, *keys: str) -> None:
        """Keys, one after the other, to whatever has the focus."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def read(self) -> dict[str, Any]:
        """What is on the screen."""
        found: dict[str, Any] = self.driver.execute_script(READ)
        return found

    def state(self) -> str:
        """``work``, ``done`` or ``enter``."""
        return str(self.driver.execute_script("return document.body.dataset.state"))

    def wait(self, condition: str) -> None:
        """Until a line of JavaScript is true."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, 30, poll_frequency=0.01).until(lambda driver: driver.execute_script(condition))

    def leave(self, place: int) -> None:
        """Wait until another place, or the end, is shown."""
        self.wait(f'return document.body.dataset.place !== "{place}"')


@contextmanager
def browser(width: int = 1280, height: int = 900, *flags: str) -> Iterator[Page]:
    """A new browser; the test is skipped where there is none."""
    program, service = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or service is None:
        pytest.skip("no chromium and chromedriver here (apt-get install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    own = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
    for flag in (*own, f"--window-size={width},{height}", *flags):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(service))
    try:
        yield Page(driver)
    finally:
        driver.quit()
