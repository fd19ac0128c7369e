"""A hostile program gets nowhere: every sound tier contains it, names the cause, and leaves nothing of it running."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strop.sandbox import TIERS, Limits, Outcome, Sandbox, Tier, probe
from strop.sandbox.targets import processes_named

SOUND: tuple[Tier, ...] = ("namespaces", "landlock")
LIMITS = Limits(wall_s=5.0, cpu_s=3.0, memory_mb=128, processes=6, file_mb=2, output_kb=16, scratch_mb=6)
NAMED = "import ctypes\nctypes.CDLL(None).prctl(15, {nonce!r}.encode())\n"


@pytest.fixture(scope="module", params=SOUND)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    (found,) = probe([request.param])
    if not found.is_sound:
        pytest.skip(f"{found.tier} is not available here: {found.why}")
    with Sandbox.open(request.param) as opened:
        yield opened


def attack(sandbox: Sandbox, program: str, limits: Limits = LIMITS) -> Outcome:
    """The outcome of the program, whose processes all carry a name; none of it may be left a second later."""
    nonce = f"st{secrets.token_hex(6)}"
    outcome = sandbox.run(NAMED.format(nonce=nonce) + program, limits=limits)
    assert processes_named(nonce) == []
    time.sleep(1.0)
    assert processes_named(nonce) == []
    assert sandbox.run("print('alive')").stdout == b"alive\n"
    return outcome


def test_a_running_program_would_be_found_by_its_name(sandbox: Sandbox) -> None:
    """The control of every 'nothing is left' here."""
    nonce = f"st{secrets.token_hex(6)}"
    with sandbox.start(NAMED.format(nonce=nonce) + "import time\nprint(1, flush=True)\ntime.sleep(20)") as session:
        deadline = time.monotonic() + 10
        while not processes_named(nonce) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(processes_named(nonce)) == 1
        session.end()
        assert processes_named(nonce) == []


@pytest.mark.capability("TU-20")
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_planted_secret_cannot_be_read(sandbox: Sandbox, mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder) / "secret"
        secret.write_text("hunter2")
        secret.chmod(mode)
        outcome = sandbox.run(f"print(open({str(secret)!r}).read())")
    assert (outcome.state, outcome.exit_code, outcome.stdout) == ("exited", 1, b"")
    assert b"FileNotFoundError" in outcome.stderr or b"PermissionError" in outcome.stderr


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/shadow", "/etc/hostname", "/root/.bashrc", "/proc/1/environ", __file__]
)
def test_files_of_the_machine_cannot_be_read(sandbox: Sandbox, path: str) -> None:
    outcome = sandbox.run(f"print(open({path!r}).read())")
    assert outcome.exit_code == 1
    assert outcome.stdout == b""


def test_neither_the_environment_nor_the_packages_of_the_caller_are_there(sandbox: Sandbox) -> None:
    os.environ["STROP_TEST_SECRET"] = "hunter2"
    try:
        with Sandbox.open(sandbox.tier, workers=1) as opened:
            outcome = opened.run("import os, glob; print(dict(os.environ), glob.glob('/proc/*/environ'))")
            assert b"hunter2" not in outcome.stdout
            environ = "print(open('/proc/self/environ').read())"
            assert b"hunter2" not in opened.run(environ).stdout
    finally:
        del os.environ["STROP_TEST_SECRET"]
    for package in ("strop", "torch", "pip", "pytest"):
        assert b"ModuleNotFoundError" in sandbox.run(f"import {package}").stderr


@pytest.mark.capability("TU-20")
def test_there_is_no_network_and_no_socket_to_the_machine(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0strop-test-abstract")
        abstract.listen()
        for address, family in (
            (("127.0.0.1", listener.getsockname()[1]), "AF_INET"),
            (("192.0.2.1", 80), "AF_INET"),
            ("\0strop-test-abstract", "AF_UNIX"),
        ):
            program = f"import socket\ns = socket.socket(socket.{family})\ns.connect({address!r})\nprint('connected')"
            outcome = sandbox.run(program)
            assert (outcome.exit_code, outcome.stdout) == (1, b"")
    assert sandbox.run("import socket\na, b = socket.socketpair()\na.send(b'x')\nprint(b.recv(1))").stdout == b"b'x'\n"


@pytest.mark.capability("TU-20")
def test_nothing_can_be_written_outside(sandbox: Sandbox, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for folder in ("/", "/etc", "/usr/lib", "/dev", "/dev/shm", "/var/tmp", sys.base_prefix, str(tmp_path)):
        outcome = sandbox.run(f"open({folder + '/strop-escaped'!r}, 'w')")
        assert outcome.exit_code == 1, folder
    assert list(tmp_path.iterdir()) == []


def test_what_one_task_writes_no_other_finds(sandbox: Sandbox) -> None:
    write = "import os\nopen('mark', 'w').write('x')\nprint(os.listdir('.'))"
    assert sandbox.run(write).stdout == b"['mark']\n"
    look = "import os\nprint(os.listdir('.'), os.path.exists('/tmp/mark'))"
    assert [sandbox.run(look).stdout for _ in range(4)] == [b"[] False\n"] * 4


@pytest.mark.capability("TU-20")
@pytest.mark.parametrize("target", ["os.getppid()", "1", "-1", "0", "{caller}", "{victim}"])
def test_neither_caller_nor_anybody_else_can_be_killed(sandbox: Sandbox, target: str) -> None:
    with subprocess.Popen(["sleep", "60"]) as victim:
        target = target.format(caller=os.getpid(), victim=victim.pid)
        program = (
            f"import os\nfor s in (15, 9, 2, 19):\n    try: os.kill({target}, s)\n    except OSError as e: print(e)"
        )
        outcome = attack(sandbox, program, Limits(wall_s=1.0))
        assert outcome.state in ("exited", "killed", "timeout")  # 0 and -1 may reach itself, nobody else
        assert victim.poll() is None
        victim.kill()


def test_the_supervisor_cannot_be_looked_into(sandbox: Sandbox) -> None:
    program = "import os\nfor name in ('mem', 'environ', 'fd', 'maps', 'root'):\n"
    program += (
        "    try: os.open(f'/proc/{os.getppid()}/{name}', os.O_RDONLY)\n    except OSError: continue\n    print(name)"
    )
    assert sandbox.run(program).stdout == b""


@pytest.mark.parametrize("kind", ["AS", "NOFILE", "NPROC", "CPU"])
def test_the_supervisor_cannot_be_made_to_fail_by_limits(sandbox: Sandbox, kind: str) -> None:
    program = f"import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_{kind}, (1, 1))"
    outcome = sandbox.run(program, keep=["file"])
    assert (outcome.state, outcome.exit_code) == ("exited", 1)
    assert b"PermissionError" in outcome.stderr
    for call in ("os.setpriority(os.PRIO_USER, 0, 19)", "os.sched_setaffinity(os.getppid(), {0})"):
        assert b"PermissionError" in sandbox.run(f"import os\n{call}").stderr


@pytest.mark.parametrize(
    "change",
    [
        "os.chmod({!r}, 0o666)",
        "os.utime({!r}, (1, 1))",
        "os.setxattr({!r}, 'user.x', b'1')",
        "os.chown({!r}, os.getuid(), -1)",
    ],
)
def test_a_file_of_the_same_user_cannot_be_changed_from_outside_of_it(sandbox: Sandbox, change: str) -> None:
    """As an ordinary user these are the caller's own files; the folder of the worker is one of them."""
    uid = sandbox._runner.workers[0].uid
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "file"
        path.write_text("secret")
        path.chmod(0o600)
        if uid is not None:
            os.chown(path, uid, uid)
        before = path.stat()
        outcome = sandbox.run(f"import os\n{change.format(str(path))}")
        assert (outcome.state, outcome.exit_code) == ("exited", 1)
        assert (path.stat(), os.listxattr(path)) == (before, [])
    assert sandbox.run("import os\nos.chmod('..', 0)").exit_code == 1
    assert sandbox.run("print(1)").stdout == b"1\n"


