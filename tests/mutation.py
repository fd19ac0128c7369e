"""Break the pure mathematics mechanically, one small change at a time, and see that the quick tests notice.

``python tests/mutation.py`` mutates ``segments.py``, ``statistics/``, ``objectives/``, ``credit/`` and ``fused/``; with
arguments only the files whose path contains one of them. A mutant is killed when a test fails, the import fails, or it
runs out of time. Survivors are listed in ``mutation_survivors.toml`` with the reason why no test can or need tell them
from the original; one that is not listed there, or one listed that no longer survives, fails the run.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

TESTS = Path(__file__).parent
ROOT = TESTS.parent
SOURCE = ROOT / "src"
TARGETS = ("segments.py", "statistics", "objectives", "credit", "fused")
TIME_LIMIT_S = 120
GOAL = 0.95
PYTEST_OPTIONS = (
    *("-x", "-q", "-m", "not slow", "-W", "ignore", "--assert=plain", "-p", "no:cacheprovider"),
    *("-p", "no:unraisableexception", "-p", "no:threadexception"),  # they collect garbage at the end, for a second
)

_ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.MatMult: ast.Mult,
}
_COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_DROPPED_METHODS = {
    *("detach", "clamp", "clamp_min", "clamp_max", "exp", "expm1", "log", "log1p", "sqrt", "square", "abs", "sign"),
    *("float", "double", "sum", "mean", "cumsum", "sigmoid", "log_softmax", "softmax", "masked_fill", "neg", "copy"),
}
_DROPPED_FUNCTIONS = {
    *("exp", "expm1", "log", "log1p", "sqrt", "abs", "logsigmoid", "softplus", "sigmoid", "max", "min", "minimum"),
    *("maximum", "sum", "fsum", "cumsum", "sorted", "round", "ceil", "floor", "float", "clip"),
}
_SWAPPED_FUNCTIONS = {
    "minimum": "maximum",
    "maximum": "minimum",
    "min": "max",
    "max": "min",
    "all": "any",
    "any": "all",
}


@dataclass(frozen=True)
class Mutant:
    """One changed place of one file."""

    file: Path
    line: int
    code: str
    """The line's text."""
    before: str
    after: str
    source: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is known by in the list of survivors: no line number, so that it outlives edits elsewhere."""
        return self.file.relative_to(SOURCE / "strop").as_posix(), self.code, self.before, self.after

    @property
    def module(self) -> str:
        """The dotted name of the mutated module."""
        return ".".join(self.file.relative_to(SOURCE).with_suffix("").parts)


def mutants(file: Path) -> Iterator[Mutant]:
    """Every mutant of a file, in the order of its lines."""
    text = file.read_text(encoding="utf-8")
    tree, lines = ast.parse(text), text.splitlines()
    for parent, name, index, node in list(_places(tree)):
        for replacement in _mutations(node):
            holder = getattr(parent, name)
            if index is None:
                setattr(parent, name, replacement)
            else:
                holder[index] = replacement
            source = ast.unparse(ast.fix_missing_locations(tree))
            if index is None:
                setattr(parent, name, node)
            else:
                holder[index] = node
            code = lines[node.lineno - 1].strip()
            yield Mutant(file, node.lineno, code, _shown(node), _shown(replacement), source)


def _shown(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:160]


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node that may be mutated with where it hangs: no docstrings, annotations, decorators, error texts."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment", "msg", "ctx", "bases"):
            continue
        children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if not isinstance(child, ast.AST) or _is_skipped(child) or _is_label(node, child):
                continue
            yield node, name, index, child
            yield from _places(child)


def _is_skipped(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Assign | ast.AnnAssign):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        value = ast.unparse(node.value) if node.value else ""
        return (isinstance(target, ast.Name) and target.id == "__all__") or value.startswith(("Literal[", "Callable["))
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error")


def _is_label(parent: ast.AST, node: ast.AST) -> bool:
    """Whether a text only names a setting in a refusal, as in ``_require_positive("gamma", gamma)``."""
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_text and isinstance(parent, ast.Call) and "require" in ast.unparse(parent.func)


def _mutations(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
        yield ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
    elif isinstance(node, ast.Compare):
        yield from _compared(node)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.IfExp | ast.If):
        negated = copy.copy(node)
        negated.test = ast.UnaryOp(ast.Not(), node.test)
        yield negated
    elif isinstance(node, ast.Raise | ast.Assert) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


def _compared(node: ast.Compare) -> Iterator[ast.AST]:
    for place, operator in enumerate(node.ops):
        operators = list(node.ops)
        operators[place] = _COMPARISONS[type(operator)]()
        yield ast.Compare(node.left, operators, node.comparators)


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, float):
        yield ast.Constant(value * 2 if value else 1.0)
    elif isinstance(value, str):
        yield ast.Constant(value + "_")


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
    is_module = isinstance(receiver, ast.Name) and receiver.id in ("torch", "math", "np", "functional", "nn")
    if receiver is not None and not is_module:
        if name in _DROPPED_METHODS:
            yield receiver
    elif node.args and name in _DROPPED_FUNCTIONS and not isinstance(node.args[0], ast.Starred):
        yield node.args[0]
    if name == "where" and len(node.args) == 3:
        yield node.args[1]
        yield node.args[2]
    if name in _SWAPPED_FUNCTIONS:
        renamed = copy.copy(node)
        renamed.func = copy.copy(node.func)
        setattr(renamed.func, "attr" if isinstance(node.func, ast.Attribute) else "id", _SWAPPED_FUNCTIONS[name])
        yield renamed


# ------------------------------------------------------------------------------------------------------------- running


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from given source in place of its file's."""

    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec")


