"""The process that checks run in: what it does to the terminal, to others, and when it does not come back."""

import sys
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
    make_part: MakePart, body: str, reason: str
) -> None:
    part = make_part(THREE.format(body=body))
    noted: list[str] = []
    grace = 1.0 if "while" in body else 60.0  # only the check that never ends is waited for
    found = run_checks(Job(str(part), "", ran=False, works={}), noted.append, grace)
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


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY"])
def test_a_check_gets_no_secret_of_the_persons_environment(
    make_part: MakePart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "a-secret-of-the-person")
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path))
    part = make_part(
        "import os\n"
        '@check(hints=())\ndef one(subject):\n    """1."""\n'
        '    raise NotPassedError(f"{os.environ}")\n'
        '@check(hints=())\ndef two(subject):\n    """2."""\n'
        '    expect(os.environ["WORKSHOP_HOME"], "the state is not found")\n'
    )
    one, two = run_checks(Job(str(part), "", ran=False, works={}), lambda _: None)
    assert "a-secret-of-the-person" not in one.reason
    assert two.state == "passed"


def test_a_check_reads_no_settings(
    make_part: MakePart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OPENAI_API_KEY=a-secret-of-the-person\nBROKEN\n", encoding="utf-8")
    part = make_part(
        '@check(hints=())\ndef one(subject):\n    """1."""\n'
        '    expect(subject.agent().question == "q", "it has another question")\n'
    )
    (found,) = run_checks(Job(str(part), "", ran=False, works={}), lambda _: None)
    assert found.state == "passed", found.reason


@pytest.mark.skipif(sys.platform != "linux", reason="the bound that this system has may be another one")
def test_a_learners_program_cannot_take_all_memory(make_part: MakePart) -> None:
    part = make_part(
        '@check(hints=())\ndef one(subject):\n    """1."""\n'
        "    kept = []\n    for _ in range(64):\n        kept.append(bytearray(100 * 1024**2))\n"
        '@check(hints=())\ndef two(subject):\n    """2."""\n'
    )
    # A busy machine needs more than the usual time to fill the memory that a check may have.
    one, two = run_checks(Job(str(part), "", ran=False, works={}), lambda _: None, grace=120)
    assert (one.state, two.state) == ("failed", "passed")
    assert one.reason.startswith("MemoryError")
