"""The trace of a real login: who asked whom, what was compared, and what only the upstream recorded."""

import json
import runpy
import time

import pytest

from tests.agent.conftest import Authority, Session
from tests.agent.test_gateway_login import Scenario
from tests.recorder.conftest import Recording, record_run
from workshop.core.errors import WorkshopError
from workshop.core.paths import parts_dir
from workshop.recorder import recording
from workshop.recorder.build import build_trace
from workshop.recorder.files import to_json
from workshop.recorder.masking import fingerprint
from workshop.recorder.model import Outcome, Request, Subject, Trace
from workshop.recorder.recorder import Recorder

HANDSHAKE = [
    ("challenge", "agent", "gateway"),
    ("resource-metadata", "agent", "gateway"),
    ("server-metadata", "agent", "gateway"),
    ("register", "agent", "gateway"),
    ("authorize", "browser", "gateway"),
    ("consent", "browser", "gateway"),
    ("upstream-authorize", "browser", "upstream"),
    ("upstream-consent", "browser", "upstream"),
    ("upstream-callback", "browser", "gateway"),
    ("upstream-token", "gateway", "upstream"),
    ("upstream-user", "gateway", "upstream"),
    ("callback", "browser", "agent"),
    ("token", "agent", "gateway"),
]


async def test_a_login_is_explained_request_by_request_and_every_comparison_holds(login: Recording) -> None:
    steps = [(step.kind, step.sender, step.receiver) for step in login.trace.steps]
    assert steps[: len(HANDSHAKE)] == HANDSHAKE
    assert {step[0] for step in steps[len(HANDSHAKE) :]} == {"mcp", "upstream-mcp"}
    assert [one for _, one in login.trace.comparisons if not one.holds] == []
    compared = {one.left_name.split("(")[0] for _, one in login.trace.comparisons}
    assert compared >= {
        "resource in the metadata",
        "issuer in its metadata",
        "state sent",
        "iss returned",
    }
    assert compared >= {
        "S256",
        "code returned",
        "aud in the token",
        "iss in the token",
        "token 1, the agent's",
    }


async def test_equal_secrets_have_equal_labels_and_the_two_tokens_have_two(login: Recording) -> None:
    sent, back = (dict(login.step(kind).facts)["state"] for kind in ("authorize", "callback"))
    assert sent == back == "⟨state-1⟩"
    assert dict(login.step("upstream-authorize").facts)["state"] == "⟨state-2⟩"
    (swapped,) = login.step("upstream-mcp").comparisons
    assert (swapped.left, swapped.right, swapped.holds) == ("⟨token-1⟩", "⟨github-token-1⟩", True)
    assert dict(login.step("token").facts)["access_token"] == "⟨token-1⟩"
    assert "⟨code-1⟩" in login.step("upstream-token").request.body, "the gateway exchanges GitHub's code"
    assert dict(login.step("upstream-callback").facts)["code"] == "⟨code-1⟩"


async def test_the_gateways_requests_are_inside_the_request_that_caused_them(
    login: Recording,
) -> None:
    by_number = {step.number: step for step in login.trace.steps}
    inner = {step.kind: by_number[step.inside].kind for step in login.trace.steps if step.inside}
    assert inner == {
        "upstream-token": "upstream-callback",
        "upstream-user": "upstream-callback",
        "upstream-mcp": "mcp",
    }


async def test_the_token_is_decoded_and_its_session_hidden(login: Recording) -> None:
    claims = login.step("token").claims
    assert claims.header["alg"] == "ES256"
    assert claims.payload["aud"] == [login.trace.steps[1].comparisons[0].left]
    assert claims.payload["tsid"] == "⟨session-1⟩"


async def test_tools_and_their_answers_are_named(login: Recording) -> None:
    called = [step for step in login.trace.steps if step.title.startswith("The tool ")]
    assert called[0].title == "The tool get_me is called"
    assert '"login":"learner"' in dict(called[0].facts)["answer"]
    assert '"state": "OPEN"' in json.dumps([dict(step.facts) for step in called]).replace('\\"', '"')


async def test_a_second_run_shows_the_stored_token_and_no_handshake(scenario: Scenario) -> None:
    async with scenario.gateway():
        await record_run(scenario)
        again = await record_run(scenario)
    assert {step.kind for step in again.trace.steps} == {"mcp", "upstream-mcp"}
    assert again.trace.steps[0].claims is not None
    assert again.trace.steps[0].comparisons[0].left_name == "aud in the token"


