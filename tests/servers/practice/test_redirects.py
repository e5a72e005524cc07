"""GitHub's redirect rule. The table is the one of docs.github.com, "Authorizing OAuth apps"."""

import pytest

from workshop.servers.practice.oauth import accepts_redirect, with_parameters

EXAMPLE = "http://example.com/path"
LOOPBACK = "http://localhost:8080/oauth/callback"


@pytest.mark.parametrize(
    ("callback", "asked"),
    [
        (EXAMPLE, "http://example.com/path"),
        (EXAMPLE, "http://example.com/path/subdir/other"),
        (EXAMPLE, "http://oauth.example.com/path"),
        (EXAMPLE, "http://oauth.example.com/path/subdir/other"),
        (EXAMPLE, "http://example.com:80/path"),
        (LOOPBACK, "http://localhost:8080/oauth/callback"),
        (LOOPBACK, "http://localhost:1234/oauth/callback"),
        (LOOPBACK, "http://localhost/oauth/callback/below"),
        ("http://127.0.0.1/path", "http://127.0.0.1:1234/path"),
    ],
)
def test_what_github_calls_good_is_accepted(callback: str, asked: str) -> None:
    assert accepts_redirect(callback, asked)


@pytest.mark.parametrize(
    ("callback", "asked"),
    [
        (EXAMPLE, "http://example.com/bar"),
        (EXAMPLE, "http://example.com/"),
        (EXAMPLE, "http://example.com:8080/path"),
        (EXAMPLE, "http://oauth.example.com:8080/path"),
        (EXAMPLE, "http://example.org/path"),
        (EXAMPLE, "http://notexample.com/path"),
        (EXAMPLE, "https://example.com/path"),
        (EXAMPLE, "http://example.com/pathology"),
        (EXAMPLE, "http://example.com/path/../bar"),
        (EXAMPLE, "http://example.com/path/%2e%2e/bar"),
        (EXAMPLE, "http://example.com/path#part"),
        (EXAMPLE, "http://somebody@example.com/path"),
        (LOOPBACK, "http://127.0.0.1:8080/oauth/callback"),
        (LOOPBACK, "http://localhost.example.com/oauth/callback"),
        (LOOPBACK, "http://sub.localhost:8080/oauth/callback"),
        (LOOPBACK, "http://localhost:99999/oauth/callback"),
        (LOOPBACK, "javascript:alert(1)"),
    ],
)
def test_everything_else_is_refused(callback: str, asked: str) -> None:
    assert not accepts_redirect(callback, asked)


def test_parameters_join_those_that_are_there() -> None:
    joined = with_parameters("http://localhost/cb?a=1", {"code": "x y", "state": "&"})
    assert joined == "http://localhost/cb?a=1&code=x+y&state=%26"
