"""What the tests run in: without the choices of a shell for `up`, in forked processes like started ones."""

import contextlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from mcp.client import session

from tests.conftest import clear_choices
from tests.environment import fork_server, plain_environment
from workshop.lab import process

CHOICES = {"WORKSHOP_CHART_CRDS": "a.tgz", "WORKSHOP_NODE_IMAGE": "node:1", "WORKSHOP_MODEL": "m"}
OTHERS = {"PATH": "/bin", "WORKSHOP_E2E_CONTEXT": "lab", "WORKSHOP_VMCP": "/bin/vmcp"}


@pytest.mark.parametrize(
    ("selected", "left"), [("not kind", OTHERS), ("", OTHERS), ("kind", CHOICES | OTHERS)]
)
def test_what_a_shell_has_set_for_up_is_cleared(selected: str, left: dict[str, str]) -> None:
    environment = CHOICES | OTHERS
    clear_choices(environment, selected)
    assert environment == left


def test_a_program_that_a_test_starts_keeps_what_it_compiles() -> None:
    """Whatever the shell has set: otherwise each start compiles all that it imports."""
    program = "import sys; print(sys.dont_write_bytecode)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_server_whose_start_takes_long_is_not_taken_for_one_of_an_older_era() -> None:
    assert session.DISCOVER_TIMEOUT_SECONDS >= 60


ROOT = Path(__file__).parents[1]
GARBAGE = """
class Late:
    def __del__(self):
        raise ValueError("late")
late = Late()
"""
PROGRAMS = {
    "what it is given": "import os, sys; print(sys.argv, sys.path[0], os.getcwd(), os.environ['X'])",
    "a text as its end": "import sys; print('half'); sys.exit('why')",
    "an exit code": "import sys; sys.exit(300)",
    "a signal": "import os; os.kill(os.getpid(), 15)",
    "a thread": "import threading; threading.Timer(0.1, print, ['late']).start()",
    "an exit function": "import atexit; atexit.register(lambda: 1 / 0); atexit.register(print, 'late')",
    "garbage": f"{GARBAGE}late.itself = late; del late",
    "an object that is destroyed last": GARBAGE,
    "a closed output": "import os; print('lost'); os.close(1)",
}


@pytest.mark.parametrize("finalize", [True, False])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_forked_program_does_what_a_started_one_does(name: str, finalize: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    """Without the whole finalization, only an object that is destroyed last is not heard of."""
    environment, words = {**plain_environment(), "X": "x"}, ["-c", PROGRAMS[name], "--word"]
    forked = fork_server(environment).run(words, tmp_path, environment, finalize=finalize)
    started = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (forked.returncode, forked.stdout) == (started.returncode, started.stdout)
    if finalize or name != "an object that is destroyed last":
        assert reported(forked.stderr) == reported(started.stderr)


def test_a_fork_server_and_what_it_forked_end_when_the_tests_are_killed(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
from pathlib import Path
from tests.fork_server import ForkedProcess, ForkServer
server = ForkServer([sys.executable], Path({str(tmp_path)!r}), {{}})
forked = ForkedProcess(server, ["-c", "import signal; print('here', flush=True); signal.pause()"], None, {{}})
print(server._process.pid, forked.pid, forked.stdout.readline(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    *pids, word = killed.stdout.split()
    assert (killed.returncode, word, len(pids)) == (-signal.SIGKILL, "here", 2)
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            assert process._wait_for_end(psutil.Process(int(pid)), 60)  # a zombie has ended


def reported(errors: str) -> list[str]:
    """The lines, without addresses in memory and without those that quote a line of code."""
    lines = re.sub(r"0x[0-9a-f]+", "0x", errors).splitlines()
    return [line for line in lines if not line.startswith("  ")]
