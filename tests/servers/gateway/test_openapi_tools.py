"""Tools from an OpenAPI description: which there are, what is refused, and what a call sends."""

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
    assert operation.request({"owner": owner, "repo": "dotfiles", "per_page": 5}).address == path


@pytest.mark.parametrize("owner", ["", ".", ".."])
def test_a_step_up_the_path_is_refused(owner: str) -> None:
    operation = read_api(DESCRIPTION).operations["getRepoIssues"]
    with pytest.raises(ValueError, match="owner"):
        operation.request({"owner": owner, "repo": "dotfiles"})


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
        (("paths", "/user"), {"trace": {"operationId": "traceUser"}}),
        (
            ("paths", "/user"),
            {"post": {"operationId": "makeUser", "requestBody": {"content": {"text/csv": {}}}}},
        ),
        (("paths", "/user"), {"get": {"operationId": "a"}, "servers": [{"url": "https://evil.example"}]}),
        (("paths", "/user", "get", "requestBody"), {"content": {"application/json": {}}}),
        (("paths", "/user", "get", "operationId"), "two words"),
        (("paths", "/user", "get", "operationId"), "getRepoIssues"),
        (("paths", "/user", "get", "requestBody"), {}),
        (("paths", ISSUES, "get", "parameters"), [text("owner")]),
        (("paths", ISSUES, "get", "parameters"), [text("owner"), text("repo", required=False)]),
        (("paths", ISSUES, "get", "parameters"), [{"$ref": "#/components/parameters/owner"}]),
        (("paths", "/user", "get", "parameters"), [text("x", **{"in": "cookie"})]),
        (("paths", "/user", "get", "parameters"), [text("Host", **{"in": "header"})]),
        (
            ("paths", "/user", "get", "parameters"),
            [text("x", **{"in": "query"}), text("x", **{"in": "header"})],
        ),
        (("paths", "/user", "get", "parameters"), [text("body", **{"in": "query"})]),
        (("paths", "/user", "get", "parameters"), [text("x", **{"in": "query", "style": "deepObject"})]),
        (("paths", "/user", "get", "parameters"), [text("x")]),
        (("paths", "/user", "get", "parameters"), {}),
        (("paths", "/user", "get", "parameters"), [text("x", **{"in": "query", "schema": {"type": 3}})]),
        (
            ("paths", "/user", "get", "parameters"),
            [text("x", **{"in": "query", "schema": {"type": "string", "pattern": "("}})],
        ),
        (
            ("paths", "/user", "get", "parameters"),
            [text("x", **{"in": "query", "schema": {"type": "array", "items": {"type": "object"}}})],
        ),
        (
            ("paths", "/user", "get", "parameters"),
            [text("x", **{"in": "query", "schema": {"$ref": "https://evil.example/x.json"}})],
        ),
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


TASKS: dict[str, Any] = {
    "openapi": "3.0.3",
    "servers": [{"url": "https://{region}.tasks.example/v1/", "variables": {"region": {"default": "eu"}}}],
    "paths": {
        "/lists/{list}/tasks": {
            "parameters": [{"$ref": "#/components/parameters/List"}],
            "get": {
                "operationId": "findTasks",
                "parameters": [
                    {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {
                        "name": "id",
                        "in": "query",
                        "explode": False,
                        "schema": {"type": "array", "items": {"type": "integer"}},
                    },
                    {"name": "done", "in": "query", "schema": {"type": "boolean", "nullable": True}},
                    {"name": "weight", "in": "query", "schema": {"type": "number", "minimum": 0}},
                    {"name": "state", "in": "query", "schema": {"$ref": "#/components/schemas/State"}},
                    {
                        "name": "X-Api-Version",
                        "in": "header",
                        "required": True,
                        "schema": {"type": "string", "default": "2026-01-01"},
                    },
                    {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "string"}},
                ],
            },
            "post": {
                "operationId": "addTask",
                "requestBody": {"$ref": "#/components/requestBodies/Task"},
            },
        },
        "/tasks/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "put": {"requestBody": {"$ref": "#/components/requestBodies/Task"}},
            "patch": {"requestBody": {"content": {"application/json; charset=utf-8": {}}}},
            "delete": {"summary": "Delete a task"},
        },
    },
    "components": {
        "parameters": {
            "List": {"name": "list", "in": "path", "required": True, "schema": {"type": "string"}}
        },
        "requestBodies": {
            "Task": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Task"}}},
            }
        },
        "schemas": {
            "State": {"type": "string", "enum": ["open", "closed"]},
            "Task": {
                "type": "object",
                "required": ["title"],
                "example": {"title": "left out"},
                "properties": {
                    "title": {"type": "string", "minLength": 1},
                    "effort": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                    "state": {"$ref": "#/components/schemas/State"},
                    "note": {"type": "string", "nullable": True},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Task"}},
                },
            },
        },
    },
}


