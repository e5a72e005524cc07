"""The learner's loop as a person meets it: a real terminal, and what `up` started."""

import json
import re

import pexpect
import pyte
import pytest

from tests.environment import IsolatedInstance
from workshop.core.errors import INTERRUPTED

FILE = "workshop-exercises/part1/1_a_tool_with_a_schema.py"


def test_everything_that_is_up_is_checked_and_progress_survives_a_teardown(
    instance: IsolatedInstance,
) -> None:
    instance.up()
    assert instance.run("part", "4", "check").returncode == 6
    assert instance.run("part", "4", "run", "--approve-as", "learner", "--model", "rehearsal").returncode == 0
    done = instance.run("part", "4", "check", "--json")
    assert done.returncode == 0, done.stdout
    states = {check["state"] for check in json.loads(done.stdout)["data"]["checks"]}
    assert states == {"passed"}
    assert instance.run("teardown").returncode == 0
    parts = json.loads(instance.run("next", "--json").stdout)["data"]["parts"]
    assert [part["checked"] for part in parts] == [False, False, False, True]


@pytest.mark.parametrize(
    ("key", "code", "kept"), [("\r", 0, True), ("\x03", INTERRUPTED, True), ("y\r", 0, False)]
)
def test_work_is_only_replaced_by_someone_who_says_yes(
    instance: IsolatedInstance, key: str, code: int, *, kept: bool
) -> None:
    instance.run("part", "1", "exercise", "1")
    file = instance.folder / FILE
    file.write_text("mine", encoding="utf-8")
    child = instance.spawn("part", "1", "reset", "1")
    child.expect(r"saved in a copy beside it \[y/N\]: ")
    child.send(key)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert "Traceback" not in str(child.before)
    assert (file.read_text("utf-8") == "mine") is kept


@pytest.mark.parametrize("columns", [60, 100])
def test_a_checklist_fits_the_terminal_and_keeps_its_margin(instance: IsolatedInstance, columns: int) -> None:
    child = instance.spawn("part", "1", "check", timeout=60, size=(60, columns))
    child.expect(pexpect.EOF)
    written = str(child.before)
    screen = pyte.Screen(columns, 60)
    pyte.Stream(screen).feed(written)
    lines = [line.rstrip() for line in screen.display if line.strip()]
    (start,) = (number for number, line in enumerate(lines) if line.startswith("6 of 7 checks"))
    first = next(number for number, line in enumerate(lines) if re.match(r"[✓✗○] You", line))
    title = " ".join(lines[start:first])
    assert title == "6 of 7 checks of part 1 have passed; 2 exercises are not begun"
    points = lines[first:-1]
    assert all(re.match(r"[✓✗○] | {2,}\S", line) for line in points), points
    assert lines[-1] == "Next: `workshop part 1 check`"
    assert re.search(r"\x1b\[1;31m✗", written)
