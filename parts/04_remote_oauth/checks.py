"""The checks of part 4: discovery, the login, the token's audience, and the token swap."""

import base64
import functools
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlsplit

from workshop.agent import McpTools
from workshop.agent.events import Event, TokenRefreshed
from workshop.course.checks import Subject, check, expect, random_number

PROXY = "github-remote"
ISSUER = "http://localhost:8080"
LOGIN_HINT = (
    "`workshop part 4 run` logs in; with the practice GitHub, `--approve-as learner` needs no browser"
)


@check(hints=(LOGIN_HINT,))
def it_was_run(subject: Subject) -> None:
    """You have run this part, and it answered."""
    expect(subject.ran, "It has not been run yet")


@check(
    hints=(
        "`workshop status` shows whether the proxy runs",
        "Send the request by hand: `curl -si -X POST http://localhost:8080/mcp`, and read `WWW-Authenticate`",
    ),
    seconds=15,
    retries=3,
)
async def the_challenge_is_seen(subject: Subject) -> None:
    """Without a token the proxy answers 401, and names the document to read next."""
    proxy = subject.server(PROXY)
    wanted = f"{proxy.origin}/.well-known/oauth-protected-resource"
    named = (await proxy.refusal()).get("resource_metadata", "nothing")
    expect(named == wanted, f"`resource_metadata` names {named}, not {wanted}")


@check(
    hints=(
        "`resource` is `resourceUrl` of toolhive/github-remote.yaml, and has a slash at the end",
        "`authorization_servers` names the issuer of toolhive/auth.yaml, without a slash",
    ),
    needs=(the_challenge_is_seen,),
)
async def the_resource_metadata_is_exact(subject: Subject) -> None:
    """The protected-resource metadata names this resource and its issuer, character for character."""
    proxy = subject.server(PROXY)
    where = (await proxy.refusal())["resource_metadata"]
    await proxy.expect_metadata(url=where, resource=_resource(subject), issuer=_issuer(subject))


@check(
    hints=(
        "RFC 8414: `issuer` must be the address that the document was requested from",
        "`code_challenge_methods_supported` must contain S256; otherwise an agent stops",
    ),
    needs=(the_resource_metadata_is_exact,),
)
async def the_server_metadata_is_exact(subject: Subject) -> None:
    """The authorization server's metadata names the same issuer, its endpoints, and PKCE with S256."""
    issuer = _issuer(subject)
    document = await subject.server(PROXY).document(f"{issuer}/.well-known/oauth-authorization-server")
    expect(document.get("issuer") == issuer, f"`issuer` is {document.get('issuer')!r}, not {issuer!r}")
    for name in ("authorization_endpoint", "token_endpoint", "registration_endpoint", "jwks_uri"):
        address = str(document.get(name, "missing"))
        expect(address.startswith(f"{issuer}/"), f"`{name}` is {address}")
    methods = document.get("code_challenge_methods_supported", [])
    expect("S256" in methods, f"PKCE is supported with {methods}, not with S256")
    ways = document.get("token_endpoint_auth_methods_supported", [])
    expect("none" in ways, f"A public client cannot log in: the token endpoint requires {ways}")


@check(
    hints=(
        "A token is valid only with a signature of the issuer's key; `alg: none` has no signature",
        "Because of `oidcConfigRef` in toolhive/github-remote.yaml, the proxy checks tokens",
    ),
    needs=(the_challenge_is_seen,),
)
async def a_forged_token_is_refused(subject: Subject) -> None:
    """An unsigned token is refused, although every claim in it is right."""
    claims = {"iss": _issuer(subject), "aud": [_resource(subject)], "sub": "anyone", "exp": 4102444800}
    proxy = subject.server(PROXY)
    reported = (await proxy.refusal(proxy.forged(claims))).get("error", "no error")
    expect(reported == "invalid_token", f"It reported {reported}")


@check(hints=(LOGIN_HINT, "`workshop login list` shows the stored logins, without tokens"))
def you_are_logged_in(subject: Subject) -> None:
    """The agent has a login at the proxy."""
    expect(subject.server(PROXY).token, "The stored login has no token")


