"""Create a room: the operator and the practice GitHub once, then the objects and the file of each seat.

Everything that exists already stays as it is, so a second call makes only what is missing.
"""

import base64
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from workshop.core.console import Progress
from workshop.core.console import Step as Line
from workshop.core.errors import UsageError
from workshop.core.instance import Upstream
from workshop.core.invocation import again
from workshop.core.settings import Settings
from workshop.lab.base import PRACTICE_GITHUB, PRACTICE_PORT, Choices, Deployment
from workshop.lab.cluster.kubernetes import require_images
from workshop.lab.cluster.operator import Operator
from workshop.lab.cluster.readiness import wait_deployment
from workshop.lab.cluster.record import Cluster
from workshop.lab.cluster.render import practice_manifests
from workshop.lab.cluster.seats import missing, refuse_lacking, rights_in
from workshop.lab.cluster.secrets import secret, secrets_of
from workshop.lab.deployments import practice_config, require_oauth_app, write_secrets
from workshop.lab.kube.client import bound
from workshop.lab.kube.connection import UnreachableError
from workshop.lab.kube.objects import Object, annotations_of, name_of, text
from workshop.lab.room.handout import Handout, Issuer, accounts
from workshop.lab.room.objects import (
    RECORD_SECRET,
    ROOM,
    SEAT_KINDS,
    TOKEN_UNTIL,
    Key,
    Reach,
    finished,
    hash_of,
    key_of,
    room_labels,
    room_objects,
    seat_namespace,
    seat_objects,
    with_seats,
)
from workshop.lab.room.record import Room, claim, known_room, require_free, room_lease
from workshop.lab.room.sizing import plan as sizing
from workshop.lab.steps import Step, StepRun, for_each, plan
from workshop.toolhive.manifests import Resources
from workshop.toolhive.secrets import SecretFiles, auth_configs

_ALL = ["get", "list", "create", "patch", "delete"]
# To grant the rights of a seat, the account needs them itself; `Operator` checks those.
_RIGHTS = (
    {
        "apiGroups": [""],
        "resources": ["namespaces", "serviceaccounts", "resourcequotas", "limitranges"],
        "verbs": _ALL,
    },
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
    {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "rolebindings"],
        "verbs": _ALL,
    },
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": _ALL},
)


@dataclass(frozen=True)
class RoomOptions:
    """What a facilitator chose; what is unset stays as the room's record has it.

    `people` are names in the order of the seats. `hours` is how long a token is valid. `anyway` creates also
    more seats than the nodes have space for.
    """

    seats: int | None = None
    people: Sequence[str] = ()
    upstream: Upstream | None = None
    hours: int | None = None
    anyway: bool = False
    settings: Settings = field(repr=False, default=Settings())


@dataclass(frozen=True)
class SeatReport:
    """One seat: how many of its objects were created or changed, and its file; `until` ends its token."""

    seat: str
    person: str
    namespace: str
    made: int
    file: str
    until: str


@dataclass(frozen=True)
class CreateReport:
    """The room as it is now."""

    room: str
    id: str
    upstream: Upstream
    files: str
    seats: Sequence[SeatReport]


def decide(
    site: Cluster, options: RoomOptions, parts: Sequence[Deployment], known: Room | None = None
) -> Room:
    """The room that is wanted.

    Raises UsageError for a number of seats that cannot be, and CredentialsError without the OAuth app that
    new seats need at the real GitHub.
    """
    people = {**(known.people if known else {})}
    seats = options.seats or max(known.seats if known else 0, len(options.people))
    room = Room(site.namespace, site.record.id, seats)
    people |= {seat: name for seat, name in zip(room.numbers, options.people, strict=False) if name}
    if not seats:
        raise UsageError(
            f"The number of seats for room `{room.name}` is missing",
            hint=f"For example {again('--seats=30')}, or {again('--from=people.csv')}",
        )
    if len(options.people) > seats:
        raise UsageError(
            f"{len(options.people)} people do not fit on {seats} seats",
            hint=f"Give at least {len(options.people)} seats, or a shorter list",
        )
    if known and seats < known.seats:
        raise UsageError(
            f"Room `{known.name}` has {known.seats} seats already",
            why="A room can only grow",
            hint=f"Give no number of seats, or first remove it: `workshop room remove {known.name}`",
        )
    upstream = options.upstream or (known.upstream if known else "practice")
    if upstream == "github" and seats > (known.seats if known else 0):
        require_oauth_app(options.settings, parts)
    images = {"mcp_server": site.pins.mcp_server, "practice": site.pins.practice}
    if known and known.images:
        images |= {name: image for name, image in known.images.items() if name not in site.pins.prebuilt}
    else:
        require_images(site.pins, practice=upstream == "practice")
    hours = options.hours or (known.hours if known else room.hours)
    # The app of a room stays, as its seats' secrets do.
    app = (known and known.client_id) or options.settings.github_client_id.value or ""
    app = app if upstream == "github" else ""
    return replace(room, people=people, upstream=upstream, client_id=app, images=images, hours=hours)


