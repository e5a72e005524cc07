"""Requests to one cluster's API server, tried again while it is busy; a refusal becomes one of our errors."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.core.errors import CredentialsError, DeadlineError, UsageError, WorkshopError, reason
from workshop.core.outgoing import PROXIES, check_variables, is_loopback
from workshop.core.text import shortened
from workshop.lab.kube.objects import Object, items, text, without_nulls

if TYPE_CHECKING:
    from kubernetes.dynamic import DynamicClient

# The API server's message for a refusal by RBAC: what may not be done, to what, and where.
_FORBIDDEN = re.compile(
    r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)"(?: in API group "(?P<group>[^"]*)")?'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
_UNTYPED = "failed to create typed patch object"  # a field unknown or of another type comes with status 500
# A kind whose definition was established a moment ago, or is not known to every API server yet.
_NOT_SERVED = ("could not find the requested resource", "404 page not found")
_DISCOVERY = re.compile(r"/api/[^/]+|/apis/[^/]+/[^/]+")
# An API server refuses what every account may ask until it has read its roles after its start.
_NO_ROLES_YET = re.compile(r"forbidden: .* cannot get path")
_OPEN_TO_ALL = re.compile(rf"/version|{_DISCOVERY.pattern}")
_CUT_OFF = "EOF occurred"  # during TLS: Docker accepts for a node in which nothing listens yet
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_LONGEST = 400
_SHOWN = 100
# Seconds to connect, and to the next byte: a server that hangs must not hold a wait beyond its bound.
_TIMEOUT = (5.0, 20.0)
_ATTEMPTS = 3  # while the API server has not answered once: it may not be there at all
_PATIENT_ATTEMPTS = 6  # an API server that has answered and now does not is busy or starts again
_PATIENCE_SECONDS = 30.0  # the most that is waited for one request when the server says how long
# Never through a proxy, as with kubectl and Helm: kind's API server is on this machine.
_DIRECT = "localhost,127.0.0.0/8,::1"
_LAG_ATTEMPTS = 5


UNREACHABLE_HINT = "Is the cluster running? `workshop status` shows it, and `workshop up` starts it"
"""For an instance's own cluster."""


class UnreachableError(DeadlineError):
    """The API server cannot be reached now; it may be again in a moment."""


class NotFoundError(WorkshopError):
    """The API server has no such object, or not yet."""


class ConflictError(WorkshopError):
    """The object is there already, or was changed since it was read.

    `answer_lost` when an attempt before got no answer: that one may have made the object.
    """

    answer_lost = False


class UnauthorizedError(CredentialsError):
    """The API server does not accept these credentials: they are wrong, or have expired."""


class ForbiddenError(CredentialsError):
    """These credentials lack a right; the message names the verb, the resource and the namespace."""


class InvalidError(UsageError):
    """The API server cannot take what was sent; its message names the field."""


@dataclass(frozen=True)
class Refusal:
    """The status an API server answered with, its message, and the seconds to wait that it names."""

    status: int
    reason: str
    message: str
    retry_after: float | None = None


def may_pass(refusal: Refusal, method: str, path: str, body: object) -> bool:
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
        # Discovery is not repeated: its 404 means that there is no such kind.
        return not _DISCOVERY.fullmatch(path) and any(words in refusal.message for words in _NOT_SERVED)
    if refusal.status == HTTPStatus.FORBIDDEN:
        return bool(_OPEN_TO_ALL.fullmatch(path) and _NO_ROLES_YET.search(refusal.message))
    return refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR and "etcdserver: " in refusal.message


def read_refusal(
    status: int | None, reason: str | None, body: str | None, headers: Mapping[str, str] | None = None
) -> Refusal:
    """The refusal in an API answer, whether it is a `Status` object or plain text."""
    try:
        answer = json.loads(body or "")
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {"message": body or reason or ""}
    message = " ".join(str(answer.get("message") or reason or f"HTTP status {status}").split())
    asked = str((headers or {}).get("Retry-After", ""))  # a date in its place is not honoured
    after = float(asked) if asked.isdecimal() else None
    return Refusal(
        status or 0, str(answer.get("reason") or reason or ""), shortened(message, _LONGEST), after
    )


