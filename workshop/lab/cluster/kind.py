"""The kind backend: a cluster in Docker that belongs to this instance and is removed completely."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workshop.core.console import Progress
from workshop.core.console import Step as Line
from workshop.core.errors import UsageError
from workshop.lab.base import BackendName, Choices, Deployment
from workshop.lab.bundle.read import open_bundle
from workshop.lab.cluster.backend import ClusterBackend
from workshop.lab.cluster.images import Images
from workshop.lab.cluster.kind_cluster import KindCluster
from workshop.lab.cluster.operator import Operator
from workshop.lab.cluster.record import Cluster, ClusterRecord, Tools, new_id
from workshop.lab.cluster.workloads import Workloads
from workshop.lab.kube.objects import items, name_of, namespace_of, text
from workshop.lab.pins import Pins
from workshop.lab.steps import Step

_OF_OPERATOR = ("operator", "proxy_runner")


class KindBackend(ClusterBackend):
    """Creates a kind cluster, installs ToolHive's operator in it, and deploys the parts."""

    name: BackendName = "kind"

    def steps(
        self, cluster: Cluster, workloads: Workloads, deployments: Sequence[Deployment], choices: Choices
    ) -> list[Step]:
        """Images are pulled and built while kubeadm runs, and manifests are applied as soon as possible.

        Image groups are loaded one after the other, in the order in which pods need them. The workshop's own
        come after the definitions, because the operator waits for those and all share a few processors.
        """
        del deployments
        own_images = ("mcp_server", *(["practice"] if choices.upstream == "practice" else []))
        kind_cluster = KindCluster(cluster)
        images = Images(cluster.tools.docker, cluster.pins, cluster.home / "images")
        operator = Operator(cluster)
        steps = [
            Step("preflight", "Check the tools", lambda line: _check_tools(kind_cluster, images, line)),
            *_image_steps(images, cluster, "node", ("node_image",), load=False),
            *_image_steps(images, cluster, "operator", _OF_OPERATOR),
            *_image_steps(images, cluster, "workshop", own_images, behind=("load-operator", "crds")),
            kind_cluster.step(("preflight", "fetch-node")),
            *kind_cluster.network_steps(),
            *operator.steps(after=("cluster",), images=("load-operator",)),
            *workloads.steps(after=("crds",), operator=("operator-ready",), images=("load-workshop",)),
        ]
        applied = tuple(step.name for step in steps if step.name.startswith("apply-"))
        return [_for_kind(step) for step in [*steps, workloads.prune(applied)]]

    def image_steps(self, cluster: Cluster, deployments: Sequence[Deployment]) -> list[Step]:
        """Fetch the gateway's image, and load it into the node."""
        if not any(each.resources.of("VirtualMCPServer") for each in deployments):
            return []
        images = Images(cluster.tools.docker, cluster.pins, cluster.home / "images")
        fetch, load = _image_steps(images, cluster, "gateway", ("vmcp",))
        return [replace(fetch, needs=()), replace(load, needs=(fetch.name,))]

    def wait_awake(self, cluster: Cluster, progress: Progress) -> None:
        """Wait until a node that was started a moment ago can run workloads."""
        KindCluster(cluster).wait_awake(progress)

    def remove(self, cluster: Cluster, progress: Progress) -> list[str]:
        """Delete the cluster if its node names this instance; else report what to do."""
        return KindCluster(cluster).remove(progress)

    def record(self, known: ClusterRecord | None, pins: Pins) -> ClusterRecord:
        """The record with the chosen name and bundle."""
        name = self._choices.cluster_name or (known.name if known else pins.cluster_name)
        named = self._choices.bundle
        if named and not named.exists():  # one that was named before may be away by now
            raise UsageError(f"There is no bundle `{named}`", hint="Is its disk attached?")
        bundle = str(named.absolute()) if named else None
        if known and known.name != name:
            raise UsageError(
                f"This instance's cluster is `{known.name}`, not `{name}`",
                hint="Run `workshop teardown` first, or leave out `--cluster-name`",
            )
        known = known or ClusterRecord("kind", new_id(), name, pins.namespace)
        return replace(known, bundle=bundle or known.bundle)

    def with_images(self, record: ClusterRecord, pins: Pins, tools: Tools) -> tuple[ClusterRecord, Pins]:
        """The images of the pins, or of the bundle, which is unpacked."""
        if record.bundle:
            platform, folder = tools.docker.engine.platform, self._home / "bundle"
            pins = open_bundle(Path(record.bundle), folder, pins, platform, lambda _: None)
        names = (*_OF_OPERATOR, "mcp_server", "practice")
        return replace(record, images={name: getattr(pins, name) for name in names}), pins


def _image_steps(
    images: Images,
    cluster: Cluster,
    group: str,
    names: tuple[str, ...],
    *,
    load: bool = True,
    behind: tuple[str, ...] = (),
) -> list[Step]:
    fetch, save, kind = f"fetch-{group}", f"save-{group}", cluster.tools.kind
    early = load and not cluster.made("cluster")  # while there is no node yet
    fetching = Step(
        fetch,
        f"Fetch the {group} images" if load else "Fetch the node's image",
        lambda line: images.fetch(names, line.note),
        needs=("preflight",),
        done=lambda: images.fetched(names),
        plan=lambda: images.plan_fetch(names),
    )
    saving = Step(
        save,
        f"Save the {group} images",
        lambda line: images.save(names, line.note),
        needs=(fetch,),
        plan=lambda: images.plan_save(names),
    )
    loading = Step(
        f"load-{group}",
        f"Load the {group} images into the node",
        lambda line: _load(images, cluster, names, line),
        needs=(save if early else fetch, "cluster", *behind),
        done=lambda: images.loaded(kind, names),
        plan=lambda: [*([] if early else images.plan_save(names)), *images.plan_load(names)],
    )
    return [fetching, *([saving] if early else []), *([loading] if load else [])]


def _check_tools(kind_cluster: KindCluster, images: Images, line: Line) -> None:
    images.clear()
    kind_cluster.look(line)


def _load(images: Images, cluster: Cluster, names: tuple[str, ...], line: Line) -> None:
    """Load the images, and replace the pods that run an older one of the same tag."""
    loaded = set(images.load(cluster.tools.kind, names, line.note))
    for pod in cluster.kube.list("v1", "Pod"):
        used = {text(container, "image") for container in items(pod, "spec", "containers")}
        if used & loaded:
            cluster.kube.delete("v1", "Pod", name_of(pod), namespace_of(pod))


def _for_kind(step: Step) -> Step:
    """The step after the preflight; what is inside the cluster is undone by deleting the cluster."""
    needs = step.needs or (() if step.name == "preflight" else ("preflight",))
    outside = step.name == "cluster" or step.name.startswith("forward-")
    return replace(step, needs=needs, undo=step.undo if outside else None)