def create(
    site: Cluster, options: RoomOptions, parts: Sequence[Deployment], handout: Handout, progress: Progress
) -> CreateReport:
    """Create what the room lacks.

    Raises, before any change, UsageError for a namespace of somebody else, and PreflightError for new seats
    that the nodes have no space for.
    """
    kube = site.kube
    with _resumable():
        with progress.step("Check the rights of this account, the names and the space"):
            known = known_room(kube, site.namespace)
            room = decide(site, options, parts, known)
            _require_rights(site)
            require_free(site, room)
            grows = room.seats > (known.seats if known else 0)
            if grows and not options.anyway:  # a room that is there is repaired, also on fewer nodes
                sizing(kube, room.name, room.seats, parts).require()
            handout.prepare()
        site = claim(site)
        site.file.write(site.record)  # later commands then need no `--context`
        room = replace(room, id=site.record.id)
        with room_lease(site).held(site.limits.ready, progress.say):
            work = Creation(site, room, options.settings, parts, handout)
            StepRun(work.steps(), progress, site.tools.runner).run(undo=False)
            return work.report()


def plan_of(
    site: Cluster, options: RoomOptions, parts: Sequence[Deployment], handout: Handout
) -> Sequence[str]:
    """What `create` would run and write, without asking the cluster."""
    room = decide(site, options, parts)
    return plan(Creation(site, room, options.settings, parts, handout).steps())


