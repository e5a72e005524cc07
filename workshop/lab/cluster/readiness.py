"""When the operator and its workloads are ready, which is more than their `Ready` condition states.

`Ready` of an MCPRemoteProxy is true while one of its pods is ready, so during a rollout the old pod makes it
true (ToolHive 0.63.0 `mcpremoteproxy_controller.go`). Before 0.57 it followed the pods' phase, and a crash
loop counted as ready.
"""

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workshop.core.console import Step
from workshop.core.text import shortened, unbroken
from workshop.lab.cluster.workload_state import (
    GRACES,
    Graces,
    OperatorView,
    Trouble,
    blocks,
    controllers_of,
    is_leaving,
    is_ready,
    is_rolled_out,
    newest,
    origin_of,
    pods_of,
    replace_pod,
    replicas,
    troubles,
    view,
)
from workshop.lab.kube.client import Diagnosis, Event, Kube, reach, wait_for
from workshop.lab.kube.objects import (
    Object,
    container_statuses_of,
    created_at,
    is_being_deleted,
    items,
    labels_of,
    name_of,
    number,
    text,
    uid_of,
)
from workshop.lab.pins import pinned
from workshop.toolhive.known_messages import Message, recognise
from workshop.toolhive.manifests import Resource

_MOST_LINES = 4  # with the first line and the hint, the six lines that an error may have
_LONGEST = 240
_LOG_LINES = 2
_SAME = 60  # characters in which two messages agree that report the same
_TAIL = 20  # lines of a container's log
_VAGUE = ("BackOff", "Unhealthy")  # events that only repeat the state of a container
_BAD_WORDS = ("error", "fatal", "panic", "fail", "denied", "refused", "cannot", "traceback")
OPERATOR = "toolhive-operator"
NAMESPACE = "toolhive-system"

_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")
_SETTLED_LOOKS = 2  # between two updates by the operator everything may look finished
# ToolHive's runner restarts once by itself while its server's image is pulled. A crash loop then gets two
# more tries, after a back-off of 10 and of 20 seconds, and a last one after 40 seconds.
_MOST_RESTARTS = 3


@dataclass(frozen=True)
class Snapshot:
    """A workload at one moment: the operator's report, for its own workloads, and what runs."""

    operator: OperatorView | None
    controllers: Sequence[Object]
    pods: Sequence[Object]
    events: Sequence[Event]


def find_operator(kube: Kube) -> Object | None:
    """The Deployment of ToolHive's operator in any namespace, unless it is being deleted."""
    found = kube.list("apps/v1", "Deployment", None, {"app.kubernetes.io/name": OPERATOR})
    return next((item for item in found if not is_being_deleted(item)), None)


def operator_version(operator: Object) -> str:
    """The ToolHive version of an operator's Deployment; empty if neither image nor labels name it."""
    images = [
        text(container, "image") for container in items(operator, "spec", "template", "spec", "containers")
    ]
    tags = [image.partition("@")[0].rpartition(":")[2] for image in images]
    tags.append(text(labels_of(operator), "app.kubernetes.io/version"))
    return next((found[1] for word in tags if (found := _VERSION.fullmatch(word))), "")


def version_note(operator: Object, wanted: str, *, own: bool) -> str:
    """The note about an operator of another version than `wanted`; empty if the versions are equal."""
    found = operator_version(operator)
    if found in ("", wanted):
        return ""
    command = "`workshop up`" if own else "`workshop up --install-operator`"
    return f"ToolHive {found} runs, but this workshop is made for {wanted}: {command} replaces it"


def wait_operator(
    kube: Kube,
    namespace: str,
    seconds: float,
    step: Step,
    *,
    replace_stuck: bool = False,
    graces: Graces = GRACES,
) -> None:
    """Wait until ToolHive's operator is rolled out; note a version that is not the pinned one."""
    wait_deployment(kube, namespace, OPERATOR, seconds, step, replace_stuck=replace_stuck, graces=graces)
    running = reach(
        lambda: kube.get("apps/v1", "Deployment", OPERATOR, namespace),
        seconds,
        step.note,
        look_seconds=kube.look_seconds,
    )
    if note := version_note(running or {}, pinned().toolhive_version, own=replace_stuck):
        step.note(note)


