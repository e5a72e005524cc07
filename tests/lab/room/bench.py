"""Rooms on a cluster, as facilitators create and remove them, each on a machine of their own."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from workshop.core.console import Console
from workshop.course.lessons import find_lessons
from workshop.lab.base import Deployment, Limits
from workshop.lab.kube.client import Kube
from workshop.lab.room import create as creation
from workshop.lab.room import record
from workshop.lab.room.create import CreateReport, RoomOptions
from workshop.lab.room.handout import Handout
from workshop.lab.room.remove import RemoveReport, remove
from workshop.lab.tools.run import Runner

IMAGES = {"mcp-server": "lab/mcp-server:1", "practice": "lab/practice:1"}
LIMITS = Limits(look=0.1, retry=0.1)


class Facilitator:
    """A person with rights on the cluster, on a machine of their own."""

    def __init__(self, folder: Path, context: str) -> None:
        self.folder = folder
        self.context = context
        self.limits = LIMITS
        self.shown = io.StringIO()

    def create(self, name: str, seats: int | None = None, **options: Any) -> CreateReport:
        with (
            Console(self.shown, self.shown).progress() as progress,
            record.open_site(name, self.context, Runner(), overrides=IMAGES, limits=self.limits) as site,
        ):
            return creation.create(
                site, RoomOptions(seats, **options), self.parts(), self.handout(name), progress
            )

    def remove(self, name: str, *, keep_operator: bool = False) -> RemoveReport:
        with (
            Console(self.shown, self.shown).progress() as progress,
            record.open_site(name, self.context, Runner(), limits=self.limits) as site,
        ):
            return remove(site, progress, keep_operator=keep_operator)

    @staticmethod
    def parts() -> Sequence[Deployment]:
        return [found for lesson in find_lessons() if (found := lesson.deployment())]

    def handout(self, name: str) -> Handout:
        return Handout(self.folder / f"{name}-seats", name)


def count(kube: Kube, kinds: Sequence[tuple[str, str]]) -> Mapping[str, Sequence[str]]:
    """What there is of each kind, by namespace and name."""
    return {
        kind: sorted(
            f"{one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
            for one in kube.list(api, kind)
        )
        for api, kind in kinds
    }


@contextmanager
def at_home(folder: Path, kubeconfig: Path) -> Iterator[None]:
    """The state directory and the kubeconfig of one facilitator."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKSHOP_HOME", str(folder / "state"))
        patch.setenv("KUBECONFIG", str(kubeconfig))
        yield
