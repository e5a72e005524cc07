"""Search queries: words and qualifiers."""

import pytest

from workshop.servers.practice import catalog
from workshop.servers.practice.tools import searching

REPOSITORIES = catalog.load().repositories


def found(text: str) -> list[str]:
    query = searching.parse_query(text, "learner")
    return sorted(repo.name for repo in REPOSITORIES if searching.matches_repository(query, repo))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("user:mentor", ["first-tool-call", "kettle", "room-notes"]),
        ("user:@me language:python", ["bread-journal"]),
        ("owner:LEARNER language:C++", ["sensor-garden"]),
        ("repo:learner/dotfiles repo:mentor/kettle", ["dotfiles", "kettle"]),
        ("topic:maps", ["trail-mapper"]),
        ("user:learner is:private", ["dotfiles"]),
        ("user:learner is:public stars:>10", ["bread-journal", "trail-mapper"]),
        ("stars:>=64", ["first-tool-call"]),
        ("stars:<1", ["dotfiles", "room-notes"]),
        ("stars:<=0", ["dotfiles", "room-notes"]),
        ("stars:10..30", ["bread-journal", "trail-mapper"]),
        ("stars:60..*", ["first-tool-call"]),
        ("stars:11", ["bread-journal"]),
        ("stars:many", []),
        ('"day hikes"', ["trail-mapper"]),
        ("hikes printable in:description sort:stars", ["trail-mapper"]),
        ("user:learner archived:true", []),
        ("user:mentor archived:false fork:true", ["first-tool-call", "kettle", "room-notes"]),
        ("user:mentor fork:only", []),
        ("user:nobody", []),
        ("nothing:like-it", []),
    ],
)
def test_repositories_are_found(query: str, names: list[str]) -> None:
    assert found(query) == names


def test_an_empty_query_finds_everything() -> None:
    assert len(found("")) == len(REPOSITORIES)


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("cache tiles", 37),
        ("what is wrong with the elevation chart?", 41),
        ("label:documentation", 29),
        ("author:mentor is:closed heart", 33),
        ("state:closed kilometres OR distance", 40),
    ],
)
def test_the_most_relevant_issue_comes_first(query: str, number: int) -> None:
    parsed = searching.parse_query(query, "learner")
    repo = next(repo for repo in REPOSITORIES if repo.name == "trail-mapper")
    best = max(repo.issues, key=lambda issue: searching.relevance(parsed, repo, issue))
    assert best.number == number


def test_common_words_alone_say_nothing() -> None:
    repo = REPOSITORIES[0]
    scores = {
        searching.relevance(searching.parse_query("what is the issue", "learner"), repo, issue)
        for issue in repo.issues
    }
    assert scores == {1}