class Creation:
    """The steps that create one room."""

    def __init__(
        self,
        site: Cluster,
        room: Room,
        settings: Settings,
        parts: Sequence[Deployment],
        handout: Handout,
    ) -> None:
        self._site = site
        self._room = room
        self._handout = handout
        self._settings = settings
        self._resources = Resources(tuple(item for part in parts for item in part.resources.all))
        self._record = [room.body(), *room_objects(room.name, room.id)]
        self._made: dict[str, int] = {}

    def steps(self) -> list[Step]:
        """From the room's record to the seats' files; the practice GitHub starts while seats are created."""
        room, space = self._room, f"namespace/{self._room.name}"
        steps = [
            *Operator(self._site).steps(after=()),
            Step(
                "record",
                "Write the room's record",
                self._write_record,
                needs=(space,),
                plan=lambda: [f"apply {one['kind']}/{name_of(one)} in {room.name}" for one in self._record],
            ),
        ]
        files: tuple[str, ...] = ("seats",)
        if room.upstream == "practice":
            steps += self._practice_steps()
            files = ("seats", "practice")  # the seat files' record keys are derived from a secret of it
        return [
            *steps,
            Step(
                "seats",
                f"Create {room.seats} seats",
                self._make_seats,
                needs=("record", "crds", *files[1:]),
                plan=self._plan_seats,
            ),
            Step(
                "files",
                "Make the tokens and write the seat files",
                self._write_files,
                needs=files,
                plan=lambda: [f"write {self._handout.where(seat)}" for seat in room.numbers],
            ),
        ]

    def report(self) -> CreateReport:
        """The room as it is now."""
        room = self._room
        spaces = self._site.kube.list("v1", "Namespace", None, room_labels(room.name, room.id))
        until = {name_of(space): str(annotations_of(space).get(TOKEN_UNTIL, "")) for space in spaces}
        rows = [
            SeatReport(
                seat,
                room.people.get(seat, ""),
                space := seat_namespace(room.name, seat),
                self._made.get(seat, 0),
                self._handout.where(seat),
                until.get(space, ""),
            )
            for seat in room.numbers
        ]
        return CreateReport(room.name, room.id, room.upstream, str(self._handout.path), rows)

    def _practice_steps(self) -> list[Step]:
        seconds = self._site.limits.ready
        return [
            Step(
                "practice",
                "Apply the room's practice GitHub",
                self._apply_practice,
                needs=("record",),
                plan=lambda: [f"apply {PRACTICE_GITHUB} in {self._room.name}, with {self._room.seats} users"],
            ),
            Step(
                "practice-ready",
                f"Wait for the practice GitHub, {bound(seconds)}",
                lambda line: wait_deployment(
                    self._site.kube, self._room.name, PRACTICE_GITHUB, seconds, line
                ),
                needs=("practice",),
            ),
        ]

    def _write_record(self, line: Line) -> None:
        for body in self._record:
            self._site.kube.apply(body)
        line.note(f"{self._room.seats} seats, upstream {self._room.upstream}")

    def _apply_practice(self, _line: Line) -> None:
        room, kube = self._room, self._site.kube
        (auth,) = auth_configs(self._resources)
        config = practice_config(auth, PRACTICE_PORT, "client-secret")
        found = practice_manifests(room.images["practice"], room.name, config, self._client_secret())
        self._remember(*RECORD_SECRET, self._stored(*RECORD_SECRET))
        for item in found.all:
            body: Object = dict(item.body)
            if item.kind == "Deployment":
                body = with_seats(body, room.seats)
            if item.kind == "Secret":
                values = {key: str(value).encode() for key, value in item.mapping("stringData").items()}
                body = secret(item.name, room.name, values)
            kube.apply(finished(body, room.name, room.id))

    def _client_secret(self) -> str:
        """The secret of the OAuth app: the practice GitHub's, which is made once, or the real one's."""
        if self._room.upstream == "github":
            return self._settings.github_client_secret.value or ""
        return self._stored(PRACTICE_GITHUB, "client-secret")

    def _stored(self, name: str, key: str) -> str:
        """The value of a secret in the room's namespace; a new one if it is not there."""
        value = text(self._site.kube.get("v1", "Secret", name, self._room.name), "data", key)
        return base64.b64decode(value).decode() if value else secrets.token_urlsafe(32)

    def _remember(self, name: str, key: str, value: str) -> None:
        body = secret(name, self._room.name, {key: value.encode()})
        self._site.kube.apply(finished(body, self._room.name, self._room.id))

    def _make_seats(self, line: Line) -> None:
        room, kube = self._room, self._site.kube
        labels = room_labels(room.name, room.id)
        there = {key_of(one): hash_of(one) for kind in SEAT_KINDS for one in kube.list(*kind, None, labels)}
        # An attendee's `up` makes the secrets again, with labels of its own.
        there |= {key_of(one): "" for one in kube.list("v1", "Secret", None, {ROOM: room.name})}
        reach = Reach.of(kube, room.name, practice=room.upstream == "practice")
        value = self._client_secret()
        self._made = for_each(room.numbers, partial(self._make_seat, there, reach, value), line.note)
        line.note(f"{sum(map(bool, self._made.values()))} new or changed, {room.seats} in all")

    def _make_seat(self, there: Mapping[Key, str], reach: Reach, client_secret: str, seat: str) -> int:
        """Apply what a seat lacks, and what has changed; return how many objects."""
        room = self._room
        wanted = seat_objects(room.id, seat, room.people.get(seat, ""), reach)
        lacking = [one for one in wanted if there.get(key_of(one)) != hash_of(one)]
        space = seat_namespace(room.name, seat)
        names = [name for name in secrets_of(self._resources) if ("Secret", space, name) not in there]
        lacking += self._seat_secrets(seat, names, client_secret) if names else []
        for body in lacking:
            self._site.kube.apply(body)
        return len(lacking)

    def _seat_secrets(self, seat: str, names: Sequence[str], client_secret: str) -> list[Object]:
        """These secrets of part 4, with a new signing key, as the seat's own `up` would make them."""
        room, space = self._room, seat_namespace(self._room.name, seat)
        with tempfile.TemporaryDirectory(prefix="workshop-seat-") as folder:
            files = SecretFiles(Path(folder))
            files.write(PRACTICE_GITHUB, "client-secret", client_secret.encode())
            write_secrets(files, self._resources, Choices(room.upstream, self._settings))
            keys = secrets_of(self._resources)
            values = {name: {key: files.path(name, key).read_bytes() for key in keys[name]} for name in names}
        labels = dict(room_labels(room.name, room.id, seat))
        return [secret(name, space, data, labels) for name, data in values.items()]

    def _plan_seats(self) -> Sequence[str]:
        room = self._room
        reach = Reach(room.name, room.upstream == "practice", (), ())
        kinds = [one["kind"] for one in seat_objects(room.id, room.numbers[0], "", reach)]
        names = ", ".join(secrets_of(self._resources))
        first, last = (seat_namespace(room.name, seat) for seat in (room.numbers[0], room.numbers[-1]))
        return [f"apply in {first} to {last}: {', '.join(kinds)}, Secrets {names}"]

    def _write_files(self, line: Line) -> None:
        issuer, known = Issuer(self._site, self._room), accounts(self._site)
        lacking = [
            seat
            for seat in self._room.numbers
            if not issuer.is_current(self._handout.read(seat), known.get(seat, ""))
        ]
        issuer.hand_out(lacking, self._room.hours, self._handout, line.note)
        line.note(f"{len(lacking)} new, in {self._handout.path}")


def _require_rights(site: Cluster) -> None:
    """Raise ForbiddenError, before any change, for the rights that this account lacks."""
    refuse_lacking(
        missing(site.kube, site.namespace, rights_in(_RIGHTS)),
        "Your account lacks rights that a room needs",
        "A room needs an administrator of the cluster: ask its owner, or choose another context",
    )


@contextmanager
def _resumable() -> Iterator[None]:
    """Add to an error of the connection how to go on."""
    try:
        yield
    except UnreachableError as error:
        error.hint = "Run the same command again when the cluster answers: it makes only what is missing"
        raise