def error_of(refusal: Refusal, doing: str, *, answer_lost: bool = False) -> WorkshopError:
    """The error for a refusal; `doing` reads on from "The cluster refused to"."""
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        return UnauthorizedError(
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
    reason = " ".join(str(problem).split())
    return UnreachableError(
        f"The cluster's API server does not answer at {host}",
        why=reason.partition(">: ")[2] or reason,  # urllib3 puts the object in front of what happened
        hint=UNREACHABLE_HINT,
    )


def unexpected(doing: str, body: bytes) -> WorkshopError:
    """The error for an answer that is not the API's, as a proxy's page on the way."""
    begins = " ".join(body[:_LONGEST].decode(errors="replace").split())
    return WorkshopError(
        f"The cluster answered with something other than JSON when asked to {doing}",
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
        hint=f"Ask the cluster's owner for it; `kubectl auth can-i {verb} {kind}{at}` shows when you have it",
    )


def _hint(refusal: Refusal) -> str:
    message = refusal.message.lower()
    if "namespaces" in message and "not found" in message:
        return "The namespace is missing: run `workshop up` again"
    if "exceeded quota" in message or "must specify" in message:
        return "The namespace has a quota: ask its owner for more, or delete what is not needed"
    if "podsecurity" in message:
        return "The namespace's pod security level forbids this pod: choose another namespace"
    if "being terminated" in message:
        return "It is still being deleted: wait a moment, and run this command again"
    if refusal.retry_after is not None:
        return f"The cluster is busy: run this command again in {refusal.retry_after:.0f} s"
    return ""


class Waits:
    """The waits between the attempts of one request."""

    def __init__(self, retry_seconds: float) -> None:
        self._retry_seconds = retry_seconds
        self._attempts = 0
        self._waited = 0.0
        self.answer_lost = False  # an attempt without an answer may have been carried out

    def after(self, refusal: Refusal) -> float | None:
        """Seconds until the next attempt after a refusal that may pass; None when there is none."""
        if refusal.retry_after is None:
            return self._next(_PATIENT_ATTEMPTS)
        self._waited += max(refusal.retry_after, 1)
        return refusal.retry_after if self._waited <= _PATIENCE_SECONDS else None

    def without_answer(self, *, has_answered: bool) -> float | None:
        """Seconds until the next attempt after none was answered; None when there is none."""
        self.answer_lost = True
        return self._next(_PATIENT_ATTEMPTS if has_answered else _ATTEMPTS)

    def _next(self, most: int) -> float | None:
        self._attempts += 1
        return self._retry_seconds * self._attempts if self._attempts < most else None


class Connection:
    """One context of a kubeconfig; neither that file nor its current context is ever changed."""

    def __init__(self, kubeconfig: Path, context: str | None, retry_seconds: float = 0.5) -> None:
        self.retry_seconds = retry_seconds
        self._kubeconfig = kubeconfig
        self._context = context
        self._has_answered = False

    def ask(self, doing: str, method: str, path: str, **params: object) -> Object:
        """The JSON object of a successful answer, without its null members: null and absent are one to us."""
        body = self.request(doing, method, path, **params)
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise unexpected(doing, body)
        found: Object = without_nulls(answer)
        return found

    def request(self, doing: str, method: str, path: str, **params: object) -> bytes:
        """The body of a successful answer; `doing` completes "The cluster refused to"."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        given = {key: value for key, value in params.items() if value is not None}
        waits = Waits(self.retry_seconds)
        while True:
            try:
                answer = self._send(method, path, given)
            except ApiException as refused:
                self._has_answered = True
                refusal = read_refusal(refused.status, refused.reason, refused.body, refused.headers)
                wait = waits.after(refusal) if may_pass(refusal, method, path, given.get("body")) else None
                if wait is None:
                    raise error_of(refusal, doing, answer_lost=waits.answer_lost) from refused
            except HTTPError as problem:
                wait = waits.without_answer(has_answered=self._has_answered)
                if wait is None:
                    raise unreachable(self._client.configuration.host, problem) from problem
            else:
                self._has_answered = True
                return answer
            time.sleep(wait)

    def _send(self, method: str, path: str, given: Mapping[str, object]) -> bytes:
        """The body of a successful answer; raises HTTPError when there was none."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = self._client.request(method, path, serialize=False, _request_timeout=_TIMEOUT, **given)
        except ApiException as error:
            if not error.status and _CUT_OFF in str(error.reason):
                raise HTTPError(error.reason) from error
            raise
        return bytes(answer.data)

    @cached_property
    def _client(self) -> "DynamicClient":
        import urllib3
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config import ConfigException, load_kube_config
        from kubernetes.dynamic import DynamicClient
        from yaml import YAMLError

        configuration = Configuration()
        configuration.retries = False  # this class waits between two attempts
        configuration.no_proxy = ",".join(filter(None, [configuration.no_proxy, _DIRECT]))
        try:
            load_kube_config(  # type: ignore[no-untyped-call]  # the package has no types here
                str(self._kubeconfig),
                self._context,
                persist_config=False,
                client_configuration=configuration,
            )
            if not is_loopback(configuration.host):
                check_variables(PROXIES)
            client = ApiClient(configuration)
        except (
            ConfigException,
            YAMLError,
            OSError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
        ) as error:
            raise UsageError(
                f"Cannot use the kubeconfig `{self._kubeconfig}`",
                why=" ".join(reason(error).split())[:200],
                hint="`kubectl config get-contexts` lists what it has",
            ) from error
        # The kubeconfig decides this; kubectl does not warn at each request either.
        if not configuration.verify_ssl:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return DynamicClient(client, discoverer=_no_discovery)  # type: ignore[no-untyped-call]  # same


def _no_discovery(_client: object, _cache_file: object) -> None:
    """Discover nothing: the package's discoverers cache their result in the system's temporary directory.

    The file is named after the server's address alone, so a new cluster at the same address would get the old
    one's. `Kinds` sends the requests instead.
    """


@dataclass(frozen=True)
class Kind:
    """A kind as the API serves it: the path of its group and version, and its plural name."""

    base: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """The path of the kind's objects, in a namespace or in all, or of one of them."""
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.base}{within}/{self.plural}" + (f"/{name}" if name else "")


class Kinds:
    """Asks once for all kinds of a group and version; a kind that was absent is asked for again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str], Kind] = {}

    def find(self, api_version: str, kind: str) -> Kind | None:
        """How the API serves a kind; None when it does not."""
        if (api_version, kind) not in self._known:
            self._ask(api_version)
        return self._known.get((api_version, kind))

    def await_kind(self, api_version: str, kind: str) -> Kind | None:
        """The same for a kind that should be there: discovery may follow a definition a few seconds later."""
        for attempt in range(1, _LAG_ATTEMPTS):
            if found := self.find(api_version, kind):
                return found
            time.sleep(self._connection.retry_seconds * attempt)
        return self.find(api_version, kind)

    def _ask(self, api_version: str) -> None:
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            answer = self._connection.ask(f"list the kinds of {api_version}", "get", base)
        except NotFoundError:
            return
        for item in items(answer, "resources"):
            kind = Kind(base, text(item, "name"), bool(item.get("namespaced")))
            if "/" not in kind.plural:  # with one it is a part of a kind, such as `pods/log`
                self._known[api_version, text(item, "kind")] = kind
