"""One cluster's objects as plain mappings: read and change them, and wait for what they become.

Every refusal becomes one of our errors.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from workshop.core.errors import DeadlineError, WorkshopError
from workshop.lab.kube.connection import (
    ConflictError,
    Connection,
    InvalidError,
    Kinds,
    NotFoundError,
    UnreachableError,
)
from workshop.lab.kube.objects import (
    Object,
    Objects,
    created_at,
    items,
    mapping,
    name_of,
    namespace_of,
    number,
    text,
)

FIELD_MANAGER = "workshop"
_AUTHORIZATION = "authorization.k8s.io/v1"
T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """What the cluster noted about an object."""

    about: str
    reason: str
    message: str
    warning: bool
    at: str
    count: int


class Kube:
    """A cluster as one context of a kubeconfig sees it; threads may share one.

    With `own_nodes` its nodes belong to this instance, as kind's do, and get their images from this machine.
    A request is tried again after `retry_seconds`; an object that is waited for is read every `look_seconds`.
    """

    def __init__(
        self,
        kubeconfig: Path,
        context: str | None = None,
        *,
        own_nodes: bool = True,
        retry_seconds: float = 0.5,
        look_seconds: float = 0.5,
    ) -> None:
        self.own_nodes = own_nodes
        self.look_seconds = look_seconds
        self._connection = Connection(kubeconfig, context, retry_seconds)
        self._kinds = Kinds(self._connection)

    def apply(self, body: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Apply an object server-side as field manager `workshop`, taking over fields that others set."""
        path = self._path(body, name_of(body))
        return self._connection.ask(
            f"apply {_title(body)}",
            "patch",
            path,
            body=dict(body),
            content_type="application/apply-patch+yaml",
            field_manager=FIELD_MANAGER,
            force_conflicts=True,
            dry_run="All" if dry_run else None,
        )

    def create(self, body: Mapping[str, Any]) -> Object:
        """Create an object that is not there yet."""
        doing = f"create {_title(body)}"
        try:
            return self._connection.ask(
                doing, "post", self._path(body), body=dict(body), field_manager=FIELD_MANAGER
            )
        except ConflictError as conflict:
            if not conflict.answer_lost:
                raise
            return self._connection.ask(doing, "get", self._path(body, name_of(body)))

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """An object, or None when it, or its kind, is absent."""
        return self._ask_about((api_version, kind, name, namespace), "show", "get")

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        fields: str | None = None,
    ) -> Objects:
        """The objects of a kind that carry these labels; none when the kind is absent."""
        found = self._kinds.find(api_version, kind)
        if found is None:
            return ()
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items()) or None
        listed = self._connection.ask(
            f"list {kind}", "get", found.path(namespace), label_selector=selector, field_selector=fields
        )
        # The API leaves both out of the items of a list.
        return [{"apiVersion": api_version, "kind": kind, **item} for item in items(listed, "items")]

    def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace_seconds: int | None = None,
        version: str | None = None,
    ) -> bool:
        """Ask for an object's deletion; False when it, or its kind, is absent.

        With its `version` only while it is unchanged: raises ConflictError otherwise.
        """
        body = {"preconditions": {"resourceVersion": version}} if version else None
        how = {"body": body, "grace_period_seconds": grace_seconds}
        deleted = self._ask_about((api_version, kind, name, namespace), "delete", "delete", **how)
        return deleted is not None

    def patch(
        self, api_version: str, kind: str, name: str, namespace: str | None, body: Mapping[str, Any]
    ) -> Object | None:
        """Change fields of an object with a JSON merge patch; None when it, or its kind, is absent."""
        how = {"content_type": "application/merge-patch+json", "field_manager": FIELD_MANAGER}
        return self._ask_about(
            (api_version, kind, name, namespace), "change", "patch", body=dict(body), **how
        )

    def logs(
        self,
        pod: str,
        namespace: str,
        container: str | None = None,
        tail: int = 20,
        *,
        previous: bool = False,
        timestamps: bool = False,
        since: str = "",
    ) -> Sequence[str]:
        """The last lines a container wrote; none when it has no log yet, or no longer.

        With `timestamps` each begins with its time, and such a time is what `since` may be.
        """
        query = [("tailLines", str(tail)), ("previous", str(previous).lower())]
        query += [("container", container)] if container else []
        query += [("timestamps", "true")] if timestamps else []
        query += [("sinceTime", since)] if since else []
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        try:
            log = self._connection.request(f"show the log of pod `{pod}`", "get", path, query_params=query)
        except (NotFoundError, InvalidError):  # the API's answer for a container that has not started
            return ()
        return log.decode(errors="replace").splitlines()

    def events(self, namespace: str, names: Iterable[str]) -> Sequence[Event]:
        """What was noted about the objects of these names, oldest first."""
        found: list[Event] = []
        for name in dict.fromkeys(names):
            listed = self.list("v1", "Event", namespace, fields=f"involvedObject.name={name}")
            found += [event_of(item) for item in listed if text(item, "involvedObject", "name") == name]
        return sorted(found, key=lambda event: event.at)

    def version(self) -> str:
        """The API server's version, such as `v1.35.1`."""
        return text(self._connection.ask("show its version", "get", "/version"), "gitVersion")

    def serves(self, api_version: str, kinds: Iterable[str]) -> bool:
        """Whether the API serves all of these kinds; asking takes no right that an account may lack."""
        return all(self._kinds.find(api_version, kind) for kind in kinds)

    def review(self, kind: str, spec: Mapping[str, Any]) -> Object:
        """The API server's answer to a question about this account, such as a SelfSubjectRulesReview."""
        body = {"apiVersion": _AUTHORIZATION, "kind": kind, "metadata": {}, "spec": dict(spec)}
        path = f"/apis/{_AUTHORIZATION}/{kind.lower()}s"
        return self._connection.ask("show what this account may do", "post", path, body=body)

    def token(self, account: str, namespace: str, seconds: int) -> tuple[str, str]:
        """A new token of a ServiceAccount, and its end as RFC 3339; the API server may shorten it."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        made = self._connection.ask(f"make a token for `{account}` in `{namespace}`", "post", path, body=body)
        return text(made, "status", "token"), text(made, "status", "expirationTimestamp")

    def _ask_about(
        self, which: tuple[str, str, str, str | None], verb: str, method: str, **params: object
    ) -> Object | None:
        """The answer about one object, given as `get` takes it; None if it, or its kind, is absent."""
        api_version, kind, name, namespace = which
        found = self._kinds.find(api_version, kind)
        if found is None:
            return None
        path = found.path(namespace, name)
        try:
            return self._connection.ask(f"{verb} {kind} `{name}`", method, path, **params)
        except NotFoundError:
            return None

    def _path(self, body: Mapping[str, Any], name: str | None = None) -> str:
        api_version, kind = body["apiVersion"], body["kind"]
        found = self._kinds.await_kind(api_version, kind)
        if found is None:
            raise WorkshopError(
                f"The cluster does not know {kind} ({api_version})",
                why="No custom resource definition for it is established",
                hint="`workshop up` installs the operator and its definitions",
            )
        return found.path(namespace_of(body) or None, name)


def _title(body: Mapping[str, Any]) -> str:
    return f"{body['kind']} `{name_of(body)}`"


def event_of(item: Mapping[str, Any]) -> Event:
    """The event in an Event object."""
    series = mapping(item, "series")
    times = (text(item, "lastTimestamp"), text(series, "lastObservedTime"), text(item, "eventTime"))
    return Event(
        about=text(item, "involvedObject", "name"),
        reason=text(item, "reason"),
        message=" ".join(text(item, "message").split()),
        warning=item.get("type") == "Warning",
        at=next((time for time in times if time), created_at(item)),
        count=number(item, "count") or number(series, "count") or 1,
    )


@dataclass(frozen=True)
class Diagnosis:
    """Why a wait failed: short lines about what is wrong, and what to do about it."""

    lines: tuple[str, ...] = ()
    hint: str = ""

    @property
    def why(self) -> str:
        return "\n".join(self.lines)


def bound(seconds: float) -> str:
    """A wait's time limit in words, for its progress line."""
    minutes = f"{seconds / 60:.3g} min"
    return f"at most {minutes}" if seconds >= 120 else f"at most {seconds:.0f} s"  # noqa: PLR2004 - from 2 min on


