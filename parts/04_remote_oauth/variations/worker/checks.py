"""The checks of the worker: what the mended edition holds; for each exercise, a worker with that file."""

import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from attacker import BrokenError, attacking
from holes import ALSO, HOLES

from workshop.agent import McpTools
from workshop.agent.http import open_client
from workshop.audit.probe.model import Target
from workshop.audit.probe.report import examine
from workshop.auth import s256
from workshop.course.checks import NotApplicableError, NotPassedError, Subject, check, expect
from workshop.course.lessons import find_variation
from workshop.course.variation_run import programs_of, variation_running

NAME = "worker"
PRM = "/.well-known/oauth-protected-resource"
OTHER_SERVER = "https://other.example/mcp"
LOGIN_HINT = "`workshop part 4 run --variation worker --approve-as learner` logs in, and needs no browser"
MENDED_HINT = "The weak edition has holes: `workshop part 4 run --variation worker` starts the mended one"


@check(hints=(LOGIN_HINT,))
def it_was_run(subject: Subject) -> None:
    """You have run this variation, and it answered."""
    expect(subject.ran, "It has not been run from here yet")


@check(
    hints=(MENDED_HINT, "Ask yourself: `curl -si -X POST http://localhost:8101/mcp`"), seconds=15, retries=2
)
async def the_challenge_is_seen(subject: Subject) -> None:
    """Without a token the worker answers 401 and names its metadata."""
    await _require_mended(subject)
    worker = subject.server(NAME)
    challenge = await worker.refusal()
    wanted = f"{worker.origin}{PRM}/mcp"
    expect(challenge.get("resource_metadata") == wanted, f"The challenge is {challenge!r}")
    expect("error" not in challenge, "It names an error, and nobody has made one yet")


@check(
    hints=(MENDED_HINT, "`issuer`, `resource` and the address you use are compared character for character"),
    needs=(the_challenge_is_seen,),
)
async def both_documents_are_exact(subject: Subject) -> None:
    """Both well-known documents name this server, PKCE with S256, `iss`, and a way to revoke."""
    await _require_mended(subject)
    worker = subject.server(NAME)
    origin = worker.origin
    await worker.expect_metadata(issuer=origin)
    server = await worker.document("/.well-known/oauth-authorization-server")
    expect(server.get("issuer") == origin, f"`issuer` is {server.get('issuer')!r}, not {origin!r}")
    expect(server.get("code_challenge_methods_supported") == ["S256"], "PKCE is not S256 alone")
    expect(server.get("authorization_response_iss_parameter_supported") is True, "`iss` is not announced")
    expect(server.get("revocation_endpoint") == f"{origin}/revoke", "There is no way to revoke a token")


@check(hints=(MENDED_HINT, "The token is looked up by its digest: what is not in the store is not a token"))
async def a_made_up_token_is_refused(subject: Subject) -> None:
    """A token that nobody issued is refused."""
    await subject.server(NAME).refusal("nobody-issued-this")


@check(hints=(LOGIN_HINT, "`workshop login list` shows the logins that are stored, never a token"))
def you_are_logged_in(subject: Subject) -> None:
    """The agent has a login at the worker."""
    expect(subject.server(NAME).token, "The stored login has no token")


@check(
    hints=(MENDED_HINT, "RFC 8707: the client names the `resource` that it wants a token for"),
    needs=(you_are_logged_in,),
)
async def tokens_are_for_this_worker_only(subject: Subject) -> None:
    """A request for another server's token gets none, and the error goes to the registered redirect URI."""
    await _require_mended(subject)
    worker = subject.server(NAME)
    client = worker.login.client
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": str(client.redirect_uris[0] if client.redirect_uris else ""),
        "code_challenge": s256("a" * 43),
        "code_challenge_method": "S256",
        "resource": OTHER_SERVER,
    }
    async with open_client(5) as http:
        answer = await http.get(f"{worker.origin}/auth?{urlencode(asked)}")
    answered = parse_qs(urlsplit(answer.headers.get("location", "")).query)
    expect(
        answered.get("error") == ["invalid_target"],
        f"It answered {answer.status_code} {answered.get('error')}",
    )
    expect(answered.get("iss") == [worker.origin], "The error does not name its sender: `iss` is missing")


@check(
    hints=(
        LOGIN_HINT,
        "A token of this worker is valid for an hour; the agent refreshes it, or logs in again",
    ),
    seconds=25,
    needs=(you_are_logged_in,),
)
async def real_tools_are_called(subject: Subject) -> None:
    """The tools say who you are and what your repositories are, and calculate."""
    async with subject.server(NAME).client() as client:
        tools = McpTools(client)
        who = await tools.call_tool("get_user_info", {})
        repositories = await tools.call_tool("get_github_repos", {"limit": 3})
        by_zero = await tools.call_tool("calculate", {"operation": "divide", "a": 1, "b": 0})
    expect(not who.is_error and who.data.get("login"), f"It names nobody: {who.text[:200]}")
    expect(not repositories.is_error, f"GitHub was not asked: {repositories.text[:200]}")
    expect(by_zero.is_error and "Division by zero" in by_zero.text, "A division by zero is not a tool error")


@check(
    hints=(
        "The practice GitHub keeps a hash of what it received: `curl -s http://localhost:8102/practice/requests`",
        "The session holds GitHub's own token; the agent's ends at the worker",
    ),
    seconds=15,
    needs=(real_tools_are_called,),
)
def the_token_never_left(subject: Subject) -> None:
    """GitHub received its own token with every request, and the agent's never."""
    subject.token_swap()


