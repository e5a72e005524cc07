"""What is decided before MCP: whose credential goes where, and what this caller may not call.

The answers are Kuadrant's. They only make a refusal clearer: the broker refuses the same calls.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from registrations import Registered, find
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from workshop.auth import ClientGoneError, RefusedError, caller_of, private_json, read_tool_call

REQUESTER = "prefix-gateway.requester"
UNAUTHORIZED = {"error": "Unauthorized", "message": "Access denied: Authentication required."}
_FORBIDDEN = "Access denied: Unsupported method. New authentication required (401)."
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,2048}=*")  # RFC 6750 section 2.1: no space, no control character


@dataclass(frozen=True)
class Requester:
    """The caller of a request and the credentials in it, each under the prefix it is for."""

    subject: str
    user: str
    credentials: Mapping[str, str] = field(repr=False)


class Gate:
    """Admits a request to the broker, or answers it."""

    def __init__(self, app: ASGIApp, registered: Registered, challenge: str) -> None:
        self._app, self._registered, self._challenge = app, registered, challenge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            requester = self._requester(scope)
            called, again = await read_tool_call(scope["method"], receive)
            self._judge(requester, called)
        except RefusedError as refusal:
            await refusal.response(scope, receive, send)
        except ClientGoneError:
            return
        else:
            await self._app({**scope, REQUESTER: requester}, again, send)

    def _requester(self, scope: Scope) -> Requester:
        caller, sent, found = caller_of(scope), Headers(scope=scope), dict[str, str]()
        for one in self._registered():
            values = [value for value in sent.getlist(one.user_header) if value] if one.user_header else []
            if len(values) > 1 or not all(map(_TOKEN.fullmatch, values)):
                raise _refused(400, "Bad Request", f"Invalid {one.user_header} header")
            found.update((one.prefix, value) for value in values)
        return Requester(caller.subject, str(caller.claims.get("preferred_username", "")), found)

    def _judge(self, requester: Requester, called: str) -> None:
        found = find(self._registered(), called)
        if found is None:
            return
        one, tool = found
        if not one.allows(tool, requester.user):
            raise _refused(401, "Forbidden", _FORBIDDEN, {"www-authenticate": self._challenge})
        if one.user_header and one.prefix not in requester.credentials:
            raise _refused(400, "Bad Request", f"Missing required {one.user_header} header")


def _refused(status: int, error: str, message: str, headers: Mapping[str, str] | None = None) -> RefusedError:
    return RefusedError(private_json({"error": error, "message": message}, status=status, headers=headers))
