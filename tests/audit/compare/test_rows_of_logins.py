"""The rows about logins, from evidence in both directions."""

from dataclasses import replace
from typing import Any

import pytest

from tests.audit.compare.conftest import (
    AT_GITHUB,
    CONSENT,
    DENIED,
    FAILED,
    GIVEN,
    METADATA,
    OK,
    REFUSED,
    URL,
    reply,
    session,
    tokens,
    toured,
)
from workshop.audit.compare.client import Answered, Reply
from workshop.audit.compare.evidence import (
    Evidence,
    ForAnother,
    Presented,
    Refreshed,
    Registered,
    Unobserved,
    WithoutProof,
)
from workshop.audit.compare.rows import ROWS

ROW = {row.id: row for row in ROWS}
WRONG = Answered(reply(400, error="invalid_grant"))


def told(evidence: Evidence, row: str, **changed: Any) -> tuple[str, str]:
    """Value and tone of a cell, with something changed in the evidence."""
    cell = ROW[row].cell(replace(evidence, **changed))
    return cell.value, cell.tone


@pytest.mark.parametrize(
    ("evidence", "value"),
    [
        (session(), ("the server itself", "plain")),
        (session(token_endpoint="http://localhost:9003/token"), ("an outside server", "plain")),
        (session(first_use=REFUSED), ("not accepted", "bad")),
        (Unobserved("no login"), ("not seen", "unseen")),
    ],
)
def test_the_issuer_is_whose_token_endpoint_gave_the_token(
    right: Evidence, evidence: Any, value: tuple[str, str]
) -> None:
    assert told(right, "issuer", session=evidence) == value


@pytest.mark.parametrize(
    ("authorization", "wrong", "value"),
    [
        (DENIED, WRONG, ("enforced", "good")),
        (GIVEN, WRONG, ("only if sent", "bad")),
        (GIVEN, tokens(), ("not checked", "bad")),
        (DENIED, tokens(), ("not checked", "bad")),
        (DENIED, Answered(FAILED), ("not seen", "unseen")),
    ],
)
def test_pkce_is_enforced_when_neither_is_taken(
    right: Evidence, authorization: Any, wrong: Answered, value: tuple[str, str]
) -> None:
    assert told(right, "pkce", without_proof=WithoutProof(authorization, wrong)) == value


@pytest.mark.parametrize(
    ("pages", "value"),
    [
        ((CONSENT, AT_GITHUB), ("asked by the server", "good")),
        ((replace(CONSENT, origin="http://localhost:9003"),), ("asked by its provider", "good")),
        ((replace(CONSENT, names_client=False), AT_GITHUB), ("asked by the server, nameless", "bad")),
        ((AT_GITHUB,), ("nobody asks", "bad")),
        ((AT_GITHUB, CONSENT), ("nobody asks", "bad")),  # too late: GitHub has been asked already
    ],
)
def test_consent_is_a_page_that_asks_before_github_does(
    right: Evidence, pages: Any, value: tuple[str, str]
) -> None:
    assert told(right, "consent", session=session(*pages)) == value


OPAQUE = Presented({"GitHub's own token": REFUSED}, {})


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({}, ("checked (aud)", "good")),
        ({"presented": Presented({}, {"aud": "me"}, OK, OK)}, ("not checked", "bad")),
        ({"presented": Presented({"GitHub's own token": OK}, {}, None, None)}, ("not checked", "bad")),
        ({"neighbours": {"another": OK}}, ("not checked", "bad")),
        ({"for_another": ForAnother(GIVEN, tokens(), OK)}, ("not checked", "bad")),
        ({"presented": OPAQUE}, ("checked", "good")),
        (
            {"presented": OPAQUE, "for_another": ForAnother(GIVEN, tokens(), REFUSED)},
            ("foreign ones refused", "plain"),
        ),
        # A token that is refused though nothing was changed, or a server that fails: `aud` is not the reason.
        ({"presented": Presented({}, {"aud": "me"}, REFUSED, REFUSED)}, ("checked", "good")),
        (
            {"presented": Presented({}, {"aud": "me"}, OK, FAILED), "for_another": Unobserved("no")},
            ("foreign ones refused", "plain"),
        ),
    ],
)
def test_audience_is_checked_when_nothing_foreign_is_taken(
    right: Evidence, changed: dict[str, Any], value: tuple[str, str]
) -> None:
    assert told(right, "audience", **changed) == value


