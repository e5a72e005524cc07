"""The Kubernetes API in memory, with ToolHive's operator and a kubelet: what is applied runs at once."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp.web
from kmock import Request
from kmock import resource as kmock_resource
from typing_extensions import override

from tests.lab.cluster.workloads import STARTED, condition, controller, pod, run_config
from tests.lab.kube.fake_cluster import KINDS, TOOLHIVE, Api, Emulator, FakeCluster, rfc3339
from workshop.lab.cluster.readiness import OPERATOR

_NAMESPACE_DEPTH = 4
_SWAP = {
    "runconfig.json": json.dumps(
        {
            "middleware_configs": [
                {"type": "upstreamswap", "parameters": {"config": {"provider_name": "github"}}}
            ]
        }
    )
}
_HELD = ("OIDCConfigRefValidated", "AuthServerRefValidated", "Ready")


def node(*, ready: bool = True) -> dict[str, Any]:
    """The node of kind; it is ready once it has a pod network."""
    reported = {"type": "Ready", "status": str(ready), "lastHeartbeatTime": STARTED}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "workshop-control-plane"},
        "spec": {"podCIDR": "10.244.0.0/24"},
        "status": {"conditions": [reported]},
    }


_DNS = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "kube-dns", "namespace": "kube-system"},
    "spec": {"clusterIP": "10.96.0.10"},
}


class OperatedEmulator(Emulator):
    """Gives every applied resource the status and the pods that it would come to have."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._namespaces: dict[str, dict[str, Any]] = {}

    @override
    async def _answer(self, request: Request) -> aiohttp.web.StreamResponse:
        path = request.url.path.rstrip("/")
        if path.startswith("/api/v1/namespaces/") and path.count("/") == _NAMESPACE_DEPTH:
            return self._namespace(
                request, path.rsplit("/", 1)[-1]
            )  # kmock takes this path for a namespace's
        pod = self._pod(request) if request.method.value == "DELETE" else None
        answer = await super()._answer(request)
        if pod and answer.status == HTTPStatus.OK:
            self._keep({**pod, "metadata": {**pod["metadata"], "creationTimestamp": rfc3339(self.api.clock)}})
        return self._since_boot(answer, path) if self.api.boot else answer

    def _pod(self, request: Request) -> dict[str, Any] | None:
        """The pod that a request names: its controller makes another when it is deleted."""
        if request.resource is None or request.resource.plural != "pods" or not request.name:
            return None
        key = (request.resource, request.namespace, request.name)
        there = key in self.objects and not self.objects[key].deleted
        return dict(self.objects[key].raw) if there else None

    def _since_boot(self, answer: aiohttp.web.StreamResponse, path: str) -> aiohttp.web.StreamResponse:
        """The list of all pods or nodes as the kubelet has reported them since its node's restart."""
        if path not in {"/api/v1/pods", "/api/v1/nodes"} or answer.status != HTTPStatus.OK:
            return answer
        assert isinstance(answer, aiohttp.web.Response)
        listed = json.loads(answer.body)  # type: ignore[arg-type]  # bytes here
        nodes = path == "/api/v1/nodes"  # a kubelet tells of its node first, and of its pods one by one
        for item in listed["items"] if self.api.unreported <= nodes else ():
            for container in item["status"].get("containerStatuses", ()):
                container["restartCount"] += 1
                if "running" in container["state"]:
                    container["state"]["running"]["startedAt"] = self.api.boot
            for found in item["status"]["conditions"] if nodes else ():
                found["lastHeartbeatTime"] = self.api.boot
        self.api.unreported = max(0, self.api.unreported - (not nodes))
        return aiohttp.web.json_response(listed)

    def _namespace(self, request: Request, name: str) -> aiohttp.web.StreamResponse:
        if request.method.value == "PATCH":
            self._namespaces[name] = json.loads(request.body)
        found = self._namespaces.get(name)
        if request.method.value == "DELETE":
            self._namespaces.pop(name, None)
        return aiohttp.web.json_response(
            found or {"kind": "Status", "code": 404}, status=200 if found else 404
        )

    @override
    def _apply(self, request: Request) -> aiohttp.web.StreamResponse:
        answer = super()._apply(request)
        if request.params.get("dryRun") != "All":
            assert isinstance(answer, aiohttp.web.Response)
            self._operate(json.loads(answer.body))  # type: ignore[arg-type]  # bytes here
        return answer

    def _operate(self, body: dict[str, Any]) -> None:
        name, namespace = body["metadata"]["name"], body["metadata"].get("namespace")
        if body["apiVersion"] == TOOLHIVE:
            held = [condition(kind, holds=True) for kind in _HELD]
            generation = body["metadata"]["generation"]
            body["status"] = {"phase": "Ready", "observedGeneration": generation, "conditions": held}
            self._keep(body)
        if body["kind"] in {"MCPServer", "MCPRemoteProxy", "VirtualMCPServer"}:
            self._run(controller(name), pod(f"{name}-1", of=name), namespace, "some/proxy:1")
            runs = run_config(name, of=body["kind"])
            self._keep({**runs, "metadata": {**runs["metadata"], "namespace": namespace}, "data": _SWAP})
        if body["kind"] == "MCPServer":
            running = pod(f"{name}-0", of=name, kind="StatefulSet")
            self._run(controller(name, "StatefulSet"), running, namespace, body["spec"]["image"])
        if body["kind"] == "Deployment":
            self._keep({**body, "status": controller(name)["status"]})
            labels = body["spec"]["selector"]["matchLabels"]
            image = body["spec"]["template"]["spec"]["containers"][0]["image"]
            self._run(None, pod(f"{name}-1", of=name, metadata={"labels": labels}), namespace, image)

    def _run(self, made: dict[str, Any] | None, running: dict[str, Any], namespace: str, image: str) -> None:
        running["spec"] = {"containers": [{"name": "toolhive", "image": image}]}
        for body in (made, running):
            if body:
                body["metadata"]["namespace"] = namespace
                self._stamp(body)
                self._keep(body)

    def _keep(self, body: Mapping[str, Any]) -> None:
        plural = KINDS[body["apiVersion"], body["kind"]]
        found = kmock_resource(f"{body['apiVersion']}/{plural}")
        self.objects[found, body["metadata"]["namespace"], body["metadata"]["name"]] = dict(body)
        self.young.add((plural, body["metadata"]["name"]))


def install_operator(
    cluster: FakeCluster, namespace: str = "toolhive-system", *, young: bool = False
) -> None:
    """The definitions, and the operator's Deployment with its pod; a young one was made a moment ago."""
    cluster.api.undefined.discard(TOOLHIVE)
    cluster.put(node())
    cluster.put(_DNS)
    made, running = controller(OPERATOR), pod(f"{OPERATOR}-1", of=OPERATOR)
    made["metadata"] |= {"labels": {"app.kubernetes.io/name": OPERATOR}}
    running["spec"] = {"containers": []}
    for body in (made, running):
        body["metadata"]["namespace"] = namespace
        cluster.put(body, young=young)
