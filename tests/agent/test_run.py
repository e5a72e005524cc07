"""Running a part: `main.py` as its own process, and the same preparation for the command line."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import forked, run_forked
from workshop.agent.approval import ApproveAs
from workshop.agent.loop import Agent, WatchedModel
from workshop.agent.messages import ChatModel
from workshop.agent.openai_chat import OpenAIChat
from workshop.agent.part import Part, RunContext, Timeouts
from workshop.agent.rehearsal import RehearsalModel
from workshop.agent.run import RunOptions, load_answer, prepare, run_answer
from workshop.core.console import Console
from workshop.core.errors import UsageError

PART = """
title = "A part"
summary = "For a test"
question = "How many?"
[[rehearsal]]
answer = "There are {number}"
[[rehearsal.calls]]
tool = "count"
keep = { number = {} }
"""
MAIN = """
from workshop.agent import Agent, PythonTools, run_part
from workshop.core.errors import CredentialsError
def count() -> int:
    return 3
async def answer(agent: Agent) -> str:
    BODY
if __name__ == "__main__":
    run_part(__file__, answer)
"""
ASK = "return await agent.ask(PythonTools(count))"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    folder = tmp_path / "07_example"
    folder.mkdir()
    (folder / "part.toml").write_text(PART)
    (folder / "main.py").write_text(MAIN.replace("BODY", ASK))
    return folder


def _run(part: Path, *options: str, body: str = ASK) -> subprocess.CompletedProcess[str]:
    (part / "main.py").write_text(MAIN.replace("BODY", body))
    return run_forked(
        str(part / "main.py"), *options, folder=part, env={"WORKSHOP_HOME": str(part / "state")}
    )


def test_main_py_prints_the_answer_to_stdout_and_the_rest_to_stderr(part: Path) -> None:
    done = _run(part)
    assert (done.returncode, done.stdout) == (0, "There are 3\n")
    assert "rehearsal model (no LLM)" in done.stderr
    assert "Call count()" in done.stderr


def test_main_py_takes_another_question(part: Path) -> None:
    done = _run(part, "--question", "Will it rain?")
    assert "not a language model" in done.stdout


def test_a_question_that_is_not_utf_8_is_a_usage_error(part: Path) -> None:
    done = _run(part, "--question", os.fsdecode(b"Wie sch\xc3"))
    assert done.returncode == 2
    assert "`--question` is not UTF-8 text" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ("raise CredentialsError('They said no', hint='Ask again')", 4, "Error: They said no"),
        ("raise KeyboardInterrupt", 130, "Stopped"),
        ("pass", 2, "returned no text"),
    ],
)
def test_main_py_ends_with_the_exit_code_of_the_error_and_no_traceback(
    part: Path, body: str, code: int, told: str
) -> None:
    done = _run(part, body=body)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_a_mistake_in_a_learners_code_is_named_with_its_line(part: Path) -> None:
    done = _run(part, body="return agent.questoin")
    assert done.returncode == 1
    assert "AttributeError" in done.stderr
    assert "Error: `main.py`, line " in done.stderr
    assert "Traceback" not in done.stderr


def test_main_py_refuses_options_it_does_not_have(part: Path) -> None:
    assert _run(part, "--colour").returncode == 2


def test_ctrl_c_ends_a_run_with_130(part: Path) -> None:
    body = "import asyncio; print('waiting', flush=True); await asyncio.sleep(60)"
    (part / "main.py").write_text(MAIN.replace("BODY", body))
    home = str(part / "state")
    with forked(str(part / "main.py"), folder=part, env={"WORKSHOP_HOME": home}) as process:
        assert process.stdout
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_an_answer_cannot_steer_the_terminal(part: Path) -> None:
    (part / "main.py").write_text(MAIN.replace("BODY", "return chr(27) + '[2J'"))
    console = Console(io.StringIO(), io.StringIO())
    assert run_answer(RunContext.load(part), load_answer(part), RunOptions(), console) == "\\x1b[2J"


def test_a_run_shows_its_question_and_its_model_first(part: Path) -> None:
    (part / "main.py").write_text(MAIN.replace("BODY", ASK))
    shown = io.StringIO()
    run_answer(RunContext.load(part), load_answer(part), RunOptions(), Console(io.StringIO(), shown))
    assert shown.getvalue().splitlines()[:2] == ["Question: How many?", "Model: rehearsal model (no LLM)"]


def prepared(part: Path, options: RunOptions) -> Agent:
    return prepare(RunContext.load(part, options.env_file), options)


def model_of(part: Path, options: RunOptions) -> ChatModel:
    model = prepared(part, options).model
    assert isinstance(model, WatchedModel)
    return model.model


def test_without_a_model_in_env_the_rehearsal_model_answers(part: Path) -> None:
    assert isinstance(model_of(part, RunOptions()), RehearsalModel)


def _env(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "test.env"
    path.write_text(text)
    return path


def test_a_model_in_env_is_used_unless_the_rehearsal_model_is_asked_for(part: Path, tmp_path: Path) -> None:
    env = _env(tmp_path, "OPENAI_BASE_URL=http://localhost:11434/v1\nWORKSHOP_MODEL=qwen3\n")
    model = model_of(part, RunOptions(env_file=env))
    assert isinstance(model, OpenAIChat)
    assert model.name == "qwen3 at localhost"
    chosen = model_of(part, RunOptions(env_file=env, rehearsal_model=True))
    assert isinstance(chosen, RehearsalModel)


def test_a_key_without_a_model_name_is_reported(part: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="WORKSHOP_MODEL is not set"):
        prepared(part, RunOptions(env_file=_env(tmp_path, "OPENAI_API_KEY=not-a-real-key\n")))


def test_an_agent_knows_what_up_started_and_where_logins_are_kept(part: Path, home: Path) -> None:
    record = {
        "backend": "embedded",
        "upstream": "practice",
        "endpoints": {"workshop": "http://localhost:9/mcp"},
    }
    (home / "default").mkdir(parents=True)
    (home / "default" / "instance.json").write_text(json.dumps(record | {"version": 1}))
    agent = prepared(part, RunOptions(approve_as="learner"))
    assert agent.endpoint("workshop", "http://localhost:8081/mcp") == "http://localhost:9/mcp"
    assert agent.endpoint("github-remote", "http://localhost:8080/mcp") == "http://localhost:8080/mcp"
    assert agent.approval == ApproveAs("learner")
    assert agent.tokens.path("i", "r").parent == home / "default" / "logins"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title = ", "is not TOML"),
        ("title = 'x'\nsummary = 's'", "`question` in .* is missing"),
        ("question = 'x'\nsummary = 's'", "`title` in .* is missing"),
        ("question = 'x'\ntitle = 't'", "`summary` in .* is missing"),
        ("title = 'x'\nsummary = 's'\nquestion = 'y'\ntimeouts = 3", "`timeouts` .* must be a table"),
        ("title = 'x'\nsummary = 's'\nquestion = 'y'\ntimeouts = {call = 0}", r"`timeouts\.call` .* above 0"),
        ("title = 'x'\nsummary = 's'\nquestion = 'y'\ntimeouts = {call = true}", r"`timeouts\.call`"),
    ],
)
def test_a_mistake_in_part_toml_is_reported(part: Path, text: str, told: str) -> None:
    (part / "part.toml").write_text(text)
    with pytest.raises(UsageError, match=told):
        Part.load(part)


@pytest.mark.parametrize(
    ("text", "what", "why", "hint"),
    [
        (
            "timeouts = {calls = 1}",
            "part.toml` is unknown",
            "",
            "approval, call, model, ready",
        ),
        ("timeouts = {ready = 'soon'}", "`timeouts.ready` in", "It is 'soon'", ""),
        ("expect = [1]", "`expect.1` in", "It is 1", ""),
        (
            "[[workloads]]\nname = 'a'\nlocal_port = 70000",
            "must be a port from 1 to 65535",
            "It is 70000",
            "",
        ),
        (
            "[[workloads]]\nname = 'a'\nlocal_port = 1\nkind = 'Pod'",
            "must be 'MCPServer' or 'MCPRemoteProxy'",
            "It is 'Pod'",
            "",
        ),
    ],
)
def test_a_mistake_names_the_key_what_it_is_and_what_is_allowed(
    part: Path, text: str, what: str, why: str, hint: str
) -> None:
    (part / "part.toml").write_text(f"title = 'x'\nsummary = 's'\nquestion = 'y'\n{text}")
    with pytest.raises(UsageError) as caught:
        Part.load(part)
    assert what in caught.value.what
    assert str(part / "part.toml") in caught.value.what
    assert (caught.value.why, hint in caught.value.hint) == (why, True)


def test_timeouts_come_from_part_toml(part: Path) -> None:
    (part / "part.toml").write_text(PART + "[timeouts]\ncall = 5\nready = 7\n")
    assert Part.load(part).timeouts == Timeouts(call=5, ready=7)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "There is no"),
        ("x = 1", "no `async def answer"),
        ("def answer(agent): ...", "no `async def answer"),
    ],
)
def test_a_main_py_without_an_answer_is_reported(part: Path, text: str | None, told: str) -> None:
    (part / "main.py").unlink()
    if text is not None:
        (part / "main.py").write_text(text)
    with pytest.raises(UsageError, match=told):
        load_answer(part)


def test_a_main_py_may_have_a_dataclass_with_annotations_that_are_texts(part: Path) -> None:
    lines = ("from __future__ import annotations", "from dataclasses import dataclass", "")
    (part / "main.py").write_text(
        "\n".join((*lines, "@dataclass", "class Note:", "    text: str = ''", MAIN))
    )
    load_answer(part)


def test_two_parts_may_each_have_a_module_of_the_same_name(part: Path, tmp_path: Path) -> None:
    console = Console(io.StringIO(), io.StringIO())
    other = tmp_path / "08_other"
    other.mkdir()
    (other / "part.toml").write_text(PART)
    for folder, word in ((part, "first"), (other, "second")):
        (folder / "sibling_of_main.py").write_text(f"WORD = '{word}'")
        (folder / "main.py").write_text(
            "from sibling_of_main import WORD\nasync def answer(agent):\n    return WORD\n"
        )
    answers = [
        run_answer(RunContext.load(folder), load_answer(folder), RunOptions(), console)
        for folder in (part, other)
    ]
    assert answers == ["first", "second"]


def test_a_part_without_mcp_does_not_load_it(part: Path) -> None:
    check = "assert not {'mcp', 'httpx2'} & set(__import__('sys').modules); "
    (part / "main.py").write_text(MAIN.replace("BODY", check + ASK))
    home = {**os.environ, "WORKSHOP_HOME": str(part / "state")}
    done = subprocess.run([sys.executable, str(part / "main.py")], cwd=part, env=home, check=False)
    assert done.returncode == 0


def test_every_exported_name_is_there() -> None:
    import workshop.agent

    for name in dir(workshop.agent):
        assert getattr(workshop.agent, name)
    with pytest.raises(AttributeError, match="no attribute 'Agnet'"):
        workshop.agent.Agnet  # noqa: B018 - the access is the test
