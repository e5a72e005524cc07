"""Ctrl-C on a real terminal: the first stops the command, the second exits at once."""

import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.environment import forked_terminal

MAIN = """
import asyncio, pathlib, time
from workshop.agent import Agent, run_part

async def answer(agent: Agent) -> str:
    {body}

if __name__ == "__main__":
    run_part(__file__, answer)
"""
PART = """
title = "t"
summary = "s"
question = "q"
[[rehearsal]]
keywords = []
answer = "a"
"""
STUBBORN = """
    print("waiting", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("not yet", flush=True)
"""


@pytest.fixture
def part(tmp_path: Path) -> Path:
    (tmp_path / "part.toml").write_text(PART)
    return tmp_path


def started(part: Path, body: str) -> "pexpect.spawn[str]":
    (part / "main.py").write_text(MAIN.replace("    {body}", body))
    child = forked_terminal(str(part / "main.py"), folder=part)
    child.expect("waiting")
    return child


def ended(child: "pexpect.spawn[str]") -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def test_the_first_ends_what_is_under_way_and_reports_that(part: Path) -> None:
    body = """
    print("waiting", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        pathlib.Path("cleaned").touch()
"""
    child = started(part, body)
    child.sendintr()
    child.expect("Stopping; press Ctrl-C again to exit at once")
    child.expect("Stopped")
    assert ended(child) == 130
    assert (part / "cleaned").exists()


# Another thread takes the signal, so it does not interrupt the wait; nor does one just before the wait.
ELSEWHERE = """
    import signal, threading
    print("waiting", flush=True)
    threading.Timer(0.5, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT)).start()
    {wait}
    return ""
"""


def test_a_signal_that_does_not_interrupt_a_wait_for_events_is_noticed(part: Path) -> None:
    child = started(part, ELSEWHERE.format(wait="await asyncio.Event().wait()"))
    child.expect("Stopped")
    assert ended(child) == 130


def test_a_signal_that_does_not_interrupt_a_blocking_wait_is_noticed(part: Path) -> None:
    child = started(part, ELSEWHERE.format(wait="time.sleep(60)"))
    child.expect("Stopping")
    child.sendintr()
    assert ended(child) == 130


def test_the_second_leaves_what_will_not_end_and_reports_what_may_be_left(part: Path) -> None:
    child = started(part, STUBBORN)
    child.sendintr()
    child.expect("not yet")
    child.sendintr()
    child.expect("Exited at once: `workshop status` shows what is still running")
    assert ended(child) == 130


def test_a_blocking_part_is_interrupted_too(part: Path) -> None:
    child = started(part, '    print("waiting", flush=True)\n    time.sleep(60)\n    return ""\n')
    child.sendintr()
    child.expect("Stopping")
    child.sendintr()
    assert ended(child) == 130


def test_a_signal_during_output_does_not_wait_for_that_output(tmp_path: Path) -> None:
    # The main thread is interrupted while it holds a lock that the message needs.
    (tmp_path / "main.py").write_text("""
import threading, time
from workshop.core.interrupts import Interrupts

lock = threading.Lock()

class Console:
    def tell(self, text):
        with lock:
            print(text, flush=True)

Interrupts().install(Console())
try:
    with lock:
        print("waiting", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("Stopped", flush=True)
""")
    child = forked_terminal(str(tmp_path / "main.py"), folder=tmp_path)
    child.expect("waiting")
    child.sendintr()
    child.expect("Stopped")
    ended(child)


# The handler runs inside a write to stderr, whose buffer Python has locked.
WRITING = """
import io, signal, sys
from workshop.core.console import Console
from workshop.core.interrupts import interrupts

class Terminal(io.FileIO):
    signals = 2

    def write(self, data):
        written = super().write(data)
        while Terminal.signals:
            Terminal.signals -= 1
            signal.raise_signal(signal.SIGINT)
        return written

async def act():
    print("writing", file=sys.stderr, flush=True)

if __name__ == "__main__":
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(Terminal(2, "w", closefd=False)))
    interrupts.install(Console())
    interrupts.run(act())
"""


def test_the_second_exits_at_once_also_from_the_middle_of_a_write(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(WRITING)
    child = forked_terminal(str(tmp_path / "main.py"), folder=tmp_path)
    child.expect("Exited at once: `workshop status` shows what is still running")
    assert ended(child) == 130


IGNORED = """
import os, signal, time
from workshop.core.console import Console
from workshop.core.interrupts import interrupts

class Callback:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

interrupts.install(Console())
try:
    Callback()
    time.sleep(60)
except KeyboardInterrupt:
    print("Stopped", flush=True)
"""


def test_a_signal_in_a_callback_whose_errors_python_ignores_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(IGNORED)
    child = forked_terminal(str(tmp_path / "main.py"), folder=tmp_path)
    child.expect("Stopped")
    assert "Traceback" not in str(child.before)
    assert ended(child) == 0


LOADING = """
import os, signal, sys

class Loading:
    def find_spec(name, path, target=None):
        if name == "workshop.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Loading)
"""
ENDING = "import atexit, os, signal; atexit.register(lambda: os.kill(os.getpid(), signal.{}))\n"
MOMENTS = {"loading": LOADING, **{name: ENDING.format(name) for name in ("SIGINT", "SIGTERM", "SIGHUP")}}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_signal_before_or_after_the_command_ends_the_process_without_a_traceback(moment: str) -> None:
    program = f"{moment}from workshop.__main__ import run\nsys.argv[1:] = ['--version']\nrun()\n"
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert -ended.returncode in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    assert ended.stderr == ""


def test_the_entry_point_takes_signals_before_it_loads_any_module_written_in_python() -> None:
    # Until then, Ctrl-C is a traceback.
    loaded = "print(*sorted({*sys.modules} - before))"
    program = f"import sys; before = {{*sys.modules}}; import workshop.__main__; {loaded}"
    ended = subprocess.run(
        # -S: without `site`, which loads more
        [sys.executable, "-S", "-c", program],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.stdout.split() == ["workshop", "workshop.__main__"]