@check(
    hints=(MENDED_HINT, "Exercise 6 is about these two files"),
    needs=(real_tools_are_called,),
)
async def no_file_tells_a_token(subject: Subject) -> None:
    """Neither the store nor the log contains the agent's token."""
    await _require_mended(subject)
    token = subject.server(NAME).token
    folder = programs_of(find_variation(NAME)).directory / NAME
    for file in (*folder.glob("store-mended*"), folder / "log.txt"):
        expect(token.encode() not in file.read_bytes(), f"The token can be read in `{file.name}`")


@check(hints=(MENDED_HINT, "`workshop probe http://localhost:8101/mcp` shows the details"), seconds=30)
async def the_probe_finds_nothing_bad(subject: Subject) -> None:
    """The probe has no finding of high or medium severity."""
    await _require_mended(subject)
    target = Target.parse(subject.endpoint(NAME))
    report = (await examine(target, follow=False)).report
    expect(not report.failed, f"It found: {', '.join(finding.title for finding in report.findings)}")


async def _require_mended(subject: Subject) -> None:
    document = await subject.server(NAME).document("/health")
    if document.get("edition") != "mended":
        raise NotApplicableError("The weak edition runs, and this is one of its holes")


async def _closed(subject: Subject, number: int) -> None:
    """In a weak worker with the learner's file, the holes of an exercise are closed, and a login works."""
    (folder,) = Path(__file__).with_name("exercises").glob(f"{number}_*")
    mine = subject.scratch / f"exercise-{number}"
    mine.mkdir(exist_ok=True)
    shutil.copy(subject.file, mine / f"{folder.name}.py")
    room = subject.scratch / f"worker-{number}"
    try:
        with variation_running(find_variation(NAME), room, edition="weak", exercises=mine) as running:
            async with attacking(running.url, running.directory / NAME) as attacker:
                expect(
                    await attacker.works(await attacker.token()),
                    "Nobody can log in any more",
                )
                for hole in (*HOLES, *ALSO):
                    if hole.exercise == number:
                        expect(not await hole.is_open(attacker), f"Still so: {hole.name}")
    except BrokenError as error:
        raise NotPassedError(f"Your file failed in the worker: {error}") from error


@check(
    hints=(
        "`workshop.auth` has what the gateway requires of a client, one function for each member",
        "`redirect_uris(document)` refuses an empty list, plain http beyond loopback, and unsafe schemes",
        "`private_json` answers with `no-store`; `new_client_secret` gives a secret and its digest",
    ),
    seconds=40,
    exercise=1,
)
async def exercise_1(subject: Subject) -> None:
    """Only clients with addresses that may be sent a code are registered."""
    await _closed(subject, 1)


@check(
    hints=(
        "Before the client and its address are known, the only answer is a page: `PageError`",
        "`redirect_uri_matches` of `workshop.auth` compares two redirect URIs as RFC 8252 requires",
        "After that, `early_error` informs the client: `invalid_request` without S256, `invalid_target`",
    ),
    seconds=40,
    exercise=2,
)
async def exercise_2(subject: Subject) -> None:
    """A login begins for a registered client and ends at its address."""
    await _closed(subject, 2)


@check(
    hints=(
        "In `ask`, store what was asked under `random_token()`, set a cookie, and show a `ConsentForm`",
        "In `decide`, `take` that record; the cookie's digest and the form's `csrf` have to be the record's",
        "The `state` for GitHub is another `random_token()`; in `callback` the cookie has to fit again",
        "The client's own `state` goes back to the client, with `iss`, and nowhere else",
    ),
    seconds=40,
    exercise=3,
)
async def exercise_3(subject: Subject) -> None:
    """A person is asked, and a login ends in the browser that it began in."""
    await _closed(subject, 3)


@check(
    hints=(
        "`form_parameters` reads a form and nothing else; `read_credentials` finds the client's id in it",
        "`s256(verifier)` has to be the `code_challenge` of the login; compare with `same_secret`",
        "`take` the code before you check it, then it works once, whatever the result",
        "To revoke is to `drop` the session, if it is this client's; the answer is 200 in any case",
    ),
    seconds=40,
    exercise=4,
)
async def exercise_4(subject: Subject) -> None:
    """A code is traded by who began the login; the token is stored by no cache, and can be revoked."""
    await _closed(subject, 4)


@check(
    hints=(
        "`Challenge` of `workshop.auth.resource_server` reads the header, and knows both refusals",
        "What the client asked for is in the session, below `asked`; a `resource` may be missing there",
        "Clients look for the metadata below the path too: `suffix` is then `/mcp`",
        "`admit` sees every request: compare Host and Origin with `worker.url`",
    ),
    seconds=40,
    exercise=5,
)
async def exercise_5(subject: Subject) -> None:
    """A token is in the header and made for this server; without one, the answer names where to get it."""
    await _closed(subject, 5)


@check(
    hints=(
        "A record can be found by the `digest` of its secret as well as by the secret",
        "A `Vault` seals with a key that is made from the secret, so the server needs no key at all",
        "In `log_line`, list what may be logged; what must not be logged is a longer list, and grows",
    ),
    seconds=40,
    exercise=6,
)
async def exercise_6(subject: Subject) -> None:
    """Who gets the store's file or the log has no token."""
    await _closed(subject, 6)
