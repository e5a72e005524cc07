"""The checks of the gateway with prefixes: who gets in, what goes where, what is hidden and refused."""

from workshop.agent import McpTools
from workshop.course.checks import NotApplicableError, Subject, check, expect, random_number
from workshop.course.lessons import find_variation
from workshop.course.variation_run import programs_of, runs_on_cluster
from workshop.servers.practice.client import read_requests

GATEWAY = "prefix-gateway"
DISCOVERY = "mentor"
HEADER = "x-github-pat"
FILTERED = ("github_get_file_contents", "github_issue_write", "get_me", "notes_get_me")
UNAUTHORIZED, BAD_REQUEST = 401, 400
NO_IDENTITY = {"error": "Unauthorized", "message": "Access denied: Authentication required."}
NO_CREDENTIAL = {"error": "Bad Request", "message": f"Missing required {HEADER} header"}
LOGIN_HINT = "`workshop part 4 run --variation prefix-gateway --approve-as learner` needs no browser"


@check(hints=(LOGIN_HINT,))
def it_was_run(subject: Subject) -> None:
    """You have run this variation, and it answered."""
    expect(subject.ran, "It has not been run from here yet")


@check(
    hints=("`workshop status` shows whether it runs", "The answers are those of the table in the README"),
    seconds=15,
    retries=3,
)
async def nobody_gets_in_without_an_identity(subject: Subject) -> None:
    """Without a token the gateway answers 401 in Kuadrant's words, and names the metadata."""
    _only_without_a_cluster(subject)
    gateway = subject.server(GATEWAY)
    answer = await gateway.ask()
    expect(answer.status_code == UNAUTHORIZED, f"It answered {answer.status_code}, not 401")
    expect(answer.json() == NO_IDENTITY, f"It answered {answer.text[:120]}")
    named = gateway.challenge(answer).get("resource_metadata", "nothing")
    wanted = f"{gateway.origin}/.well-known/oauth-protected-resource/mcp"
    expect(named == wanted, f"`resource_metadata` is {named}")


@check(
    hints=("The gateway issues no tokens: `authorization_servers` is somebody else",),
    needs=(nobody_gets_in_without_an_identity,),
)
async def somebody_else_says_who_you_are(subject: Subject) -> None:
    """The metadata names the identity provider, and the gateway as the resource."""
    _only_without_a_cluster(subject)
    await subject.server(GATEWAY).expect_metadata(issuer=subject.endpoint(f"{GATEWAY}-identity"))


@check(hints=(LOGIN_HINT, "`workshop login list` shows the logins that are stored, never a token"))
def you_are_logged_in(subject: Subject) -> None:
    """The agent has a login for this gateway."""
    expect(subject.server(GATEWAY).token, "The stored login has no token")


@check(
    hints=("`filter` in part.toml names the tools of GitHub that there are", "A prefix is part of the name"),
    seconds=25,
    needs=(you_are_logged_in, nobody_gets_in_without_an_identity),
)
async def tools_are_listed_without_your_credential(subject: Subject) -> None:
    """The tools of both servers are listed with their prefixes, though you sent no credential for GitHub."""
    _only_without_a_cluster(subject)
    async with subject.server(GATEWAY).client() as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    for wanted in ("github_get_me", "github_list_issues", "notes_list_notes", "notes_add_note"):
        expect(wanted in names, f"`{wanted}` is not among {', '.join(names) or 'no tools'}")
    for hidden in FILTERED:
        expect(hidden not in names, f"`{hidden}` is listed")


@check(
    hints=(f"The header is `{HEADER}`; `[headers]` in part.toml is what makes the agent send it",),
    seconds=25,
    needs=(tools_are_listed_without_your_credential,),
)
async def a_call_needs_your_credential(subject: Subject) -> None:
    """A call of a GitHub tool without your own credential is a bad request."""
    _only_without_a_cluster(subject)
    gateway = subject.server(GATEWAY)
    answer = await gateway.ask(gateway.token, "tools/call", {"name": "github_get_me", "arguments": {}})
    expect(answer.status_code == BAD_REQUEST, f"It answered {answer.status_code}, not 400")
    expect(answer.json() == NO_CREDENTIAL, f"It answered {answer.text[:120]}")


