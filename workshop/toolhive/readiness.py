"""When the operator and its workloads are ready, which is more than their `Ready` condition says.

From ToolHive 0.44.0 `cmd/thv-operator/controllers`: `Ready` of an MCPRemoteProxy follows the pods' phase, so
a crash loop counts as ready, and so does an old pod while a new one starts. A changed config leaves the
generation of the proxy that refers to it as it was.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workshop.console import Step
from workshop.kube.client import Event, Kube, Object
from workshop.kube.wait import Diagnosis, wait_for
from workshop.toolhive.diagnosis import controllers_of, crash_lines, diagnose
from workshop.toolhive.known_messages import recognise
from workshop.toolhive.manifests import TOOLHIVE_API, Resource
from workshop.toolhive.pods import Trouble, is_leaving, is_ready, newest, pods_of, troubles

OPERATOR = "toolhive-operator"
NAMESPACE = "toolhive-system"

_FAILED_GRACE_SECONDS = 30.0  # applied all at once, resources fail until those they refer to are valid
_AT_ONCE_SECONDS = 2.0  # what cannot heal: not at the first sight, which may be of the state before
_BLOCKED_SECONDS = 10.0  # a quota may have room again when an old pod is gone
_SETTLED_LOOKS = 2  # between two writes of the operator everything may look finished
_CHECKSUM = "toolhive.stacklok.dev/content-checksum"
_RUNS_WITH = "toolhive.stacklok.dev/runconfig-checksum"

# Where a workload names a config, of which kind that is, and where its status keeps the config's hash.
_REFERENCES = (
    ("toolConfigRef", "MCPToolConfig", "toolConfigHash"),
    ("oidcConfigRef", "MCPOIDCConfig", "oidcConfigHash"),
    ("authServerRef", "MCPExternalAuthConfig", "authServerConfigHash"),
    ("externalAuthConfigRef", "MCPExternalAuthConfig", "externalAuthConfigHash"),
)
_MUST_HOLD = {"oidcConfigRef": "OIDCConfigRefValidated", "authServerRef": "AuthServerRefValidated"}
_TELLING = (
    "ConfigurationValid",
    "OIDCConfigRefValidated",
    "AuthServerRefValidated",
    "ExternalAuthConfigValidated",
    "ToolConfigValidated",
    "PodTemplateValid",
    "Valid",
)
_MAY_HEAL = ("NotFound", "FetchError", "NotValid", "NotReady", "Error")  # ends of reasons that pass


@dataclass(frozen=True)
class Seen:
    """One look at a workload: its own resource, if it has one, and all that was made for it."""

    custom: Object | None
    configs: Mapping[str, Object | None]
    checksum: str
    controllers: Sequence[Object]
    pods: Sequence[Object]
    events: Sequence[Event]


def wait_operator(kube: Kube, namespace: str, seconds: float, step: Step) -> None:
    """Wait until ToolHive's operator runs, all of its rollout done."""
    wait_deployment(kube, namespace, OPERATOR, seconds, step)


def wait_deployment(kube: Kube, namespace: str, name: str, seconds: float, step: Step) -> None:
    """Wait until a plain Deployment runs, all of its rollout done."""
    _Watch(kube, namespace, name, None).wait(seconds, step)


def wait_workload(kube: Kube, resource: Resource, seconds: float, step: Step) -> None:
    """Wait until an MCPServer or MCPRemoteProxy serves what its manifests say now.

    A pod that is stuck from an earlier try is replaced once, since its own next try may be minutes away.
    """
    namespace = str(resource.find("metadata.namespace") or NAMESPACE)
    watch = _Watch(kube, namespace, resource.name, resource.kind)
    watch.replace_stuck()
    watch.wait(seconds, step)


