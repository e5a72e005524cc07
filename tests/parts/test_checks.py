"""The parts' checks: well made, passed by what is there, and failed by what is broken."""

import ast
import asyncio
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.course.conftest import ALL, Judge, called, judge
from tests.parts.conftest import RunningServer
from workshop.agent.part import RunContext
from workshop.agent.run import RunOptions, load_answer, prepare
from workshop.agent.token_store import sign_out
from workshop.core.instance import Instance, Record
from workshop.core.paths import parts_dir
from workshop.course.check_outcome import Outcome
from workshop.course.checks import Subject, checks_of
from workshop.course.exercise import Exercise, exercises_of
from workshop.course.lessons import Lesson, find_lessons

LESSONS = find_lessons(parts_dir())
Change = Callable[[int, str, str, str], Path]
__all__ = ["judge"]  # a fixture of the lessons' tests


@pytest.fixture
def change(tmp_path: Path) -> Change:
    """A copy of all parts with one text of one file replaced by another; the folder of that part."""

    def changed(part: int, file: str, old: str, new: str) -> Path:
        shutil.copytree(parts_dir(), tmp_path / "parts", ignore=shutil.ignore_patterns("__pycache__"))
        folder = tmp_path / "parts" / LESSONS[part - 1].directory.name
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
        return folder

    return changed


def failed(outcomes: dict[str, Outcome]) -> list[str]:
    return [name for name, outcome in outcomes.items() if outcome.state == "failed"]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.directory.name)
def test_a_part_has_five_checks_or_more_and_each_says_in_a_sentence_what_it_proves(
    lesson: Lesson, tmp_path: Path
) -> None:
    checks = checks_of(Subject(lesson.directory, tmp_path).module("checks"))
    own = [check for check in checks if check.exercise is None]
    assert len(own) > 5, "the one that it was run does not count"
    for check in checks:
        text = check.act.__doc__ or ""
        assert text.endswith("."), check.name
        assert "\n" not in text, check.name
        assert check.hints, check.name
        assert 0 < check.seconds <= 60
        assert check.retries * 0.5 < check.seconds, "what is tried again ends in time"
        assert set(check.needs) <= {other.name for other in checks}
    numbers = [exercise.number for exercise in exercises_of(lesson)]
    assert (
        [check.exercise for check in checks if check.exercise] == numbers == list(range(1, len(numbers) + 1))
    )
    assert len(numbers) in ((5,) if lesson.number == 4 else (2, 3))
    assert sum(check.seconds for check in own) < 200


@pytest.mark.parametrize("exercise", ALL, ids=called)
def test_an_exercise_has_hints_in_stages(exercise: Exercise, tmp_path: Path) -> None:
    checks = checks_of(Subject(exercise.directory.parents[1], tmp_path).module("checks"))
    (check,) = (check for check in checks if check.exercise == exercise.number)
    assert check.name == f"exercise_{exercise.number}"
    assert len(check.hints) >= 2
    solution = exercise.solution.read_text("utf-8")
    known = f"{exercise.start.read_text('utf-8')}{exercise.task}"
    written = {line.strip() for line in solution.splitlines()} - {line.strip() for line in known.splitlines()}
    for hint in check.hints:
        assert not [line for line in written if len(line) > 8 and line in hint], "a hint leads there"
        code = [span for span in re.findall(r"`([^`]+)`", hint) if re.search(r"[ (=]", span)]
        assert not [span for span in code if span in solution and span not in known], hint


@pytest.mark.parametrize("exercise", ALL, ids=called)
def test_an_exercise_fails_as_it_begins_and_passes_as_it_is_solved(
    exercise: Exercise, judge: Judge, tmp_path: Path
) -> None:
    states = []
    for source in (exercise.start, exercise.solution):
        work = tmp_path / f"{source.stem}_of_mine{source.suffix}"
        shutil.copy(source, work)
        works = {str(exercise.number): str(work)}
        (found,) = judge(exercise.directory.parents[1], works=works, only=exercise.number).values()
        states.append((found.state, bool(found.reason)))
    assert states == [("failed", True), ("passed", False)]


