"""A word that is not a command gets the command that was probably meant."""

from pathlib import Path

import pexpect
import pytest

from tests.cli.conftest import Workshop
from tests.environment import IsolatedInstance
from workshop.core.errors import INTERRUPTED, UsageError


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("part run 1", "workshop part 1 run"),
        ("part run", "workshop part 2 run"),
        ("part check 3 --hint", "workshop part 3 check --hint"),
        ("part hints", "workshop part 2 check --hint"),
        ("part 1 hint", "workshop part 1 check --hint"),
        ("part 1 hint 2", "workshop part 1 check --hint 2"),
        ("part 1 hints 2", "workshop part 1 check --hint 2"),
        ("part hint 1", "workshop part 1 check --hint"),
        ("part 1 watch", "workshop part 1 check --watch"),
        ("part 1 solution 2", "workshop part 1 solve 2"),
        ("part 1 runn 2", "workshop part 1 run"),
        ("watch", "workshop part 2 check --watch"),
        ("part 1 runn", "workshop part 1 run"),
        ("start", "workshop up"),
        ("stop", "workshop teardown"),
        ("run", "workshop part 2 run"),
        ("check", "workshop part 2 check"),
        ("4", "workshop part 4 show"),
        ("4 run", "workshop part 4 run"),
        ("hints", "workshop part 2 check --hint"),
        ("statsu", "workshop status"),
        ("logout", "workshop login revoke --all"),
        ("login lst", "workshop login list"),
    ],
)
def test_a_guess_is_answered_with_what_was_meant(workshop: Workshop, typed: str, meant: str) -> None:
    workshop("part", "2", "show")  # the part that the learner is in
    outcome = workshop(*typed.split())
    assert outcome.code == UsageError.exit_code
    assert f"Did you mean `{meant}`?" in outcome.err
    assert len(outcome.err.splitlines()) <= 6
    assert workshop(*meant.split()[1:], "--help").code == 0, "it can be pasted"


@pytest.mark.parametrize(
    ("typed", "message"), [("part 9", "There is no part `9`"), ("zzz", "`workshop zzz`")]
)
def test_what_nobody_can_guess_is_not_guessed(workshop: Workshop, typed: str, message: str) -> None:
    outcome = workshop(*typed.split())
    assert message in outcome.err
    assert "Did you mean" not in outcome.err


@pytest.mark.parametrize(("answer", "result"), [("n", "Nothing was changed"), ("YES", "starts again")])
def test_a_question_is_asked_again_on_garbage_and_the_decision_is_shown(
    instance: IsolatedInstance, workshop: Workshop, answer: str, result: str
) -> None:
    workshop("part", "1", "exercise", "1")
    child = instance.spawn("part", "1", "reset", "1")
    child.expect(r"\[y/N\]")
    child.send("maybe later\r")
    child.expect("Answer y for yes or n for no")
    child.expect(r"\[y/N\]")
    child.send(f"{answer}\r")
    child.expect(result)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_question_can_be_left(instance: IsolatedInstance, workshop: Workshop) -> None:
    workshop("part", "1", "exercise", "1")
    child = instance.spawn("part", "1", "reset", "1")
    child.expect(r"\[y/N\]")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == INTERRUPTED


def test_the_env_file_of_up_is_remembered_until_teardown(
    instance: IsolatedInstance, workshop: Workshop, tmp_path: Path
) -> None:
    file = tmp_path / "mine.env"
    file.write_text("WORKSHOP_MODEL=my-model\nOPENAI_BASE_URL=http://127.0.0.1:9/v1\n", encoding="utf-8")
    done = instance.run("up", "--env-file", str(file), *instance.port_options)
    assert done.returncode == 0, done.stderr
    configured = workshop("config").out
    assert "my-model" in configured
    assert "the last `workshop up`" in configured
    assert "http://127.0.0.1:9" in workshop("part", "1", "run").err, "the part asks this model"
    again = workshop("up")
    assert again.code == 0, again.err
    assert "my-model" in workshop("config").out, "another `up` keeps it, as it keeps the ports"
    workshop("teardown")
    assert "my-model" not in workshop("config").out
