"""``strop doctor``: what this machine has, and what is missing for what."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys

import typer
from rich.table import Table

import strop
from strop.cli import console, isolation
from strop.errors import UserError
from strop.pipeline.workspace import Workspace, require_writable

_EXTRAS = {
    "datasets": "data from the hub: pip install 'strop[data]'",
    "bitsandbytes": "4-bit training on a GPU",
    "vllm": "a faster sampler on a GPU",
    "ray": "rollouts on several machines",
    "trl": "the peer in parity tests",
    "math_verify": "more forms of mathematical answers: pip install 'strop[math]'",
    "reasoning_gym": "worlds of reasoning-gym: pip install 'strop[gym]'",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", help="Show what this machine has, and what is missing for what.")(doctor)


def doctor() -> None:
    """Print the table."""
    table = Table("what", "found", "note")
    for row in [*_machine(), *_judging(), *_packages(), *_folders()]:
        table.add_row(*row)
    console.make_console().print(table)


def _machine() -> list[tuple[str, str, str]]:
    import torch

    from strop.models import hardware

    device = hardware.choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return [
        ("strop", strop.__version__, ""),
        ("python", platform.python_version(), sys.executable),
        ("device", str(device), name),
        ("threads", str(hardware.choose_num_threads()), f"{os.cpu_count()} cores; OMP_NUM_THREADS decides"),
        ("free memory", f"{hardware.free_memory_bytes(device) / 2**30:.1f} GiB", "on the device"),
        ("dtype", str(hardware.choose_dtype("auto", device, 4096)).removeprefix("torch."), "for models of usual width"),
    ]


def _judging() -> list[tuple[str, str, str]]:
    """The sandbox and the checkers of proofs."""
    from strop.verifiers.proofs import LEAN_PROJECT

    bwrap, coqc, lake = (shutil.which(name) for name in ("bwrap", "coqc", "lake"))
    project = os.environ.get(LEAN_PROJECT)
    in_lean = f"{LEAN_PROJECT}={project}" if project else f"set {LEAN_PROJECT} to a built Lake project"
    return [
        ("sandbox tier", *isolation.tier_here()),
        ("bubblewrap", bwrap or "not found", "" if bwrap else "for the sandbox's strongest tier, `namespaces`"),
        ("coqc", coqc or "not found", "" if coqc else "proofs in Coq: apt-get install --no-install-recommends coq"),
        ("lake", lake or "not found", in_lean if lake else "proofs in Lean 4: install it with elan"),
    ]


def _packages() -> list[tuple[str, str, str]]:
    core = [(name, importlib.metadata.version(name), "") for name in ("torch", "transformers", "peft", "tokenizers")]
    for name, use in _EXTRAS.items():
        found = importlib.util.find_spec(name) is not None
        core.append((name, _version(name) if found else "not installed", "" if found else use))
    return core


def _version(module: str) -> str:
    """Of the distribution that the module belongs to, whose name may have hyphens."""
    return importlib.metadata.version(module.replace("_", "-"))


def _folders() -> list[tuple[str, str, str]]:
    home = Workspace.here().home
    existing = next(folder for folder in (home, *home.parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free / 2**30
    try:
        require_writable(existing)
        note = f"{free:.1f} GiB free"
    except UserError as error:
        note = f"cannot be written: {error.why}"
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    return [("STROP_HOME", str(home), note), ("model hub", "offline" if offline else "used when asked for", "")]
