"""The command line: one file a command group, each thin. Nothing here imports torch before a command needs it."""

from __future__ import annotations

import sys

import strop

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit, see ``app.main``; the version is told before anything else is imported."""
    if sys.argv[1:] == ["--version"]:
        print(f"strop {strop.__version__}")
        sys.exit(0)
    from strop.cli.app import main as run

    run()