@check(
    hints=(
        "`audience` in toolhive/github-remote.yaml is written into each token as `aud`",
        "The issuer has no final slash, the audience has one; both are compared as text",
    ),
    needs=(you_are_logged_in, the_challenge_is_seen),
)
def the_token_is_for_this_proxy(subject: Subject) -> None:
    """The agent's token names this proxy as its only audience."""
    claims = subject.server(PROXY).claims
    expect(claims["aud"] == [_resource(subject)], f"`aud` is {claims['aud']}, not [{_resource(subject)}]")
    expect(claims.get("iss") == _issuer(subject), f"`iss` is {claims.get('iss')!r}")
    expect(isinstance(claims.get("exp"), int), "It never expires: it has no `exp`")


@check(
    hints=(
        "`workshop login list` shows when the login expires; `workshop part 4 run` renews it",
        "No tools at all? Then the proxy sent its own token to GitHub: see the lesson",
    ),
    seconds=25,
    needs=(you_are_logged_in, the_challenge_is_seen),
)
async def a_real_tool_is_called(subject: Subject) -> None:
    """GitHub's `get_me`, called through the proxy, returns your user name."""
    async with subject.server(PROXY).client() as client:
        result = await McpTools(client).call_tool("get_me", {})
    expect(not result.is_error, f"It failed: {result.text[:200]}")
    name = result.data.get("login") if isinstance(result.data, dict) else None
    expect(name, f"It returns no user name: {result.text[:200]}")


@check(
    hints=(
        '`X-MCP-Readonly: "true"` below `headerForward` makes GitHub show only the tools that read',
        "The proxy adds the header to every request: an agent cannot leave it out",
    ),
    seconds=25,
    needs=(a_real_tool_is_called,),
)
async def only_reading_tools_are_offered(subject: Subject) -> None:
    """Every tool that GitHub shows you only reads."""
    async with subject.server(PROXY).client() as client:
        tools = (await client.list_tools()).tools
    writing = [tool.name for tool in tools if not (tool.annotations and tool.annotations.read_only_hint)]
    expect(tools, "The list of tools is empty")
    expect(not writing, f"These tools may change something: {', '.join(writing[:4])}")


@check(
    hints=(
        "The practice GitHub keeps a hash of what it received: `curl -s http://localhost:8090/practice/requests`",
        'Token 1 is for the proxy, token 2 for GitHub: the lesson\'s "What happened", hop 9',
    ),
    seconds=15,
    needs=(a_real_tool_is_called,),
)
def the_token_never_left(subject: Subject) -> None:
    """GitHub received its own token with every request, and the agent's never."""
    subject.token_swap()


@check(
    hints=(
        "A refresh token comes with the scope `offline_access`; `workshop login list` shows the scopes",
        "`workshop login revoke`, then `workshop part 4 run`: a new login has a new refresh token",
    ),
    seconds=25,
    needs=(a_real_tool_is_called,),
)
async def the_login_is_refreshed(subject: Subject) -> None:
    """When the token has expired, a refresh brings a new one without another approval."""
    proxy = subject.server(PROXY)
    login, before = proxy.login, proxy.token
    expect(login.tokens and login.tokens.refresh_token, "The login has no refresh token")
    proxy.tokens.save(login.model_copy(update={"expires_at": 1.0}))
    events: list[Event] = []
    async with proxy.client(observe=events.append) as client:
        await client.list_tools()
    expect(any(isinstance(event, TokenRefreshed) for event in events), "The expired token was used again")
    expect(proxy.token != before, "The refresh brought the same token again")


def _manifest(subject: Subject, kind: str, path: str) -> str:
    (found,) = subject.manifests().of(kind)
    return found.text(path)


def _issuer(subject: Subject) -> str:
    """The issuer in the manifest; only its port follows `up --port`."""
    written = _manifest(subject, "MCPExternalAuthConfig", "spec.embeddedAuthServer.issuer")
    return subject.server(PROXY).origin + urlsplit(written).path


def _resource(subject: Subject) -> str:
    written = _manifest(subject, "MCPRemoteProxy", "spec.oidcConfigRef.resourceUrl")
    return subject.server(PROXY).origin + urlsplit(written).path


_READING = {
    "issuer": "Take the first step whose `claims` are not None: their `payload` names issuer and audience",
    "swapped": "Count the steps of the kind `upstream-mcp`, but not one where the agent's own token arrived",
    "wrong": "Go through the steps in order, and stop at the first one with a comparison that does not hold",
}
_RUNS = {"": "without a mistake", "swap": "in which the agent's own token reached GitHub"}