class _Watch:
    """Looks at one workload again and again, and remembers since when something has been wrong."""

    def __init__(self, kube: Kube, namespace: str, name: str, kind: str | None) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._kind = kind
        self._since: dict[tuple[str, str], float] = {}

    def wait(self, seconds: float, step: Step) -> None:
        """Wait for it; raises WorkshopError at once for what cannot heal, DeadlineError after `seconds`."""
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
        )

    def replace_stuck(self) -> None:
        """Delete the pods that back off now; their controllers make new ones at once."""
        seen = self._look()
        for pod in newest(seen.pods):
            if troubles(pod, seen.events):
                self._kube.delete("v1", "Pod", pod["metadata"]["name"], self._namespace, grace_seconds=1)

    def _look(self) -> Seen:
        custom = self._kube.get(TOOLHIVE_API, self._kind, self._name, self._namespace) if self._kind else None
        controllers = controllers_of(self._kube, self._namespace, self._name)
        pods = pods_of(self._kube, self._namespace, controllers)
        starting = [pod["metadata"]["name"] for pod in pods if not is_ready(pod) and not is_leaving(pod)]
        return Seen(
            custom,
            self._configs(custom),
            self._checksum() if self._kind else "",
            controllers,
            pods,
            self._kube.events(self._namespace, starting),
        )

    def _configs(self, custom: Object | None) -> Mapping[str, Object | None]:
        spec = (custom or {}).get("spec", {})
        return {
            field: self._kube.get(TOOLHIVE_API, kind, spec[field]["name"], self._namespace)
            for field, kind, _ in _REFERENCES
            if spec.get(field)
        }

    def _checksum(self) -> str:
        runs = self._kube.get("v1", "ConfigMap", f"{self._name}-runconfig", self._namespace)
        return str(((runs or {}).get("metadata", {}).get("annotations") or {}).get(_CHECKSUM, ""))

    def _is_ready(self, seen: Seen) -> bool:
        wanted = sum(_replicas(controller) for controller in seen.controllers)
        ready = sum(is_ready(pod) for pod in seen.pods)
        leaving = any("deletionTimestamp" in pod["metadata"] for pod in seen.pods)
        kinds = {controller["kind"] for controller in seen.controllers}
        expected = {"Deployment", "StatefulSet"} if self._kind == "MCPServer" else {"Deployment"}
        rolled_out = kinds >= expected and all(map(_is_rolled_out, seen.controllers))
        return self._is_current(seen) and rolled_out and ready >= wanted and not leaving

    def _is_current(self, seen: Seen) -> bool:
        """Whether the operator has acted on what the manifests say now."""
        if self._kind is None:
            return True
        if seen.custom is None or not _is_observed(seen.custom):
            return False
        status = seen.custom["status"]
        held = all(
            _condition(seen.custom, condition) == "True"
            for field, condition in _MUST_HOLD.items()
            if field in seen.configs
        )
        phase = status.get("phase") == "Ready"
        return held and phase and _follows(seen)

    def _failure(self, seen: Seen) -> str:
        wrong: dict[tuple[str, str], tuple[str, float]] = {}
        if seen.custom is not None:
            wrong |= _refusals(seen.custom)
        for controller in seen.controllers:
            wrong |= _blocks(controller)
        if self._kind is None or (seen.custom is not None and _is_observed(seen.custom)):
            for pod in newest(seen.pods):
                for trouble in troubles(pod, [e for e in seen.events if e.about == pod["metadata"]["name"]]):
                    wrong[trouble.pod, _same(trouble)] = (trouble.told, self._patience(trouble))
        now = time.monotonic()
        self._since = {key: self._since.get(key, now) for key in wrong}
        over = (told for key, (told, patience) in wrong.items() if now - self._since[key] >= patience)
        return next(over, "")

    def _patience(self, trouble: Trouble) -> float:
        if trouble.reason != "CrashLoopBackOff":
            return trouble.patience
        known = recognise(crash_lines(self._kube, self._namespace, trouble))
        return 0.0 if known and not known.heals else trouble.patience

    def _diagnose(self) -> Diagnosis:
        seen = self._look()
        told = [text for text, _ in _refusals(seen.custom).values()] if seen.custom else []
        return diagnose(self._kube, self._namespace, [self._name], told)


