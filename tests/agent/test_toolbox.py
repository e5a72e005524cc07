"""Python functions as tools: schema from type hints, arguments checked, failures told."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from workshop.agent.toolbox import PythonTools
from workshop.core.errors import UsageError


def list_issues(
    repository: Annotated[str, Field(description="Its name")], state: Literal["open", "closed"] = "open"
) -> dict[str, object]:
    """List the issues of a repository.

    Newest first.
    """
    return {"repository": repository, "state": state}


async def wait_and_add(a: int, b: int = 1) -> int:
    """Add, in a while."""
    return a + b


def fail() -> None:
    """Fail."""
    raise ValueError("the disk is full")


async def test_name_docstring_and_type_hints_describe_a_tool() -> None:
    (spec,) = await PythonTools(list_issues).list_tools()
    assert spec.name == "list_issues"
    assert spec.description == "List the issues of a repository.\n\nNewest first."
    assert spec.input_schema["required"] == ["repository"]
    assert spec.input_schema["properties"]["repository"]["description"] == "Its name"
    assert spec.input_schema["properties"]["state"]["enum"] == ["open", "closed"]


async def test_a_call_returns_text_for_the_model_and_data() -> None:
    result = await PythonTools(list_issues).call_tool("list_issues", {"repository": "dotfiles"})
    assert result.data == {"repository": "dotfiles", "state": "open"}
    assert result.text == '{"repository": "dotfiles", "state": "open"}'
    assert not result.is_error


async def test_a_coroutine_function_is_a_tool_too() -> None:
    assert (await PythonTools(wait_and_add).call_tool("wait_and_add", {"a": 1})).data == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "`repository` is missing"),
        ({"repository": "x", "state": "any"}, "`state` must be 'open' or 'closed'"),
        ({"repository": "x", "colour": "red"}, "`colour` is unknown"),
    ],
)
async def test_wrong_arguments_are_reported_without_a_call(arguments: dict[str, str], told: str) -> None:
    result = await PythonTools(list_issues).call_tool("list_issues", arguments)
    assert result.is_error
    assert told in result.text


async def test_what_a_tool_raises_is_its_result() -> None:
    result = await PythonTools(fail).call_tool("fail", {})
    assert result.is_error
    assert result.text == "ValueError: the disk is full"


def test_a_function_a_model_cannot_call_by_name_is_refused() -> None:
    def positional(a: int, /) -> int:
        return a

    with pytest.raises(UsageError, match="`positional` cannot be a tool"):
        PythonTools(positional)
