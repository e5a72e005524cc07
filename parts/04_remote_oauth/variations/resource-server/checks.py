"""The checks of this variation: who issues tokens, whose are taken, and that this server has none to give."""

import base64
import json
import re
from typing import Any, Literal
from urllib.parse import urlsplit

from workshop.agent import LoopbackListener, McpTools, OAuthClient
from workshop.agent.connect import connect
from workshop.agent.http import open_client
from workshop.lessons.checks import NotPassedError, Subject, check, expect, random_number

SERVER, PROVIDER = "resource-server", "resource-server-identity"
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
PARAMETER = re.compile(r'(\w+)="([^"]*)"')
LOGIN_HINT = (
    "`workshop part 4 run --variation resource-server --approve-as learner` logs in without a browser"
)


@check(hints=(LOGIN_HINT,))
def it_was_run(subject: Subject) -> None:
    """You have run this variation, and it answered."""
    expect(subject.ran, "It has not been run from here yet")


@check(hints=("`curl -si -X POST` the server's address, and read `WWW-Authenticate`",), seconds=15, retries=3)
async def the_challenge_leads_to_the_provider(subject: Subject) -> None:
    """Without a token the server answers 401; its metadata names itself, and the provider for tokens."""
    status, told = await _ask(subject)
    expect(status == 401, f"It answered {status}, not 401")  # noqa: PLR2004 - said so
    expect("error" not in told, f"It names the error {told.get('error')}, though nobody made one")
    document = await _document(told["resource_metadata"])
    own, provider = subject.endpoint(SERVER), subject.endpoint(PROVIDER)
    expect(document.get("resource") == own, f"`resource` is {document.get('resource')!r}, not {own!r}")
    named = document.get("authorization_servers")
    expect(named == [provider], f"`authorization_servers` is {named}, not [{provider!r}]")


@check(
    hints=("An authorization server's metadata is at the provider, and nowhere else",),
    needs=(the_challenge_leads_to_the_provider,),
)
async def it_issues_no_tokens(subject: Subject) -> None:
    """The provider says where tokens are issued; the server itself has no such place."""
    path = "/.well-known/oauth-authorization-server"
    document = await _document(subject.endpoint(PROVIDER) + path)
    issuer = document.get("issuer")
    expect(issuer == subject.endpoint(PROVIDER), f"The provider says it is {issuer!r}")
    parts = urlsplit(subject.endpoint(SERVER))
    async with open_client(5) as http:
        answer = await http.get(f"{parts.scheme}://{parts.netloc}{path}")
    expect(answer.is_client_error, f"The server has such metadata too: it answered {answer.status_code}")


@check(
    hints=("`jwks_uri` in part.toml is where the server finds the keys that signatures are checked with",),
    needs=(the_challenge_leads_to_the_provider,),
)
async def a_forged_token_is_refused(subject: Subject) -> None:
    """A token with the right claims and nobody's signature is refused."""
    claims: dict[str, Any] = {"iss": subject.endpoint(PROVIDER), "aud": [subject.endpoint(SERVER)]}
    claims |= {"sub": "1", "exp": 4102444800, "scope": "issues:read"}
    for algorithm in ("none", "ES256"):
        forged = f"{_encoded({'alg': algorithm, 'typ': 'at+jwt'})}.{_encoded(claims)}.{'x' * 86}"
        status, told = await _ask(subject, forged)
        refused = (status, told.get("error")) == (401, "invalid_token")
        expect(
            refused, f"With `alg` {algorithm} it answered {status}, {told.get('error', 'without an error')}"
        )


@check(hints=(LOGIN_HINT, "`workshop login list` shows the logins that are stored, never a token"))
def the_token_is_the_providers_for_this_server(subject: Subject) -> None:
    """The agent's token names the provider as its issuer, and this server alone as its audience."""
    login = subject.login(SERVER)
    if login is None or login.tokens is None:
        raise NotPassedError("There is no stored login for this server")
    middle = login.tokens.access_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    provider, own = subject.endpoint(PROVIDER), subject.endpoint(SERVER)
    expect(claims.get("iss") == provider, f"`iss` is {claims.get('iss')!r}, not {provider!r}")
    expect(claims.get("aud") in (own, [own]), f"`aud` is {claims.get('aud')}, not {own!r}")


@check(
    hints=("`refs` in part.toml names the functions; part 1 has them, in tools.py",),
    seconds=25,
    needs=(the_token_is_the_providers_for_this_server,),
)
async def a_plain_function_is_called(subject: Subject) -> None:
    """With the login, `calculate` of part 1 answers over MCP."""
    a, b = random_number(), random_number()
    async with LoopbackListener() as listener:
        tokens = subject.agent().tokens
        login = OAuthClient(subject.endpoint(SERVER), listener=listener, approval=Nobody(), tokens=tokens)
        async with connect(subject.endpoint(SERVER), auth=login, seconds=15) as client:
            result = await McpTools(client).call_tool("calculate", {"operation": "multiply", "a": a, "b": b})
    expect(result.data == {"result": a * b}, f"{a} times {b} came back as {result.text}")


class Nobody:
    """A check opens no browser: where somebody would have to approve, it has not passed."""

    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, _url: str) -> None:
        raise NotPassedError("The stored login is no longer accepted: you would have to approve again")


async def _ask(subject: Subject, token: str = "") -> tuple[int, dict[str, str]]:
    headers = {"Accept": "application/json, text/event-stream"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    async with open_client(5) as http:
        response = await http.post(subject.endpoint(SERVER), json=LIST_TOOLS, headers=headers)
    return response.status_code, dict(PARAMETER.findall(response.headers.get("WWW-Authenticate", "")))


async def _document(url: str) -> dict[str, Any]:
    async with open_client(5) as http:
        document = (await http.get(url)).raise_for_status().json()
    return document if isinstance(document, dict) else {}


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
