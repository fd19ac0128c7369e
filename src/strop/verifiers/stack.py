"""Programs for a small stack machine, run under a step limit and a time limit, and judged by hidden tests."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from strop.digests import digest_file, digest_json
from strop.errors import VerifierError
from strop.types import Completion, Json, Task, Verdict

ARITHMETIC = ("add", "sub", "mul")
SHUFFLES = ("dup", "swap", "over", "drop")
JUMPS = ("jump", "jzero", "jneg")
_NAME = re.compile(r"[a-z]")
_NUMBER = re.compile(r"-?[0-9]{1,12}")
_CLOCK_EVERY = 64


class ProgramError(Exception):
    """The program cannot be read, or broke a rule of the machine while it ran: the program's own fault."""


class ProgramTimeoutError(Exception):
    """The time limit was reached, which may be this machine's fault as well as the program's."""


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """``push 3``, ``push x``, ``set x``, ``add``, ``dup``, ``jzero 7`` ..."""

    word: str
    operand: int | str | None = None


@dataclass(frozen=True, kw_only=True)
class MachineLimits:
    """What a program may use, each input anew."""

    max_steps: int = 1_000
    max_stack: int = 100
    max_digits: int = 12
    """Of any number; a longer one is an overflow."""
    max_instructions: int = 200
    timeout_s: float = 1.0


def read_program(text: str, *, max_instructions: int = 200) -> tuple[Instruction, ...]:
    """The instructions of the text, parted by spaces, lines or ``;``. Raises: ProgramError at the first that is none.

    ``Program:`` may stand before and a full stop behind them.
    """
    body = re.sub(r"^\s*program:", "", text, flags=re.IGNORECASE).strip().removesuffix(".")
    words = body.replace(";", " ").split()
    program: list[Instruction] = []
    at = 0
    while at < len(words):
        word = words[at]
        takes = word in ("push", "set", *JUMPS)
        operand = words[at + 1] if takes and at + 1 < len(words) else None
        program.append(_instruction(word, operand, number=len(program)))
        at += 1 + takes
        if len(program) > max_instructions:
            raise ProgramError(f"the program has more than {max_instructions} instructions")
    if not program:
        raise ProgramError("the program is empty")
    return tuple(program)


def _instruction(word: str, operand: str | None, *, number: int) -> Instruction:
    where = f"instruction {number}"
    if word in ARITHMETIC or word in SHUFFLES:
        return Instruction(word=word)
    if word not in ("push", "set", *JUMPS):
        raise ProgramError(f"{where}: there is no instruction `{word[:20]}`")
    is_number = operand is not None and _NUMBER.fullmatch(operand) is not None
    is_name = operand is not None and _NAME.fullmatch(operand) is not None
    fits = {"push": is_number or is_name, "set": is_name}.get(word, is_number and operand is not None)
    if not fits or operand is None:
        raise ProgramError(f"{where}: `{word}` cannot take `{operand or 'nothing'}`"[:80])
    return Instruction(word=word, operand=int(operand) if is_number else operand)


def run_program(
    program: Sequence[Instruction], inputs: Mapping[str, int], limits: MachineLimits | None = None
) -> tuple[int, int]:
    """The top of the stack when the program ends, and the number of steps that it took.

    The stack starts empty; ``push x`` reads an input or what ``set x`` stored; ``a b sub`` is a - b; ``jzero 7`` and
    ``jneg 7`` pop a number and go on at instruction 7, counted from 0, if it is zero or negative; going to the end
    ends the program. Raises: ProgramError for a fault or a limit of steps, stack, digits; ProgramTimeoutError.
    """
    limits = limits or MachineLimits()
    deadline = time.monotonic() + limits.timeout_s
    stack: list[int] = []
    names = dict(inputs)
    at = steps = 0
    while at < len(program):
        if steps >= limits.max_steps:
            raise ProgramError(f"step limit of {limits.max_steps} reached")
        if steps % _CLOCK_EVERY == 0 and time.monotonic() > deadline:
            raise ProgramTimeoutError(f"time limit of {limits.timeout_s:g} s reached after {steps} steps")
        steps += 1
        at = _step(program[at], at, len(program), stack, names)
        if len(stack) > limits.max_stack:
            raise ProgramError(f"stack limit of {limits.max_stack} reached")
        if stack and abs(stack[-1]) >= 10**limits.max_digits:
            raise ProgramError(f"a number has more than {limits.max_digits} digits")
    if not stack:
        raise ProgramError("the stack is empty at the end")
    return stack[-1], steps


