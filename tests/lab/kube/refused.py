"""What the Kubernetes API in memory answers in place of an answer, as a real API server was seen to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp.web
from typing_extensions import override

_NO_ANSWER = 0


@dataclass
class Refusal:
    """Answers to requests whose method and path start so, as often as `times` says.

    What is `done` before it is refused is a request whose answer gets lost.
    """

    start: str
    status: int
    message: str
    times: int = 1_000_000
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    done: bool = False
    body: str = ""


def not_served_yet(start: str, times: int = 2) -> Refusal:
    """A kind whose definition is established is answered with 404 for a moment."""
    told = "the server could not find the requested resource"
    return Refusal(start, 404, told, times, "NotFound")


def no_roles_yet(start: str, path: str, times: int = 2) -> Refusal:
    """An API server that started a moment ago has not read yet what every account may ask."""
    return Refusal(start, 403, f'forbidden: User "kubernetes-admin" cannot get path "{path}"', times)


def version_too_old(start: str, times: int = 1) -> Refusal:
    """The version that a list or a watch was to go on from is compacted away."""
    return Refusal(start, 410, "The provided continue parameter is too old", times, "Expired")


def changed_meanwhile(start: str, times: int = 2) -> Refusal:
    """Somebody else's write came between the reading and the writing of an object."""
    told = "the object has been modified; please apply your changes to the latest version and try again"
    return Refusal(start, 409, f"Operation cannot be fulfilled on it: {told}", times, "Conflict")


def too_many_requests(start: str, after: int, times: int = 1) -> Refusal:
    """The API server's flow control asks for a pause."""
    told = "too many requests, please try again later"
    return Refusal(start, 429, told, times, "TooManyRequests", {"Retry-After": str(after)})


def connection_lost(start: str, times: int = 1, *, done: bool = False) -> Refusal:
    """The connection ends without an answer, as often as the API server takes to start again."""
    return Refusal(start, _NO_ANSWER, "", times, done=done)


class _Lost(aiohttp.web.Response):
    """Ends the connection in place of an answer."""

    @override
    async def prepare(self, request: aiohttp.web.BaseRequest) -> None:
        assert request.transport
        request.transport.abort()
        raise ConnectionResetError


def answer_of(refusal: Refusal) -> aiohttp.web.Response:
    """What the client gets in place of the answer it asked for."""
    if refusal.status == _NO_ANSWER:
        return _Lost()
    if refusal.body:
        return aiohttp.web.Response(status=refusal.status, text=refusal.body)
    answer = status(refusal.status, refusal.message, refusal.reason)
    answer.headers.update(refusal.headers)
    return answer


def status(code: int, message: str, reason: str = "") -> aiohttp.web.Response:
    """The Status object with which an API server says no."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    return aiohttp.web.json_response({**body, "message": message, "reason": reason}, status=code)
