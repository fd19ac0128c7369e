"""The command line: one file a command group, each thin. Nothing here imports torch before a command needs it."""

from strop.cli.app import main

__all__ = ["main"]
