"""What the Kubernetes API refuses, as errors a person can act on."""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus

from workshop.errors import CredentialsError, DeadlineError, UsageError, WorkshopError

# A refusal by RBAC, in the API server's own words: what may not be done, to what, and where.
_FORBIDDEN = re.compile(
    r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)"(?: in API group "(?P<group>[^"]*)")?'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
_UNTYPED = "failed to create typed patch object"  # a field unknown or of another type comes with status 500
_LONGEST = 400
_SHOWN = 100


class UnreachableError(DeadlineError):
    """The API server cannot be reached now; it may be again in a moment."""


class NotFoundError(WorkshopError):
    """The API server has no such object, or not yet."""


class ConflictError(WorkshopError):
    """The object is there already, or was changed since it was read."""


class ForbiddenError(CredentialsError):
    """These credentials lack a right; the message names the verb, the resource and the namespace."""


class InvalidError(UsageError):
    """The API server cannot take what was sent; its message names the field."""


@dataclass(frozen=True)
class Refusal:
    """The status an API server answered with, and its own words for it."""

    status: int
    reason: str
    message: str


def read(status: int | None, reason: str | None, body: str | None) -> Refusal:
    """The refusal in an API answer, whether it is a `Status` object or plain text."""
    try:
        told = json.loads(body or "")
    except ValueError:
        told = None
    if not isinstance(told, dict):
        told = {"message": body or reason or ""}
    message = " ".join(str(told.get("message") or reason or f"HTTP status {status}").split())
    short = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…"
    return Refusal(status or 0, str(told.get("reason") or reason or ""), short)


def error_of(refusal: Refusal, doing: str) -> WorkshopError:
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
        return ConflictError(what, why=refusal.message, hint=_hint(refusal))
    return WorkshopError(what, why=refusal.message, hint=_hint(refusal))


def unreachable(host: str, problem: Exception) -> UnreachableError:
    """The error for an API server that does not answer."""
    text = " ".join(str(problem).split())
    return UnreachableError(
        f"The cluster's API server does not answer at {host}",
        why=text.partition(">: ")[2] or text,  # urllib3 puts the object in front of what happened
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
    text = refusal.message.lower()
    if "namespaces" in text and "not found" in text:
        return "The namespace is missing: run `workshop up` again"
    if "exceeded quota" in text or "must specify" in text:
        return "The namespace has a quota: ask its owner for more, or delete what is not needed"
    if "podsecurity" in text:
        return "The namespace's pod security level forbids this pod: choose another namespace"
    if "being terminated" in text:
        return "It is still being deleted: wait a moment, and run this command again"
    return ""
