"""The record of this instance's cluster. It is written before anything is created, so nothing is lost."""

import contextlib
import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from workshop.core.errors import UsageError
from workshop.core.files import DamagedFileError, read_state
from workshop.core.paths import write_private
from workshop.lab.base import CLUSTER_FILE, Limits
from workshop.lab.kube.client import Kube
from workshop.lab.pins import Pins
from workshop.lab.tools.clusters import Access, Helm, Kind, Kubectl
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.run import Runner
from workshop.toolhive.secrets import SecretFiles

INSTANCE_LABEL = "workshop/instance"
VARIATION_LABEL = "workshop/variation"
MANAGED_BY = {"app.kubernetes.io/managed-by": "workshop"}


def owner_labels(instance: str) -> dict[str, str]:
    """The labels of an object that belongs to one instance of the workshop."""
    return {**MANAGED_BY, INSTANCE_LABEL: instance}


def variation_label(name: str) -> dict[str, str]:
    """The label of what belongs to a variation: `up` leaves it alone. None for a part, without a name."""
    return {VARIATION_LABEL: name} if name else {}


def new_id() -> str:
    """A new instance's id; it starts with a letter because YAML would read `123e4567` as a number."""
    return f"w{secrets.token_hex(4)}"


@dataclass(frozen=True)
class ClusterRecord:
    """What is recorded about an instance's cluster: its name, its namespace, and what the instance created.

    `overrides` and `bundle` are what a person gave, `images` the result. `made` names what this instance has
    created or is creating (`cluster`, `operator`, `namespace/NAME`); only that is ever removed. `installed`
    has the fingerprint of what each thing was installed from, so that it is not installed twice.
    `room_labels` are those of the room in which the namespace is a seat.
    """

    backend: Literal["kind", "kubernetes"]
    id: str
    name: str
    namespace: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    bundle: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    made: tuple[str, ...] = ()
    installed: Mapping[str, str] = field(default_factory=dict)
    room_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def context(self) -> str:
        """The cluster's context in the instance's own kubeconfig."""
        return f"kind-{self.name}" if self.backend == "kind" else self.name

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything that this instance makes in its cluster."""
        return {**owner_labels(self.id), **self.room_labels}


class ClusterFile:
    """The file with the record; every change is on disk before the change in the cluster."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / CLUSTER_FILE
        self._changing = threading.Lock()  # steps run in parallel

    def read(self) -> ClusterRecord | None:
        """The record, or None for none; raises UsageError when it is damaged."""
        try:
            return read_state(ClusterRecord, self._path)
        except DamagedFileError as error:
            raise UsageError(
                f"Cannot use the record of the cluster in `{self._path}`",
                why=str(error),
                hint="`workshop teardown` stops what runs here, and shows what to do about the cluster",
            ) from error

    def write(self, record: ClusterRecord) -> None:
        """Write the record."""
        write_private(self._path, json.dumps(asdict(record), indent=2, sort_keys=True).encode())

    def made(self) -> tuple[str, ...]:
        """What this instance created, or began to create; nothing without a record."""
        record = self.read()
        return record.made if record else ()

    def creating(self, thing: str) -> None:
        """Record that this instance is about to create `thing`."""
        with self._changing:
            record = self._known()
            if thing not in record.made:
                self.write(replace(record, made=(*record.made, thing)))

    def removed(self, thing: str) -> None:
        """Record that `thing` is gone; on a full disk, which `teardown` may free, it stays in the record."""
        with self._changing, contextlib.suppress(OSError):
            record = self._known()
            installed = {name: fingerprint for name, fingerprint in record.installed.items() if name != thing}
            made = tuple(name for name in record.made if name != thing)
            self.write(replace(record, made=made, installed=installed))

    def installed(self, thing: str, fingerprint: str) -> None:
        """Record the fingerprint of what `thing` is now installed from."""
        with self._changing:
            record = self._known()
            self.write(replace(record, installed={**record.installed, thing: fingerprint}))

    def _known(self) -> ClusterRecord:
        record = self.read()
        if record is None:
            raise UsageError(f"`{self._path}` is gone", hint="Run `workshop up` again")
        return record


class Tools:
    """The programs that a cluster is created with, on one runner."""

    def __init__(self, runner: Runner, home: Path, pins: Pins) -> None:
        self.runner = runner
        self.docker = Docker(runner)
        self.kind = Kind(runner)
        self.helm = Helm(runner, home / "helm", pins.ca_file, pins.proxy_environment())
        self.kubectl = Kubectl(runner)


@dataclass(frozen=True)
class Cluster:
    """The cluster of one instance: its folder on this machine, record, pins, access and tools."""

    home: Path
    record: ClusterRecord
    pins: Pins
    at: Access
    tools: Tools = field(repr=False)
    file: ClusterFile = field(repr=False)
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def kube(self) -> Kube:
        """The cluster's objects."""
        return self.connect()

    def connect(self) -> Kube:
        """A new client, which reads the kubeconfig again."""
        return Kube(
            self.at.kubeconfig,
            self.at.context,
            own_nodes=self.own_nodes,
            retry_seconds=self.limits.retry,
            look_seconds=self.limits.look,
        )

    @property
    def secrets(self) -> SecretFiles:
        """The values of the secrets, as files on this machine."""
        return SecretFiles(self.home / "secrets")

    @property
    def own_nodes(self) -> bool:
        """Whether this instance created the cluster's nodes."""
        return self.record.backend == "kind"

    @property
    def namespace(self) -> str:
        """The namespace of the workloads."""
        return self.record.namespace

    def made(self, thing: str) -> bool:
        """Whether this instance created, or began to create, a thing in its cluster."""
        return thing in self.file.made()

    def installed(self, thing: str) -> str | None:
        """The recorded fingerprint of what a thing is installed from; None if it is not installed."""
        record = self.file.read()
        return record.installed.get(thing) if record else None
