"""Programs run to their end or their deadline, and nothing of them stays."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.lab.tools.waiting import gone, until
from workshop.core.errors import DeadlineError, PreflightError, WorkshopError
from workshop.lab.tools.run import Runner

# The note is whole when it is there: a deadline may end the program between two steps.
SLEEPER = (
    "import os, sys, time; note = sys.argv[1]; open(note + '.new', 'w').write(str(os.getpid()));"
    "os.rename(note + '.new', note); time.sleep(600)"
)
PROXY = "http://me:s3cret@proxy:3128"
PARENT = (
    "import subprocess, sys, time;"
    f"subprocess.Popen([sys.executable, '-c', {SLEEPER!r}, sys.argv[1]]); time.sleep(600)"
)


def python(program: str, *words: str) -> list[str]:
    return [sys.executable, "-c", program, *words]


def written_pid(path: Path) -> int:
    until(lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())


def test_a_program_that_ends_well_gives_its_output() -> None:
    done = Runner().run(python("import sys; print('out'); print('err', file=sys.stderr)"), seconds=100)
    assert (done.code, done.stdout, done.stderr) == (0, "out\n", "err\n")


def test_the_environment_is_ours_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("TAKEN", "taken")
    program = "import os; print(*[os.environ.get(name) for name in ('KEPT', 'TAKEN', 'GIVEN')])"
    done = Runner().run(python(program), seconds=100, env={"TAKEN": None, "GIVEN": "given"})
    assert done.stdout == "kept None given\n"
    assert os.environ["TAKEN"] == "taken"


def test_input_is_fed_and_none_means_an_empty_input() -> None:
    read = "import sys; print(len(sys.stdin.read()))"
    assert Runner().run(python(read), seconds=100, stdin=b"x" * 300_000).stdout == "300000\n"
    assert Runner().run(python(read), seconds=100).stdout == "0\n"


def test_a_program_that_does_not_read_its_input_is_no_error() -> None:
    assert Runner().run(python("print(1)"), seconds=100, stdin=b"x" * 300_000).stdout == "1\n"


def test_a_file_is_read_as_the_input_and_stands_in_what_is_shown(tmp_path: Path) -> None:
    held = tmp_path / "an archive.tar"
    held.write_bytes(b"x" * 300_000)
    told: list[str] = []
    read = "import sys; print(len(sys.stdin.read()))"
    assert Runner(echo=told.append).run(python(read), seconds=100, stdin=held).stdout == "300000\n"
    assert told[0].endswith(f" < '{held}'")


def test_a_failure_reports_the_last_lines_and_how_to_repeat_it() -> None:
    program = "import sys; [print(f'line {n}', file=sys.stderr) for n in range(9)]; sys.exit(7)"
    with pytest.raises(WorkshopError) as caught:
        Runner().run(python(program), seconds=100)
    assert "exit code 7" in caught.value.what
    assert caught.value.why == "line 6\nline 7\nline 8"
    assert caught.value.hint.startswith("By hand: ")


def test_a_failure_can_be_looked_at_instead() -> None:
    assert Runner().run(python("raise SystemExit(3)"), seconds=100, check=False).code == 3


def test_a_silent_failure_reports_that() -> None:
    with pytest.raises(WorkshopError) as caught:
        Runner().run(python("raise SystemExit(1)"), seconds=100)
    assert caught.value.why == "It wrote no output"


def test_a_message_we_know_becomes_a_hint(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('write /x: no space left on device')\n")
    docker.chmod(0o755)
    with pytest.raises(WorkshopError) as caught:
        Runner().run([str(docker)], seconds=100)
    assert "docker system df" in caught.value.hint


def test_an_absent_program_is_reported_with_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PreflightError) as caught:
        Runner().run(["kind", "version"], seconds=100)
    assert caught.value.what == "`kind` was not found on your PATH"
    assert "kind.sigs.k8s.io" in caught.value.hint


def test_the_deadline_ends_the_program_and_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(DeadlineError) as caught:
        Runner().run(python(PARENT, str(note)), seconds=2)
    assert "within 2 s" in caught.value.what
    if note.exists():  # on a machine under load it may not have come that far
        until(lambda: gone(written_pid(note)))


def test_the_deadline_ends_a_program_that_ignores_being_asked(
    tmp_path: Path,
) -> None:
    note = tmp_path / "pid"
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
    with pytest.raises(DeadlineError):
        Runner(grace_seconds=0.2).run(python(deaf, str(note)), seconds=2)
    assert not note.exists() or gone(written_pid(note))


def test_a_child_that_outlives_its_program_is_ended(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "import os, subprocess, sys, time;"
        f"subprocess.Popen([sys.executable, '-c', {SLEEPER!r}, sys.argv[1]]);"
        "exec('while not os.path.exists(sys.argv[1]): time.sleep(0.01)'); print('done')"
    )
    assert Runner(drain_seconds=0.5).run(python(program, str(note)), seconds=60).stdout == "done\n"
    until(lambda: gone(written_pid(note)))


def test_ctrl_c_ends_the_program_and_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    ours = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from workshop.lab.tools.run import Runner;"
        "Runner().run([sys.executable, '-c', sys.argv[1], sys.argv[2]], seconds=300)"
    )
    process = subprocess.Popen(python(ours, PARENT, str(note)), stderr=subprocess.PIPE)
    pid = written_pid(note)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in told
    until(lambda: gone(pid))


def test_stop_ends_what_runs_in_other_threads_and_starts_nothing_more(tmp_path: Path) -> None:
    runner, caught = Runner(), []
    note = tmp_path / "pid"

    def work() -> None:
        try:
            runner.run(python(SLEEPER, str(note)), seconds=300)
        except WorkshopError as error:
            caught.append(error.what)

    thread = threading.Thread(target=work)
    thread.start()
    pid = written_pid(note)
    runner.stop()
    thread.join(60)
    assert gone(pid)
    assert len(caught) == 1
    assert "was stopped" in caught[0]
    with pytest.raises(WorkshopError, match="was stopped"):
        runner.run(python("print(1)"), seconds=100)
    runner.resume()
    assert runner.run(python("print(1)"), seconds=100).stdout == "1\n"


def test_echo_and_stream_mask_a_login() -> None:
    echoed: list[str] = []
    streamed: list[str] = []
    runner = Runner(echoed.append, streamed.append)
    runner.run(python("import sys; print(sys.argv[1])", PROXY), seconds=100, env={"GIVEN": PROXY})
    assert streamed == ["http://***@proxy:3128"]
    assert echoed[0].startswith("GIVEN='http://***@proxy:3128' ")
    assert "s3cret" not in echoed[0]


def test_an_error_masks_a_login() -> None:
    with pytest.raises(WorkshopError) as caught:
        Runner().run(python("import sys; sys.exit('no ' + sys.argv[1])", PROXY), seconds=100)
    assert caught.value.why == "no http://***@proxy:3128"
    assert "s3cret" not in f"{caught.value.what} {caught.value.hint}"
