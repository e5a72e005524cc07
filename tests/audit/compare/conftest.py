"""Evidence of a correct system, for tests that change one thing in it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workshop.audit.compare.evidence import (
    Asked,
    Authorization,
    Cleaned,
    Evidence,
    ForAnother,
    GitHubRecord,
    Moment,
    Names,
    Page,
    Presented,
    Provider,
    Refreshed,
    Registered,
    Searched,
    Session,
    TokenAnswer,
    WithoutProof,
)
from workshop.audit.probe.model import Answer, McpAnswers, ResourceAnswers, ServerAnswers, Target
from workshop.audit.probe.model import Evidence as Probed
from workshop.audit.probe.report import Examined, Report
from workshop.servers.practice.client import RecordedRequest

URL, GITHUB = "http://localhost:9001", "http://localhost:9002"
CREDENTIAL = "a" * 64
"""Stands for the SHA-256 of the credential that GitHub receives."""
METADATA = {
    "issuer": URL,
    "authorization_endpoint": f"{URL}/authorize",
    "token_endpoint": f"{URL}/token",
    "registration_endpoint": f"{URL}/register",
}
CHALLENGE = f'Bearer resource_metadata="{URL}/.well-known/oauth-protected-resource"'


def answer(status: int, text: str) -> Answer:
    return Answer("POST /", URL, status, (), text)


def reply(status: int, **document: str) -> Answer:
    return answer(status, json.dumps(document))


OK, REFUSED, FAILED = answer(200, "{}"), reply(401, error="invalid_token"), answer(503, "")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory and a working directory for the test alone."""
    monkeypatch.setenv("WORKSHOP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def request(at: float, path: str, *, sha256: str = "", **form: Any) -> RecordedRequest:
    """A request as the practice GitHub records it."""
    described = {"kind": "practice token", "user": "learner", "sha256": sha256}
    return RecordedRequest(
        number=int(at),
        time=datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        method="POST",
        path=path,
        query={},
        headers={"authorization": described} if sha256 else {},
        form=form,
        status=200,
    )


def exchange(at: float) -> RecordedRequest:
    return request(at, "/login/oauth/access_token", code={"kind": "code", "sha256": "c" * 64})


def call(at: float, sha256: str = CREDENTIAL) -> RecordedRequest:
    return request(at, "/mcp", sha256=sha256)


def probed(challenge: str = CHALLENGE, status: int = 401, **metadata: Any) -> Probed:
    headers = (("www-authenticate", challenge),) if challenge else ()
    document = json.dumps({**METADATA, **metadata})
    return Probed(
        Target(f"{URL}/mcp"),
        McpAnswers(Answer("POST /mcp", f"{URL}/mcp", status, headers, "")),
        ResourceAnswers(),
        URL,
        ServerAnswers(metadata=Answer("GET", URL, 200, (("content-type", "application/json"),), document)),
    )


def probe_result(findings: Any = (), **changed: Any) -> Examined:
    return Examined(probed(**changed), Report(f"{URL}/mcp", findings, (), (), (), ()))


CONSENT = Page(URL, "/authorize", ("decision",), names_client=True)
AT_GITHUB = Page(GITHUB, "/login/oauth/authorize", ("decision", "user"), names_client=False)


def session(
    *pages: Page, callback: Mapping[str, str] | None = None, first_use: Answer = OK, **metadata: Any
) -> Session:
    provider = Provider({**METADATA, **metadata}, f"{URL}/mcp")
    came = {"code": "one", "iss": URL} if callback is None else callback
    return Session(provider, Authorization(pages or (CONSENT, AT_GITHUB), came), tokens(), first_use)


def tokens() -> TokenAnswer:
    return TokenAnswer(reply(200, access_token="sample"))


ASKED = Asked(
    "trail-mapper has the most",
    moments=(Moment(10, "Connecting"), Moment(20, "TokenReceived"), Moment(30, "ToolCalled")),
    tools=("get_me", "list_issues"),
    token="sample",
)
DENIED = Authorization((), {"error": "invalid_request"})
GIVEN = Authorization((), {"code": "one"})
CLEANED = Cleaned((), "Revoked", REFUSED, False, 0, (), None, (), (), directory=False)


@pytest.fixture
def right() -> Evidence:
    """A correct system: OAuth within the login, and a sealed store."""
    return Evidence(
        name="one",
        url=f"{URL}/mcp",
        workloads={"one": f"{URL}/mcp", "one-github": GITHUB},
        facts=("trail-mapper",),
        server="one",
        github="one-github",
        probe_result=probe_result(),
        asked=ASKED,
        again=replace(ASKED, moments=(Moment(50, "Connecting"), Moment(60, "ToolCalled"))),
        github_record=GitHubRecord((exchange(15), call(31)), (call(61),), (), 3, 1),
        searched=Searched(7, (), ()),
        registered=Registered(reply(201), {"http://evil.example/cb": reply(400)}),
        session=session(),
        without_proof=WithoutProof(DENIED, TokenAnswer(reply(400, error="invalid_grant"))),
        for_another=ForAnother(Authorization((), {"error": "invalid_target"})),
        presented=Presented({"GitHub's own token": REFUSED}, {"aud": "me"}, OK, REFUSED),
        neighbours={"another": REFUSED},
        refreshed=Refreshed(True, tokens(), rotated=True, first_use=OK),
        names=Names(("get_me", "list_issues"), {"one-github": ("get_me", "list_issues", "fork")}),
        cleaned=CLEANED,
    )