def test_references_are_followed_into_one_schema_that_stands_alone() -> None:
    schema = read_api(TASKS).operations["addTask"].input_schema
    assert schema["required"] == ["list", "body"]
    assert schema["properties"]["body"] == {"$ref": "#/$defs/Task"}
    task = schema["$defs"]["Task"]
    assert task["properties"]["parts"]["items"] == {"$ref": "#/$defs/Task"}
    assert task["properties"]["effort"] == {"type": "number", "exclusiveMinimum": 0}
    assert task["properties"]["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert schema["$defs"]["State"] == {"type": "string", "enum": ["open", "closed"]}
    assert "example" not in task


@pytest.mark.parametrize(
    ("name", "arguments", "sent"),
    [
        (
            "findTasks",
            {"list": "a/b", "tag": ["x y", "z"], "id": [1, 2], "done": True, "weight": 0.5, "state": "open"},
            ("GET", "/lists/a%2Fb/tasks?tag=x+y&tag=z&id=1%2C2&done=true&weight=0.5&state=open", None),
        ),
        ("findTasks", {"list": "a", "done": None}, ("GET", "/lists/a/tasks", None)),
        (
            "addTask",
            {"list": "a", "body": {"title": "t", "parts": [{"title": "u", "note": None}]}},
            ("POST", "/lists/a/tasks", {"title": "t", "parts": [{"title": "u", "note": None}]}),
        ),
        ("put_tasks_id", {"id": 3, "body": {"title": "t"}}, ("PUT", "/tasks/3", {"title": "t"})),
        ("patch_tasks_id", {"id": 3, "body": [1]}, ("PATCH", "/tasks/3", [1])),
        ("delete_tasks_id", {"id": 3}, ("DELETE", "/tasks/3", None)),
    ],
)
def test_arguments_become_a_request(
    name: str, arguments: dict[str, Any], sent: tuple[str, str, object]
) -> None:
    request = read_api(TASKS).operations[name].request(arguments)
    assert (request.method, request.address, request.body) == sent


def test_a_required_header_with_a_default_is_sent_and_the_login_is_nobodys_argument() -> None:
    operation = read_api(TASKS).operations["findTasks"]
    assert operation.request({"list": "a"}).headers == {"X-Api-Version": "2026-01-01"}
    newer = operation.request({"list": "a", "X-Api-Version": "2026-07-01"})
    assert newer.headers == {"X-Api-Version": "2026-07-01"}
    assert "Authorization" not in operation.input_schema["properties"]


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("findTasks", {"list": "a", "X-Api-Version": "1\r\nX-Evil: 1"}, "header"),
        ("findTasks", {"list": "a", "state": "lost"}, "lost"),
        ("findTasks", {"list": "a", "weight": -1}, "minimum"),
        ("findTasks", {"list": "a", "weight": "1"}, "number"),
        ("findTasks", {"list": "a", "user": "mentor"}, "user"),
        ("addTask", {"list": "a"}, "body"),
        ("addTask", {"list": "a", "body": {}}, "title"),
        ("addTask", {"list": "a", "body": {"title": "t", "effort": 0}}, "0"),
        ("addTask", {"list": "a", "body": {"title": "t", "parts": [{"title": ""}]}}, "short|non-empty"),
        ("delete_tasks_id", {"id": "3/../4"}, "integer"),
    ],
)
def test_arguments_that_the_schema_forbids_are_not_sent(
    name: str, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        read_api(TASKS).operations[name].request(arguments)


def test_of_a_large_description_the_named_operations_are_read() -> None:
    description = copy.deepcopy(TASKS)
    description["paths"]["/upload"] = {
        "post": {"operationId": "upload", "requestBody": {"content": {"multipart/form-data": {}}}}
    }
    with pytest.raises(UsageError) as raised:
        read_api(description)
    assert (raised.value.why, "operations" in raised.value.hint) == (
        "Its body must be JSON, and a GET has none",
        True,
    )
    assert set(read_api(description, ["addTask"]).operations) == {"addTask"}
    with pytest.raises(UsageError, match="paths") as raised:
        read_api(description, ["addTask", "noSuchTask"])
    assert "noSuchTask" in raised.value.why


@pytest.mark.parametrize(
    ("servers", "server", "result"),
    [
        (TASKS["servers"], "", "https://eu.tasks.example/v1"),
        (TASKS["servers"], "https://other.example/", "https://other.example"),
        ([{"url": "/v2"}], "https://other.example", "https://other.example/v2"),
        ([], "http://localhost:8090", "http://localhost:8090"),
    ],
)
def test_the_server_is_the_descriptions_first_or_the_configured_one(
    servers: list[dict[str, str]], server: str, result: str
) -> None:
    assert read_api({**TASKS, "servers": servers}, server=server).server == result


@pytest.mark.parametrize(
    "schemas",
    [
        {"Task": {"$ref": "#/components/schemas/Task"}, "State": {}},
        {"Task": {"allOf": [{"$ref": "#/components/schemas/Task"}]}, "State": {}},
        {"Task": {"properties": []}, "State": {}},
        {"Task": {"required": True}, "State": {}},
        {"Task": {"anyOf": {}}, "State": {}},
        {"Task": [], "State": {}},
    ],
)
def test_a_schema_that_makes_no_sense_ends_in_an_error(schemas: dict[str, Any]) -> None:
    def use() -> None:
        api = read_api({**TASKS, "components": {**TASKS["components"], "schemas": schemas}})
        api.operations["addTask"].request({"list": "a", "body": {}})

    with pytest.raises((UsageError, ValueError)):
        use()
