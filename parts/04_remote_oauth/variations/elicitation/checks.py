"""The checks of the gateway with a vault: who it is for, what it asks, where its links and tokens go."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from mcp import Client

from workshop.agent import LoopbackListener, McpTools, OAuthClient
from workshop.agent.connect import connect
from workshop.agent.http import open_client
from workshop.lessons.checks import NotPassedError, Subject, check, expect

GATEWAY = "elicitation"
TOOLS = {f"GitHubTarget___{name}" for name in ("getUserProfile", "getUserRepos", "getRepoIssues")}
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
UNAUTHORIZED, NOT_FOUND = 401, 404
MOST = 10
LOGIN_HINT = "`workshop part 4 run --variation elicitation --approve-as learner` needs no browser"


@check(hints=(LOGIN_HINT,))
def it_was_run(subject: Subject) -> None:
    """You have run this variation, and it answered."""
    expect(subject.ran, "It has not been run from here yet")


@check(
    hints=(
        "`workshop status` shows whether it runs",
        "`authorization_servers` is the provider's address, `resource` the gateway's with `/mcp`",
    ),
    seconds=15,
    retries=3,
)
async def somebody_else_says_who_you_are(subject: Subject) -> None:
    """Without a token the gateway answers 401; its metadata name the identity provider."""
    async with open_client(5) as http:
        answer = await http.post(subject.endpoint(GATEWAY), json=LIST_TOOLS)
        document = (await http.get(f"{_origin(subject)}/.well-known/oauth-protected-resource/mcp")).json()
    expect(answer.status_code == UNAUTHORIZED, f"It answered {answer.status_code}, not 401")
    expect(document.get("resource") == subject.endpoint(GATEWAY), f"`resource` is {document.get('resource')}")
    issuers = document.get("authorization_servers")
    provider = subject.endpoint(f"{GATEWAY}-identity")
    expect(issuers == [provider], f"`authorization_servers` is {issuers}, not [{provider}]")


@check(hints=(LOGIN_HINT, "`workshop login list` shows the logins that are stored, never a token"))
def the_token_is_for_this_gateway(subject: Subject) -> None:
    """The agent has a login, and its token names this gateway as its audience."""
    login = subject.login(GATEWAY)
    if not login or not login.tokens:
        raise NotPassedError("There is no stored login for this gateway")
    audience = _claims(login.tokens.access_token).get("aud")
    expect(audience in (subject.endpoint(GATEWAY), [subject.endpoint(GATEWAY)]), f"`aud` is {audience}")


@check(
    hints=("`workshop part 4 construct` sets the target up", LOGIN_HINT),
    seconds=25,
    needs=(the_token_is_for_this_gateway, somebody_else_says_who_you_are),
)
async def the_target_has_its_tools(subject: Subject) -> None:
    """The tools are those of `github.openapi.json`, each with the target's name before it."""
    async with _logged_in(subject) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    expect(names == TOOLS, f"The tools are {', '.join(sorted(names)) or 'none'}")


@check(
    hints=(LOGIN_HINT, "A first call asks for your account at GitHub; run it, and connect it"),
    seconds=25,
    needs=(the_target_has_its_tools,),
)
async def your_account_is_connected(subject: Subject) -> None:
    """`getUserRepos` answers with your repositories: at most ten, and how many there are."""
    async with _logged_in(subject) as client:
        result = await McpTools(client).call_tool("GitHubTarget___getUserRepos", {})
    data = result.data if isinstance(result.data, dict) else {}
    expect(data.get("status") == "success", f"It answered {result.text[:200]}")
    expect(len(data["repositories"]) <= MOST, f"It shows {len(data['repositories'])} repositories")
    expect(data["total_count"] >= len(data["repositories"]), "There are fewer than it shows")


@check(
    hints=("`additionalProperties` is false in each input schema: who calls is in the token, nowhere else",),
    seconds=25,
    needs=(your_account_is_connected,),
)
async def nobody_says_who_they_are(subject: Subject) -> None:
    """A tool takes no argument that says for whom it is called."""
    async with _logged_in(subject) as client:
        result = await McpTools(client).call_tool("GitHubTarget___getUserProfile", {"context": "mentor"})
    expect(result.is_error, f"It took the argument, and answered {result.text[:120]}")


@check(
    hints=("workshop/gateway/linking/pages.py, `connect`: a link is looked up before anything else happens",),
    seconds=15,
    needs=(somebody_else_says_who_you_are,),
)
async def a_made_up_link_leads_nowhere(subject: Subject) -> None:
    """The page of a link that was never given out tells nothing, and starts no sign-in."""
    async with open_client(5) as http:
        page = await http.get(f"{_origin(subject)}/connect?elicitation_id=made-up")
    expect(page.status_code == NOT_FOUND, f"It answered {page.status_code}, not 404")
    expect("set-cookie" not in page.headers, "It set a cookie")
    policy = page.headers.get("content-security-policy", "nothing")
    expect("frame-ancestors 'none'" in policy, f"Its policy is {policy}")


@check(
    hints=("`curl -s http://localhost:8113/practice/requests` shows what GitHub got, tokens as a hash",),
    seconds=15,
    needs=(your_account_is_connected,),
)
def the_token_never_left(subject: Subject) -> None:
    """GitHub received its own token with every call, and the agent's never."""
    subject.witness()


@dataclass(frozen=True)
class NobodyApproves:
    """A check never opens a browser: where a login is needed, it has not passed."""

    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, _url: str) -> None:
        raise NotPassedError("The stored login is no longer accepted: you would have to approve again")


@asynccontextmanager
async def _logged_in(subject: Subject) -> AsyncIterator[Client]:
    url = subject.endpoint(GATEWAY)
    async with LoopbackListener() as listener:
        login = OAuthClient(url, listener=listener, approval=NobodyApproves(), tokens=subject.agent().tokens)
        async with connect(url, auth=login, seconds=15) as client:
            yield client


def _origin(subject: Subject) -> str:
    return subject.endpoint(GATEWAY).removesuffix("/mcp")


def _claims(token: str) -> dict[str, Any]:
    middle = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    return claims
