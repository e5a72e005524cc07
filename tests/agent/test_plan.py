"""The plan language of part.toml: what can be kept of a result, and every mistake told by name."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from workshop.agent.part import Part
from workshop.agent.rehearsal import Keep, Plan, fill, keep_of, look_up
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
        ("rehearsal = 1", "`rehearsal` in `part.toml` is not a list"),
        ("[[rehearsal]]\nkeywords = []", r"has no `rehearsal\.1\.answer`"),
        ("[[rehearsal]]\nanswer = ''\ncolour = 1", r"unknown key `rehearsal\.1\.colour`"),
        (
            "[[rehearsal]]\nanswer = ''\nkeywords = 'most'\ncalls = 3",
            r"`rehearsal\.1\.calls` in `part\.toml` is not a list",
        ),
        (
            "[[rehearsal]]\nanswer = ''\n[[rehearsal.calls]]\narguments = {}",
            r"has no `rehearsal\.1\.calls\.1\.tool`",
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
