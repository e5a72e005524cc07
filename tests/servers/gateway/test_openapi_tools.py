"""Tools out of an OpenAPI description: what is offered, what is refused, where no argument leads."""

import copy
from typing import Any

import pytest

from workshop.auth.openapi_tools import read_api
from workshop.core.errors import UsageError

ISSUES = "/repos/{owner}/{repo}/issues"


def text(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, **more}


DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "http://localhost:8090"}],
    "paths": {
        "/user": {"get": {"operationId": "getUserProfile", "summary": "Who you are"}},
        ISSUES: {
            "get": {
                "operationId": "getRepoIssues",
                "description": "The issues",
                "parameters": [
                    text("owner", description="Whose"),
                    text("repo"),
                    {"name": "per_page", "in": "query", "schema": {"type": "integer", "default": 30}},
                ],
            }
        },
    },
}


def test_an_operation_becomes_a_tool_with_the_parameters_as_schema() -> None:
    operation = read_api(DESCRIPTION).operations["getRepoIssues"]
    assert operation.description == "The issues"
    assert operation.input_schema == {
        "type": "object",
        "properties": {
            "owner": {"type": "string", "description": "Whose"},
            "repo": {"type": "string"},
            "per_page": {"type": "integer", "default": 30},
        },
        "required": ["owner", "repo"],
        "additionalProperties": False,
    }
    assert read_api(DESCRIPTION).operations["getUserProfile"].input_schema["properties"] == {}


@pytest.mark.parametrize(
    ("owner", "path"),
    [
        ("learner", "/repos/learner/dotfiles/issues?per_page=5"),
        ("../../user", "/repos/..%2F..%2Fuser/dotfiles/issues?per_page=5"),
        ("a?b#c%2f&d", "/repos/a%3Fb%23c%252f%26d/dotfiles/issues?per_page=5"),
        ("..a", "/repos/..a/dotfiles/issues?per_page=5"),
        ("é {repo}", "/repos/%C3%A9%20%7Brepo%7D/dotfiles/issues?per_page=5"),
    ],
)
def test_an_argument_stays_in_its_place(owner: str, path: str) -> None:
    operation = read_api(DESCRIPTION).operations["getRepoIssues"]
    assert operation.address({"owner": owner, "repo": "dotfiles", "per_page": 5}) == path


@pytest.mark.parametrize("owner", ["", ".", ".."])
def test_a_step_up_the_path_is_refused(owner: str) -> None:
    operation = read_api(DESCRIPTION).operations["getRepoIssues"]
    with pytest.raises(ValueError, match="owner"):
        operation.address({"owner": owner, "repo": "dotfiles"})


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("openapi",), "2.0"),
        (("servers",), []),
        (("servers",), [{"url": "http://api.example.com"}]),
        (("servers",), [{"url": "file:///etc/passwd"}]),
        (("paths",), {}),
        (("paths",), []),
        (("paths", "/user"), {"$ref": "#/other"}),
        (("paths", "/user"), {"post": {"operationId": "makeUser"}}),
        (("paths", "/user", "get", "operationId"), "two words"),
        (("paths", "/user", "get", "operationId"), "getRepoIssues"),
        (("paths", "/user", "get", "requestBody"), {}),
        (("paths", ISSUES, "get", "parameters"), [text("owner")]),
        (("paths", ISSUES, "get", "parameters"), [text("owner"), text("repo", required=False)]),
        (("paths", ISSUES, "get", "parameters"), [{"$ref": "#/components/parameters/owner"}]),
        (("paths", "/user", "get", "parameters"), [text("x", **{"in": "header"})]),
        (
            ("paths", "/user", "get", "parameters"),
            [{"name": "x", "in": "query", "schema": {"type": "object"}}],
        ),
        (("paths", "/user", "get", "parameters"), [{"name": "x", "in": "query"}]),
    ],
)
def test_what_is_not_understood_is_refused(where: tuple[str, ...], value: object) -> None:
    description = copy.deepcopy(DESCRIPTION)
    place = description
    for name in where[:-1]:
        place = place[name]
    place[where[-1]] = value
    with pytest.raises(UsageError, match="OpenAPI description"):
        read_api(description)


@pytest.mark.parametrize("description", [None, [], "openapi", 3])
def test_what_is_no_description_is_refused(description: object) -> None:
    with pytest.raises(UsageError):
        read_api(description)