def wait_for(
    what: str,
    look: Callable[[], T],
    *,
    done: Callable[[T], bool],
    seconds: float,
    failed: Callable[[T], str] = lambda _: "",
    note: Callable[[str], None] = lambda _: None,
    state: Callable[[T], str] = lambda _: "",
    diagnose: Callable[[], Diagnosis] = Diagnosis,
    settled: int = 1,
    look_seconds: float = 0.5,
    unreachable_seconds: float = 30.0,
) -> T:
    """Call `look` until `done` holds for `settled` results in a row; return the last result.

    Raises WorkshopError as soon as `failed` returns a reason, DeadlineError after `seconds`; both carry the
    diagnosis. `note` gets the `state` of every result, and the time limit. The API server may be unreachable
    for `unreachable_seconds`, for example while kubeadm restarts it.
    """
    deadline = time.monotonic() + seconds
    good = 0
    while True:
        patience = min(unreachable_seconds, deadline - time.monotonic())
        result = reach(look, seconds, note, look_seconds=look_seconds, unreachable_seconds=patience)
        good = good + 1 if done(result) else 0
        if good >= settled:
            note(state(result))
            return result
        if reason := failed(result):
            found = diagnose()
            raise WorkshopError(f"{what} cannot become ready: {reason}", why=found.why, hint=found.hint)
        note(", ".join(part for part in (state(result), bound(seconds)) if part))
        if time.monotonic() + look_seconds > deadline:
            found = diagnose()
            shown = f" ({state(result)})" if state(result) else ""
            raise DeadlineError(
                f"{what} was not ready within {seconds:.0f} s{shown}", why=found.why, hint=found.hint
            )
        time.sleep(look_seconds)


def reach(
    look: Callable[[], T],
    seconds: float,
    note: Callable[[str], None],
    *,
    look_seconds: float,
    unreachable_seconds: float = 30.0,
) -> T:
    """The result of `look`, called again while the API server is unreachable for a moment."""
    until = time.monotonic() + min(seconds, unreachable_seconds)
    while True:
        try:
            return look()
        except UnreachableError:
            if time.monotonic() + look_seconds > until:
                raise
            note(f"the cluster does not answer, {bound(seconds)}")
            time.sleep(look_seconds)
