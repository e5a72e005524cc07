"""The rehearsal model: follows the plan that fits, matches keywords otherwise, and never pretends."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from workshop.agent.loop import run_agent
from workshop.agent.part import Part
from workshop.agent.rehearsal import Keep, Plan, PlannedCall, RehearsalModel, fill, keep_of, look_up
from workshop.agent.toolbox import PythonTools
from workshop.core.errors import UsageError, WorkshopError

ISSUES = {
    "issues": [{"n": 1, "state": "open", "by": {"age": 9}}, {"n": 3, "state": "closed", "by": {"age": 4}}]
}


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (Keep(), ISSUES),
        (Keep("issues.1.n"), 3),
        (Keep("issues", choice="max_by", by="n"), ISSUES["issues"][1]),
        (Keep("issues", choice="min_by", by="by.age"), ISSUES["issues"][1]),
        (Keep("issues", choice="first"), ISSUES["issues"][0]),
        (Keep("issues", choice="count"), 2),
        (Keep("issues", where={"state": "open"}, choice="count"), 1),
        (Keep("issues", where={"by.age": 4}), [ISSUES["issues"][1]]),
    ],
)
def test_a_rule_keeps_one_thing_of_a_result(rule: Keep, kept: object) -> None:
    assert keep_of(ISSUES, rule) == kept


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (Keep("pulls"), "asks for `pulls`"),
        (Keep("issues.7"), "asks for `issues.7`"),
        (Keep("issues", choice="max_by", by="name"), "asks for `name`"),
        (Keep("issues.0", choice="first"), "expects a list"),
        (Keep("issues", where={"state": "lost"}, choice="first"), "found nothing"),
        (Keep("issues", choice="max_by", by="by"), "cannot compare by `by`"),
    ],
)
def test_a_rule_that_does_not_fit_the_result_reports_that(rule: Keep, told: str) -> None:
    with pytest.raises(WorkshopError, match=told):
        keep_of(ISSUES, rule)


def test_a_missing_path_names_what_there_is_instead() -> None:
    with pytest.raises(WorkshopError) as caught:
        look_up({"me": {"login": "learner", "id": 1}}, "me.name")
    assert caught.value.why == "It has: id, login"


def test_a_placeholder_alone_keeps_its_type_and_others_become_text() -> None:
    known = {"newest": {"number": 42}, "me": {"login": "learner"}}
    template = {
        "number": "{newest.number}",
        "query": "user:{me.login}",
        "list": ["{newest.number}"],
        "plain": 1,
    }
    assert fill(template, known) == {"number": 42, "query": "user:learner", "list": [42], "plain": 1}


def test_a_filled_value_is_not_filled_again() -> None:
    assert fill("{title}", {"title": "{me.login}"}) == "{me.login}"
    assert fill("Title: {title}", {"title": "{me.login}"}) == "Title: {me.login}"


def _plans(text: str) -> tuple[Plan, ...]:
    data: dict[str, Any] = tomllib.loads(text)
    described = {"title": "t", "summary": "s", "question": "q"}
    return Part.parse(described | data, Path("part.toml")).plans


def test_plans_are_read_in_order_with_calls_and_rules() -> None:
    first, second = _plans(
        """
        [[rehearsal]]
        keywords = ["most"]
        answer = "{busiest.name}"
        [[rehearsal.calls]]
        tool = "list_repositories"
        keep = { busiest = { from = "repositories", max_by = "open_issues" } }
        [[rehearsal]]
        answer = "nothing to do"
        """
    )
    assert first.keywords == ("most",)
    assert first.calls[0].tool == "list_repositories"
    assert first.calls[0].keep["busiest"] == Keep("repositories", {}, "max_by", "open_issues")
    assert second == Plan("nothing to do", ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rehearsal = 1", "`rehearsal` in `part.toml` must be a list"),
        ("[[rehearsal]]\nkeywords = []", r"`rehearsal\.1\.answer` in .* is missing"),
        ("[[rehearsal]]\nanswer = ''\ncolour = 1", r"`rehearsal\.1\.colour` in .* is unknown"),
        (
            "[[rehearsal]]\nanswer = ''\nkeywords = 'most'\ncalls = 3",
            r"`rehearsal\.1\.calls` in `part\.toml` must be a list",
        ),
        (
            "[[rehearsal]]\nanswer = ''\n[[rehearsal.calls]]\narguments = {}",
            r"`rehearsal\.1\.calls\.1\.tool` in .* is missing",
        ),
        (
            "[[rehearsal]]\nanswer = ''\ncalls = [{tool = 'x', keep = {a = 1}}]",
            r"`rehearsal\.1\.calls\.1\.keep\.a` in .* is not a table",
        ),
        (
            "[[rehearsal]]\nanswer = ''\ncalls = [{tool='x', keep={a={first=true, count=true}}}]",
            "has more than one of first, count",
        ),
    ],
)
def test_a_mistake_in_a_plan_is_reported_by_its_place(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        _plans(text)


QUESTION = "Which of my repositories has the most open issues, and what is its newest issue about?"
REPOSITORIES = [{"name": "dotfiles", "open": 0}, {"name": "trail-mapper", "open": 4}]
OPEN_ISSUES = {"trail-mapper": [{"number": 41, "title": "Chart"}, {"number": 42, "title": "GPX"}]}
BUSIEST = PlannedCall("list_repositories", keep={"busiest": Keep("", choice="max_by", by="open")})
NEWEST = PlannedCall(
    "list_issues", {"repository": "{busiest.name}"}, {"newest": Keep("", choice="max_by", by="number")}
)
FULL = Plan(
    "{busiest.name}: #{newest.number} {newest.title}", (BUSIEST, NEWEST), ("most", "open", "issues", "newest")
)
SHORT = Plan("{busiest.name}", (BUSIEST,), ("most", "open", "issues"))


def list_repositories() -> list[dict[str, object]]:
    """List my repositories."""
    return REPOSITORIES


def list_issues(repository: str) -> list[dict[str, object]]:
    """List the issues of a repository."""
    return list(OPEN_ISSUES[repository])


TOOLS = PythonTools(list_repositories, list_issues)


async def _answer(question: str, *plans: Plan) -> str:
    return await run_agent(question, RehearsalModel(plans, QUESTION), TOOLS)


def test_it_reports_that_it_is_no_language_model() -> None:
    assert "no LLM" in RehearsalModel(()).name


async def test_the_plan_of_the_default_question_leads_to_its_answer() -> None:
    assert await _answer(QUESTION, FULL, SHORT) == "trail-mapper: #42 GPX"


@pytest.mark.parametrize(
    "question", ["Which of my repositories has the most open issues?", "most OPEN issues, please!"]
)
async def test_another_question_takes_the_plan_whose_keywords_all_occur(question: str) -> None:
    assert await _answer(question, FULL, SHORT) == "trail-mapper"


async def test_an_opposite_question_does_not_get_the_answer_of_the_plan() -> None:
    answer = await _answer("Which of my repositories has the fewest open issues?", FULL, SHORT)
    assert answer.startswith("By keywords your question fits the tool list_repositories. It returned: [")


async def test_a_question_that_fits_no_tool_is_declined_with_the_tools_there_are() -> None:
    answer = await _answer("Will it rain tomorrow?", FULL, SHORT)
    assert "not a language model" in answer
    assert "list_repositories, list_issues" in answer


async def test_a_failed_tool_ends_in_saying_so() -> None:
    plan = Plan("never", (PlannedCall("list_issues", {"repository": "lost"}),), ("lost",))
    assert "the tool list_issues failed. KeyError" in await _answer("the lost one", plan)


async def test_a_plan_that_does_not_fit_the_result_is_an_error_of_the_plan() -> None:
    plan = Plan("{busiest.stars}", (BUSIEST,), ("stars",))
    with pytest.raises(WorkshopError, match=r"busiest\.stars"):
        await _answer("stars?", plan)
