"""The checks of this variation: who issues tokens, whose are taken, and that this server has none to give."""

from typing import Any

from workshop.agent import McpTools
from workshop.agent.http import open_client
from workshop.course.checks import Subject, check, expect, random_number

SERVER, PROVIDER = "resource-server", "resource-server-identity"
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
    server = subject.server(SERVER)
    challenge = await server.refusal()
    expect("error" not in challenge, f"It names the error {challenge.get('error')}, though nobody made one")
    await server.expect_metadata(url=challenge["resource_metadata"], issuer=subject.endpoint(PROVIDER))


@check(
    hints=("An authorization server's metadata is at the provider, and nowhere else",),
    needs=(the_challenge_leads_to_the_provider,),
)
async def it_issues_no_tokens(subject: Subject) -> None:
    """The provider's metadata name where tokens are issued; the server has no such endpoint."""
    path = "/.well-known/oauth-authorization-server"
    server = subject.server(SERVER)
    document = await server.document(subject.endpoint(PROVIDER) + path)
    issuer = document.get("issuer")
    expect(issuer == subject.endpoint(PROVIDER), f"The provider's metadata name the issuer {issuer!r}")
    async with open_client(5) as http:
        answer = await http.get(server.origin + path)
    expect(answer.is_client_error, f"The server has such metadata too: it answered {answer.status_code}")


@check(
    hints=("`jwks_uri` in part.toml is where the server finds the keys that signatures are checked with",),
    needs=(the_challenge_leads_to_the_provider,),
)
async def a_forged_token_is_refused(subject: Subject) -> None:
    """A token with the right claims and nobody's signature is refused."""
    server = subject.server(SERVER)
    claims: dict[str, Any] = {"iss": subject.endpoint(PROVIDER), "aud": [server.url]}
    claims |= {"sub": "1", "exp": 4102444800, "scope": "issues:read"}
    for algorithm in ("none", "ES256"):
        challenge = await server.refusal(server.forged(claims, algorithm, "x" * 86))
        error = challenge.get("error", "no error")
        expect(error == "invalid_token", f"With `alg` {algorithm} it reported {error}")


@check(hints=(LOGIN_HINT, "`workshop login list` shows the logins that are stored, never a token"))
def the_token_is_the_providers_for_this_server(subject: Subject) -> None:
    """The agent's token names the provider as its issuer, and this server alone as its audience."""
    claims = subject.server(SERVER).claims
    provider, own = subject.endpoint(PROVIDER), subject.endpoint(SERVER)
    expect(claims.get("iss") == provider, f"`iss` is {claims.get('iss')!r}, not {provider!r}")
    expect(claims["aud"] == [own], f"`aud` is {claims['aud']}, not {own!r}")


@check(
    hints=("`refs` in part.toml names the functions; part 1 has them, in tools.py",),
    seconds=25,
    needs=(the_token_is_the_providers_for_this_server,),
)
async def a_plain_function_is_called(subject: Subject) -> None:
    """With the login, `calculate` of part 1 answers over MCP."""
    a, b = random_number(), random_number()
    async with subject.server(SERVER).client() as client:
        result = await McpTools(client).call_tool("calculate", {"operation": "multiply", "a": a, "b": b})
    expect(result.data == {"result": a * b}, f"{a} times {b} came back as {result.text}")