def test_part_1_passes_as_it_is_and_not_before_it_was_run(judge: Judge) -> None:
    assert failed(judge(LESSONS[0].directory, ran=False)) == ["it_was_run"]
    assert failed(judge(LESSONS[0].directory)) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "check"),
    [
        (
            "tools.py",
            '"""Calculate with two numbers',
            '""""""  # Calculate with',
            "the_tools_describe_themselves",
        ),
        ("tools.py", "result = a * b", "result = a + b", "a_call_is_carried_out"),
        ("main.py", "conversation.append(reply)", "conversation[:] = [reply]", "it_goes_on_until_the_answer"),
        ("tools.py", "; there are {known}", "", "an_error_goes_to_the_model"),
        ("main.py", "range(MAX_TURNS)", "range(1, 99)", "a_lost_model_is_stopped"),
        ("part.toml", 'max_by = "open_issues"', 'min_by = "open_issues"', "the_answer_is_right"),
    ],
    ids=lambda value: value if "_" in value and " " not in value else "",
)
def test_what_is_broken_in_part_1_fails_its_check(
    change: Change, judge: Judge, file: str, old: str, new: str, check: str
) -> None:
    assert check in failed(judge(change(1, file, old, new)))


def test_the_check_that_the_page_shows_passes_and_fails(change: Change, judge: Judge) -> None:
    page = (parts_dir() / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.+?)```", page, re.DOTALL)
    folder = change(
        1,
        "checks.py",
        '@check(\n    hints=(\n        "Look',
        f'{shown}\n\n@check(\n    hints=(\n        "Look',
    )
    outcomes = judge(folder)
    assert outcomes["the_model_gets_the_tools"].state == "passed"
    assert failed(outcomes) == []
    main = folder / "main.py"
    broken = main.read_text("utf-8").replace("reply(conversation, tools)", "reply(conversation, [])")
    main.write_text(broken, encoding="utf-8")
    assert failed(judge(folder))[0] == "the_model_gets_the_tools"


def test_part_2_passes_as_it_is(judge: Judge) -> None:
    assert failed(judge(LESSONS[1].directory)) == []


def test_a_server_that_does_not_start_leaves_nothing_else_to_try(change: Change, judge: Judge) -> None:
    outcomes = judge(change(2, "server.py", "import asyncio\n", "import asyncio, no_such_module\n"))
    assert failed(outcomes) == ["the_server_starts"]
    assert "ended before it answered" in outcomes["the_server_starts"].reason


def test_what_is_broken_in_part_2_fails_its_check(change: Change, judge: Judge) -> None:
    published = '@server.tool(title="Calculate", annotations=READ_ONLY)\n'
    folder = change(2, "server.py", published, "")
    server, main = folder / "server.py", folder / "main.py"
    text = server.read_text("utf-8").replace("await context.report_progress(", "str(")
    server.write_text(text.replace('ToolError(f"There is no', 'KeyError(f"There is no'), encoding="utf-8")
    asked = "return await agent.ask(McpTools(client))"
    looped = main.read_text("utf-8").replace(asked, f"for _ in range(1):\n            {asked}")
    main.write_text(looped, encoding="utf-8")
    outcomes = judge(folder)
    reasons = {name: outcomes[name].reason for name in failed(outcomes)}
    assert reasons.pop("the_tools_are_listed") == "calculate of part 1: not listed here"
    assert "Unknown tool" in reasons.pop("a_tool_is_called")
    assert "The error does not list what would work" in reasons.pop("an_error_is_a_result")
    assert reasons.pop("progress_arrives") == "Of three steps, these were reported: []"
    assert "There is a loop in main.py" in reasons.pop("the_loop_is_untouched")
    assert reasons == {}


def up(**ports: int) -> None:
    """Write down what runs, as `workshop up` would."""
    urls = {name.replace("_", "-"): f"http://localhost:{port}" for name, port in ports.items()}
    endpoints = {name: url if name == "practice-github" else f"{url}/mcp" for name, url in urls.items()}
    Instance.load().save(Record("embedded", "practice", endpoints=endpoints))


@pytest.mark.parametrize(("part", "first"), [(3, "the_endpoint_answers"), (4, "the_challenge_is_seen")])
def test_with_nothing_up_the_first_check_reports_that_and_the_rest_is_not_tried(
    judge: Judge, part: int, first: str
) -> None:
    outcomes = judge(LESSONS[part - 1].directory)
    assert first in failed(outcomes)
    assert outcomes[first].reason == "Nothing is up"
    assert outcomes[first].hints[0] == "`workshop up` starts what the parts need"
    assert len([one for one in outcomes.values() if one.state == "not tried"]) >= 4


def test_part_3_passes_behind_a_proxy_that_does_as_the_yaml_says_and_fails_behind_another(
    judge: Judge, change: Change, part_3: int, http_server: RunningServer
) -> None:
    up(workshop=part_3)
    outcomes = judge(LESSONS[2].directory)
    assert failed(outcomes) == []
    assert [one.name for one in outcomes.values() if one.state != "passed"] == ["progress_passes_the_proxy"]
    folder = change(3, "toolhive/tools.yaml", "    - calculate\n", "")
    assert failed(judge(folder)) == ["the_tools_are_the_filtered_ones"]
    yaml, text = (
        folder / "toolhive" / "tools.yaml",
        (LESSONS[2].directory / "toolhive/tools.yaml").read_text(),
    )
    yaml.write_text(text.replace("as the operator describes it", "as nobody does"), encoding="utf-8")
    assert failed(judge(folder)) == ["the_operators_words_count"]
    renames = text.replace("    get_issue: ", "    list_issues: {name: all_issues}\n    get_issue: ")
    yaml.write_text(renames, encoding="utf-8")
    assert failed(judge(folder)) == ["the_operators_words_count", "a_hidden_tool_is_refused"]
    yaml.write_text(
        text.replace("    - calculate\n", "    - calculate\n    - slow_count\n"), encoding="utf-8"
    )
    up(workshop=http_server.port)  # no proxy: every tool is shown
    assert judge(folder)["progress_passes_the_proxy"].state == "passed"


def log_in() -> None:
    folder = LESSONS[3].directory
    agent = prepare(RunContext.load(folder), RunOptions(approve_as="learner", rehearsal_model=True))
    asyncio.run(load_answer(folder)(agent))  # an answer is a coroutine


def test_part_4_passes_with_a_login_and_fails_with_a_token_that_got_out_or_was_revoked(
    judge: Judge, part_4: dict[int, int]
) -> None:
    part = LESSONS[3].directory
    practice = f"http://localhost:{part_4[8090]}"
    up(github_remote=part_4[8080], practice_github=part_4[8090])
    assert failed(judge(part)) == ["you_are_logged_in"]
    log_in()
    for _ in range(2):
        outcomes = judge(part)
        assert {one.state for one in outcomes.values()} == {"passed"}, outcomes

    store = prepare(RunContext.load(part), RunOptions(rehearsal_model=True)).tokens
    (login,) = store.all()
    assert login.tokens
    token = login.tokens.access_token
    httpx2.post(f"{practice}/mcp/", headers={"Authorization": f"Bearer {token}"}, json={})
    outcomes = judge(part)
    assert failed(outcomes) == ["the_token_never_left"]
    assert token not in str(outcomes)

    (login,) = store.all()
    asyncio.run(sign_out(store, [login], forget=False))
    store.save(login)
    outcomes = judge(part)
    assert failed(outcomes) == ["a_real_tool_is_called"]
    assert "needs your approval" in outcomes["a_real_tool_is_called"].reason


def test_checks_import_only_what_a_part_may_and_the_one_module_for_checks() -> None:
    for lesson in LESSONS:
        tree = ast.parse((lesson.directory / "checks.py").read_text(encoding="utf-8"))
        imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        imported += [name.name for n in ast.walk(tree) if isinstance(n, ast.Import) for name in n.names]
        for module in imported:
            top = module.partition(".")[0]
            ours = module == "workshop.course.checks" or f"{module}.".startswith("workshop.agent.")
            assert top in sys.stdlib_module_names or top == "mcp" or ours, module
