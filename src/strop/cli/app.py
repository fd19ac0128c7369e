"""The program: its commands, and how errors leave it."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import Annotated

import typer

import strop
from strop.cli import (
    audit,
    cache,
    check,
    console,
    doctor,
    drift,
    evaluate,
    explain,
    failures,
    gate,
    init,
    judge,
    label,
    model,
    red_team,
    release,
    run,
    talk,
    train,
)
from strop.errors import UserError

INTERRUPTED = 130
UNEXPECTED = 70

app = typer.Typer(
    name="strop",
    help="Post-training as one closed loop: train, evaluate, gate, release.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    run,
    init,
    check,
    train,
    evaluate,
    gate,
    failures,
    label,
    drift,
    judge,
    red_team,
    audit,
    talk,
    explain,
    cache,
    release,
    model,
    doctor,
):
    group.register(app)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"strop {strop.__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line and exit: 0 done, 1 blocked by a gate, 2 the user can mend it, 3 not enough evidence."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|peft|torch")
    try:
        app()
    except UserError as error:
        console.print_error(error)
        sys.exit(2)
    except KeyboardInterrupt:
        console.say_on_stderr("\nstopped; nothing half-written was kept")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        console.say_on_stderr("this is a mistake of strop itself, not of your input: please report the lines above")
        sys.exit(UNEXPECTED)
