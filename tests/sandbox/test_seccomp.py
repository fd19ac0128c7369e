"""The filter of system calls, judged by the kernel's own headers and by an independent reading of its program."""

import errno
import re
from pathlib import Path

import pytest

from strop.sandbox.inside.seccomp import program
from strop.sandbox.inside.syscalls import MACHINES

HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+)\s+(\d+)"),
    "aarch64": ("/usr/include/asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+)\s+(\d+)"),
}
ALLOWED, KILLED = 0x7FFF0000, 0x80000000
REFUSED, ABSENT = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
# from the tables of the kernel: read, write, execve, exit_group, socketpair, kill, openat, futex, clone3
HARMLESS = {"x86_64": (0, 1, 59, 231, 53, 62, 257, 202), "aarch64": (63, 64, 221, 94, 199, 129, 56, 98)}


def judge(machine: str, number: int, *, argument: int = 0, arch: int | None = None, shares_files: bool = False) -> int:
    """What the filter answers, by the rules of classic BPF."""
    words = {0: number, 4: MACHINES[machine].audit_arch if arch is None else arch, 16: argument & 0xFFFFFFFF}
    code, at, accumulator = program(machine, shares_files=shares_files), 0, 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == 0x20:
            accumulator = words[operand]
        elif operation == 0x06:
            return operand
        else:
            holds = {0x15: accumulator == operand, 0x25: accumulator > operand, 0x45: bool(accumulator & operand)}
            at += if_true if holds[operation] else if_false


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_the_numbers_are_those_of_the_kernel_headers(machine: str) -> None:
    path, pattern = HEADERS[machine]
    if not Path(path).exists():
        pytest.skip(f"no {path}: install linux-libc-dev")
    known = {name: int(number) for name, number in re.findall(pattern, Path(path).read_text())}
    table = MACHINES[machine]
    listed = table.refused | table.refused_in_shared_files
    assert {name: known.get(name) for name in listed} == listed
    found = (known["clone"], known["clone3"], known["prctl"], known["prlimit64"])
    assert found == (table.clone, table.clone3, table.prctl, table.prlimit)


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_listed_calls_are_refused_and_harmless_ones_are_not(machine: str) -> None:
    assert {judge(machine, number) for number in MACHINES[machine].refused.values()} == {REFUSED}
    assert {judge(machine, number) for number in HARMLESS[machine]} == {ALLOWED}


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_what_an_owner_may_do_is_refused_only_where_files_are_shared(machine: str) -> None:
    numbers = MACHINES[machine].refused_in_shared_files.values()
    assert {judge(machine, number, shares_files=True) for number in numbers} == {REFUSED}
    assert {judge(machine, number) for number in numbers} == {ALLOWED}
    assert judge(machine, 452) == ABSENT, "fchmodat2, which older headers do not name"
    assert {judge(machine, number, shares_files=True) for number in HARMLESS[machine]} == {ALLOWED}


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_limits_can_be_set_to_this_process_only(machine: str) -> None:
    assert judge(machine, MACHINES[machine].prlimit, argument=0) == ALLOWED
    assert {judge(machine, MACHINES[machine].prlimit, argument=pid) for pid in (1, 2, -1)} == {REFUSED}


@pytest.mark.parametrize("machine", sorted(MACHINES))
@pytest.mark.parametrize("flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
def test_clone_forks_but_makes_no_namespace(machine: str, flag: int) -> None:
    clone, sigchld, thread = MACHINES[machine].clone, 17, 0x3D0F00
    assert judge(machine, clone, argument=sigchld) == ALLOWED
    assert judge(machine, clone, argument=thread) == ALLOWED
    assert judge(machine, clone, argument=flag | sigchld) == REFUSED


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_calls_unknown_to_the_table_do_not_exist(machine: str) -> None:
    assert judge(machine, 435) == ABSENT  # clone3
    assert judge(machine, 500) == ABSENT
    assert judge(machine, 0x40000000 | 41) == ABSENT  # socket, as x32 calls it


def test_calls_of_another_instruction_set_kill() -> None:
    i386 = 0x40000003
    assert judge("x86_64", 0, arch=i386) == KILLED
    assert judge("aarch64", 0, arch=i386) == KILLED


def test_the_program_fits_the_kernels_limit_and_its_jumps_stay_inside() -> None:
    for machine in MACHINES:
        code = program(machine, shares_files=True)
        assert len(code) <= 4096
        assert all(at + 1 + max(yes, no) < len(code) for at, (_, yes, no, _) in enumerate(code[:-1]))