def wait_deployment(
    kube: Kube,
    namespace: str,
    name: str,
    seconds: float,
    step: Step,
    *,
    replace_stuck: bool = True,
    graces: Graces = GRACES,
) -> None:
    """Wait until a plain Deployment is rolled out.

    A pod that is stuck since an earlier attempt is replaced once, unless it belongs to somebody else.
    """
    watch = _Watch(kube, namespace, name, None, graces)
    if replace_stuck:
        watch.replace_stuck(seconds, step)
    watch.wait(seconds, step)


def wait_workload(
    kube: Kube, resource: Resource, seconds: float, step: Step, *, graces: Graces = GRACES
) -> None:
    """Wait until an MCPServer or MCPRemoteProxy serves what its present manifests describe.

    A pod that is stuck since an earlier attempt is replaced once: its own next one may be minutes away.
    """
    namespace = str(resource.find("metadata.namespace") or NAMESPACE)
    watch = _Watch(kube, namespace, resource.name, resource.kind, graces)
    watch.replace_stuck(seconds, step)
    watch.wait(seconds, step)


class _Watch:
    """Looks at one workload repeatedly, and remembers since when something has been wrong."""

    def __init__(self, kube: Kube, namespace: str, name: str, kind: str | None, graces: Graces) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._kind = kind
        self._graces = graces
        self._until: dict[tuple[str, str], float] = {}
        self._before: dict[tuple[str, str], int] = {}  # restarts of a pod's container at the first look

    def wait(self, seconds: float, step: Step) -> None:
        """Wait for it; raises WorkshopError for an error that cannot heal, DeadlineError after `seconds`."""
        wait_for(
            f"`{self._name}`",
            self._look,
            done=self._is_ready,
            failed=self._failure,
            seconds=seconds,
            note=step.note,
            state=_state,
            diagnose=self._diagnose,
            settled=_SETTLED_LOOKS,
            look_seconds=self._kube.look_seconds,
        )

    def replace_stuck(self, seconds: float, step: Step) -> None:
        """Delete the pods that are in trouble now; their controllers create new ones at once."""
        snapshot = reach(self._look, seconds, step.note, look_seconds=self._kube.look_seconds)
        for pod in newest(snapshot.pods):
            if troubles(pod, _about(pod, snapshot.events)):
                replace_pod(self._kube, pod)

    def _without_outdated(self, controllers: Sequence[Object], pods: Sequence[Object]) -> Sequence[Object]:
        """Delete a StatefulSet's stuck pods of an older revision: it would wait for them for ever."""
        latest = {
            text(controller, "status", "updateRevision")
            for controller in controllers
            if controller["kind"] == "StatefulSet"
        }
        others = []
        for pod in pods:
            revision = labels_of(pod).get("controller-revision-hash", "")
            if revision and revision not in latest and troubles(pod) and not is_leaving(pod):
                replace_pod(self._kube, pod)
            else:
                others.append(pod)
        return others

    def _look(self) -> Snapshot:
        operator = view(self._kube, self._namespace, self._kind, self._name) if self._kind else None
        controllers = controllers_of(self._kube, self._namespace, self._name)
        pods = pods_of(self._kube, self._namespace, controllers)
        if self._kind is not None:
            pods = self._without_outdated(controllers, pods)
        for pod in pods:
            for container in container_statuses_of(pod):
                key = (uid_of(pod), text(container, "name"))
                self._before.setdefault(key, number(container, "restartCount"))
        starting = [name_of(pod) for pod in pods if not is_ready(pod) and not is_leaving(pod)]
        return Snapshot(operator, controllers, pods, self._kube.events(self._namespace, starting))

    def _is_ready(self, snapshot: Snapshot) -> bool:
        kinds = {controller["kind"] for controller in snapshot.controllers}
        # An MCPServer has a proxy, and its server beside it.
        expected = {"Deployment", "StatefulSet"} if self._kind == "MCPServer" else {"Deployment"}
        current = snapshot.operator is None or snapshot.operator.is_current(snapshot.controllers)
        rolled_out = kinds >= expected and all(map(is_rolled_out, snapshot.controllers))
        wanted = sum(map(replicas, snapshot.controllers))
        ready = sum(map(is_ready, snapshot.pods)) >= wanted
        leaving = any(map(is_being_deleted, snapshot.pods))
        return current and rolled_out and ready and not leaving

    def _failure(self, snapshot: Snapshot) -> str:
        wrong: dict[tuple[str, str], tuple[str, float]] = {}
        for reason, _, patience in snapshot.operator.refusals(self._graces) if snapshot.operator else ():
            wrong["operator", reason] = (reason, patience)
        for controller in snapshot.controllers:
            wrong |= {
                (controller["kind"], reason): (reason, wait)
                for reason, _, wait in blocks(controller, self._graces)
            }
        if snapshot.operator is None or snapshot.operator.is_observed:
            for pod in newest(snapshot.pods):
                for trouble in troubles(pod, _about(pod, snapshot.events), self._graces):
                    wrong[trouble.pod, _kind_of(trouble)] = (trouble.reason, self._patience(trouble, pod))
        now = time.monotonic()
        # The pause between two pulls does not repeat the pull's error: the shortest grace period counts.
        self._until = {
            key: min(now + patience, self._until.get(key, now + patience))
            for key, (_, patience) in wrong.items()
        }
        return next((reason for key, (reason, _) in wrong.items() if now >= self._until[key]), "")

    def _patience(self, trouble: Trouble, pod: Object) -> float:
        """The grace period of a trouble; for a crash loop, only the restarts during this wait count.

        A pod's own count covers its whole life, with every restart of its node.
        """
        if trouble.reason != "CrashLoopBackOff":
            return trouble.patience
        lines = crash_lines(self._kube, self._namespace, trouble)
        known = recognise(("log", line) for line in lines)
        if known and not known.heals:
            return 0.0
        restarts = trouble.restarts - self._before.get((uid_of(pod), trouble.container), 0)
        return self._graces.fatal if restarts > _MOST_RESTARTS else trouble.patience

    def _diagnose(self) -> Diagnosis:
        snapshot = self._look()
        reported = (
            [f"{reason}: {message}" for reason, message, _ in snapshot.operator.refusals()]
            if snapshot.operator
            else []
        )
        reported += [f"{reason}: {text}" for item in snapshot.controllers for reason, text, _ in blocks(item)]
        return diagnose(self._kube, self._namespace, [self._name], reported)


