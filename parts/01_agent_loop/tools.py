"""A tool is a plain function: its name, docstring and type hints are all a model learns about it."""

import json
import math
from pathlib import Path
from typing import Any, Literal

REPOSITORIES: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("data.json").read_text(encoding="utf-8")
)["repositories"]


def list_repositories() -> dict[str, Any]:
    """List my repositories, each with its description, language and number of open issues."""
    return {"repositories": [_overview(repository) for repository in REPOSITORIES]}


def list_issues(repository: str, state: Literal["open", "closed", "all"] = "open") -> dict[str, Any]:
    """List the issues of one of my repositories, the newest first, without their text."""
    wanted = [issue for issue in _find(repository)["issues"] if state in ("all", issue["state"])]
    return {"issues": [{key: issue[key] for key in issue if key != "body"} for issue in wanted]}


def get_issue(repository: str, number: int) -> dict[str, Any]:
    """Read one issue of one of my repositories, with its text."""
    for issue in _find(repository)["issues"]:
        if issue["number"] == number:
            return dict(issue)
    raise ValueError(f"{repository} has no issue #{number}")


def calculate(
    operation: Literal["add", "subtract", "multiply", "divide"], a: float, b: float
) -> dict[str, Any]:
    """Calculate with two numbers exactly, where a model would guess."""
    if operation == "divide" and b == 0:
        raise ValueError("Cannot divide by zero")
    match operation:
        case "add":
            result = a + b
        case "subtract":
            result = a - b
        case "multiply":
            result = a * b
        case "divide":
            result = a / b
    if not math.isfinite(result):
        raise ValueError("The result is not a finite number")
    return {"result": result}


TOOLS = (list_repositories, list_issues, get_issue, calculate)


def _overview(repository: dict[str, Any]) -> dict[str, Any]:
    open_issues = sum(issue["state"] == "open" for issue in repository["issues"])
    shown = {key: repository[key] for key in ("name", "description", "language", "updated_at")}
    return {**shown, "open_issues": open_issues}


def _find(name: str) -> dict[str, Any]:
    for repository in REPOSITORIES:
        if repository["name"] == name:
            return repository
    known = ", ".join(repository["name"] for repository in REPOSITORIES)
    raise ValueError(f"There is no repository `{name}`; there are {known}")