class _Finder:
    """Finds the mutated module before the real one is found."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.mutant.module:
            return None
        file = str(self.mutant.file)
        return importlib.util.spec_from_file_location(name, file, loader=_Loader(name, file, self.mutant.source))


def tests_of(file: Path) -> tuple[list[str], list[str]]:
    """The test file that mirrors a source file, and the other quick tests of its package."""
    inside = file.relative_to(SOURCE / "strop")
    mirror = TESTS / inside.parent / f"test_{inside.name}"
    neighbours = sorted(TESTS.glob(f"{inside.parts[0]}/test_*.py")) if len(inside.parts) > 1 else []
    if inside.parts[0] == "credit":
        neighbours.append(TESTS / "objectives" / "test_tabular_policy.py")
    others = [test for test in neighbours if test != mirror and "trl" not in test.name]
    return [str(mirror)] if mirror.exists() else [], [str(test) for test in others]


def _run(mutant: Mutant | None, files: list[str]) -> int:
    """Fork a child that runs ``files`` against the mutant; its process id. Its exit code is 0 if no test failed."""
    child = os.fork()
    if child:
        return child
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    code = 3
    try:
        import pytest

        if mutant is not None:
            sys.meta_path.insert(0, _Finder(mutant))
        code = int(pytest.main([*PYTEST_OPTIONS, "--rootdir", str(ROOT), *files]))
    finally:
        os._exit(code)


def _outcomes(jobs: list[tuple[Mutant, list[str]]], num_workers: int) -> Iterator[tuple[Mutant, str]]:
    """Each mutant with what became of it, as they finish: survived, killed, or late."""
    waiting, running = list(reversed(jobs)), dict[int, tuple[Mutant, float]]()
    while waiting or running:
        while waiting and len(running) < num_workers:
            mutant, files = waiting.pop()
            running[_run(mutant, files)] = (mutant, time.monotonic())
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            what = "late" if os.WIFSIGNALED(status) else "killed" if status else "survived"
            yield running.pop(child)[0], what
            continue
        for late, (_, began) in running.items():
            if time.monotonic() - began > TIME_LIMIT_S:
                os.kill(late, signal.SIGKILL)
        time.sleep(0.01)


def _preload() -> None:
    """What every child needs and no mutant changes, imported once before the forks."""
    import hypothesis
    import numpy
    import pytest
    import scipy.stats
    import torch
    import torch.fx.experimental.symbolic_shapes as shapes  # the first gradient of a process imports it: 2 s

    torch.set_num_threads(1)
    assert all((hypothesis, numpy, pytest, scipy.stats, shapes))


def _require_green(files: list[Path]) -> None:
    tests = sorted({test for file in files for group in tests_of(file) for test in group})
    _, status = os.waitpid(_run(None, tests), 0)
    if status != 0:
        raise SystemExit("the tests fail without any mutation")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("parts", nargs="*", help="only files whose path contains one of these")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path[:0] = [str(SOURCE)]
    files = [
        file
        for target in TARGETS
        for file in sorted(
            [SOURCE / "strop" / target] if target.endswith(".py") else (SOURCE / "strop" / target).glob("*.py")
        )
        if file.name != "__init__.py"
        and any(part in str(file.relative_to(SOURCE)) for part in arguments.parts or ["strop"])
    ]
    _preload()
    _require_green(files)
    every = [mutant for file in files for mutant in mutants(file)]
    survivors = _survivors(every, arguments.workers)
    return _report(files, every, survivors)


def _survivors(every: list[Mutant], num_workers: int) -> list[Mutant]:
    alive = every
    for phase in (0, 1):
        jobs = [(mutant, tests) for mutant in alive if (tests := tests_of(mutant.file)[phase])]
        spared = [mutant for mutant in alive if not tests_of(mutant.file)[phase]]
        began, passed, num_late = time.monotonic(), list[Mutant](), 0
        for done, (mutant, what) in enumerate(_outcomes(jobs, num_workers), 1):
            passed += [mutant] if what == "survived" else []
            num_late += what == "late"
            if done % 50 == 0 or done == len(jobs):
                told = f"{done}/{len(jobs)}, alive {len(passed)}, out of time {num_late}"
                print(f"phase {phase + 1}: {told}, {time.monotonic() - began:.0f} s", flush=True)
        alive = passed + spared
    return sorted(alive, key=lambda mutant: (mutant.file, mutant.line))


def _report(files: list[Path], every: list[Mutant], survivors: list[Mutant]) -> int:
    explained = _explained()
    names = {file.relative_to(SOURCE / "strop").as_posix() for file in files}
    unknown = [mutant for mutant in survivors if mutant.key not in explained]
    gone = sorted(key for key in explained.keys() - {mutant.key for mutant in survivors} if key[0] in names)
    total, alive = Counter(m.key[0] for m in every), Counter(m.key[0] for m in survivors)
    for name in sorted(names):
        print(f"{name:40} {total[name] - alive[name]:5} of {total[name]:5} killed")
    for mutant in unknown:
        print(f"SURVIVED {mutant.key[0]}:{mutant.line}: {mutant.before}  →  {mutant.after}  in  {mutant.code}")
    for key in gone:
        print(f"LISTED BUT KILLED OR GONE {key[0]}: {key[2]}  →  {key[3]}  in  {key[1]}")
    killed = len(every) - len(survivors)
    score = killed / max(1, len(every))
    print(f"{len(every)} mutants, {killed} killed: {score:.1%}; {len(survivors) - len(unknown)} survivors explained")
    return int(score < GOAL or bool(unknown) or bool(gone))


def _explained() -> dict[tuple[str, str, str, str], str]:
    """The survivors that are known, each with its reason."""
    file = TESTS / "mutation_survivors.toml"
    rows = tomllib.loads(file.read_text(encoding="utf-8")).get("survivor", []) if file.exists() else []
    return {(row["file"], row["code"], row["before"], row["after"]): row["reason"] for row in rows}


if __name__ == "__main__":
    raise SystemExit(main())
