"""The part of GitHub's search syntax that small repositories need: words and `name:value` qualifiers."""

import re
from dataclasses import dataclass

from workshop.servers.practice.data import Issue, Repository

_PIECE = re.compile(r'(?:(?P<name>[a-z-]+):(?P<value>"[^"]*"|\S+))|(?P<word>"[^"]*"|\S+)', re.IGNORECASE)
_NAMES = {
    "user",
    "org",
    "owner",
    "repo",
    "language",
    "topic",
    "is",
    "state",
    "stars",
    "archived",
    "fork",
    "author",
    "label",
}
_IGNORED = {"in", "sort", "type"}
_STOP_WORDS = frozenset(
    (
        "a",
        "about",
        "an",
        "and",
        "are",
        "do",
        "for",
        "in",
        "is",
        "issue",
        "issues",
        "of",
        "on",
        "that",
        "the",
        "to",
        "what",
    )
)


@dataclass(frozen=True)
class Query:
    """A search: the words, and each qualifier with its values."""

    words: tuple[str, ...]
    qualifiers: tuple[tuple[str, str], ...]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.qualifiers}


def parse(text: str, login: str) -> Query:
    """Split a query; `@me` stands for `login`. An unknown qualifier counts as a word."""
    words: list[str] = []
    qualifiers: list[tuple[str, str]] = []
    for match in _PIECE.finditer(text):
        name, value = (match["name"] or "").lower(), (match["value"] or "").strip('"').lower()
        if name in _NAMES:
            qualifiers.append((name, login if value == "@me" else value))
        elif name not in _IGNORED and (word := match[0].strip('"').lower()):
            words.append(word)
    return Query(tuple(words), tuple(qualifiers))


def matches_repository(query: Query, repository: Repository) -> bool:
    """Whether every word and qualifier matches; several owners or repositories are alternatives."""
    text = f"{repository.name} {repository.description} {' '.join(repository.topics)}".lower()
    return (
        _in_scope(query, repository)
        and all(word in text for word in query.words)
        and all(_fits_repository(name, value, repository) for name, value in query.qualifiers)
    )


def _in_scope(query: Query, repository: Repository) -> bool:
    wanted = {(name, value) for name, value in query.qualifiers if name in {"user", "org", "owner", "repo"}}
    owner, full_name = repository.owner.lower(), repository.full_name.lower()
    return not wanted or any(value == (full_name if name == "repo" else owner) for name, value in wanted)


def _fits_repository(name: str, value: str, repository: Repository) -> bool:
    checks = {
        "language": lambda: repository.language.lower() == value,
        "topic": lambda: value in repository.topics,
        "is": lambda: value not in {"public", "private"} or (value == "private") == repository.private,
        "stars": lambda: _in_range(repository.stars, value),
        "archived": lambda: value != "true",
        "fork": lambda: value != "only",
    }
    return checks[name]() if name in checks else True


def _in_range(number: int, text: str) -> bool:
    if match := re.fullmatch(r"(?P<low>\d+|\*)\.\.(?P<high>\d+|\*)", text):
        low, high = match.group("low", "high")
        return (low == "*" or number >= int(low)) and (high == "*" or number <= int(high))
    if match := re.fullmatch(r"(?P<sign>>=|<=|>|<|)(?P<bound>\d+)", text):
        bound = int(match["bound"])
        return {
            ">": number > bound,
            "<": number < bound,
            ">=": number >= bound,
            "<=": number <= bound,
            "": number == bound,
        }[match["sign"]]
    return False


def relevance(query: Query, repository: Repository, issue: Issue) -> int:
    """How well an issue matches a question; 0 if it does not.

    GitHub ranks by meaning. Here words are counted, those in the title three times.
    """
    if not _in_scope(query, repository) or not all(
        _fits_issue(name, value, issue) for name, value in query.qualifiers
    ):
        return 0
    words = [word.strip("?!.,") for word in query.words if word not in _STOP_WORDS]
    if not words:
        return 1
    title, text = issue.title.lower(), f"{issue.body} {' '.join(issue.labels)} {repository.name}".lower()
    return sum(3 * (word in title) + (word in text) for word in words)


def _fits_issue(name: str, value: str, issue: Issue) -> bool:
    checks = {
        "is": lambda: value not in {"open", "closed"} or issue.state == value,
        "state": lambda: issue.state == value,
        "author": lambda: issue.author == value,
        "label": lambda: value in {label.lower() for label in issue.labels},
    }
    return checks[name]() if name in checks else True