@check(
    hints=("The answer is about whoever GitHub takes the caller for",),
    seconds=25,
    needs=(a_call_needs_your_credential,),
)
async def a_call_answers_for_you(subject: Subject) -> None:
    """`github_get_me` answers for you, not for the one whose credential lists the tools."""
    _only_without_a_cluster(subject)
    async with subject.server(GATEWAY).client(_own(subject)) as client:
        result = await McpTools(client).call_tool("github_get_me", {})
    name = result.data.get("login") if isinstance(result.data, dict) else None
    expect(name == _user(subject), f"It answered for {name or result.text[:120]}")


@check(
    hints=("`curl -s http://localhost:8132/practice/requests` shows every request, tokens as a hash",),
    seconds=15,
    needs=(a_call_answers_for_you,),
)
async def the_discovery_credential_only_lists(subject: Subject) -> None:
    """GitHub saw the gateway's own credential for the list of tools, and yours for the calls."""
    _only_without_a_cluster(subject)
    if _user(subject) == DISCOVERY:
        raise NotApplicableError("You are the one whose credential lists the tools: log in as learner")
    saw: dict[str, set[str]] = {}
    for request in await read_requests(subject.endpoint(f"{GATEWAY}-github")):
        user = str((request.authorization or {}).get("user"))
        saw.setdefault(str(request.headers.get("mcp-method")), set()).add(user)
    listed, called = saw.get("tools/list"), saw.get("tools/call", set())
    expect(listed == {DISCOVERY}, f"The tools were listed for {listed}")
    expect(_user(subject) in called and DISCOVERY not in called, f"Tools were called for {called}")


@check(hints=("`Authorization` is the gateway's to read, and stops there",), needs=(a_call_answers_for_you,))
def the_token_never_left(subject: Subject) -> None:
    """GitHub received its own tokens, and the agent's token for the gateway never."""
    subject.token_swap()


@check(
    hints=("Hidden is not refused: a client can call what was never listed",),
    seconds=25,
    needs=(tools_are_listed_without_your_credential,),
)
async def what_is_hidden_is_refused(subject: Subject) -> None:
    """A tool that is not listed cannot be called either, nor one without its prefix."""
    async with subject.server(GATEWAY).client(_own(subject)) as client:
        for name in FILTERED:
            result = await McpTools(client).call_tool(name, {})
            expect(result.is_error, f"`{name}` was called, and answered {result.text[:80]}")


@check(
    hints=("notes.py keeps notes under the subject of the gateway's pass",),
    seconds=25,
    needs=(tools_are_listed_without_your_credential,),
)
async def notes_are_yours(subject: Subject) -> None:
    """A note is stored for you, which needs no credential for GitHub."""
    _only_without_a_cluster(subject)
    text = f"Note {random_number()}{random_number()}"
    async with subject.server(GATEWAY).client() as client:
        await McpTools(client).call_tool("notes_add_note", {"text": text})
        notes = await McpTools(client).call_tool("notes_list_notes", {})
    expect(not notes.is_error and text in notes.text, f"Your notes are {notes.text[:120]}")


def _only_without_a_cluster(subject: Subject) -> None:
    """On a cluster the gateway is ToolHive's: other answers, one login for both, no discovery credential."""
    subject.endpoint(GATEWAY)
    if runs_on_cluster(find_variation(GATEWAY)):
        raise NotApplicableError("On this cluster the gateway is ToolHive's, which works differently")


def _user(subject: Subject) -> str:
    return str(subject.server(GATEWAY).claims.get("preferred_username"))


def _own(subject: Subject) -> dict[str, str]:
    if runs_on_cluster(find_variation(GATEWAY)):
        return {}  # the login has the credential
    secret = programs_of(find_variation(GATEWAY)).secret(f"pat-{_user(subject)}")
    return {HEADER: secret.read_text()}
