"""Print the table of capability rows and the tests that prove each, read from the markers without running anything."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest


class Collector:
    """Remembers which collected test claims which row."""

    def __init__(self) -> None:
        self.rows: dict[str, set[str]] = defaultdict(set)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for mark in item.iter_markers("capability"):
                for row in mark.args:
                    self.rows[row].add(item.nodeid.split("[")[0])


def main() -> int:
    collector = Collector()
    root = Path(__file__).parent
    sys.stdout, stdout = open("/dev/null", "w"), sys.stdout  # noqa: SIM115
    code = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", str(root)], plugins=[collector])
    sys.stdout = stdout
    width = max((len(row) for row in collector.rows), default=0)
    for row in sorted(collector.rows):
        for number, test in enumerate(sorted(collector.rows[row])):
            print(f"{row if number == 0 else '':{width}}  {test}")
    print(f"{len(collector.rows)} rows")
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main())