def _refusals(custom: Object) -> dict[tuple[str, str], tuple[str, float]]:
    """What the operator itself refuses in a resource, and how long that may be a passing state."""
    found: dict[tuple[str, str], tuple[str, float]] = {}
    generation = custom["metadata"].get("generation")
    status = custom.get("status", {})
    for item in status.get("conditions", ()):
        told = item.get("observedGeneration") in (None, generation)
        if item["status"] == "False" and told and item["type"] in _TELLING:
            final = not item["reason"].endswith(_MAY_HEAL)
            patience = _AT_ONCE_SECONDS if final else _FAILED_GRACE_SECONDS
            found["condition", item["type"]] = (f"{item['reason']}: {item['message']}", patience)
    if status.get("phase") == "Failed" and not found:
        found["phase", "Failed"] = (status.get("message") or "phase Failed", _FAILED_GRACE_SECONDS)
    return found


def _blocks(controller: Object) -> dict[tuple[str, str], tuple[str, float]]:
    """What keeps a Deployment from making its pods."""
    found: dict[tuple[str, str], tuple[str, float]] = {}
    for item in controller.get("status", {}).get("conditions", ()):
        failing = item["type"] == "ReplicaFailure" and item["status"] == "True"
        late = item["type"] == "Progressing" and item.get("reason") == "ProgressDeadlineExceeded"
        if failing or late:
            found[controller["kind"], item["type"]] = (item.get("message", item["type"]), _BLOCKED_SECONDS)
    return found


def _follows(seen: Seen) -> bool:
    """Whether the pods' template was made from the configs as they are now."""
    status = (seen.custom or {}).get("status", {})
    for field, _, kept in _REFERENCES:
        config = seen.configs.get(field)
        if field in seen.configs and (config is None or not _is_observed(config)):
            return False
        if config and config.get("status", {}).get("configHash") not in (None, status.get(kept)):
            return False
    templates = [
        controller["spec"]["template"]["metadata"].get("annotations") or {}
        for controller in seen.controllers
        if controller["kind"] == "Deployment"
    ]
    return all(template.get(_RUNS_WITH, seen.checksum) == seen.checksum for template in templates)


def _is_observed(custom: Object) -> bool:
    """Whether the operator has looked at a resource since it was changed last."""
    generation = custom["metadata"].get("generation")
    return bool(custom.get("status")) and custom["status"].get("observedGeneration") == generation


def _condition(custom: Object, name: str) -> str:
    conditions = custom.get("status", {}).get("conditions", ())
    return next((str(item["status"]) for item in conditions if item["type"] == name), "")


def _is_rolled_out(controller: Object) -> bool:
    """What `kubectl rollout status` waits for."""
    status: Mapping[str, Any] = controller.get("status", {})
    replicas = _replicas(controller)
    if status.get("observedGeneration", 0) < controller["metadata"].get("generation", 1):
        return False
    if status.get("updatedReplicas", 0) < replicas:
        return False
    if controller["kind"] == "StatefulSet":
        same = status.get("currentRevision") == status.get("updateRevision")
        return bool(same) and status.get("readyReplicas", 0) >= replicas
    old = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    return bool(old <= 0 and status.get("availableReplicas", 0) >= replicas)


def _replicas(controller: Object) -> int:
    wanted = controller["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def _same(trouble: Trouble) -> str:
    """One name for what comes in turns: a pull that fails, and the pause before the next."""
    return "pull" if "Pull" in trouble.reason else trouble.reason


def _state(seen: Seen) -> str:
    pods = newest(seen.pods)
    for pod in pods:
        wrong = troubles(pod)
        if wrong:
            return wrong[0].reason
    if pods:
        return f"{sum(is_ready(pod) for pod in pods)} of {len(pods)} pods ready"
    status = (seen.custom or {}).get("status", {})
    return str(status.get("message") or "no pod yet")
