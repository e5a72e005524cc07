"""The handshake of a login with fresh values, for exercises: its two servers, its tokens, and a recording."""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urlsplit

from workshop.core.encoding import s256
from workshop.recorder.model import Request

if TYPE_CHECKING:
    import httpx2
    from joserfc.jwk import ECKey, KeySet

    from workshop.recorder.recorder import Recorder

_SECONDS = 5
_MOST_BODY = 64 * 1024
# Nothing listens there: what a browser would send is recorded, not sent.
_REDIRECT_URI = "http://localhost:8765/callback"
# A name that never resolves (RFC 2606 section 2).
_GITHUB = "http://github.invalid"
_CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_me", "arguments": {}}}

Answer = tuple[int, Mapping[str, str], Mapping[str, Any]]
"""Status, headers and JSON document of a response."""


MISTAKES = ("resource", "state", "verifier", "swap")
"""What may be wrong in a recording: a login for another resource, another login's state or verifier, and a
call that gives GitHub the agent's token."""


class _Site(ThreadingHTTPServer):
    """A server on a free port of 127.0.0.1 that answers each path with what `routes` has for it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes: dict[str, Answer] = {}
        self.missed: list[str] = []
        self.origin = f"http://127.0.0.1:{self.server_port}"
        # `shutdown` waits for the next poll, by default up to half a second.
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and POST alike, whatever the body is."""

    server: _Site
    timeout = _SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        # A connection that is closed with a body unread is reset, and the answer may be lost.
        self.rfile.read(min(int(self.headers.get("Content-Length", 0)), _MOST_BODY))
        with_token = f"{path} with a token" if "Authorization" in self.headers else path
        answer = self.server.routes.get(with_token) or self.server.routes.get(path)
        if answer is None:
            self.server.missed.append(f"{self.server.origin}{path}")
        status, headers, document = answer or (HTTPStatus.NOT_FOUND, {}, {"error": f"Nothing is at {path}"})
        body = json.dumps(document).encode()
        self.send_response(status)
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - same
        """Write nothing: stderr is for the learner's own output."""


