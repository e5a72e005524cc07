"""Exercise 3: is this the person's will, and is this still their browser?"""

import uuid
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from worker import Worker

from workshop.auth import UpstreamError

_TEN_MINUTES = 600


def metadata(url: str) -> dict[str, object]:
    """What this group adds to the server's metadata."""
    return {}


# ↓ Your turn
def ask(worker: Worker, request: Request, asked: dict[str, str]) -> Response:
    """Send the browser on: to GitHub, or to a page that asks first."""
    state = asked.get("state") or str(uuid.uuid4())
    worker.records.put("state", state, {"asked": asked}, _TEN_MINUTES)
    return worker.to_github(state)


async def decide(worker: Worker, request: Request) -> Response:
    """Take the answer to the page: it comes here, to `/oauth/consent`."""
    return worker.text("Nobody was asked", 404)


async def callback(worker: Worker, request: Request) -> Response:
    """Take the browser back from GitHub, and send it to the client with a code."""
    code, state = request.query_params.get("code"), request.query_params.get("state")
    if not code or not state:
        return worker.text("Missing code or state")
    pending = worker.records.get("state", state)
    if pending is None:
        return worker.text("Invalid state")
    try:
        person = await worker.sign_in(code)
    except UpstreamError as error:
        return worker.text(f"Authentication failed: {error}", 500)
    if person is None:
        return worker.text("Access denied", 403)
    worker.records.drop("state", state)
    asked, ours = pending["asked"], str(uuid.uuid4())
    worker.records.put("code", ours, {"asked": asked, **person}, _TEN_MINUTES)
    worker.log("code issued", code=ours, **person)
    if "redirect_uri" not in asked:
        return worker.text(f"Your code: {ours}", 200)
    answer = urlencode({"code": ours, "state": state})
    return RedirectResponse(f"{asked['redirect_uri']}?{answer}", 302)


# ↑
