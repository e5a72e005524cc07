"""What is on the screen of a real terminal when a command has ended."""

import re

import pexpect
import pyte
import pytest

from tests.environment import IsolatedInstance
from workshop.core.errors import INTERRUPTED


def watch(instance: IsolatedInstance, *arguments: str, columns: int = 100) -> tuple[str, list[str], int]:
    """Everything a command wrote, what the screen shows at the end, and its exit code."""
    child = instance.spawn(*arguments)
    child.setwinsize(60, columns)
    child.expect(pexpect.EOF)
    child.close()
    screen = pyte.Screen(columns, 60)
    written = str(child.before)
    pyte.Stream(screen).feed(written)
    assert isinstance(child.exitstatus, int)
    return written, [line.rstrip() for line in screen.display if line.strip()], child.exitstatus


def test_up_spins_while_it_works_and_leaves_one_line_a_step(instance: IsolatedInstance) -> None:
    written, screen, code = watch(instance, "up", *instance.port_options)
    assert code == 0
    assert re.search(r"[⠀-⣿] ?.*Start workshop-0", written), "a spinner was seen"
    steps = [line for line in screen if "Start " in line]
    assert [line.split()[0] for line in steps] == ["✓"] * 4
    assert not [line for line in screen if re.search("[⠁-⣿]", line)], "and is gone"
    assert screen[-1] == "Next: `workshop part 1 show`"


def test_the_answer_stands_alone_below_the_progress(instance: IsolatedInstance) -> None:
    _, screen, code = watch(instance, "part", "1", "run", "--model", "rehearsal")
    assert code == 0
    assert screen[-2] == (
        "trail-mapper has the most open issues (4); its newest is #42: GPX export drops the last waypoint"
    )
    assert screen[-1] == "Next: `workshop part 1 check`"


@pytest.mark.parametrize("columns", [60, 100])
def test_the_address_to_open_is_written_in_one_piece_however_narrow_the_terminal(
    running: IsolatedInstance, columns: int
) -> None:
    child = running.spawn("part", "4", "run", "--no-browser", "--model", "rehearsal")
    child.setwinsize(60, columns)
    child.expect(r"(http://localhost:\d+/oauth/authorize\?\S+)\r\n")
    assert isinstance(child.match, re.Match)
    assert child.match.group(1).count("=") >= 8, "no line break was put into it"
    child.sendintr()
    child.expect("Stopped")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == INTERRUPTED


def test_no_colour_means_no_colour(instance: IsolatedInstance) -> None:
    child = instance.spawn("part", "1", "run", "--model", "rehearsal", NO_COLOR="1")
    child.expect(pexpect.EOF)
    assert not re.search(r"\x1b\[3[0-7]m", str(child.before))