@pytest.mark.parametrize(
    ("probe_result", "value"),
    [
        (toured(), ("401, names metadata", "good")),
        (toured(challenge='Bearer realm="here"'), ("401, no metadata", "bad")),
        (toured(challenge=""), ("401, no challenge", "bad")),
        (toured(challenge="", status=200), ("none: let in", "bad")),
    ],
)
def test_a_challenge_names_the_metadata(right: Evidence, probe_result: Any, value: tuple[str, str]) -> None:
    assert told(right, "challenge", probe_result=probe_result) == value


def hostile(status: int, good: int = 201) -> Registered:
    return Registered(reply(good), {"http://evil.example/cb": reply(status), "javascript:": reply(400)})


@pytest.mark.parametrize(
    ("registered", "value"),
    [
        (hostile(400), ("anybody, checked", "good")),
        (hostile(201), ("anybody, unchecked", "bad")),
        (hostile(429), ("anybody", "plain")),
        (hostile(503), ("anybody", "plain")),
        (hostile(400, good=403), ("refused", "plain")),
        (hostile(400, good=429), ("not seen", "unseen")),
    ],
)
def test_registration_is_checked_when_no_hostile_redirect_is_taken(
    right: Evidence, registered: Registered, value: tuple[str, str]
) -> None:
    assert told(right, "registration", registered=registered) == value


def test_registration_that_the_metadata_does_not_name_is_not_offered(right: Evidence) -> None:
    probe_result = toured()
    assert probe_result.probed.metadata == METADATA
    cimd = toured(client_id_metadata_document_supported=True)
    assert told(right, "registration", probe_result=cimd) == ("anybody, checked, CIMD", "good")
    described = probe_result.probed.server
    assert described is not None
    assert described.metadata is not None
    bare = replace(described.metadata, text=f'{{"issuer": "{URL}"}}')
    found = replace(
        probe_result, probed=replace(probe_result.probed, server=replace(described, metadata=bare))
    )
    assert told(right, "registration", probe_result=found) == ("not offered", "plain")


@pytest.mark.parametrize(
    ("callback", "value"),
    [
        ({"code": "one", "iss": URL}, ("yes", "good")),
        ({"code": "one"}, ("no", "bad")),
        ({"code": "one", "iss": f"{URL}/"}, ("wrong", "bad")),
    ],
)
def test_iss_is_the_issuer_letter_by_letter(
    right: Evidence, callback: dict[str, str], value: tuple[str, str]
) -> None:
    assert told(right, "iss", session=session(callback=callback)) == value


@pytest.mark.parametrize(
    ("refreshed", "value"),
    [
        (Refreshed(True, tokens(), rotated=True, first_use=OK), ("works, rotates", "good")),
        (Refreshed(True, tokens(), rotated=False, first_use=OK), ("works", "good")),
        (Refreshed(True, tokens(), rotated=True, first_use=REFUSED), ("no use", "bad")),
        (Refreshed(True, WRONG), ("given, but refused", "bad")),
        (Refreshed(given=False), ("none", "plain")),
    ],
)
def test_a_refresh_works_when_its_token_is_taken(
    right: Evidence, refreshed: Refreshed, value: tuple[str, str]
) -> None:
    assert told(right, "refresh", refreshed=refreshed) == value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_what_was_not_seen_is_told_so_and_why(row: Any) -> None:
    blank = Evidence("one", f"{URL}/mcp", {}, ("a fact",), github="one-github")
    cell = row.cell(blank)
    assert (cell.value, cell.tone) == ("not seen", "unseen")
    assert cell.seen.removeprefix("Not seen: ")


def test_a_token_with_200_alone_counts_as_given() -> None:
    assert Answered(reply(200, access_token="sample")).access_token == "sample"
    assert Answered(reply(400, access_token="sample")).access_token == ""
    assert Answered(Reply(200, {}, '{"access_token": 7}')).access_token == ""
