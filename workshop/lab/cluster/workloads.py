"""The steps that deploy the parts to a cluster and forward them to this machine."""

from collections.abc import Sequence

from workshop.core.console import Step as Line
from workshop.core.errors import UsageError
from workshop.lab.base import HandStep
from workshop.lab.cluster.checks import check_before
from workshop.lab.cluster.dns import check_names
from workshop.lab.cluster.forwards import Forwards
from workshop.lab.cluster.readiness import wait_deployment, wait_workload
from workshop.lab.cluster.record import Cluster
from workshop.lab.cluster.removal import (
    CONFIGS,
    Titled,
    await_end,
    clear_own_finalizers,
    own_titles,
    patience,
    variations_made,
)
from workshop.lab.cluster.render import Endpoint, RenderedPart, by_hand
from workshop.lab.cluster.secrets import ClusterSecrets
from workshop.lab.cluster.workload_state import controllers_of, pods_of, replace_pod
from workshop.lab.kube.client import bound
from workshop.lab.kube.connection import InvalidError
from workshop.lab.kube.objects import Object, is_being_deleted, labels_of, mapping
from workshop.lab.steps import Step
from workshop.lab.tools.run import copyable
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.overrides import OPTIONAL_FIELDS, without

_CONFIGS = [kind for _, kind in CONFIGS]
# A pod of these that starts before its image is loaded tries to pull it, and fails.
_ON_BUILT_IMAGES = ("MCPServer", "Deployment")


