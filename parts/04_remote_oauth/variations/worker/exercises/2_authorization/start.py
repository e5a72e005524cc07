"""Exercise 2: whose request is this, and where may its answer go?"""

from starlette.requests import Request
from starlette.responses import Response
from worker import Worker


def asked(worker: Worker, request: Request) -> dict[str, str] | Response:
    """What a client asked for at `/auth`, to be shown to a person; or the refusal."""
    # ↓ Your turn
    given = dict(request.query_params)
    if "client_id" in given:
        client = worker.records.get("client", given["client_id"])
        if client is None:
            return worker.text("Invalid client_id")
        known = client["redirect_uris"]
        if known and given.get("redirect_uri") not in known:
            return worker.text("Invalid redirect_uri")
    return given
    # ↑
