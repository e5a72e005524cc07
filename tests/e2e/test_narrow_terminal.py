"""Progress on a terminal that is narrow, or becomes so while something is under way."""

import re

import pexpect
import pyte
import pytest

from tests.environment import IsolatedInstance
from workshop.core.errors import INTERRUPTED

SPINNER = r"[⠀-⣿]"


def screen_of(written: str, columns: int) -> list[str]:
    screen = pyte.Screen(columns, 100)
    pyte.Stream(screen).feed(written)
    return [line.rstrip() for line in screen.display if line.strip()]


@pytest.mark.parametrize("columns", [24, 36, 100])
def test_progress_leaves_no_trace_of_its_animation(instance: IsolatedInstance, columns: int) -> None:
    child = instance.spawn("part", "1", "run", "--model", "rehearsal", timeout=60, size=(100, columns))
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    lines = screen_of(str(child.before), columns)
    assert not [line for line in lines if re.search("[⠁-⣿]", line)], lines
    told = " ".join(" ".join(lines).split())
    assert told.count("✓ Model, turn 1") == 1
    assert told.endswith("Next: `workshop part 1 check`")


def test_a_terminal_may_be_resized_while_something_is_under_way(running: IsolatedInstance) -> None:
    child = running.spawn("part", "4", "run", "--no-browser", "--model", "rehearsal", timeout=60)
    child.expect(r"http://localhost:\d+/oauth/authorize\?\S+\r\n")
    child.expect(SPINNER)
    child.setwinsize(40, 28)
    child.expect(SPINNER)
    child.setwinsize(40, 120)
    child.expect(SPINNER)
    child.sendintr()
    child.expect("Stopped")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == INTERRUPTED
    assert "Traceback" not in str(child.before)
    assert "\x1b[?25h" in str(child.before) or "\x1b[?25l" not in str(child.before), "the cursor is back"
