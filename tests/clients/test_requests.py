"""The requests of clients that cannot run here, replayed through part 4 and each variation to a tool call."""

import base64
import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.clients.conftest import Server
from tests.clients.requests import CLIENTS, UNWANTED_GRANT, ClientRequests
from workshop.core.browser import following, press

VERIFIER = "a-verifier-of-the-right-length-for-pkce-s256-0123"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
APPROVING = (("decision", "approve"), ("user", "learner"), ("decision", "learner"))
CREATED = 201
PAGES = 16


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=60, trust_env=False) as opened:
        yield opened


class Replay:
    """One client's login at one server, request by request, as it would send them."""

    def __init__(self, server: Server, client: ClientRequests, http: httpx2.Client) -> None:
        self.server, self.client, self.http = server, client, http
        prm = self.http.get(f"{server.origin}/.well-known/oauth-protected-resource/mcp").json()
        issuer = prm["authorization_servers"][0]
        self.metadata = self.http.get(f"{issuer}/.well-known/oauth-authorization-server").json()
        self.scopes = prm.get("scopes_supported", [])
        self.credentials: dict[str, str] = {}

    def register(self, body: Mapping[str, object]) -> httpx2.Response:
        """The answer to a registration; a server that takes no more for now says when it will."""
        while True:
            answer = self.http.post(
                self.metadata["registration_endpoint"], json=dict(body), headers=dict(self.client.headers)
            )
            if answer.status_code != httpx2.codes.TOO_MANY_REQUESTS:
                return answer
            time.sleep(float(answer.headers["retry-after"]))

    def log_in(self) -> dict[str, Any]:
        """Registration to token."""
        registered = self.register(self.client.registration)
        assert registered.status_code == CREATED, registered.text
        names = ("client_id", "client_secret")
        self.credentials = {name: registered.json()[name] for name in names if name in registered.json()}
        code = self.approve()
        return self.token(
            grant_type="authorization_code",
            code=code,
            redirect_uri=self.client.redirect_uri,
            code_verifier=VERIFIER,
        )

    def approve(self) -> str:
        """The code that a person's browser brings back, after they have approved on each page."""
        url = httpx2.URL(self.metadata["authorization_endpoint"], params=self.parameters())
        with httpx2.Client(timeout=60, trust_env=False) as browser:
            request: httpx2.Request | None = browser.build_request("GET", url)
            for _ in range(PAGES):
                assert request
                page = browser.send(request)
                back = page.headers.get("location", "")
                if back.startswith(self.client.redirect_uri):
                    answer = parse_qs(urlsplit(back).query)
                    assert answer["state"] == ["a-state"], back
                    return answer["code"][0]
                request = following(page) or press(browser, page, *APPROVING)
        raise AssertionError("the pages lead nowhere")

    def parameters(self) -> dict[str, str]:
        parameters = {
            "response_type": "code",
            "client_id": self.credentials["client_id"],
            "redirect_uri": self.client.redirect_uri,
            "state": "a-state",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        scopes = list(self.scopes)
        if self.client.scope == "metadata and offline_access" and "offline_access" in self.metadata.get(
            "scopes_supported", ()
        ):
            scopes.append("offline_access")
        if self.client.scope != "none" and scopes:
            parameters["scope"] = " ".join(dict.fromkeys(scopes))
        return parameters | self.resource

    @property
    def resource(self) -> dict[str, str]:
        return {"resource": self.server.url} if self.client.resource == "url" else {}

    def token(self, **form: str) -> dict[str, Any]:
        sent = {**form, **self.credentials, **self.resource, **self.client.form}
        answer = self.http.post(self.metadata["token_endpoint"], data=sent, headers=dict(self.client.headers))
        assert answer.status_code == httpx2.codes.OK, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    def call(self, token: str) -> str:
        """What the server's tool answers, in the protocol version of 2025-11-25."""
        headers = {
            "authorization": f"Bearer {token}",
            "accept": "application/json, text/event-stream",
            **self.server.headers,
        }

        def ask(method: str, number: int | None, **params: object) -> httpx2.Response:
            message = {"jsonrpc": "2.0", "method": method, "params": params}
            body = message if number is None else {**message, "id": number}
            return self.http.post(self.server.url, json=body, headers=headers)

        info = {"name": self.client.name, "version": "1"}
        begun = ask("initialize", 1, protocolVersion="2025-11-25", capabilities={}, clientInfo=info)
        assert begun.status_code == httpx2.codes.OK, begun.text
        headers["mcp-protocol-version"] = "2025-11-25"
        if session := begun.headers.get("mcp-session-id"):
            headers["mcp-session-id"] = session
        ask("notifications/initialized", None)
        return ask("tools/call", 2, name=self.server.tool, arguments={}).text


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_its_requests_lead_to_a_tool_call(
    server: Server, client: ClientRequests, http: httpx2.Client
) -> None:
    replay = Replay(server, client, http)
    if client.confidential and server.name != "worker":
        refused = replay.register(client.registration)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")
        assert "token_endpoint_auth_method" in refused.json()["error_description"]
        return
    if client.resource == "none" and server.name != "github-remote":
        pytest.skip("its documents name the URL, so that this client sends it")
    tokens = replay.log_in()
    assert server.answer in replay.call(tokens["access_token"])
    if "refresh_token" in tokens:
        renewed = replay.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        assert server.answer in replay.call(renewed["access_token"])


def test_a_grant_that_the_metadata_do_not_list_is_not_registered(server: Server, http: httpx2.Client) -> None:
    replay = Replay(server, CLIENTS[0], http)
    assert "device_code" not in str(replay.metadata["grant_types_supported"])
    refused = replay.register(UNWANTED_GRANT)
    if server.name == "worker":  # it registers what it supports (RFC 7591 section 2)
        assert refused.status_code == CREATED
        assert "device_code" not in str(refused.json())
        return
    assert refused.status_code == httpx2.codes.BAD_REQUEST
    assert "grant_types" in refused.json()["error_description"]
