"""One log line a request: method, path, status, milliseconds. Never a query, a header or a body."""

import logging
import time
import traceback
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workshop.auth.responses import private_json
from workshop.auth.store import StoreUnavailableError

_LOG = logging.getLogger("workshop.gateway.requests")
_LONGEST_PATH = 200


class RequestLog:
    """Logs each request when it ends, and turns an unforeseen failure into a plain 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = 0, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # noqa: BLE001 - the last line of defence; the server must go on
            _log_failure(error)
            if status == 0:
                await _sorry(error)(scope, receive, noting)
        finally:
            path = quote(scope["path"][:_LONGEST_PATH], safe="/-._~:")
            milliseconds = (time.perf_counter() - started) * 1000
            _LOG.info("%s %s %s %.0f ms", scope["method"], path, status or "-", milliseconds)


def _sorry(error: Exception) -> Response:
    if isinstance(error, StoreUnavailableError):
        body = {"error": "temporarily_unavailable", "error_description": "The store cannot be used now"}
        return private_json(body, status=503)
    return private_json(
        {"error": "server_error", "error_description": "Something went wrong here"}, status=500
    )


def _log_failure(error: Exception) -> None:
    # Where it happened and of what type; the message could quote what the client sent.
    frames = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("unforeseen %s\n%s", type(error).__name__, frames)