def _about(pod: Object, events: Sequence[Event]) -> Sequence[Event]:
    return [event for event in events if event.about == name_of(pod)]


def _kind_of(trouble: Trouble) -> str:
    """One name for states that alternate: a pull that fails, and the pause before the next."""
    return "pull" if "Pull" in trouble.reason else trouble.reason


def _state(snapshot: Snapshot) -> str:
    pods = newest(snapshot.pods)
    wrong = [trouble for pod in pods for trouble in troubles(pod, _about(pod, snapshot.events))]
    if wrong:
        return wrong[0].reason
    if pods:
        return f"{sum(map(is_ready, pods))} of {len(pods)} pods ready"
    return (snapshot.operator.message if snapshot.operator else "") or "no pod yet"


def diagnose(kube: Kube, namespace: str, names: Iterable[str], reported: Sequence[str] = ()) -> Diagnosis:
    """What is wrong with the workloads of these names; `reported` are the errors in their own status."""
    workloads = list(names)
    controllers = [controller for name in workloads for controller in controllers_of(kube, namespace, name)]
    pods = newest(pods_of(kube, namespace, controllers))
    about = [*workloads, *(name_of(pod) for pod in pods)]
    noted = [event for event in kube.events(namespace, about) if event.warning and _is_recent(event, pods)]
    wrong = [trouble for pod in pods for trouble in troubles(pod, _about(pod, noted))]
    words = _last_lines(kube, namespace, pods, wrong)
    lines = [*reported, *(f"Pod {trouble.pod}: {trouble.summary}" for trouble in wrong[:1])]
    quoted = " or ".join(f"`{name}`" for name in workloads)
    lines += [] if pods else [f"There is no pod of {quoted} yet"]
    lines += [f"Event: {event.reason}: {event.message}" for event in _unreported(noted, lines, wrong)]
    lines = [*lines[: _MOST_LINES - len(words)], *words]
    messages: list[Message] = [("log", line) for line in words]
    messages += [(trouble.origin, trouble.summary) for trouble in wrong]
    messages += [("operator", line) for line in reported]
    messages += [(origin_of(event.reason, event.message), event.message) for event in noted[-5:]]
    known = recognise(messages)
    which = [trouble.pod for trouble in wrong] or [name_of(pod) for pod in pods]
    advice = known.advice(own_nodes=kube.own_nodes) if known else ""
    hint = advice or _look_closer(namespace, workloads, which, reported)
    return Diagnosis(tuple(_short(line) for line in lines), hint)