@check(
    hints=tuple(_READING.values()),
    seconds=20,
    exercise=1,
)
async def exercise_1(subject: Subject) -> None:
    """The four answers are right for new recordings, with and without a mistake."""
    answers = subject.function("answers")
    login_mistake = secrets.choice(("resource", "state", "verifier"))
    for mistake in ("", login_mistake, "swap"):
        calls = 2 + random_number() % 5
        with subject.handshake() as login:
            hops, wrong = await login.recorded(mistake, calls=calls)
        found = answers(hops)
        expect(isinstance(found, dict), f"`answers` returned {found!r}, not a dict with four answers")
        right = {
            "issuer": login.issuer,
            "audience": [login.resource],
            "swapped": calls - (mistake == "swap"),
            "wrong": wrong,
        }
        run = _RUNS.get(mistake, f"with a wrong {mistake}")
        for question, answer in right.items():
            given = found.get(question)
            expect(
                given in (answer, *_only(answer)),
                f"In a run {run}, your `{question}` is {given!r}; the right answer is {answer!r}",
                _READING.get(question, _READING["issuer"]),
            )


def _only(answer: object) -> list[object]:
    """The one value of a list, which is right too."""
    return answer if isinstance(answer, list) else []


@check(
    hints=(
        "`resource_metadata` in the challenge is the first address; each document names the next",
        "`secrets.token_urlsafe` makes a verifier; its challenge is the digest in base64, not in hexadecimal",
        "`resource` comes from the metadata and `scope` from the challenge; `urlencode` writes all of it",
    ),
    seconds=20,
    exercise=2,
)
def exercise_2(subject: Subject) -> None:
    """The URL leads to the endpoint in the metadata, with a new verifier's challenge."""
    begin_login = subject.function("begin_login")
    with subject.handshake(apart=True) as login, login.http() as http:
        arguments = (http, login.mcp_url, login.client_id, login.redirect_uri)
        try:
            begun = [begin_login(*arguments) for _ in range(3)]
        except Exception:
            missed = login.missed
            expect(not missed, f"Nothing is at {missed[:1]}: the 401 and the documents name each address")
            raise
    expect(all(isinstance(each, tuple) for each in begun), "`begin_login` returns the URL and the verifier")
    wanted = {
        "response_type": "code",
        "client_id": login.client_id,
        "redirect_uri": login.redirect_uri,
        "scope": login.scope,
        "resource": login.resource,
        "code_challenge_method": "S256",
    }
    queries = [_query_of(url, verifier, login.authorization_endpoint, wanted) for url, verifier in begun]
    expect(len({verifier for _, verifier in begun}) == len(begun), "Two logins have the same verifier")
    states = {query.get("state") for query in queries}
    expect(all(states), "`state` is missing: the callback could not be matched with this login")
    expect(len(states) == len(begun), "Two logins have the same `state`: anyone can know it")


