"""Demos are typed at a real shell and held to their golden text: a change breaks here, not on stage."""

import io
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import looks
from workshop.cli.main import main
from workshop.cli.terminal import console
from workshop.core.errors import CheckError, UsageError
from workshop.course.demo import session
from workshop.course.demo.player import Pace, Script, load, names, play
from workshop.course.demo.session import Masked, Recorder

Write = Callable[[str], Script]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a script's TOML and load it; its state is its own."""
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    console.cache_clear()  # it holds the stdout of the test before

    def write(text: str) -> Script:
        (tmp_path / "mine.toml").write_text(text)
        return load(str(tmp_path / "mine.toml"))

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield write
    for number, handler in before.items():
        signal.signal(number, handler)


def shown_by(script: Script, pace: Pace | None = None) -> str:
    shown: list[str] = []
    with session.opened(script, session.Settings(term="dumb"), shown.append) as shell:
        play(script, shell, pace or Pace())
    return "".join(shown)


@pytest.mark.parametrize("name", names())
def test_a_demo_still_shows_what_its_golden_text_says(name: str) -> None:
    assert session.verify(load(name), ()) == []


@pytest.mark.parametrize("name", names())
def test_a_golden_text_has_nothing_that_differs_from_run_to_run(name: str) -> None:
    golden = load(name).golden.read_text("utf-8")
    assert session.normalised(golden) == golden


def test_there_is_a_demo_for_each_part_one_for_all_one_for_variations_and_one_for_what_goes_wrong() -> None:
    parts = ["part-1", "part-2", "part-3", "part-4"]
    assert names() == ["five-ways", *parts, "tutorial", "what-goes-wrong"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps = [", "is not TOML"),
        ("title = 'x'", "`steps` in .* is missing"),
        ("[[steps]]\nname = 'x'", "neither"),
        ("[[steps]]\ntipe = 'ls'", "`steps.1.tipe` in .* is unknown"),
        ("[[steps]]\npress = 'f13'", "`steps.1.press`"),
        ("steps = []", "must be a list with an entry"),
        ("[[steps]]\ntype = 'ls'\nexpect = '('", "not a regular expression"),
        ("[[steps]]\ntype = 'ls'\nseconds = -1", "`steps.1.seconds`"),
        ("[[steps]]\ntype = 'ls'\nexit = 'no'", "`steps.1.exit` in"),
        ("setup = 'ls'\n[[steps]]\ntype = 'ls'", "must be a list"),
        ("addresses = 'x'\n[[steps]]\ntype = 'ls'", "does not name workloads"),
        ("addresses = { url = 'x' }\n[[steps]]\ntype = 'ls'", "does not name workloads"),
        ("addresses = { URL = 'x; ls' }\n[[steps]]\ntype = 'ls'", "does not name workloads"),
    ],
)
def test_a_script_that_is_wrong_is_reported(script: Write, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("[", r"\[")):
        script(text)


def test_a_demo_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError) as raised:
        load("part-9")
    assert "part-1, part-2" in raised.value.hint


def test_each_step_is_typed_and_its_output_shown_but_not_the_setup(script: Write) -> None:
    mine = script(
        """
setup = ["echo se''cret"]
cleanup = ["touch cleaned"]
[[steps]]
say = "Hello"
type = "echo one; false"
expect = "^one"
exit = 1
[[steps]]
type = "read -r line; echo got $line"
until = "read"
[[steps]]
press = "enter"
expect = "got"
""".replace('"^one"', '"one"')
    )
    assert session.normalised(shown_by(mine)) == (
        "$ # Hello\n$ echo one; false\none\n$ read -r line; echo got $line\n\ngot\n$\n"
    )
    assert Path("cleaned").exists()


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("type = 'echo one'\nexpect = 'two'", "did not show `two`"),
        ("type = 'exit_with() { return 3; }; exit_with'", "exit code 3, not 0"),
        ("type = 'sleep 60'\nseconds = 0.2", "did not end within 0 s"),
    ],
)
def test_a_step_that_fails_is_named_and_the_cleanup_is_run(script: Write, step: str, told: str) -> None:
    mine = script(f"cleanup = ['touch cleaned']\n[[steps]]\ntype = 'true'\n[[steps]]\n{step}")
    with pytest.raises(CheckError, match="Step 2 of the demo `mine`") as raised:
        shown_by(mine)
    assert told in raised.value.what
    assert Path("cleaned").exists()


def test_steps_can_be_left_out_by_name_and_by_number(script: Write) -> None:
    mine = script("".join(f"[[steps]]\nname = 's{n}'\ntype = 'echo step-{n}'\n" for n in range(1, 5)))
    first, without = session.chosen(mine, "s2", ["3"])
    with session.opened(mine, session.Settings(), lambda _: None) as shell:
        assert [step.name for step in play(mine, shell, Pace(), first=first, without=without)] == ["s2", "s4"]
    with pytest.raises(UsageError, match="no step `s9`"):
        session.chosen(mine, "s9", [])


