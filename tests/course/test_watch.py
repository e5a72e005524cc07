"""`part N check --watch`: each save is checked again, on one screen, until Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte
import pytest

from tests.course.conftest import ALL
from tests.environment import IsolatedInstance
from workshop.core.errors import INTERRUPTED, UsageError
from workshop.course.check import _is_work, _saves

COMMAND = ("part", "1", "check", "1", "--watch")
SECONDS = 90
WAITING = r"Save a file to run the checks of exercise 1 of part 1 again; Ctrl-C leaves"
RIGHT = ALL[0].solution.read_text("utf-8")
WRONG = RIGHT.replace("if value < 0:", "if value < -9999:")


def begun(instance: IsolatedInstance) -> Path:
    assert instance.run("part", "1", "exercise", "1").returncode == 0
    return instance.folder / "workshop-exercises" / "part1" / f"{ALL[0].directory.name}.py"


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def replace(file: Path, text: str) -> None:
    """As an editor that writes another file first, so that no reader finds half of it."""
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)


def shown(stream: str, rows: int, columns: int) -> list[str]:
    screen = pyte.Screen(columns, rows)
    pyte.Stream(screen).feed(stream.rpartition("\x1b[?1049h")[2])
    return [line.rstrip() for line in screen.display]


def follow(instance: IsolatedInstance, save: Callable[[Path, str], None]) -> str:
    """Save a wrong answer, then the right one, then leave; everything that the terminal got."""
    file, stream = begun(instance), []
    child = instance.spawn(*COMMAND, timeout=SECONDS, size=(24, 80))
    for text, mark in (("", "31m✗"), (WRONG, "31m✗"), (RIGHT, "32m✓")):
        if text:
            save(file, text)
        child.expect(rf"{mark}\x1b\[0m Exercise 1: A model can call")
        stream.append(f"{child.before}{child.after}")
        child.expect(WAITING)
        stream.append(f"{child.before}{child.after}")
    assert "were converted to" in "".join(stream[2:4]), "the reason of the wrong answer"
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == INTERRUPTED
    return "".join([*stream, str(child.before)])


def test_a_save_is_checked_again_on_one_screen_until_ctrl_c(instance: IsolatedInstance) -> None:
    stream = follow(instance, write)
    inside, left, after = stream.partition("\x1b[?1049l")
    assert left
    assert inside.count("\x1b[?1049h") == 1
    assert "\x1b[2J" not in inside, "nothing is cleared, so nothing flickers"
    lines = shown(inside.rpartition("\x1b[?7h")[0], 24, 80)
    assert lines[0].startswith("Save a file to run the checks of exercise 1 of part 1")
    assert lines[2:4] == [
        "Exercise 1 has passed",
        "✓ Exercise 1: A model can call `convert` correctly, and learns about its mistake",
    ]
    assert "· What you learned" in lines
    assert "were converted to" not in "".join(lines), "the reason is gone with the mistake"
    assert "Exercise 1 has passed" in after, "the last result stays on the terminal"
    assert after.endswith("Stopped\r\n")


def test_an_editor_that_replaces_the_file_is_noticed_too(instance: IsolatedInstance) -> None:
    follow(instance, replace)


def test_two_saves_within_one_second_are_both_noticed(tmp_path: Path) -> None:
    file = tmp_path / "main.py"
    saves = _saves([tmp_path, tmp_path / "gone"])
    second = time.time_ns() // 10**9 * 10**9
    for text, moment in (("one", second), ("two", second + 1), ("six", second + 2)):
        file.write_text(text, encoding="utf-8")
        os.utime(file, ns=(moment, moment))
        assert next(saves) is (text != "one"), "the first look is what later ones are compared with"
        assert not next(saves)
    file.unlink()
    assert next(saves)


def test_a_file_that_cannot_be_looked_at_hides_no_other(tmp_path: Path) -> None:
    for name in ("a.py", "z.py"):
        (tmp_path / name).symlink_to(tmp_path / "nothing")
    saves = _saves([tmp_path])
    assert not next(saves)
    (tmp_path / "main.py").touch()
    assert next(saves)


def test_a_file_that_is_gone_for_a_while_is_waited_for(instance: IsolatedInstance) -> None:
    file = begun(instance)
    child = instance.spawn(*COMMAND, timeout=SECONDS, size=(24, 100))
    child.expect(WAITING)
    file.unlink()
    child.expect("Exercise 1 of part 1 is not begun; it is checked again when you save its file")
    write(file, RIGHT)
    child.expect("Exercise 1 has passed")
    child.expect(WAITING)
    child.sendintr()
    child.expect(pexpect.EOF)


def test_an_exercise_that_is_begun_meanwhile_is_checked_too(instance: IsolatedInstance) -> None:
    child = instance.spawn("part", "1", "check", "--watch", timeout=SECONDS)
    child.expect("2 exercises are not begun")
    child.expect("Save a file to run the checks of part 1 again")
    begun(instance)
    child.expect("1 exercise is not begun")
    child.expect(r"✗\x1b\[0m Exercise 1: A model can call")
    child.sendintr()
    child.expect(pexpect.EOF)


def test_without_a_terminal_each_result_is_printed_below_the_last(instance: IsolatedInstance) -> None:
    file = begun(instance)
    child = subprocess.Popen(
        [sys.executable, "-m", "workshop", *COMMAND],
        cwd=instance.folder,
        env={**instance.environment, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout
        lines = iter(child.stdout)
        assert next(lines) == "Exercise 1 has not passed yet\n"
        replace(file, RIGHT)
        assert "Exercise 1 has passed\n" in lines
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=SECONDS)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == INTERRUPTED
    assert "\x1b" not in out + err
    assert err.count("Next: `workshop part 1 check 1") == 1
    assert err.endswith("Stopped\n")


def test_a_watch_prints_no_document(instance: IsolatedInstance) -> None:
    done = instance.run(*COMMAND, "--json")
    assert done.returncode == UsageError.exit_code
    assert "`--watch` has no end" in done.stdout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("main.py", True),
        ("5_four_addresses.yaml", True),
        (".main.py.swp", False),
        (".main.py", False),
        ("main.py~", False),
        ("main.mine-1.py", False),
        ("main.cpython-311.pyc", False),
    ],
)
def test_only_a_learners_own_files_are_work(name: str, *, expected: bool) -> None:
    assert _is_work(Path("/somewhere", name)) is expected
