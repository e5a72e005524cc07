"""A Lease object on the cluster: one holder at a time, and the next one once it has expired."""

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


class Lease:
    """One lease from the view of one holder; the object exists on the cluster only while somebody holds it.

    As in client-go's leader election, no clocks are compared: a lease has expired when it was not renewed for
    its whole duration while we watched it.
    """

    def __init__(
        self,
        kube: Kube,
        name: str,
        namespace: str,
        holder: str,
        *,
        what: str = "ToolHive's operator",
        renew_seconds: float = 5.0,
        expires_seconds: int = 30,
    ) -> None:
        self._kube = kube
        self._name = name
        self._namespace = namespace
        self._holder = holder
        self._renew_seconds = renew_seconds
        self._expires_seconds = expires_seconds  # how long a dead holder blocks the others
        self._what = what  # that only the holder may change
        self._version = ""
        self._within = threading.Lock()  # one thread of this holder at a time

    @contextmanager
    def held(self, seconds: float, note: Callable[[str], None]) -> Iterator[None]:
        """Hold the lease inside the block; raises DeadlineError when others hold it for all of `seconds`."""
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
        known, since = "", time.monotonic()
        while True:
            found = self._kube.get(_API, "Lease", self._name, self._namespace)
            version = text(found, "metadata", "resourceVersion")
            if version != known:
                known, since = version, time.monotonic()
            lasts = mapping(found, "spec").get("leaseDurationSeconds") or self._expires_seconds
            holder = text(found, "spec", "holderIdentity")
            free = found is None or holder in ("", self._holder) or time.monotonic() - since >= lasts
            # The write names the version, so of several seats that find it free only one succeeds.
            if free and self._took(version):
                return
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"`{holder}` has been changing {self._what} for {seconds:.0f} s",
                    why=f"It holds the lease `{self._name}` in namespace `{self._namespace}`",
                    hint="Run the same command again when it has finished",
                )
            if not free:
                note(f"waiting for `{holder}`, which is changing {self._what}")
            time.sleep(self._kube.look_seconds)

    def _took(self, version: str) -> bool:
        """Whether we took the lease: created a new one, or changed this version of it."""
        now = _now()
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": self._expires_seconds,
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
        while not done.wait(self._renew_seconds):
            try:
                found = self._kube.get(_API, "Lease", self._name, self._namespace)
                if text(found, "spec", "holderIdentity") != self._holder:
                    return  # it expired, and somebody else holds it now
                found = self._write(text(found, "metadata", "resourceVersion"), {"renewTime": _now()})
            except WorkshopError:
                continue  # the API does not answer: there is time to try again
            self._version = text(found, "metadata", "resourceVersion") or self._version

    def _release(self) -> None:
        try:
            self._kube.delete(_API, "Lease", self._name, self._namespace, version=self._version)
        except WorkshopError:
            return  # it expires by itself, or somebody else holds it by now


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
