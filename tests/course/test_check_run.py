"""The process that checks run in: what it does to the terminal, to others, and when it does not come back."""

from pathlib import Path

import pytest

from tests.course.conftest import MakePart
from workshop.core.errors import WorkshopError
from workshop.course.check import run_checks
from workshop.course.check_outcome import Job

THREE = """
import os, time
@check(hints=("h",))
def before(subject):
    '''Before.'''
    print("a learner prints")
    os.write(1, b"not JSON\\n")
@check(hints=("h",), seconds=0.2)
def lost(subject):
    '''Lost.'''
    {body}
@check(hints=(), needs=(lost,))
def behind(subject):
    '''Behind.'''
@check(hints=())
def after(subject):
    '''After.'''
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("while True: pass", "It did not end within 0.2 seconds"),
        ("os._exit(0)", "It ended the whole program. a learner prints"),
    ],
    ids=["it never ends", "it ends the process"],
)
def test_a_check_that_is_lost_has_failed_and_the_others_go_on(
    make_part: MakePart, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    # Only the check that never ends is waited for.
    monkeypatch.setattr("workshop.course.check._GRACE_SECONDS", 1.0 if "while" in body else 60.0)
    part = make_part(THREE.format(body=body))
    noted: list[str] = []
    found = run_checks(Job(str(part), "", ran=False, works={}), noted.append)
    assert [(one.name, one.state) for one in found] == [
        ("before", "passed"),
        ("lost", "failed"),
        ("behind", "not tried"),
        ("after", "passed"),
    ]
    assert found[1].reason.startswith(reason.split(". ", maxsplit=1)[0])
    assert found[1].hints == ("h",)
    assert noted == ["Before", "Lost", "Behind", "After"]


def test_checks_that_cannot_be_read_are_an_error_with_the_reason(make_part: MakePart) -> None:
    part = make_part("this is no Python\n")
    with pytest.raises(WorkshopError, match="could not be started") as raised:
        run_checks(Job(str(part), "", ran=False, works={}), lambda _: None)
    assert "SyntaxError" in raised.value.why


def test_what_a_check_starts_and_leaves_is_ended_and_its_folder_removed(make_part: MakePart) -> None:
    part = make_part(
        "import subprocess, sys\n"
        '@check(hints=())\ndef one(subject):\n    """1."""\n'
        '    mark = f"workshop={subject.scratch}/room"\n'
        '    idle = "import sys; sys.stdin.read()"\n'
        '    started = subprocess.Popen([sys.executable, "-X", mark, "-c", idle], stdin=subprocess.PIPE,'
        " start_new_session=True)\n"
        "    raise NotPassedError(f'{started.pid} {subject.scratch}')\n"
    )
    (found,) = run_checks(Job(str(part), "", ran=False, works={}), lambda _: None)
    pid, scratch = found.reason.split()
    assert not Path(scratch).exists()
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
