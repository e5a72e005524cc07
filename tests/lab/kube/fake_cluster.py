"""A Kubernetes API in memory: kmock, with what it leaves out and our client needs added by hand.

kmock keeps objects and answers discovery, get, list, create, merge patch and delete. Added here: server-side
apply (its own `PATCH` refuses an absent object), selectors, the metadata an API server sets, logs, refusals,
and the half-made states of a real API: null where a field has no value yet, and a status one look later.
"""

import asyncio
import copy
import itertools
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp.web
from kmock import KubernetesEmulator, Request, ResourceInfo, Server
from kmock import resource as kmock_resource
from typing_extensions import override

from tests.lab.kube.refused import Refusal, answer_of, status
from workshop.lab.cluster.workload_state import GRACES
from workshop.lab.kube.client import Kube

T = TypeVar("T")

NAMESPACE = "toolhive-system"
TOOLHIVE = "toolhive.stacklok.dev/v1beta1"
KINDS = {
    ("v1", "Namespace"): "namespaces",
    ("v1", "Node"): "nodes",
    ("v1", "Pod"): "pods",
    ("v1", "Secret"): "secrets",
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Event"): "events",
    ("v1", "Service"): "services",
    ("coordination.k8s.io/v1", "Lease"): "leases",
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "StatefulSet"): "statefulsets",
    (TOOLHIVE, "MCPServer"): "mcpservers",
    (TOOLHIVE, "MCPRemoteProxy"): "mcpremoteproxies",
    (TOOLHIVE, "MCPOIDCConfig"): "mcpoidcconfigs",
    (TOOLHIVE, "MCPExternalAuthConfig"): "mcpexternalauthconfigs",
    (TOOLHIVE, "MCPToolConfig"): "mcptoolconfigs",
    (TOOLHIVE, "MCPGroup"): "mcpgroups",
    (TOOLHIVE, "MCPServerEntry"): "mcpserverentries",
    (TOOLHIVE, "VirtualMCPServer"): "virtualmcpservers",
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): "customresourcedefinitions",
}
CLUSTER_WIDE = ("customresourcedefinitions", "namespaces", "nodes")
# What a real API server answers with null, or leaves out, as long as it has no value.
_NULL_METADATA = ("labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp")
_NULL_STATUS = {
    "pods": ("conditions", "containerStatuses", "initContainerStatuses"),
    "deployments": ("conditions", "observedGeneration"),
    "statefulsets": ("conditions", "observedGeneration"),
    "namespaces": ("conditions",),
    "customresourcedefinitions": ("conditions", "storedVersions", "acceptedNames"),
}
_RULE = ("verbs", "apiGroups", "resources")
_STATELESS = ("secrets", "configmaps", "events")