def test_a_recording_is_an_asciicast_without_secrets(script: Write, tmp_path: Path) -> None:
    mine = script("[[steps]]\nname = 'only'\ntype = \"echo canary-se''cret-value; echo done\"\n")
    settings = session.Settings(secrets=("canary-secret-value",))
    session.record(mine, settings, tmp_path / "out.cast", speed=100)
    header, *events = [json.loads(line) for line in (tmp_path / "out.cast").read_text().splitlines()]
    assert (header["version"], header["term"]["cols"], header["term"]["rows"]) == (3, 100, 30)
    assert [data for _, kind, data in events if kind == "m"] == ["only"]
    text = "".join(data for _, kind, data in events if kind == "o")
    assert "done" in text
    assert "canary-secret-value" not in text
    assert all(interval >= 0 for interval, _, _ in events)
    assert events[-1][1:] == ["x", "0"]


def test_a_recordings_times_are_since_the_event_before() -> None:
    times = iter((10.0, 10.5, 12.0))
    file = io.StringIO()
    recorder = Recorder(file, "t", columns=80, rows=24, clock=lambda: next(times))
    recorder.output("a")
    recorder.output("b")
    assert [json.loads(line) for line in file.getvalue().splitlines()[1:]] == [
        [0.5, "o", "a"],
        [1.5, "o", "b"],
    ]
    assert recorder.seconds == 2.0


@looks(100)
@given(
    text=st.text("abcS-", max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    secrets=st.lists(st.text("abcS-", min_size=3, max_size=8), max_size=3),
)
def test_a_secret_is_masked_however_the_stream_is_cut(text: str, cuts: list[int], secrets: list[str]) -> None:
    passed: list[str] = []
    masked = Masked(secrets, passed.append)
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    for start, end in itertools.pairwise(edges):
        masked.write(text[start:end])
    masked.flush()
    whole = "".join(passed)
    assert not [secret for secret in secrets if secret in whole]
    if not [secret for secret in secrets if secret in text]:
        assert whole == text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Start (1.2 s) done\r\n", "Start (… s) done\n"),
        ("http://localhost:20067/mcp   18600", "http://localhost:PORT/mcp   PID\n"),
        ("client 76ef36bc-d735-4dbc-adcd-…", "client ID…\n"),
        ("http://localhost:1/a?elicitation_id=x-1_y z", "http://localhost:PORT/a?elicitation_id=… z\n"),
        ("at 2026-11-21T08:31:00+00:00 x", "at TIME x\n"),
        ("\x1b[1mdate\x1b[0m: Sat, 21 Nov 2026 08:31:00 GMT\n", "date: TIME\n"),
        ("port 8080 of 4 issues, #42", "port PORT of 4 issues, #42\n"),
    ],
)
def test_what_differs_from_run_to_run_is_taken_out(text: str, normal: str) -> None:
    assert session.normalised(text) == normal


def test_a_changed_text_is_reported_as_a_diff_with_exit_code_6(
    script: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script("[[steps]]\ntype = 'echo new'\n")
    (tmp_path / "mine.golden.txt").write_text("$ echo old\nold\n$\n")
    assert main(["demo", "verify", str(tmp_path / "mine.toml"), "--json"]) == 6
    told = json.loads(capsys.readouterr().out)["data"]["differs"]
    assert "-old" in told
    assert "+new" in told
    assert main(["demo", "verify", str(tmp_path / "mine.toml"), "--update"]) == 0
    assert main(["demo", "verify", str(tmp_path / "mine.toml")]) == 0


def played(folder: Path) -> "pexpect.spawn[str]":
    """The demo of the script, on a terminal of 24 rows and 80 columns."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "workshop", "demo", "play", "mine.toml", "--speed", "50"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}},
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 80),
    )


def test_on_stage_space_goes_on_and_q_ends_it(script: Write, tmp_path: Path) -> None:
    script("".join(f"[[steps]]\ntype = 'echo step-$((3+{n}))'\npause = true\n" for n in range(1, 4)))
    child = played(tmp_path)
    child.expect("step-4")
    with pytest.raises(pexpect.TIMEOUT):
        child.expect("step-5", timeout=0.5)
    child.send("x ")
    child.expect("step-5")
    child.send("q")
    child.expect("Stopped")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_a_demo_follows_a_window_that_is_resized(script: Write, tmp_path: Path) -> None:
    step = "[[steps]]\ntype = 'echo {} $(stty size)'\npause = true\n"
    script(step.format("is") + step.format("now"))
    child = played(tmp_path)
    child.expect("is 24 80")
    child.setwinsize(20, 60)
    child.send(" ")
    child.expect("now 20 60")
    child.send(" ")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_without_a_terminal_a_demo_does_not_wait(script: Write, capsys: pytest.CaptureFixture[str]) -> None:
    script("[[steps]]\ntype = 'true'\n")
    assert main(["demo", "play", "mine.toml"]) == 2
    assert "--auto" in capsys.readouterr().err
    assert main(["demo", "play", "mine.toml", "--auto", "--speed", "50"]) == 0
