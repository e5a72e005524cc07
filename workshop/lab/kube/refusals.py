"""What the Kubernetes API refuses, as errors a person can act on."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from workshop.core.console import shortened
from workshop.core.errors import CredentialsError, DeadlineError, UsageError, WorkshopError
from workshop.lab.kube.objects import text

# A refusal by RBAC, in the API server's own words: what may not be done, to what, and where.
_FORBIDDEN = re.compile(
    r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)"(?: in API group "(?P<group>[^"]*)")?'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
_UNTYPED = "failed to create typed patch object"  # a field unknown or of another type comes with status 500
# A kind whose definition was established a moment ago, or is not known to every API server yet.
_NOT_SERVED = ("could not find the requested resource", "404 page not found")
_DISCOVERY = re.compile(r"/api/[^/]+|/apis/[^/]+/[^/]+")
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_LONGEST = 400
_SHOWN = 100


class UnreachableError(DeadlineError):
    """The API server cannot be reached now; it may be again in a moment."""


class NotFoundError(WorkshopError):
    """The API server has no such object, or not yet."""


class ConflictError(WorkshopError):
    """The object is there already, or was changed since it was read.

    `answer_lost` when an attempt before got no answer: it may be ours that made the object.
    """

    answer_lost = False


class ForbiddenError(CredentialsError):
    """These credentials lack a right; the message names the verb, the resource and the namespace."""


class InvalidError(UsageError):
    """The API server cannot take what was sent; its message names the field."""


@dataclass(frozen=True)
class Refusal:
    """The status an API server answered with, its own words for it, and the seconds it asks to wait."""

    status: int
    reason: str
    message: str
    retry_after: float | None = None


def passes(refusal: Refusal, method: str, path: str, body: object) -> bool:
    """Whether the same request may be answered well in a moment."""
    if refusal.status in _BUSY:
        return True
    if refusal.status == HTTPStatus.CONFLICT:
        # Another write came between. A body that names the version it was made from is refused each time.
        named = body if isinstance(body, Mapping) else {}
        versioned = any(text(named, about, "resourceVersion") for about in ("metadata", "preconditions"))
        return refusal.reason == "Conflict" and method in ("patch", "delete") and not versioned
    if refusal.status == HTTPStatus.GONE:
        return method == "get"  # the version that a list was to continue from is too old
    if refusal.status == HTTPStatus.NOT_FOUND:
        # Discovery is not asked again: its 404 says that there is no such kind.
        return not _DISCOVERY.fullmatch(path) and any(words in refusal.message for words in _NOT_SERVED)
    return refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR and "etcdserver: " in refusal.message


def read(
    status: int | None, reason: str | None, body: str | None, headers: Mapping[str, str] | None = None
) -> Refusal:
    """The refusal in an API answer, whether it is a `Status` object or plain text."""
    try:
        told = json.loads(body or "")
    except ValueError:
        told = None
    if not isinstance(told, dict):
        told = {"message": body or reason or ""}
    message = " ".join(str(told.get("message") or reason or f"HTTP status {status}").split())
    asked = str((headers or {}).get("Retry-After", ""))  # a date in its place is not honoured
    after = float(asked) if asked.isdecimal() else None
    return Refusal(status or 0, str(told.get("reason") or reason or ""), shortened(message, _LONGEST), after)


def error_of(refusal: Refusal, doing: str, *, answer_lost: bool = False) -> WorkshopError:
    """The error for a refusal; `doing` reads on from "The cluster refused to"."""
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        return CredentialsError(
            "The cluster does not accept these credentials",
            why=refusal.message,
            hint="Log in to the cluster again, or choose another context",
        )
    forbidden = _FORBIDDEN.search(refusal.message)
    if refusal.status == HTTPStatus.FORBIDDEN and forbidden:
        return _missing_right(forbidden, refusal)
    what = f"The cluster refused to {doing}"
    unfit = refusal.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
    if unfit or _UNTYPED in refusal.message:
        return InvalidError(
            what, why=refusal.message, hint="Correct the manifest; the message names the field"
        )
    if refusal.status == HTTPStatus.NOT_FOUND:
        return NotFoundError(what, why=refusal.message, hint=_hint(refusal))
    if refusal.status == HTTPStatus.CONFLICT:
        conflict = ConflictError(what, why=refusal.message, hint=_hint(refusal))
        conflict.answer_lost = answer_lost
        return conflict
    return WorkshopError(what, why=refusal.message, hint=_hint(refusal))


def unreachable(host: str, problem: Exception) -> UnreachableError:
    """The error for an API server that does not answer."""
    told = " ".join(str(problem).split())
    return UnreachableError(
        f"The cluster's API server does not answer at {host}",
        why=told.partition(">: ")[2] or told,  # urllib3 puts the object in front of what happened
        hint="Is the cluster running? `workshop status` tells, and `workshop up` starts it",
    )


def unexpected(doing: str, body: bytes) -> WorkshopError:
    """The error for an answer that is not the API's, as a proxy's page on the way."""
    begins = " ".join(body[:_LONGEST].decode(errors="replace").split())
    return WorkshopError(
        f"The cluster answered with something else than JSON when asked to {doing}",
        why=f"It begins with: {begins[:_SHOWN]}",
        hint="Does the kubeconfig's `server` name the API server, and not something in front of it?",
    )


def _missing_right(found: re.Match[str], refusal: Refusal) -> ForbiddenError:
    verb, resource, namespace = found["verb"], found["resource"], found["namespace"]
    kind = f"{resource}.{found['group']}" if found["group"] else resource
    where = f" in namespace `{namespace}`" if namespace else ""
    at = f" -n {namespace}" if namespace else ""
    return ForbiddenError(
        f"Your account may not {verb} {resource}{where}",
        why=refusal.message,
        hint=f"Ask the cluster's owner for it; `kubectl auth can-i {verb} {kind}{at}` tells when you have it",
    )


def _hint(refusal: Refusal) -> str:
    told = refusal.message.lower()
    if "namespaces" in told and "not found" in told:
        return "The namespace is missing: run `workshop up` again"
    if "exceeded quota" in told or "must specify" in told:
        return "The namespace has a quota: ask its owner for more, or delete what is not needed"
    if "podsecurity" in told:
        return "The namespace's pod security level forbids this pod: choose another namespace"
    if "being terminated" in told:
        return "It is still being deleted: wait a moment, and run this command again"
    if refusal.retry_after is not None:
        return f"The cluster is busy: run this command again in {refusal.retry_after:.0f} s"
    return ""