@pytest.mark.capability("TU-20")
def test_a_fork_bomb_is_held_at_the_limit(sandbox: Sandbox) -> None:
    outcome = attack(sandbox, "import os\nwhile True:\n    os.fork()")
    assert outcome.state in ("exited", "timeout")
    assert "processes" in outcome.reason
    stubborn = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    outcome = attack(sandbox, stubborn, Limits(wall_s=1.0, processes=6))
    assert outcome.state == "timeout"
    assert outcome.reason.startswith("longer than 1 s; processes left behind and killed: ")
    assert 5 <= int(outcome.reason.rpartition(" ")[2]) <= 8  # without namespaces a worker's own may count in between


def test_exactly_as_many_processes_as_allowed_can_be_had(sandbox: Sandbox) -> None:
    program = (
        "import os, time\nn = 0\ntry:\n    while n < 20:\n        if os.fork() == 0: time.sleep(9)\n        n += 1\n"
    )
    program += "except BlockingIOError: print(1 + n)"
    assert sandbox.run(program, limits=Limits(processes=5)).stdout == b"5\n"


@pytest.mark.capability("TU-20")
@pytest.mark.parametrize("hog", ["b = bytearray(10**9)", "b = []\nwhile True: b.append(bytearray(1 << 20))"])
def test_a_memory_hog_ends_at_its_limit(sandbox: Sandbox, hog: str) -> None:
    outcome = attack(sandbox, hog)
    assert (outcome.state, outcome.reason) == ("memory", "more than 128 MB")


