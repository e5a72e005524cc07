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
    answer,
    probe_result,
    reply,
    session,
    tokens,
)
from workshop.audit.compare.evidence import (
    Evidence,
    ForAnother,
    Presented,
    Refreshed,
    Registered,
    TokenAnswer,
    Unobserved,
    WithoutProof,
)
from workshop.audit.compare.rows import ROWS

ROW = {row.id: row for row in ROWS}
WRONG = TokenAnswer(reply(400, error="invalid_grant"))


def value_and_tone(evidence: Evidence, row: str, **changed: Any) -> tuple[str, str]:
    """Value and tone of a cell, with something changed in the evidence."""
    cell = ROW[row].cell(replace(evidence, **changed))
    return cell.value, cell.tone


@pytest.mark.parametrize(
    ("evidence", "value"),
    [
        (session(), ("the server itself", "plain")),
        (session(token_endpoint="http://localhost:9003/token"), ("an outside server", "plain")),
        (session(first_use=REFUSED), ("not accepted", "bad")),
        (Unobserved("no login"), ("not observed", "unseen")),
    ],
)
def test_the_issuer_is_the_server_whose_token_endpoint_issued_the_token(
    right: Evidence, evidence: Any, value: tuple[str, str]
) -> None:
    assert value_and_tone(right, "issuer", session=evidence) == value


@pytest.mark.parametrize(
    ("authorization", "wrong", "value"),
    [
        (DENIED, WRONG, ("enforced", "good")),
        (GIVEN, WRONG, ("only if sent", "bad")),
        (GIVEN, tokens(), ("not checked", "bad")),
        (DENIED, tokens(), ("not checked", "bad")),
        (DENIED, TokenAnswer(FAILED), ("not observed", "unseen")),
    ],
)
def test_pkce_is_enforced_when_neither_is_taken(
    right: Evidence, authorization: Any, wrong: TokenAnswer, value: tuple[str, str]
) -> None:
    assert value_and_tone(right, "pkce", without_proof=WithoutProof(authorization, wrong)) == value


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
    assert value_and_tone(right, "consent", session=session(*pages)) == value


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
    assert value_and_tone(right, "audience", **changed) == value


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (probe_result(), ("401, names metadata", "good")),
        (probe_result(challenge='Bearer realm="here"'), ("401, no metadata", "bad")),
        (probe_result(challenge=""), ("401, no challenge", "bad")),
        (probe_result(challenge="", status=200), ("none: accepted", "bad")),
    ],
)
def test_a_challenge_names_the_metadata(right: Evidence, found: Any, value: tuple[str, str]) -> None:
    assert value_and_tone(right, "challenge", probe_result=found) == value


def hostile(status: int, good: int = 201) -> Registered:
    return Registered(reply(good), {"http://evil.example/cb": reply(status), "javascript:": reply(400)})


@pytest.mark.parametrize(
    ("registered", "value"),
    [
        (hostile(400), ("anyone, checked", "good")),
        (hostile(201), ("anyone, unchecked", "bad")),
        (hostile(429), ("anyone", "plain")),
        (hostile(503), ("anyone", "plain")),
        (hostile(400, good=403), ("refused", "plain")),
        (hostile(400, good=429), ("not observed", "unseen")),
    ],
)
def test_registration_is_checked_when_no_hostile_redirect_is_taken(
    right: Evidence, registered: Registered, value: tuple[str, str]
) -> None:
    assert value_and_tone(right, "registration", registered=registered) == value


def test_registration_that_the_metadata_does_not_name_is_not_offered(right: Evidence) -> None:
    whole = probe_result()
    assert whole.evidence.metadata == METADATA
    cimd = probe_result(client_id_metadata_document_supported=True)
    assert value_and_tone(right, "registration", probe_result=cimd) == ("anyone, checked, CIMD", "good")
    described = whole.evidence.server
    assert described is not None
    assert described.metadata is not None
    bare = replace(described.metadata, text=f'{{"issuer": "{URL}"}}')
    found = replace(whole, evidence=replace(whole.evidence, server=replace(described, metadata=bare)))
    assert value_and_tone(right, "registration", probe_result=found) == ("not offered", "plain")


@pytest.mark.parametrize(
    ("callback", "value"),
    [
        ({"code": "one", "iss": URL}, ("yes", "good")),
        ({"code": "one"}, ("no", "bad")),
        ({"code": "one", "iss": f"{URL}/"}, ("wrong", "bad")),
    ],
)
def test_iss_is_the_issuer_character_for_character(
    right: Evidence, callback: dict[str, str], value: tuple[str, str]
) -> None:
    assert value_and_tone(right, "iss", session=session(callback=callback)) == value


@pytest.mark.parametrize(
    ("refreshed", "value"),
    [
        (Refreshed(True, tokens(), rotated=True, first_use=OK), ("works, rotates", "good")),
        (Refreshed(True, tokens(), rotated=False, first_use=OK), ("works", "good")),
        (Refreshed(True, tokens(), rotated=True, first_use=REFUSED), ("no use", "bad")),
        (Refreshed(True, WRONG), ("issued, but refused", "bad")),
        (Refreshed(given=False), ("none", "plain")),
    ],
)
def test_a_refresh_works_when_its_token_is_taken(
    right: Evidence, refreshed: Refreshed, value: tuple[str, str]
) -> None:
    assert value_and_tone(right, "refresh", refreshed=refreshed) == value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_what_was_not_observed_is_reported_with_the_reason(row: Any) -> None:
    blank = Evidence("one", f"{URL}/mcp", {}, ("a fact",), github="one-github")
    cell = row.cell(blank)
    assert (cell.value, cell.tone) == ("not observed", "unseen")
    assert cell.seen.removeprefix("Not observed: ")


def test_a_token_counts_only_with_200() -> None:
    assert TokenAnswer(reply(200, access_token="sample")).access_token == "sample"
    assert TokenAnswer(reply(400, access_token="sample")).access_token == ""
    assert TokenAnswer(answer(200, '{"access_token": 7}')).access_token == ""