def _query_of(url: str, verifier: str, endpoint: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """The parameters of an authorize URL; not passed unless they are as wanted, with this challenge."""
    address, _, text = url.partition("?")
    expect(address == endpoint, f"The browser would go to {address}; the metadata names {endpoint}")
    query = dict(parse_qsl(text, keep_blank_values=True))
    for name, value in wanted.items():
        expect(query.get(name) == value, f"`{name}` is {query.get(name)!r}, not {value!r}")
    _expect_challenge(verifier, query.get("code_challenge", ""))
    return query


def _expect_challenge(verifier: str, challenge: str) -> None:
    length, digest = len(verifier), hashlib.sha256(verifier.encode())
    expect(43 <= length <= 128, f"The verifier has {length} characters; RFC 7636 requires 43 to 128")  # noqa: PLR2004 - said so
    expect(challenge != verifier, "The challenge is the verifier itself: whoever reads the URL has it")
    expect(challenge != digest.hexdigest(), "The challenge is the hash in hexadecimal, not in base64")
    expect(not challenge.endswith("="), "The challenge ends with `=`, which is left out (RFC 7636)")
    right = base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")
    expect(challenge == right, f"The challenge is {challenge!r}; this verifier's is {right!r}")


@check(
    hints=(
        "`jwt.decode` takes the token, the keys, and the algorithms that you accept: this issuer uses ES256",
        "Is `aud` a text or a list? `in` also finds a text inside a longer one",
        "`time.time` is now; a token whose `exp` is not later has expired",
    ),
    seconds=20,
    exercise=3,
)
def exercise_3(subject: Subject) -> None:
    """Of five new tokens, `claims_of` accepts the one for this server."""
    claims_of = subject.function("claims_of")
    with subject.handshake() as login:
        wrong = {
            "with the signature of another key": login.token(forged=True),
            "from another issuer, with a slash at the end,": login.token(iss=f"{login.issuer}/"),
            "for another server, whose address begins like ours,": login.token(aud=f"{login.resource}other"),
            "that expired a minute ago": login.token(exp=int(time.time()) - 60),
        }
        right = login.token()
        refused = login.refusal(claims_of, right)
        expect(refused is None, f"The right token, whose `aud` is a list of two, was refused: {refused}")
        claims = claims_of(right, login.keys, issuer=login.issuer, audience=login.resource)
        user = claims.get("sub") if isinstance(claims, dict) else None
        expect(user == login.user, f"The claims of the right token came back as {claims!r}")
        for what, token in wrong.items():
            expect(login.refusal(claims_of, token) is not None, f"A token {what} was accepted")


@check(
    hints=(
        "Any value may be missing: `query.get` returns None then, which equals no expected value",
        "The order matters: first `state`, then `iss`; only then is anything in the query believed",
        "An `error` comes instead of a code; its name belongs into the text of your ValueError",
    ),
    exercise=4,
)
def exercise_4(subject: Subject) -> None:
    """`code_of` returns the code of this login, and of no other."""
    code_of = subject.function("code_of")
    code, state, issuer = f"code-{random_number()}", f"state-{random_number()}", ISSUER
    right = {"code": code, "state": state, "iss": issuer}
    returned = code_of(right, state=state, issuer=issuer)
    expect(returned == code, f"The right callback gave {returned!r}, not its code")
    wrong = {
        "the state of another login": right | {"state": f"{state}-of-another"},
        "no state": {"code": code, "iss": issuer},
        "another issuer": right | {"iss": f"https://login-{random_number()}.example"},
        "an issuer with a slash too many": right | {"iss": f"{issuer}/"},
        "no issuer": {"code": code, "state": state},
        "an error": {"error": "access_denied", "state": state, "iss": issuer},
        "neither a code nor an error": {"state": state, "iss": issuer},
    }
    for what, query in wrong.items():
        refusal = _refusal(functools.partial(code_of, query, state=state, issuer=issuer))
        expect(refusal is not None, f"A callback with {what} was accepted")
        named = what != "an error" or "access_denied" in str(refusal)
        expect(named, f"The person declined, and the error only says {refusal!r}")


def _refusal(act: Callable[[], object]) -> str | None:
    try:
        act()
    except ValueError as error:
        return str(error)
    return None


@check(
    hints=(
        "The message names a field: compare its text with the same address elsewhere in the file",
        "An issuer ends without a slash, and both configs name the same one, character for character",
        "`audience` and `resourceUrl` are one text: the address of the server, with a slash at the end",
        "The callback is below the issuer: hop 6 of the lesson names its path",
    ),
    exercise=5,
)
def exercise_5(subject: Subject) -> None:
    """Issuer, audience and callback agree, as ToolHive's rules require."""
    own = subject.own_manifest()
    subject.lint(own, hints=False)  # its hint is the solution here
    for kind, path, wanted in (
        ("MCPOIDCConfig", "spec.inline.issuer", ISSUER),
        ("MCPExternalAuthConfig", "spec.embeddedAuthServer.issuer", ISSUER),
        ("MCPRemoteProxy", "spec.oidcConfigRef.audience", f"{ISSUER}/"),
        ("MCPRemoteProxy", "spec.oidcConfigRef.resourceUrl", f"{ISSUER}/"),
    ):
        found = own.of(kind)
        expect(len(found) == 1, f"The file has {len(found)} resources of the kind {kind}, not one")
        written = found[0].find(path)
        expect(written == wanted, f"`{path}` of the {kind} is {written!r}, not {wanted!r}")