@pytest.mark.capability("TU-20")
def test_an_endless_loop_ends_at_its_limit_of_processor_time(sandbox: Sandbox) -> None:
    outcome = attack(sandbox, "while True: pass", Limits(cpu_s=0.5, wall_s=60.0))
    assert (outcome.state, outcome.reason) == ("cpu", "more than 0.5 s of processor time")
    assert 0.4 < outcome.cpu_s < 2.0


@pytest.mark.capability("TU-20")
def test_an_endless_wait_ends_at_its_limit_of_time(sandbox: Sandbox) -> None:
    outcome = attack(
        sandbox, "import time, signal\nsignal.signal(15, lambda *_: None)\ntime.sleep(99)", Limits(wall_s=0.5)
    )
    assert (outcome.state, outcome.reason) == ("timeout", "longer than 0.5 s")
    assert 0.5 <= outcome.wall_s < 5.0


@pytest.mark.capability("TU-20")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_endless_output_ends_at_its_limit(sandbox: Sandbox, stream: str) -> None:
    outcome = attack(sandbox, f"import sys\nwhile True: sys.{stream}.write('x' * 1000)")
    assert (outcome.state, outcome.reason) == ("output", f"more than 16 kB on {stream}")
    assert getattr(outcome, stream) == b"x" * 16 * 1024


@pytest.mark.capability("TU-20")
def test_a_daemon_does_not_outlive_its_task(sandbox: Sandbox) -> None:
    daemon = "import os, sys, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
    daemon += "        os.closerange(0, 64)\n        time.sleep(60)\n    os._exit(0)\nos.wait()\nprint('left')"
    outcome = attack(sandbox, daemon)
    assert (outcome.state, outcome.exit_code, outcome.stdout) == ("exited", 0, b"left\n")
    assert outcome.reason == "processes left behind and killed: 1"


@pytest.mark.capability("TU-20")
def test_the_disk_cannot_be_filled(sandbox: Sandbox) -> None:
    big = attack(sandbox, "f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 16))")
    assert (big.state, big.reason) == ("output", "a file of 2 MB, the limit")
    many = "import time\nfor n in range(100):\n    open(str(n), 'wb').write(bytes(1 << 20))\n    time.sleep(0.05)"
    outcome = attack(sandbox, many)
    assert outcome.state == "output"
    assert "6 MB" in outcome.reason


@pytest.mark.parametrize(
    "call",
    [
        "unshare(0x10000000)",
        "unshare(0x20000)",
        "ptrace(0, 0, 0, 0)",
        "memfd_create(b'x', 0)",
        "shmget(0, 4096, 0o1600)",
        "mount(b'none', b'/tmp', b'tmpfs', 0, None)",
        "umount2(b'/proc', 2)",
        "chroot(b'/tmp')",
        "syscall(321, 0, 0, 0)",
        "syscall(425, 1, 0)",
        "syscall(435, 0, 0)",
        "syscall(1000)",
    ],
)
def test_calls_with_which_others_escaped_are_refused(sandbox: Sandbox, call: str) -> None:
    outcome = sandbox.run(f"import ctypes\nprint(ctypes.CDLL(None, use_errno=True).{call}, ctypes.get_errno())")
    assert outcome.stdout.startswith(b"-1 ")


def test_a_namespace_cannot_be_made_by_clone_either(sandbox: Sandbox) -> None:
    outcome = sandbox.run("import ctypes\nprint(ctypes.CDLL(None).syscall(56, 0x10000000 | 17, 0, 0, 0, 0))")
    assert outcome.stdout == b"-1\n"


def test_the_sound_tiers_are_tiers() -> None:
    assert set(SOUND) < set(TIERS)
