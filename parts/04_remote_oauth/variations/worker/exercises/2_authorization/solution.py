"""Exercise 2: whose request is this, and where may its answer go?"""

import re

from starlette.requests import Request
from starlette.responses import Response
from worker import SCOPES, Worker

from workshop.auth import (
    PageError,
    Parameters,
    RedirectError,
    early_error,
    query_parameters,
    redirect_uri_matches,
)

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


def asked(worker: Worker, request: Request) -> dict[str, str] | Response:
    """What a client asked for at `/auth`, to be shown to a person; or the refusal."""
    # ↓ First who asks and where the answer goes: before that is sure, nobody is sent anywhere.
    given = query_parameters(request)
    client = worker.records.get("client", given.get("client_id") or "") if given else None
    if given is None or client is None:
        raise PageError("This application is not registered here", "Let it register again.")
    redirect_uri = given.get("redirect_uri") or ""
    if not any(redirect_uri_matches(redirect_uri, known) for known in client["redirect_uris"]):
        raise PageError(
            "The application named a redirect URI that it has not registered",
            "Your browser is not redirected.",
        )
    try:
        _check(worker, given)
    except RedirectError as error:
        return early_error(worker.url, redirect_uri, given.get("state"), error)
    values = {name: given.get(name) for name in given}
    return {name: value for name, value in values.items() if value} | {"resource": worker.resource}


def _check(worker: Worker, given: Parameters) -> None:
    if given.repeated:
        raise RedirectError("invalid_request", "A parameter is repeated")
    if given.get("response_type") != "code":
        raise RedirectError("unsupported_response_type", "Only response_type code is supported")
    if given.get("code_challenge_method") != "S256":
        raise RedirectError("invalid_request", "code_challenge_method must be S256")
    if not _CHALLENGE.fullmatch(given.get("code_challenge") or ""):
        raise RedirectError("invalid_request", "code_challenge must be 43 base64url characters")
    if "resource" in given and given.get("resource") != worker.resource:
        raise RedirectError("invalid_target", f"resource must be {worker.resource}")
    if not set((given.get("scope") or "").split()) <= set(SCOPES):
        raise RedirectError("invalid_scope", f"scope must be out of: {' '.join(SCOPES)}")
    # ↑