class Handshake:
    """A login at servers of its own: every address, name, key and token is new.

    With `apart`, the authorization server has another origin than the MCP server.
    """

    def __init__(self, *, apart: bool = False) -> None:
        self._server = _Site()
        self._authority = _Site() if apart else self._server
        word = secrets.token_hex(4)
        self.client_id, self.user = f"client-{word}", f"user-{word}"
        self.redirect_uri = _REDIRECT_URI
        self.scope = f"read:{word} write:{word}"
        self.mcp_url = f"{self._server.origin}/mcp"
        self.resource = f"{self._server.origin}/"
        self.metadata_url = f"{self._server.origin}/.well-known/oauth-protected-resource/{word}"
        self.issuer = self._authority.origin
        self.authorization_endpoint = f"{self.issuer}/{word}/authorize"
        self._key, self._other_key = _new_key(word), _new_key(word)
        self._agent_token, self._github_token = (
            self.token(aud=[self.resource]),
            f"github-{secrets.token_hex(8)}",
        )
        self._server.routes.update(self._server_routes())
        self._authority.routes.update(self._authority_routes(word))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for site in {self._server, self._authority}:
            site.end()

    @property
    def missed(self) -> list[str]:
        """The addresses that were requested although nothing is there."""
        return [address for site in {self._server, self._authority} for address in site.missed]

    @property
    def keys(self) -> "KeySet":
        """The issuer's public keys, as its `jwks_uri` has them (RFC 7517 section 5)."""
        from joserfc.jwk import KeySet

        return KeySet.import_key_set({"keys": [self._key.as_dict(private=False)]})

    def token(self, *, forged: bool = False, **changes: object) -> str:
        """An access token for this server with `changes` in its claims; `forged`: signed with another key."""
        from joserfc import jwt

        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": self.user,
            # The other audience comes first: to compare that one alone is a mistake (RFC 7519 section 4.1.3).
            "aud": [f"https://{secrets.token_hex(4)}.example/", self.resource],
            "iat": now,
            "exp": now + 3600,
            **changes,
        }
        header = {"alg": "ES256", "typ": "at+jwt", "kid": self._key.kid}
        return jwt.encode(header, claims, self._other_key if forged else self._key)

    def http(self) -> "httpx2.Client":
        """An HTTP client for a learner's function."""
        from workshop.core.http_client import open_local_client_sync

        return open_local_client_sync(timeout=_SECONDS)

    def refusal(self, claims_of: Callable[..., object], token: str) -> str | None:
        """Why a learner's function refuses a token, as ValueError or joserfc's error; None if it does not."""
        from joserfc.errors import JoseError

        try:
            claims_of(token, self.keys, issuer=self.issuer, audience=self.resource)
        except (ValueError, JoseError) as error:
            return str(error)
        return None

    async def recorded(self, mistake: str = "", *, calls: int) -> tuple[list[dict[str, Any]], int | None]:
        """A login and `calls` calls as the flight recorder writes them, and the number of the wrong request.

        `mistake` is one of `MISTAKES`, or empty; then no request is wrong.
        """
        from workshop.recorder import recording
        from workshop.recorder.build import build_trace
        from workshop.recorder.model import Outcome, Subject
        from workshop.recorder.recorder import Recorder

        recorder = Recorder()
        with recording(recorder):
            await self._play(recorder, mistake, calls)
        received = self._received(recorder, mistake)
        trace = build_trace(recorder, Subject("Part 4", _GITHUB), Outcome(), received)
        wrong = {"": None, "resource": 5, "state": 6, "verifier": 7, "swap": 7 + 2 * calls}[mistake]
        return json.loads(json.dumps([asdict(step) for step in trace.steps])), wrong

    async def _play(self, recorder: "Recorder", mistake: str, calls: int) -> None:
        """Send the requests of hops 1 to 7, then the calls."""
        from workshop.agent.http import open_client

        verifier, code, state = secrets.token_urlsafe(32), secrets.token_hex(8), secrets.token_hex(8)
        resource = f"{self.resource}other" if mistake == "resource" else self.resource
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": state,
            "code_challenge": s256(verifier),
            "code_challenge_method": "S256",
            "resource": resource,
        }
        returned = {"code": code, "state": "another" if mistake == "state" else state, "iss": self.issuer}
        form = {
            "grant_type": "authorization_code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code": code,
            "code_verifier": f"{verifier}-of-another" if mistake == "verifier" else verifier,
            "resource": resource,
        }
        async with open_client(_SECONDS) as http:
            await http.post(self.mcp_url, json=_CALL)
            await http.get(self.metadata_url)
            document = (await http.get(f"{self.issuer}/.well-known/oauth-authorization-server")).json()
            await http.post(document["registration_endpoint"], json={"redirect_uris": [self.redirect_uri]})
            recorder.built(f"{self.authorization_endpoint}?{urlencode(asked)}")
            recorder.received(f"{self.redirect_uri}?{urlencode(returned)}", HTTPStatus.OK)
            token = (await http.post(document["token_endpoint"], data=form)).json()["access_token"]
            for _ in range(calls):
                await http.post(self.mcp_url, json=_CALL, headers={"Authorization": f"Bearer {token}"})

    def _received(self, recorder: "Recorder", mistake: str) -> list[Request]:
        """What GitHub recorded: for each call, a hash of the token that came with it."""
        calls = [request for request in recorder.requests if request.sent("authorization")]
        received = []
        for call in calls:
            leaks = mistake == "swap" and call is calls[-1]
            token = self._agent_token if leaks else self._github_token
            request = Request("gateway", "POST", f"{_GITHUB}/mcp/", call.at, "upstream", status=HTTPStatus.OK)
            request.credential = ("token", hashlib.sha256(token.encode()).hexdigest())
            received.append(request)
        return received

    def _server_routes(self) -> dict[str, Answer]:
        metadata = {
            "resource": self.resource,
            "authorization_servers": [self.issuer],
            "scopes_supported": self.scope.split(),
        }
        challenge = f'Bearer resource_metadata="{self.metadata_url}", scope="{self.scope}"'
        result = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
        return {
            "/mcp": (HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": challenge}, {}),
            "/mcp with a token": (HTTPStatus.OK, {}, result),
            urlsplit(self.metadata_url).path: (HTTPStatus.OK, {}, metadata),
        }

    def _authority_routes(self, word: str) -> dict[str, Answer]:
        metadata = {
            "issuer": self.issuer,
            "authorization_endpoint": self.authorization_endpoint,
            "token_endpoint": f"{self.issuer}/{word}/token",
            "registration_endpoint": f"{self.issuer}/{word}/register",
            "jwks_uri": f"{self.issuer}/{word}/keys",
            "code_challenge_methods_supported": ["S256"],
        }
        client = {"client_id": self.client_id, "redirect_uris": [self.redirect_uri]}
        token = {"access_token": self._agent_token, "token_type": "Bearer", "expires_in": 3600}
        return {
            "/.well-known/oauth-authorization-server": (HTTPStatus.OK, {}, metadata),
            f"/{word}/register": (HTTPStatus.CREATED, {}, client),
            f"/{word}/token": (HTTPStatus.OK, {}, token),
        }


def _new_key(name: str) -> "ECKey":
    from joserfc.jwk import ECKey

    return ECKey.generate_key("P-256", {"kid": name})
