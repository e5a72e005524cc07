"""Access tokens: they outlive a restart, and can be revoked."""

from collections.abc import Callable
from itertools import count

import pytest

from workshop.servers.practice.tokens import Caller, Tokens, grants, parse_scopes

SECRET = "a practice secret of the tests"


def ticks() -> Callable[[], int]:
    return count(1).__next__


def test_a_token_tells_its_user_and_scopes() -> None:
    token = Tokens(SECRET).issue("learner", ("repo", "read:user"))
    assert token.startswith("practice_learner_")
    assert Tokens(SECRET).verify(token) == Caller("learner", ("repo", "read:user"))


def test_a_token_without_scopes_works() -> None:
    assert Tokens(SECRET).verify(Tokens(SECRET).issue("learner", ())) == Caller("learner", ())


def test_two_tokens_of_one_user_differ() -> None:
    tokens = Tokens(SECRET, lambda: 1)
    assert tokens.issue("learner", ()) != tokens.issue("learner", ())


@pytest.mark.parametrize(
    "forged", ["practice_mentor_{body}_{mac}", "practice_learner_{body}a_{mac}", "{mac}", ""]
)
def test_a_changed_token_is_not_ours(forged: str) -> None:
    tokens = Tokens(SECRET)
    body, mac = tokens.issue("learner", ("repo",)).removeprefix("practice_learner_").split("_")
    assert tokens.verify(forged.format(body=body, mac=mac)) is None


def test_a_token_of_another_app_is_not_ours() -> None:
    assert Tokens(SECRET).verify(Tokens("another secret").issue("learner", ())) is None


def test_revoking_one_user_leaves_the_other_and_new_tokens_alone() -> None:
    tokens = Tokens(SECRET, ticks())
    learner, mentor = tokens.issue("learner", ()), tokens.issue("mentor", ())
    tokens.revoke("learner")
    assert tokens.verify(learner) is None
    assert tokens.verify(mentor) == Caller("mentor", ())
    assert tokens.verify(tokens.issue("learner", ())) == Caller("learner", ())


def test_revoking_all_ends_everything_issued_so_far() -> None:
    tokens = Tokens(SECRET, ticks())
    before = tokens.issue("mentor", ())
    tokens.revoke()
    assert tokens.verify(before) is None
    assert tokens.verify(tokens.issue("mentor", ()))


def test_scopes_are_split_at_spaces_and_commas_and_unknown_ones_are_dropped() -> None:
    assert parse_scopes("repo,read:org openid  gist") == ("repo", "read:org", "gist")


def test_a_scope_that_another_one_includes_is_left_out_as_at_github() -> None:
    assert parse_scopes("user,gist,user:email") == ("user", "gist")
    assert grants(("user",), "user:email")
    assert not grants(("public_repo",), "repo")
