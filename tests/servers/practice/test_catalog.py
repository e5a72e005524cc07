"""The data set: the question's answer is in it, and it hangs together."""

from datetime import UTC, datetime

import pytest

from workshop.servers.practice import catalog
from workshop.servers.practice.catalog import Repository

OPEN = {
    "trail-mapper": {
        42: "GPX export drops the last waypoint",
        41: "Elevation chart is upside down on Firefox",
        37: "Cache map tiles for offline hikes",
        29: "Document the import format",
    },
    "bread-journal": {12: "Proofing timer forgets the time zone", 9: "Add a rye starter template"},
    "sensor-garden": {5: "Moisture reading is NaN after a cold start"},
    "dotfiles": {},
}


def of(login: str) -> dict[str, Repository]:
    return {repo.name: repo for repo in catalog.load().repositories if repo.owner == login}


def test_learner_has_exactly_the_repositories_and_open_issues_of_the_question() -> None:
    found = {
        name: {issue.number: issue.title for issue in repo.open_issues}
        for name, repo in of("learner").items()
    }
    assert found == OPEN


def test_the_repository_with_most_open_issues_is_trail_mapper_and_its_newest_is_number_42() -> None:
    most = max(of("learner").values(), key=lambda repo: len(repo.open_issues))
    newest = max(most.open_issues, key=lambda issue: issue.created_at)
    assert (most.name, newest.number) == ("trail-mapper", 42)


@pytest.mark.parametrize("login", ["learner", "mentor"])
def test_everybody_has_a_private_repository_so_that_other_users_can_be_kept_out(login: str) -> None:
    assert [repo.name for repo in of(login).values() if repo.private]


def test_there_are_closed_issues_commits_and_a_readme_everywhere() -> None:
    repositories = of("learner").values()
    assert sum(issue.state == "closed" for repo in repositories for issue in repo.issues) >= 5
    assert sum(len(repo.commits) for repo in repositories) >= 15
    assert all("README.md" in repo.files for repo in catalog.load().repositories)


def test_every_date_is_in_2026_and_in_order() -> None:
    for repo in catalog.load().repositories:
        dates = [repo.created_at, repo.pushed_at, repo.updated_at, *(commit.date for commit in repo.commits)]
        dates += [moment for issue in repo.issues for moment in (issue.created_at, issue.updated_at)]
        assert all(
            datetime(2026, 1, 1, tzinfo=UTC) <= moment < datetime(2027, 1, 1, tzinfo=UTC) for moment in dates
        )
        assert min(dates) == repo.created_at
        assert all(issue.created_at <= issue.updated_at for issue in repo.issues)
        assert all((issue.closed_at is not None) == (issue.state == "closed") for issue in repo.issues)


def test_higher_issue_numbers_are_newer() -> None:
    for repo in catalog.load().repositories:
        assert list(repo.issues) == sorted(repo.issues, key=lambda issue: issue.created_at, reverse=True)


def test_every_author_and_every_label_exists() -> None:
    loaded = catalog.load()
    for repo in loaded.repositories:
        authors = {commit.author for commit in repo.commits} | {issue.author for issue in repo.issues}
        authors |= {comment.author for issue in repo.issues for comment in issue.comments}
        labels = {label for issue in repo.issues for label in issue.labels}
        assert authors <= loaded.users.keys()
        assert labels <= {label.name for label in repo.labels}


def test_commit_names_are_the_same_on_every_machine_and_unique() -> None:
    shas = [commit.sha for repo in catalog.load().repositories for commit in repo.commits]
    assert len(set(shas)) == len(shas)
    assert of("learner")["trail-mapper"].commits[0].sha == "d994fff7abd4123524f37b135975ca27b2f4479c"


def test_a_branch_has_its_own_commits_and_what_came_before_them() -> None:
    repo = of("learner")["trail-mapper"]
    branch, main = repo.history("offline-tiles"), repo.history("main")
    assert branch[0] not in main
    assert set(branch[1:]) == {commit for commit in main if commit.date < branch[0].date}
