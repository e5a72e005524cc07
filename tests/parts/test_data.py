"""The sets of data agree, so that the same question has the same answer in all four parts."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRACTICE = ROOT / "workshop" / "servers" / "practice" / "data" / "learner"
OPEN_ISSUES = {"trail-mapper": 4, "bread-journal": 2, "dotfiles": 0, "sensor-garden": 1}
SHOWN = ("name", "description", "language")


def bundled() -> list[dict[str, Any]]:
    data = json.loads((ROOT / "parts" / "02_local_mcp" / "data.json").read_text(encoding="utf-8"))
    repositories: list[dict[str, Any]] = data["repositories"]
    return repositories


def practice(name: str) -> dict[str, Any]:
    return tomllib.loads((PRACTICE / f"{name}.toml").read_text(encoding="utf-8"))


def as_bundled(issue: dict[str, Any]) -> dict[str, Any]:
    """An issue of the practice GitHub in the form of part 2's data."""
    return {
        "number": issue["number"],
        "title": issue["title"],
        "state": issue.get("state", "open"),
        "labels": issue.get("labels", []),
        "author": issue["author"],
        "created_at": f"{issue['created_at']:%Y-%m-%dT%H:%M:%SZ}",
        "body": issue["body"].strip(),
    }


def test_parts_1_and_2_have_the_same_data_byte_for_byte() -> None:
    first, second = (ROOT / "parts" / part / "data.json" for part in ("01_agent_loop", "02_local_mcp"))
    assert first.read_bytes() == second.read_bytes()


def test_the_bundled_repositories_are_those_of_the_practice_learner() -> None:
    assert {path.stem for path in PRACTICE.glob("*.toml")} - {"user"} == set(OPEN_ISSUES)
    counted = {
        repository["name"]: sum(issue["state"] == "open" for issue in repository["issues"])
        for repository in bundled()
    }
    assert counted == OPEN_ISSUES


@pytest.mark.parametrize("repository", bundled(), ids=lambda repository: repository["name"])
def test_a_repository_says_the_same_on_the_practice_github(repository: dict[str, Any]) -> None:
    other = practice(repository["name"])
    assert {key: repository[key] for key in SHOWN} == {key: other[key] for key in SHOWN}
    assert repository["updated_at"] == f"{other['updated_at']:%Y-%m-%dT%H:%M:%SZ}"
    expected = sorted((as_bundled(issue) for issue in other["issues"]), key=lambda issue: -issue["number"])
    assert sorted(repository["issues"], key=lambda issue: -issue["number"]) == expected


@pytest.mark.parametrize("repository", bundled(), ids=lambda repository: repository["name"])
def test_issues_are_stored_newest_first(repository: dict[str, Any]) -> None:
    created = [issue["created_at"] for issue in repository["issues"]]
    assert created == sorted(created, reverse=True)