class Workloads:
    """The rendered `parts` on one cluster.

    `changed` has the titles of the resources that were created or changed, `affected` the workloads that use
    them.
    """

    def __init__(self, cluster: Cluster, parts: Sequence[RenderedPart]) -> None:
        self._cluster = cluster
        self.parts = parts
        self._variation = next((part.deployment.variation for part in parts), "")
        self.forwards = Forwards(cluster.home, cluster.limits, self._variation)
        self.changed: set[str] = set()
        self.affected: set[str] = set()
        self._unknown: list[str] = []  # the OPTIONAL_FIELDS that this cluster's ToolHive lacks

    def steps(
        self, *, after: tuple[str, ...], operator: tuple[str, ...], images: tuple[str, ...]
    ) -> list[Step]:
        """All steps of all parts; they wait for the definitions (`after`), the `operator` and the `images`.

        Only what runs on the images waits for them: the remote proxy starts while they are being loaded.
        """
        steps = [self.secrets(after)]
        for part in self.parts:
            later = [item for item in part.objects if images and item.kind in _ON_BUILT_IMAGES]
            steps.append(self.apply(part, (*after, "secrets"), later))
            if later:
                steps.append(self._apply_later(part, later, (steps[-1].name, *images)))
            names = {item.name for item in later}
            for endpoint in part.endpoints:
                applied = _later(part) if endpoint.name in names else _step(part)
                steps += self.reach(part, endpoint, (applied, *operator))
            # A server that only a gateway reaches is waited for, and not forwarded.
            reached = {endpoint.name for endpoint in part.endpoints}
            behind = [item.name for item in part.resources.workloads if item.name not in reached]
            steps += [self._ready(part, name, (_step(part), *operator)) for name in behind]
        return [*steps, self.names()]

    def secrets(self, after: tuple[str, ...] = ()) -> Step:
        """Delete the secrets and create them again; pods that started with older values are replaced."""
        everything = Resources(tuple(item for part in self.parts for item in part.all.all))

        def do(line: Line) -> None:
            files = self._cluster.secrets
            for secret in everything.of("Secret"):
                files.write_resource(secret)
            made = self._secrets.recreate(everything, files)
            replaced = f", replaced {', '.join(made.replaced)}" if made.replaced else ""
            line.note(f"{', '.join(made.secrets)}{replaced}")

        def undo() -> None:
            self._secrets.delete()

        folder = self._cluster.home / "secrets"
        return Step(
            "secrets",
            "Create the secrets",
            do,
            needs=after,
            undo=undo,
            plan=lambda: [f"write {folder}, and each secret in it to the cluster; values are never shown"],
        )

    def apply(self, part: RenderedPart, needs: tuple[str, ...] = (), later: Sequence[Resource] = ()) -> Step:
        """Apply a part's manifests except the `later` ones, each after those that it refers to.

        Before that, a dry run of all of them finds errors without changing anything.
        """
        now = [item for item in part.objects if item not in later]

        def do(line: Line) -> None:
            self._check(part, line)
            self._apply(part, now, line)

        return Step(
            _step(part),
            f"Apply the manifests of {part.label}",
            do,
            needs=needs,
            undo=lambda: self._delete(now),
            plan=lambda: [f"write {part.file}", self.apply_command(part)],
        )

    def _apply_later(self, part: RenderedPart, later: Sequence[Resource], needs: tuple[str, ...]) -> Step:
        """Apply the manifests of what runs on images that are now in the node."""
        titles = ", ".join(item.title for item in later)
        return Step(
            _later(part),
            f"Apply what runs on the workshop's images in {part.label}",
            lambda line: self._apply(part, later, line),
            needs=needs,
            undo=lambda: self._delete(later),
            plan=lambda: [f"# of {part.file.name} only now: {titles}"],
        )

    def reach(self, part: RenderedPart, endpoint: Endpoint, needs: tuple[str, ...]) -> list[Step]:
        """Wait for one workload, forward it to this machine, and check what needs no login."""
        ready = self._ready(part, endpoint.name, needs)
        checked = [item.name for item in part.resources.workloads if item.kind != "VirtualMCPServer"]
        checks = [self.check(part, endpoint.name)] if endpoint.name in checked else []
        return [ready, self.forward(endpoint, (ready.name,)), *checks]

    def _ready(self, part: RenderedPart, name: str, needs: tuple[str, ...]) -> Step:
        return Step(
            f"ready-{name}",
            f"Wait for {name}, {bound(self._cluster.limits.ready)}",
            lambda line: self._wait(part, name, line),
            needs=needs,
        )

    def check(self, part: RenderedPart, name: str) -> Step:
        """Check a workload through its forward; if a check fails, replace its pods once."""
        return Step(
            f"check-{name}",
            f"Check {name}",
            lambda line: check_before(
                part, name, self._cluster, lambda: self._replace_pods(part, name, line), line
            ),
            needs=(f"forward-{name}",),
            keep_on_failure=True,
        )

    def forward(self, endpoint: Endpoint, needs: tuple[str, ...] = ()) -> Step:
        """Forward one workload to this machine."""

        def do(line: Line) -> None:
            if self.forwards.ensure(endpoint, self._cluster.at, self._cluster.namespace, line):
                self.affected.add(endpoint.name)

        return Step(
            f"forward-{endpoint.name}",
            f"Forward {endpoint.name}",
            do,
            needs=needs,
            undo=lambda: self.forwards.stop(endpoint.name),
            keep_on_failure=True,
            plan=lambda: [self.forward_command(endpoint)],
        )

    def names(self) -> Step:
        """Look up, from a pod, the names that the parts' pods need: without them, a login fails."""
        endpoints = [endpoint for part in self.parts for endpoint in part.endpoints]
        services = [endpoint.target.removeprefix("svc/") for endpoint in endpoints]
        practices = {part.deployment.practice for part in self.parts}
        routes = [f"{each.name}:{each.remote_port}" for each in endpoints if each.name in practices]
        outside = [host for part in self.parts for host in part.outside]
        return Step(
            "dns",
            f"Check names and connections from a pod, {bound(self._cluster.limits.names)}",
            lambda line: check_names(self._cluster, services, routes, outside, line),
            needs=tuple(f"ready-{endpoint.name}" for endpoint in endpoints),
            keep_on_failure=True,
        )

    def prune(self, needs: tuple[str, ...]) -> Step:
        """Delete what this instance applied before and the manifests no longer contain."""
        wanted = {(item.kind, item.name) for part in self.parts for item in part.objects}
        return Step(
            "prune",
            "Remove what is no longer needed",
            lambda line: self._prune(wanted, line),
            needs=needs,
            done=lambda: not self._unwanted(wanted),
        )

    def apply_command(self, part: RenderedPart) -> str:
        """What a person would type to apply a part."""
        words = ["apply", "--server-side", "--force-conflicts", "--field-manager=workshop"]
        argv = self._cluster.tools.kubectl.argv(self._cluster.at, *words, "--filename", str(part.file))
        return copyable(argv)

    def forward_command(self, endpoint: Endpoint) -> str:
        """What a person would type to forward a workload."""
        at, namespace = self._cluster.at, endpoint.namespace or self._cluster.namespace
        ports = (endpoint.port, endpoint.remote_port)
        return copyable(self._cluster.tools.kubectl.port_forward_argv(at, namespace, endpoint.target, *ports))

    def by_hand(self, part: RenderedPart) -> list[HandStep]:
        """What a person would type to deploy a part; the values of secrets are read from files."""
        return by_hand(self._cluster, part, self.apply_command(part), self.forward_command)

    @property
    def _secrets(self) -> ClusterSecrets:
        record = self._cluster.record
        return ClusterSecrets(self._cluster.kube, self._cluster.namespace, record.id, self._variation)

    def _check(self, part: RenderedPart, line: Line) -> None:
        """Raise the API's refusal of a part's manifest, or the error for an object of somebody else."""
        for item in part.objects:
            line.note(f"checking {item.title}")
            self._existing(item)
            self._try(item)

    def _try(self, item: Resource) -> None:
        """Apply a resource as a dry run, and record the fields that an older ToolHive does not have."""
        try:
            self._cluster.kube.apply(self._known(item).body, dry_run=True)
        except InvalidError as error:
            unknown = [field for field in OPTIONAL_FIELDS if f".{field}: field not declared" in error.why]
            if not unknown or unknown[0] in self._unknown:
                raise
            self._unknown.append(unknown[0])
            self._try(item)

    def _known(self, item: Resource) -> Resource:
        """The resource without the fields that this cluster's ToolHive lacks."""
        for field in self._unknown:
            item = without(item, field) if item.find(field) is not None else item
        return item

    def _apply(self, part: RenderedPart, items: Sequence[Resource], line: Line) -> None:
        before = {item.title: self._existing(item) for item in items}
        leaving = [item for item in items if is_being_deleted(before[item.title])]
        if leaving:  # changes of an object that is being deleted are lost with it
            line.note(f"waiting for the deletion of {', '.join(item.title for item in leaving)}")
            self._await_end(leaving, patience(self._cluster, self._cluster.limits.gone))
            before |= dict.fromkeys(item.title for item in leaving)
        for item in items:
            line.note(item.title)
            after = self._cluster.kube.apply(self._known(item).body)
            if _version(before[item.title]) != _version(after):
                self.changed.add(item.title)
                self.affected |= (
                    {each.name for each in part.resources.workloads} if item.kind in _CONFIGS else {item.name}
                )
        changed = [item.title for item in items if item.title in self.changed]
        done = f"changed {', '.join(changed)}" if changed else "unchanged"
        unknown = [field.rpartition(".")[2] for field in self._unknown if any(i.find(field) for i in items)]
        older = f"; without {', '.join(unknown)}: this cluster's ToolHive is older" if unknown else ""
        line.note(done + older)

    def _existing(self, item: Resource) -> Object | None:
        """The object of this name, or None; raises UsageError when it belongs to somebody else."""
        found = self._found(item)
        # Only in a cluster that is ours alone may an object without our label be taken over.
        if found is not None and not self._cluster.own_nodes and not self._has_label(found):
            raise UsageError(
                f"{item.title} in namespace `{self._cluster.namespace}` was not created by this instance",
                why="It does not carry this instance's label, so it is left alone",
                hint="Choose another namespace (`--namespace`), or delete it if nobody needs it",
            )
        return found

    def _has_label(self, found: Object) -> bool:
        return self._cluster.record.labels.items() <= labels_of(found).items()

    def _wait(self, part: RenderedPart, name: str, line: Line) -> None:
        kube, seconds = self._cluster.kube, self._cluster.limits.ready
        if name == part.deployment.practice:
            wait_deployment(kube, self._cluster.namespace, name, seconds, line)
            return
        workload = next(item for item in part.resources.workloads if item.name == name)
        wait_workload(kube, workload, seconds, line)

    def _replace_pods(self, part: RenderedPart, name: str, line: Line) -> None:
        """Replace a workload's pods, and wait until the new ones serve."""
        kube, namespace = self._cluster.kube, self._cluster.namespace
        for pod in pods_of(kube, namespace, controllers_of(kube, namespace, name)):
            replace_pod(kube, pod)
        self.affected.add(name)
        self._wait(part, name, line)
        (endpoint,) = [each for each in part.endpoints if each.name == name]
        self.forwards.ensure(endpoint, self._cluster.at, namespace, line)

    def _delete(self, items: Sequence[Resource]) -> None:
        """Delete those objects that carry our label, and wait until the operator has released them.

        Configs go last: the operator retries only much later if a config is still in use when it is deleted.
        """
        own = [item for item in reversed(items) if (found := self._found(item)) and self._has_label(found)]
        configs = [item for item in own if item.kind in _CONFIGS]
        seconds = patience(self._cluster, self._cluster.limits.gone)
        for several in ([item for item in own if item not in configs], configs):
            for item in several:
                self._cluster.kube.delete(
                    item.text("apiVersion"), item.kind, item.name, self._cluster.namespace
                )
            seconds = seconds if self._await_end(several, seconds) else 0.0

    def _await_end(self, items: Sequence[Resource], seconds: float) -> bool:
        """Wait until all are deleted; False if their finalizers had to be cleared."""

        def look() -> list[Resource]:
            return [item for item in items if self._found(item)]

        left = await_end(self._cluster, look, seconds, lambda _: None)
        if left:
            clear_own_finalizers(self._cluster, self._cluster.namespace)
        return not left

    def _found(self, item: Resource) -> Object | None:
        return self._cluster.kube.get(item.text("apiVersion"), item.kind, item.name, self._cluster.namespace)

    def _unwanted(self, wanted: set[tuple[str, str]]) -> list[Titled]:
        of_variations: list[Titled] = []  # `up` leaves them alone
        for name in variations_made(self._cluster):
            of_variations += own_titles(self._cluster, variation=name)
        titles = [found for found in own_titles(self._cluster) if found not in of_variations]
        return [found for found in titles if found[1:] not in wanted]

    def _prune(self, wanted: set[tuple[str, str]], line: Line) -> None:
        for api, kind, name in self._unwanted(wanted):
            line.note(f"{kind}/{name}")
            self.forwards.stop(name)
            self._cluster.kube.delete(api, kind, name, self._cluster.namespace)


def _step(part: RenderedPart) -> str:
    return f"apply-{part.key}"


def _later(part: RenderedPart) -> str:
    return f"{_step(part)}-images"


def _version(found: Object | None) -> object:
    """A value that changes with an object's spec; with its status only if it has no generation."""
    metadata = mapping(found, "metadata")
    return metadata.get("generation") or metadata.get("resourceVersion")