@dataclass
class Api:
    """What a test arranges and looks at: refusals, logs, and the requests that came.

    Objects of the plurals in `finalizing` go only when their finalizers are cleared. When the node was
    restarted at `boot`, the API answers with what was true before until its kubelet has reported: for as many
    lists of all pods as `unreported` says. The kinds of the groups and versions in `undefined` are absent.
    `rules` are what a SelfSubjectRulesReview answers; `allowed` what a SelfSubjectAccessReview grants, where
    the rules are `incomplete`.
    """

    undefined: set[str] = field(default_factory=set)
    rules: list[dict[str, Any]] = field(default_factory=lambda: [{key: ["*"] for key in _RULE}])
    incomplete: bool = False
    allowed: set[str] = field(default_factory=set)
    finalizing: set[str] = field(default_factory=set)
    refusals: list[Refusal] = field(default_factory=list)
    logs: dict[tuple[str, bool], str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    boot: str = ""
    unreported: int = 0
    clock: datetime = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


class Emulator(KubernetesEmulator):
    """kmock's emulator, and what it leaves out."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self.api = api
        self.numbers = itertools.count(1)
        self.young: set[tuple[str, str]] = set()
        for (version, _), plural in KINDS.items():
            self.resources[kmock_resource(f"{version}/{plural}")] = _info(version, plural)

    @override
    async def _handle(self, request: Request) -> aiohttp.web.StreamResponse:
        try:
            return await self._serve(request)
        finally:  # kmock matches each request against all that it keeps: 90 % of the time of a test
            self._requests[:] = [each for each in self._requests if each is not request]

    async def _serve(self, request: Request) -> aiohttp.web.StreamResponse:
        line = f"{request.method.value} {request.url.raw_path_qs}"
        self.api.seen.append(line)
        planned = (each for each in self.api.refusals if each.times > 0 and line.startswith(each.start))
        if refusal := next(planned, None):
            refusal.times -= 1
            if refusal.done:
                await self._answer(request)
            return answer_of(refusal)
        answer = await self._answer(request)
        body = _body(answer)
        if request.resource and not request.subresource and ("metadata" in body or "items" in body):
            half = self._half_made(request.resource.plural or "", body, looked=request.method.value == "GET")
            return aiohttp.web.json_response(half, status=answer.status)
        return answer

    def _half_made(self, plural: str, body: dict[str, Any], *, looked: bool) -> dict[str, Any]:
        """The body with null for every field without a value; of a young object, with no status yet."""
        if "items" in body:
            listed = [self._half_made(plural, item, looked=looked) for item in body["items"]]
            return {**body, "items": listed or None}
        body["metadata"] = {**dict.fromkeys(_NULL_METADATA), **body["metadata"]}
        if plural in _STATELESS:
            return body
        status = body.get("status")
        key = (plural, body["metadata"]["name"])
        if key in self.young:
            status = None
            if looked:
                self.young.discard(key)
        fields = _NULL_STATUS.get(plural, ("conditions",))
        return {**body, "status": {**dict.fromkeys(fields), **status} if status else dict.fromkeys(fields)}

    async def _answer(self, request: Request) -> aiohttp.web.StreamResponse:
        """The answer as kmock and what is added here give it: whole."""
        if request.url.path.removeprefix("/apis/") in self.api.undefined:
            return status(404, "the server could not find the requested resource")
        if request.url.path.startswith("/apis/authorization.k8s.io/v1/"):
            return self._review(json.loads(request.body))
        return await self._answer_about(request)

    async def _answer_about(self, request: Request) -> aiohttp.web.StreamResponse:
        if request.subresource == "log":
            return self._log(request)
        if request.method.value == "PATCH" and "apply-patch" in request.headers["Content-Type"]:
            return self._apply(request)
        if self._is_outdated(request):
            return status(409, "the object has been modified; apply your changes to the latest version")
        if any(f"/{plural}/" in request.url.path for plural in self.api.finalizing):
            answer = self._finalize(request)
            if answer is not None:
                return answer
        if request.method.value == "POST":
            self._stamp(request.data)
        answer = await super()._handle(request)
        return _selected(request, answer) if "items" in _body(answer) else answer

    def _is_outdated(self, request: Request) -> bool:
        """Whether a request names another version than the object has; a patch makes a new one."""
        if request.method.value not in {"PATCH", "DELETE"} or not request.resource or not request.name:
            return False
        key = (request.resource, request.namespace, request.name)
        if key not in self.objects or self.objects[key].deleted:
            return False
        body = json.loads(request.body or "{}")
        about = "metadata" if request.method.value == "PATCH" else "preconditions"
        given = (body.get(about) or {}).get("resourceVersion")
        has = dict(self.objects[key].raw)["metadata"].get("resourceVersion")
        if given is None or given == has:
            if request.method.value == "PATCH":
                request.data.setdefault("metadata", {})["resourceVersion"] = str(next(self.numbers))
            return False
        return True

    def _review(self, asked: dict[str, Any]) -> aiohttp.web.StreamResponse:
        """What this account may do, as the API server answers any account about itself."""
        if asked["kind"] == "SelfSubjectRulesReview":
            status = {"resourceRules": self.api.rules, "incomplete": self.api.incomplete}
        else:
            wanted = asked["spec"]["resourceAttributes"]
            named = "/".join(filter(None, [wanted["resource"], wanted.get("subresource")]))
            status = {"allowed": f"{wanted['verb']} {named}" in self.api.allowed}
        return aiohttp.web.json_response({"kind": asked["kind"], "status": status}, status=201)

    def _finalize(self, request: Request) -> aiohttp.web.StreamResponse | None:
        """Only mark a deleted object; it goes when its finalizers are cleared."""
        if (
            request.method.value not in {"DELETE", "PATCH"}
            or "apply-patch" in request.headers["Content-Type"]
        ):
            return None
        assert request.resource
        assert request.name
        key = (request.resource, request.namespace, request.name)
        if request.method.value == "PATCH":
            del self.objects[key]
        else:
            body = dict(self.objects[key].raw)
            marks = {"deletionTimestamp": rfc3339(self.api.clock), "finalizers": ["an-operators-own"]}
            self.objects[key] = {**body, "metadata": {**body["metadata"], **marks}}
        return aiohttp.web.json_response({})

    def _log(self, request: Request) -> aiohttp.web.StreamResponse:
        previous = request.params.get("previous") == "true"
        text = self.api.logs.get((str(request.name), previous))
        if text is None:
            return status(400, f'container in pod "{request.name}" is waiting to start', "BadRequest")
        lines = text.splitlines()
        if request.params.get("timestamps") == "true":
            lines = [f"2026-11-21T08:00:{second:02}.000000000Z {line}" for second, line in enumerate(lines)]
        lines = [line for line in lines if line >= request.params.get("sinceTime", "")]
        lines = lines[-int(request.params["tailLines"]) :]
        return aiohttp.web.Response(text="\n".join(lines))

    def _apply(self, request: Request) -> aiohttp.web.StreamResponse:
        body = json.loads(request.body)
        assert request.resource
        assert request.name
        key = (request.resource, request.namespace, request.name)
        old = self.objects[key] if key in self.objects and not self.objects[key].deleted else None
        made = copy.deepcopy(body)
        if old is None:
            self._stamp(made)
            self.young.add((request.resource.plural or "", request.name))
        else:
            was = dict(old.raw)
            made["metadata"] = {**was["metadata"], **made["metadata"]}
            made["metadata"]["generation"] += was.get("spec") != made.get("spec")
            made["status"] = was.get("status", {})
        if request.params.get("dryRun") != "All":
            self.objects[key] = made
        return aiohttp.web.json_response(made)

    def _stamp(self, body: dict[str, Any]) -> None:
        number = next(self.numbers)
        stamp = {"uid": f"uid-{number}", "creationTimestamp": rfc3339(self.api.clock), "generation": 1}
        body["metadata"] = {**stamp, **body["metadata"], "resourceVersion": str(number)}


class FakeCluster:
    """A running API in memory, as tests see it: `kube` waits `retry_seconds` between its tries.

    `graces` are for the waits of a test; nothing here reads them.
    """

    def __init__(self, emulator: Emulator, loop: asyncio.AbstractEventLoop, kubeconfig: Path) -> None:
        self._emulator = emulator
        self._loop = loop
        self.kubeconfig = kubeconfig
        self.api = emulator.api
        self.retry_seconds = self.look_seconds = 0.5
        self.graces = GRACES

    @property
    def kube(self) -> Kube:
        return Kube(self.kubeconfig, "test", retry_seconds=self.retry_seconds, look_seconds=self.look_seconds)

    def put(self, body: Mapping[str, Any], *, young: bool = False) -> None:
        """Make or replace an object, as a controller or kubelet would; a young one has no status at first."""

        async def put() -> None:
            made = copy.deepcopy(dict(body))
            key = self._key(body)
            objects = self._emulator.objects
            if key in objects and not objects[key].deleted:  # what the API server sets once stays
                was = objects[key].raw["metadata"]
                kept = {name: was[name] for name in ("uid", "creationTimestamp")}
                made["metadata"] = {**kept, **made["metadata"]}
            self._emulator._stamp(made)
            if young:
                self._emulator.young.add((KINDS[body["apiVersion"], body["kind"]], body["metadata"]["name"]))
            self._emulator.objects[key] = made

        self._run(put())

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any] | None:
        """An object as it is now."""

        async def get() -> dict[str, Any] | None:
            key = self._named(kind, name, namespace)
            found = self._emulator.objects
            return dict(found[key].raw) if key in found and not found[key].deleted else None

        return self._run(get())

    def drop(self, kind: str, name: str, namespace: str = NAMESPACE) -> None:
        """Take an object away, as if it had never been."""

        async def drop() -> None:
            del self._emulator.objects[self._named(kind, name, namespace)]

        self._run(drop())

    def _named(self, kind: str, name: str, namespace: str) -> tuple[kmock_resource, str | None, str]:
        version = next(version for version, known in KINDS if known == kind)
        metadata = {"name": name, "namespace": namespace}
        return self._key({"apiVersion": version, "kind": kind, "metadata": metadata})

    def pass_time(self, seconds: float = 60) -> None:
        """Let what is made from now on be younger."""
        self.api.clock += timedelta(seconds=seconds)

    def _key(self, body: Mapping[str, Any]) -> tuple[kmock_resource, str | None, str]:
        plural = KINDS[body["apiVersion"], body["kind"]]
        namespace = None if plural in CLUSTER_WIDE else body["metadata"].get("namespace", NAMESPACE)
        return kmock_resource(f"{body['apiVersion']}/{plural}"), namespace, body["metadata"]["name"]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(100)


@contextmanager
def running_cluster(folder: Path, made: type[Emulator] = Emulator) -> Iterator[FakeCluster]:
    """Serve an empty cluster from a thread of its own, with a kubeconfig for it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    emulator = made(Api())
    server = Server(emulator)

    async def enter() -> str:
        await emulator.__aenter__()
        await server.__aenter__()
        return str(server.url)

    async def leave() -> None:
        await server.__aexit__(None, None, None)
        await emulator.__aexit__(None, None, None)

    url = asyncio.run_coroutine_threadsafe(enter(), loop).result(100)
    try:
        yield FakeCluster(emulator, loop, write_kubeconfig(folder / "kubeconfig", url.rstrip("/")))
    finally:
        asyncio.run_coroutine_threadsafe(leave(), loop).result(100)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


def write_kubeconfig(path: Path, server: str) -> Path:
    """A kubeconfig with one context, `test`, that is not its current one."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "",
    }
    path.write_text(json.dumps(config))
    return path


def rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _info(version: str, plural: str) -> ResourceInfo:
    kind = next(kind for (known, kind), name in KINDS.items() if (known, name) == (version, plural))
    return ResourceInfo(kind=kind, namespaced=plural not in CLUSTER_WIDE, verbs=["get", "list"])


def _body(answer: aiohttp.web.StreamResponse) -> dict[str, Any]:
    if not isinstance(answer, aiohttp.web.Response) or answer.content_type != "application/json":
        return {}
    body = json.loads(answer.body or "{}")  # type: ignore[arg-type]  # bytes here
    return body if isinstance(body, dict) else {}


def _selected(request: Request, answer: aiohttp.web.StreamResponse) -> aiohttp.web.StreamResponse:
    listed = _body(answer)
    labels = dict(item.split("=", 1) for item in request.params.get("labelSelector", "").split(",") if item)
    fields = dict(item.split("=", 1) for item in request.params.get("fieldSelector", "").split(",") if item)
    listed["items"] = [
        item
        for item in listed["items"]
        if labels.items() <= (item["metadata"].get("labels") or {}).items()
        and all(_at(item, path) == value for path, value in fields.items())
    ]
    listed["items"].sort(key=lambda item: (item["metadata"].get("namespace") or "", item["metadata"]["name"]))
    return aiohttp.web.json_response(listed)  # in the order of their keys, as etcd has them


def _at(item: Mapping[str, Any], path: str) -> object:
    value: Any = item
    for key in path.split("."):
        value = value.get(key, {})
    return value