def crash_lines(kube: Kube, namespace: str, trouble: Trouble) -> Sequence[str]:
    """The last lines of a container that crashed: those of the run before this one."""
    before = kube.logs(trouble.pod, namespace, trouble.container or None, _TAIL, previous=True)
    return before or kube.logs(trouble.pod, namespace, trouble.container or None, _TAIL)


def _last_lines(
    kube: Kube, namespace: str, pods: Sequence[Object], wrong: Sequence[Trouble]
) -> Sequence[str]:
    for trouble in wrong:
        if trouble.reason == "CrashLoopBackOff":
            return _log_lines(crash_lines(kube, namespace, trouble))
    for pod in (pod for pod in pods if not is_ready(pod) and not wrong):
        for container in container_statuses_of(pod):
            if not container.get("ready"):
                return _log_lines(kube.logs(name_of(pod), namespace, text(container, "name") or None, _TAIL))
    return []


def _log_lines(lines: Sequence[str]) -> Sequence[str]:
    texts = [_message(line) for line in lines if line.strip()]
    bad = [line for line in texts if any(word in line.lower() for word in _BAD_WORDS)]
    # Programs often log their end twice, with different beginnings.
    once = {line[-_SAME:]: line for line in bad or texts}
    return [f"Log: {_short(line)}" for line in list(once.values())[-_LOG_LINES:]]


def _message(line: str) -> str:
    """A log line as text; of JSON, as ToolHive writes it, only the message and the error."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "msg" not in entry:
        return line
    return ": ".join(str(entry[key]) for key in ("msg", "error", "err") if entry.get(key))


def _unreported(noted: Sequence[Event], lines: Sequence[str], wrong: Sequence[Trouble]) -> Sequence[Event]:
    fresh = [event for event in noted if not any(event.message[:_SAME] in line for line in lines)]
    specific = [event for event in fresh if event.reason not in _VAGUE]
    return (specific if wrong else specific or fresh)[-1:]


def _is_recent(event: Event, pods: Sequence[Object]) -> bool:
    """Whether an event is about these pods, or not older than they are."""
    made = {name_of(pod): created_at(pod) for pod in pods}
    return event.about in made or event.at >= max(made.values(), default="")


def _look_closer(namespace: str, names: Sequence[str], pods: Sequence[str], reported: Sequence[str]) -> str:
    if reported:
        return "Correct the manifest, then run this command again"
    if pods:
        return f"Look closer: `kubectl describe pod {pods[0]} -n {namespace}`"
    return f"Look closer: `kubectl get events -n {namespace}`, and the operator's log" if names else ""


def _short(line: str) -> str:
    return shortened(unbroken(" ".join(line.split())), _LONGEST)
