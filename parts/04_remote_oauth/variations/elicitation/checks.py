"""The checks of the gateway with a vault: who it is for, what it asks, where its links and tokens go."""

from workshop.agent import McpTools
from workshop.agent.http import open_client
from workshop.course.checks import Subject, check, expect

GATEWAY = "elicitation"
TOOLS = {f"GitHubTarget___{name}" for name in ("getUserProfile", "getUserRepos", "getRepoIssues")}
ORIGINAL_NAMES = {"get_user_profile", "get_user_repos"}
NOT_FOUND = 404
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
    gateway = subject.server(GATEWAY)
    await gateway.refusal()
    await gateway.expect_metadata(issuer=subject.endpoint(f"{GATEWAY}-identity"))


@check(hints=(LOGIN_HINT, "`workshop login list` shows the logins that are stored, never a token"))
def the_token_is_for_this_gateway(subject: Subject) -> None:
    """The agent has a login, and its token names this gateway as its audience."""
    gateway = subject.server(GATEWAY)
    audience = gateway.claims["aud"]
    expect(audience == [gateway.url], f"`aud` is {audience}")


@check(
    hints=("`workshop part 4 construct` sets the target up", LOGIN_HINT),
    seconds=25,
    needs=(the_token_is_for_this_gateway, somebody_else_says_who_you_are),
)
async def the_target_has_its_tools(subject: Subject) -> None:
    """The tools are those of `github.openapi.json`, after the target's name; two also have the original's."""
    async with subject.server(GATEWAY).client() as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    expect(names == TOOLS | ORIGINAL_NAMES, f"The tools are {', '.join(sorted(names)) or 'none'}")


@check(
    hints=(LOGIN_HINT, "A first call asks for your account at GitHub; run it, and connect it"),
    seconds=25,
    needs=(the_target_has_its_tools,),
)
async def your_account_is_connected(subject: Subject) -> None:
    """`getUserRepos` answers with your repositories: at most ten, and how many there are."""
    async with subject.server(GATEWAY).client() as client:
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
    """No tool has an argument for the person it is called for."""
    async with subject.server(GATEWAY).client() as client:
        result = await McpTools(client).call_tool("GitHubTarget___getUserProfile", {"context": "mentor"})
    expect(result.is_error, f"It took the argument, and answered {result.text[:120]}")


@check(
    hints=("workshop/auth/linking/pages.py, `connect`: a link is looked up before anything else happens",),
    seconds=15,
    needs=(somebody_else_says_who_you_are,),
)
async def a_made_up_link_leads_nowhere(subject: Subject) -> None:
    """The page of a link that nobody was given shows nothing, and starts no sign-in."""
    async with open_client(5) as http:
        page = await http.get(f"{subject.server(GATEWAY).origin}/connect?elicitation_id=made-up")
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
    subject.token_swap()