async def test_a_remembered_document_is_shown_as_not_sent(scenario: Scenario) -> None:
    async with scenario.gateway():
        await record_run(scenario)
        (path,) = (scenario.folder / "logins").glob("*.json")
        stored = json.loads(path.read_text())
        path.write_text(json.dumps(stored | {"tokens": None, "expires_at": time.time()}))
        again = await record_run(scenario)
    found = again.step("server-metadata")
    assert found.seen_by == "memory"
    assert found.seconds is None
    assert "Nothing was sent" in found.sentence
    assert all(one.holds for _, one in again.trace.comparisons)


async def test_a_refresh_is_shown_with_its_new_token_and_no_person(scenario: Scenario) -> None:
    async with scenario.gateway():
        await record_run(scenario)
        (path,) = (scenario.folder / "logins").glob("*.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"expires_at": 1}))
        again = await record_run(scenario)
    found = again.step("refresh")
    assert "⟨refresh-token-1⟩" in found.request.body
    assert dict(found.facts)["refresh_token"] == "⟨refresh-token-2⟩"
    assert found.claims is not None
    (audience,) = (one for one in found.comparisons if one.left_name == "aud in the token")
    asked = (step.url for step in again.trace.steps if step.kind == "mcp")
    assert (audience.right_name, audience.right) == ("the requested URL", next(asked))
    assert all(one.holds for _, one in again.trace.comparisons)
    assert "browser" not in {party.id for party in again.trace.parties}


async def bent_login(authority: Authority, session: Session, **bent: object) -> Trace:
    """A login at a server that bends a rule, recorded to its end."""
    for name, value in bent.items():
        setattr(authority, name, value)
    recorder = Recorder()
    with recording(recorder), pytest.raises(WorkshopError):
        await session.get()
    return build_trace(recorder, Subject("Bent"), Outcome("failed", "It failed"))


def failed(trace: Trace) -> list[str]:
    return [one.left_name for _, one in trace.comparisons if not one.holds]


async def test_a_wrong_issuer_in_the_callback_is_shown_as_what_failed(
    authority: Authority, session: Session
) -> None:
    trace = await bent_login(authority, session, callback={"iss": "https://elsewhere.example"})
    assert failed(trace) == ["iss returned"]
    assert trace.steps[-1].kind == "callback"


async def test_a_missing_issuer_that_was_promised_is_shown_too(
    authority: Authority, session: Session
) -> None:
    trace = await bent_login(authority, session, callback={"iss": None})
    assert failed(trace) == ["iss returned"]
    assert dict(trace.steps[-1].facts).get("iss") is None


async def test_a_foreign_resource_is_shown_as_what_failed(authority: Authority, session: Session) -> None:
    trace = await bent_login(
        authority, session, protected_resource={"resource": "https://elsewhere.example/"}
    )
    assert failed(trace) == ["resource in the metadata"]


async def test_a_server_without_pkce_is_shown_as_what_failed(authority: Authority, session: Session) -> None:
    trace = await bent_login(
        authority, session, authorization_server={"code_challenge_methods_supported": ["plain"]}
    )
    assert failed(trace) == ["code_challenge_methods_supported"]


async def test_a_denied_login_is_named_in_its_last_request(authority: Authority, session: Session) -> None:
    trace = await bent_login(authority, session, approves=False)
    assert "access_denied" in trace.steps[-1].sentence
    assert trace.steps[-1].seen_by == "listener", "another client than ours opened the page"
    assert any(step.seen_by == "built" for step in trace.steps)
    assert any("browser" in text for text in trace.unseen)


def test_a_token_that_was_passed_on_is_shown_as_the_failure_it_is() -> None:
    recorder = Recorder()
    call = Request("agent", "POST", "http://localhost:1/mcp", 0.0, status=200, answered=0.1, ended=0.2)
    call.request_headers = [("authorization", "Bearer sample-of-a-token")]
    recorder.requests.append(call)
    leaked = Request("gateway", "POST", "http://localhost:2/mcp", 0.1, "upstream", status=200)
    leaked.credential = ("jwt", fingerprint("sample-of-a-token"))
    trace = build_trace(recorder, Subject("x", "http://localhost:2"), Outcome(), [leaked])
    assert failed(trace) == ["token 1, the agent's"]
    assert "must not happen" in trace.steps[1].sentence


async def test_the_solution_of_an_exercise_reads_a_real_login(login: Recording) -> None:
    """Exercise 4.1 is judged on recordings of its own; a learner tries it on a run like this one."""
    (solution,) = parts_dir().glob("*/exercises/*_read_a_trace/solution.py")
    answers = runpy.run_path(str(solution))["answers"](json.loads(to_json(login.trace))["steps"])
    token = login.step("token").claims.payload
    swaps = [step for step in login.trace.steps if step.kind == "upstream-mcp"]
    assert swaps
    assert answers == {"issuer": token["iss"], "audience": token["aud"], "swapped": len(swaps), "wrong": None}
