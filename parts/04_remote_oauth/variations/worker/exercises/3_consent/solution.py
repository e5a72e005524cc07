"""Exercise 3: is this the person's will, and is this still their browser?"""

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from worker import SCOPES, Worker

from workshop.auth import (
    ConsentForm,
    PageError,
    UpstreamError,
    digest,
    form_parameters,
    query_parameters,
    random_token,
    redirect,
    refuse_other_sites,
    same_secret,
)

_TEN_MINUTES = 600


def metadata(url: str) -> dict[str, object]:
    """What this group adds to the server's metadata."""
    del url
    return {"authorization_response_iss_parameter_supported": True}


# ↓ A page that asks, tied to the browser by a cookie; what is stored has names that nobody else can know.
def ask(worker: Worker, request: Request, asked: dict[str, str]) -> Response:
    """Send the browser on: to GitHub, or to a page that asks first."""
    if not asked.get("redirect_uri"):
        raise PageError("The application named no redirect URI", "There is no address to return to.")
    ticket, csrf, browser = random_token(), random_token(), worker.cookie(request) or random_token()
    waiting = {"asked": asked, "csrf": csrf, "browser": digest(browser)}
    worker.records.put("consent", ticket, waiting, _TEN_MINUTES)
    response = _page(worker, asked, ticket, csrf)
    worker.set_cookie(response, browser, _TEN_MINUTES)
    return response


def _page(worker: Worker, asked: dict[str, str], ticket: str, csrf: str) -> Response:
    client_id = asked.get("client_id", "")
    client = worker.records.get("client", client_id) or {}
    form = ConsentForm(
        client_id=client_id,
        client_name=client.get("client_name", ""),
        redirect_uri=asked["redirect_uri"],
        redirect_uris=client.get("redirect_uris", [asked["redirect_uri"]]),
        scopes=SCOPES,
        resource_host=urlsplit(worker.url).netloc,
        upstream=worker.app,
        ticket=ticket,
        csrf=csrf,
        hop=5,
    )
    return form.response()


async def decide(worker: Worker, request: Request) -> Response:
    """Take the answer to the page: it comes here, to `/oauth/consent`."""
    fields = await form_parameters(request, seconds=30)
    refuse_other_sites(request, worker.url)
    waiting = worker.records.take("consent", fields.get("ticket") or "")
    if waiting is None:
        raise PageError("This page was already used", "It is valid once, for ten minutes.")
    if not _same_browser(worker, request, waiting) or not same_secret(
        fields.get("csrf") or "", waiting["csrf"]
    ):
        raise PageError("This page was opened in another browser", "Nothing was approved.", status=403)
    if fields.get("decision") != "approve":
        return _back(worker, waiting["asked"], error="access_denied")
    state, verifier = random_token(), random_token()
    worker.records.put("state", state, {**waiting, "verifier": verifier}, _TEN_MINUTES)
    return worker.to_github(state, verifier)


async def callback(worker: Worker, request: Request) -> Response:
    """Take the browser back from GitHub, and send it to the client with a code."""
    given = query_parameters(request)
    pending = worker.records.take("state", given.get("state") or "") if given else None
    if given is None or pending is None:
        raise PageError(
            "This sign-in is not known", "It is already complete, or it took longer than ten minutes."
        )
    if not _same_browser(worker, request, pending):
        raise PageError("This sign-in was started in another browser", "No code was issued.", status=403)
    asked, code = pending["asked"], given.get("code")
    try:
        person = await worker.sign_in(code, pending["verifier"]) if code else None
    except UpstreamError as error:
        return _back(worker, asked, error="server_error", error_description=error.sentence)
    if person is None:
        if code or given.get("error") == "access_denied":
            return _back(worker, asked, error="access_denied")
        return _back(worker, asked, error="server_error", **worker.reason(given.get("error")))
    ours = random_token()
    worker.records.put("code", ours, {"asked": asked, **person}, _TEN_MINUTES)
    worker.log("code issued", code=ours, **person)
    return _back(worker, asked, code=ours)


def _same_browser(worker: Worker, request: Request, kept: dict[str, str]) -> bool:
    return same_secret(digest(worker.cookie(request)), kept["browser"])


def _back(worker: Worker, asked: dict[str, str], **answer: str) -> Response:
    """To the client, saying whose answer it is (RFC 9207)."""
    return redirect(asked["redirect_uri"], {**answer, "state": asked.get("state"), "iss": worker.url})


# ↑
