"""A lease on the cluster: one holder at a time, and the next one once it has expired."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from workshop.core.errors import DeadlineError, WorkshopError
from workshop.lab.kube.client import Kube
from workshop.lab.kube.connection import ConflictError
from workshop.lab.kube.objects import mapping, text

_API = "coordination.k8s.io/v1"
_EXPIRES_SECONDS = 30  # how long a holder that died keeps the others waiting
_RENEW_SECONDS = 5.0
_LOOK_SECONDS = 1.0


class Lease:
    """The lease of one name, as one holder sees it. It exists on the cluster only while somebody holds it.

    Like client-go's leader election it compares no clocks: a lease has expired once it was not renewed for
    its duration while we looked.
    """

    def __init__(self, kube: Kube, name: str, namespace: str, holder: str) -> None:
        self._kube = kube
        self._name = name
        self._namespace = namespace
        self._holder = holder
        self._version = ""
        self._within = threading.Lock()  # the holder's own threads take turns too

    @contextmanager
    def held(self, seconds: float, note: Callable[[str], None]) -> Iterator[None]:
        """Hold the lease inside; raises DeadlineError when others hold it for all of `seconds`."""
        with self._within:
            self._take(seconds, note)
            done = threading.Event()
            renewing = threading.Thread(target=self._renew, args=(done,), daemon=True)
            renewing.start()
            try:
                yield
            finally:
                done.set()
                renewing.join()
                self._release()

    def _take(self, seconds: float, note: Callable[[str], None]) -> None:
        deadline = time.monotonic() + seconds
        seen, since = "", time.monotonic()
        while True:
            found = self._kube.get(_API, "Lease", self._name, self._namespace)
            version = text(found, "metadata", "resourceVersion")
            if version != seen:
                seen, since = version, time.monotonic()
            lasts = mapping(found, "spec").get("leaseDurationSeconds") or _EXPIRES_SECONDS
            holder = text(found, "spec", "holderIdentity")
            free = found is None or holder in ("", self._holder) or time.monotonic() - since >= lasts
            if free and self._took(version):
                return
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"`{holder}` has been changing ToolHive's operator for {seconds:.0f} s",
                    why=f"It holds the lease `{self._name}` in namespace `{self._namespace}`",
                    hint="Run the same command again when it has finished",
                )
            if not free:
                note(f"waiting for `{holder}`, which changes the operator now")
            time.sleep(_LOOK_SECONDS)

    def _took(self, version: str) -> bool:
        """Whether the lease became ours: made where there was none, or changed from this version."""
        now = _now()
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": _EXPIRES_SECONDS,
            "acquireTime": now,
            "renewTime": now,
        }
        try:
            made = self._write(version, spec)
        except ConflictError:
            return False
        self._version = text(made, "metadata", "resourceVersion")
        return made is not None

    def _write(self, version: str, spec: dict[str, Any]) -> dict[str, Any] | None:
        if not version:
            metadata = {"name": self._name, "namespace": self._namespace}
            return self._kube.create(
                {"apiVersion": _API, "kind": "Lease", "metadata": metadata, "spec": spec}
            )
        body = {"metadata": {"resourceVersion": version}, "spec": spec}
        return self._kube.patch(_API, "Lease", self._name, self._namespace, body)

    def _renew(self, done: threading.Event) -> None:
        while not done.wait(_RENEW_SECONDS):
            try:
                found = self._kube.get(_API, "Lease", self._name, self._namespace)
                if text(found, "spec", "holderIdentity") != self._holder:
                    return  # somebody found it expired, and has it now
                found = self._write(text(found, "metadata", "resourceVersion"), {"renewTime": _now()})
            except WorkshopError:
                continue  # the API does not answer: there is time for another try
            self._version = text(found, "metadata", "resourceVersion") or self._version

    def _release(self) -> None:
        try:
            self._kube.delete(_API, "Lease", self._name, self._namespace, version=self._version)
        except WorkshopError:
            return  # it expires by itself, or belongs to somebody else by now


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