def _step(instruction: Instruction, at: int, length: int, stack: list[int], names: dict[str, int]) -> int:
    """Carry out one instruction; the index of the next one."""
    word, operand = instruction.word, instruction.operand
    needed = {"push": 0, "jump": 0, "set": 1, "dup": 1, "drop": 1, "jzero": 1, "jneg": 1}.get(word, 2)
    if len(stack) < needed:
        raise ProgramError(f"instruction {at}: `{word}` needs {needed} on the stack, which holds {len(stack)}")
    if word in JUMPS:
        assert isinstance(operand, int)
        number = 0 if word == "jump" else stack.pop()
        is_taken = number < 0 if word == "jneg" else number == 0
        if not 0 <= operand <= length:
            raise ProgramError(f"instruction {at}: there is no instruction {operand}")
        return operand if is_taken else at + 1
    if word == "push":
        if isinstance(operand, str) and operand not in names:
            raise ProgramError(f"instruction {at}: nothing is stored under `{operand}`")
        stack.append(names[operand] if isinstance(operand, str) else int(operand or 0))
    elif word == "set":
        names[str(operand)] = stack.pop()
    elif word in ARITHMETIC:
        right, left = stack.pop(), stack.pop()
        stack.append(left + right if word == "add" else left - right if word == "sub" else left * right)
    elif word == "swap":
        stack[-1], stack[-2] = stack[-2], stack[-1]
    elif word == "drop":
        stack.pop()
    else:
        stack.append(stack[-1] if word == "dup" else stack[-2])
    return at + 1


def _tests(task: Task) -> Sequence[Json]:
    tests = task.reference.get("tests")
    if not isinstance(tests, list | tuple) or not tests or not all({"inputs", "expect"} <= set(t) for t in tests):
        raise VerifierError(
            f"task {task.id} has no tests for a stack program",
            where=task.source or task.id,
            why='StackProgram needs {"tests": [{"inputs": {"x": 3}, "expect": 9}, ...]}',
            do="mend the reference",
        )
    return tests


@dataclass(frozen=True, kw_only=True)
class StackProgram:
    """Passes a program that leaves the expected number for every input of ``reference["tests"]``.

    A program that cannot be read is ``unparsable``; one that breaks a rule of the machine, or reaches its limit of
    steps, stack or digits, fails; one that reaches the time limit gets the state ``timeout`` and no score, because a
    busy machine would have it fail. What a test expects is never told. ``measures``: ``tests_passed``, the share, and
    ``steps``, the most that a test took. Raises: VerifierError without tests.
    """

    limits: MachineLimits = field(default_factory=MachineLimits)
    name: str = "stack"

    @property
    def digest(self) -> str:
        """Identity of this file and its settings."""
        return digest_json([digest_file(__file__), asdict(self)])

    def __call__(self, task: Task, completion: Completion) -> Verdict:
        tests = _tests(task)
        if completion.is_truncated:
            return Verdict(score=0.0, passed=False, reasons=("truncated",))
        try:
            program = read_program(completion.text, max_instructions=self.limits.max_instructions)
        except ProgramError as error:
            return Verdict(score=0.0, passed=False, state="unparsable", reasons=(str(error),))
        failures, most = [], 0
        for number, test in enumerate(tests, 1):
            try:
                found, steps = run_program(program, test["inputs"], self.limits)
            except ProgramTimeoutError as error:
                return Verdict(score=None, passed=False, state="timeout", reasons=(f"test {number}: {error}",))
            except ProgramError as error:
                failures.append(f"test {number}: {error}")
                continue
            most = max(most, steps)
            if found != test["expect"]:
                failures.append(f"test {number}: a wrong number")
        return Verdict(
            score=float(not failures),
            passed=not failures,
            reasons=(failures[0] if failures else f"{len(tests)} tests pass",),
            measures={"tests_passed": 1.0 - len(failures) / len(tests), "steps": float(most)},
        )
