"""Remove a room: what its seats run, the seats, the operator if nobody else needs it, then the room itself.

ToolHive's objects have finalizers that the operator clears, so they go before their namespaces and the
operator. The room's namespace goes last, because it has the record: an interrupted call can be repeated.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from workshop.core.console import Progress
from workshop.core.console import Step as Line
from workshop.lab.cluster.operator import Operator
from workshop.lab.cluster.record import Cluster
from workshop.lab.cluster.removal import CONFIGS, DEFINED, PROXIES, await_end, clear_finalizers, patience
from workshop.lab.kube.client import wait_for
from workshop.lab.kube.connection import UnreachableError
from workshop.lab.kube.objects import is_being_deleted, name_of, namespace_of
from workshop.lab.room.objects import room_labels
from workshop.lab.room.record import find_id, room_lease
from workshop.lab.steps import for_each

Found = tuple[str, str, str, str]
"""The API version, kind, namespace and name of an object."""


@dataclass(frozen=True)
class RemoveReport:
    """What was removed: ToolHive's objects in the seats, the namespaces, and what the operator had."""

    room: str
    objects: Sequence[str]
    namespaces: Sequence[str]
    operator: Sequence[str]


def remove(site: Cluster, progress: Progress, *, keep_operator: bool = False) -> RemoveReport:
    """Remove a room, and nothing that does not carry its labels; without a room, nothing."""
    report = RemoveReport(site.namespace, (), (), ())
    try:
        if find_id(site.kube, site.namespace):
            # An interrupted removal can then be repeated without `--context`.
            site.file.write(site.record)
            with _turn(site, progress):
                report = _Removal(site).run(progress, keep_operator=keep_operator)
    except UnreachableError as error:
        error.hint = "Run the same command again when the cluster answers: it removes what is left"
        raise
    shutil.rmtree(site.home, ignore_errors=True)
    return report


def plan_of(site: Cluster, *, keep_operator: bool = False) -> Sequence[str]:
    """What `remove` would delete."""
    removal = _Removal(site)
    objects = [f"delete {kind}/{name} in {space}" for _, kind, space, name in removal.objects(DEFINED)]
    operator = (
        [] if keep_operator else ["uninstall the operator, if a room or seat installed it and none needs it"]
    )
    return [*objects, *(f"delete namespace {name}" for name in removal.spaces()), *operator]


class _Removal:
    """Removes what carries the labels of one room."""

    def __init__(self, site: Cluster) -> None:
        self._site = site
        self._labels = room_labels(site.namespace, site.record.id)

    def run(self, progress: Progress, *, keep_operator: bool) -> RemoveReport:
        """Remove everything in order."""
        room, spaces = self._site.namespace, self.spaces()
        seats = [name for name in spaces if name != room]
        objects: list[str] = []
        with progress.step("Remove what the seats run") as line:
            # The operator releases a config only when nothing refers to it (`DeletionBlocked`).
            for kinds in (PROXIES, CONFIGS):
                objects += self._delete(kinds, line)
        with progress.step(f"Remove {len(seats)} seats") as line:
            self._delete_spaces(seats, line)
        operator: list[str] = []
        if not keep_operator:
            with progress.step("Remove the operator, if nobody else needs it") as line:
                operator = Operator(self._site).release(line.note)
        with progress.step("Remove the room") as line:
            self._delete_spaces([name for name in spaces if name == room], line)
        return RemoveReport(room, objects, spaces, operator)

    def spaces(self) -> list[str]:
        """The namespaces of the room: its own, and its seats'."""
        found = self._site.kube.list("v1", "Namespace", None, self._labels)
        return [name_of(space) for space in found]

    def objects(self, kinds: Sequence[tuple[str, str]]) -> list[Found]:
        """ToolHive's objects in the room's namespaces, whoever applied them."""
        spaces = set(self.spaces())
        return [
            (api, kind, namespace_of(one), name_of(one))
            for api, kind in kinds
            # One list of the cluster for each kind: the number of calls does not grow with the seats.
            for one in self._site.kube.list(api, kind)
            if namespace_of(one) in spaces
        ]

    def _delete(self, kinds: Sequence[tuple[str, str]], line: Line) -> Sequence[str]:
        kube, found = self._site.kube, self.objects(kinds)
        for_each(found, lambda one: kube.delete(one[0], one[1], one[3], one[2]), line.note)
        seconds = patience(self._site, self._site.limits.removed) if found else 0.0
        left = await_end(self._site, lambda: self.objects(kinds), seconds, line.note) if found else []
        for api, kind, space, name in left:
            clear_finalizers(self._site, space, api, kind, name, note=line.note)
        return [f"{kind}/{name} in {space}" for _, kind, space, name in found]

    def _delete_spaces(self, names: Sequence[str], line: Line) -> None:
        """Delete namespaces, and wait until they are gone."""
        kube = self._site.kube
        for_each(names, lambda name: kube.delete("v1", "Namespace", name), line.note)
        wait_for(
            f"The deletion of {len(names)} namespaces",
            lambda: [name for name in self.spaces() if name in names],
            done=lambda left: not left,
            seconds=self._site.limits.ready,
            note=line.note,
            state=lambda left: f"{len(left)} of {len(names)} left",
            look_seconds=kube.look_seconds,
        )


@contextmanager
def _turn(site: Cluster, progress: Progress) -> Iterator[None]:
    """Hold the room's lease, which is in its namespace; nobody can hold it when that is being deleted."""
    space = site.kube.get("v1", "Namespace", site.namespace)
    if space is None or is_being_deleted(space):
        yield
        return
    with room_lease(site).held(site.limits.ready, progress.say):
        yield
