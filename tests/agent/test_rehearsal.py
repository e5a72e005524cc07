"""The rehearsal model: follows the plan that fits, matches keywords otherwise, and never pretends."""

import pytest

from workshop.agent.loop import run_agent
from workshop.agent.rehearsal import Keep, Plan, PlannedCall, RehearsalModel
from workshop.agent.toolbox import PythonTools
from workshop.core.errors import WorkshopError

QUESTION = "Which of my repositories has the most open issues, and what is its newest issue about?"
REPOSITORIES = [{"name": "dotfiles", "open": 0}, {"name": "trail-mapper", "open": 4}]
ISSUES = {"trail-mapper": [{"number": 41, "title": "Chart"}, {"number": 42, "title": "GPX"}]}
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
    return list(ISSUES[repository])


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
