"""Why a workload does not run: the pod's reason, what the cluster noted last, its last words, what to do."""

import json
from collections.abc import Iterable, Sequence

from workshop.core.console import plain, shortened
from workshop.lab.cluster.pods import Trouble, is_ready, newest, place_of, pods_of, troubles
from workshop.lab.kube.client import Event, Kube
from workshop.lab.kube.objects import Object, container_statuses_of, created_at, name_of, text
from workshop.lab.kube.wait import Diagnosis
from workshop.toolhive.known_messages import Said, recognise

__all__ = ["Diagnosis", "controllers_of", "crash_lines", "diagnose"]

_MOST_LINES = 4  # with what happened and the hint, the six lines an error may have
_LONGEST = 240
_LOG_LINES = 2
_SAME = 60
_TAIL = 20
_APPS = "apps/v1"
_VAGUE = ("BackOff", "Unhealthy")
_BAD_WORDS = ("error", "fatal", "panic", "fail", "denied", "refused", "cannot", "traceback")


def diagnose(kube: Kube, namespace: str, names: Iterable[str], told: Sequence[str] = ()) -> Diagnosis:
    """What is wrong with the workloads of these names; `told` is what their own status says of it."""
    workloads = list(names)
    controllers = [controller for name in workloads for controller in controllers_of(kube, namespace, name)]
    pods = newest(pods_of(kube, namespace, controllers))
    about = [*workloads, *(name_of(pod) for pod in pods)]
    noted = [event for event in kube.events(namespace, about) if event.warning and _is_recent(event, pods)]
    wrong = [trouble for pod in pods for trouble in troubles(pod, _of(pod, noted))]
    words = _last_words(kube, namespace, pods, wrong)
    lines = [*told, *(f"Pod {trouble.pod}: {trouble.told}" for trouble in wrong[:1])]
    lines += [] if pods else [_no_pod(workloads)]
    lines += [f"Event: {event.reason}: {event.message}" for event in _untold(noted, lines, wrong)]
    lines = [*lines[: _MOST_LINES - len(words)], *words]
    said: list[Said] = [("log", line) for line in words]
    said += [(trouble.place, trouble.told) for trouble in wrong]
    said += [("operator", line) for line in told]
    said += [(place_of(event.reason, event.message), event.message) for event in noted[-5:]]
    known = recognise(said)
    which = [trouble.pod for trouble in wrong] or [name_of(pod) for pod in pods]
    advice = known.advice(own_nodes=kube.own_nodes) if known else ""
    hint = advice or _look_closer(namespace, workloads, which, told)
    return Diagnosis(tuple(_short(line) for line in lines), hint)


def controllers_of(kube: Kube, namespace: str, name: str) -> Sequence[Object]:
    """The Deployment and the StatefulSet of a workload, as far as they exist."""
    found = (kube.get(_APPS, kind, name, namespace) for kind in ("Deployment", "StatefulSet"))
    return [controller for controller in found if controller]


def crash_lines(kube: Kube, namespace: str, trouble: Trouble) -> Sequence[str]:
    """The last lines of a container that crashed: what the run before this one wrote."""
    before = kube.logs(trouble.pod, namespace, trouble.container or None, _TAIL, previous=True)
    return before or kube.logs(trouble.pod, namespace, trouble.container or None, _TAIL)


def _last_words(
    kube: Kube, namespace: str, pods: Sequence[Object], wrong: Sequence[Trouble]
) -> Sequence[str]:
    for trouble in wrong:
        if trouble.reason == "CrashLoopBackOff":
            return _words(crash_lines(kube, namespace, trouble))
    for pod in (pod for pod in pods if not is_ready(pod) and not wrong):
        for container in container_statuses_of(pod):
            if not container.get("ready"):
                return _words(kube.logs(name_of(pod), namespace, text(container, "name") or None, _TAIL))
    return []


def _words(lines: Sequence[str]) -> Sequence[str]:
    spoken = [_message(line) for line in lines if line.strip()]
    bad = [line for line in spoken if any(word in line.lower() for word in _BAD_WORDS)]
    once = {
        line[-_SAME:]: line for line in bad or spoken
    }  # programs tell their end twice, with another start
    return [f"Log: {_short(line)}" for line in list(once.values())[-_LOG_LINES:]]


def _message(line: str) -> str:
    """A log line as text: of JSON, as ToolHive writes it, the message and the error."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "msg" not in entry:
        return line
    return ": ".join(str(entry[key]) for key in ("msg", "error", "err") if entry.get(key))


def _untold(noted: Sequence[Event], lines: Sequence[str], wrong: Sequence[Trouble]) -> Sequence[Event]:
    fresh = [event for event in noted if not any(event.message[:_SAME] in line for line in lines)]
    telling = [event for event in fresh if event.reason not in _VAGUE]
    return (telling if wrong else telling or fresh)[-1:]


def _is_recent(event: Event, pods: Sequence[Object]) -> bool:
    """Whether an event is of these pods, or not of a time before them."""
    made = {name_of(pod): created_at(pod) for pod in pods}
    return event.about in made or event.at >= max(made.values(), default="")


def _of(pod: Object, events: Sequence[Event]) -> Sequence[Event]:
    return [event for event in events if event.about == name_of(pod)]


def _no_pod(names: Sequence[str]) -> str:
    return f"There is no pod of {' or '.join(f'`{name}`' for name in names)} yet"


def _look_closer(namespace: str, names: Sequence[str], pods: Sequence[str], told: Sequence[str]) -> str:
    if told:
        return "Correct the manifest, then run this command again"
    if pods:
        return f"Look closer: `kubectl describe pod {pods[0]} -n {namespace}`"
    return f"Look closer: `kubectl get events -n {namespace}`, and the operator's log" if names else ""


def _short(line: str) -> str:
    return shortened(plain(" ".join(line.split())), _LONGEST)
