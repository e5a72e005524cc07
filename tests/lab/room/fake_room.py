"""The API in memory for rooms: namespaces that take their contents with them, tokens, and Roles."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import aiohttp.web
from kmock import Request
from kmock import resource as kmock_resource
from typing_extensions import override

from tests.lab.cluster.fake_operator import OperatedEmulator
from tests.lab.kube import fake_cluster
from tests.lab.kube.fake_cluster import Api
from tests.lab.kube.refused import status
from tests.lab.room import rooms  # with it, the list of all namespaces has a path here

_RBAC = "rbac.authorization.k8s.io/v1"
KINDS = {
    ("v1", "ServiceAccount"): "serviceaccounts",
    ("v1", "ResourceQuota"): "resourcequotas",
    ("v1", "LimitRange"): "limitranges",
    ("networking.k8s.io/v1", "NetworkPolicy"): "networkpolicies",
    ("discovery.k8s.io/v1", "EndpointSlice"): "endpointslices",
    (_RBAC, "Role"): "roles",
    (_RBAC, "RoleBinding"): "rolebindings",
}
assert rooms
fake_cluster.KINDS.update(KINDS)
_SPACES = kmock_resource("v1/namespaces")
_ROLES = kmock_resource(f"{_RBAC}/roles")
_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete", "PUT": "update"}
_UNTIL = 4_102_444_800  # the year 2100


class RoomEmulator(OperatedEmulator):
    """A request with a token that was made here may do what the Role in its namespace allows.

    `used` has what such requests did, and `refused` what they may not, as `get pods/log`.
    """

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.seats: dict[str, str] = {}
        self.used: set[str] = set()
        self.refused: list[str] = []

    @override
    async def _answer(self, request: Request) -> aiohttp.web.StreamResponse:
        path = request.url.path.rstrip("/")
        seat = self.seats.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if seat and (refused := self._forbidden(request, seat)):
            return refused
        if seat and path.endswith("/selfsubjectrulesreviews"):
            return self._rules_of(seat, json.loads(request.body)["spec"]["namespace"])
        if path.startswith("/api/v1/namespaces") and path.count("/") <= 4:
            return self._space(request, path.removeprefix("/api/v1/namespaces").strip("/"))
        if path.endswith("/token"):
            return self._token(path.split("/")[4], path.split("/")[6])
        return await super()._answer(request)

    @override
    def _operate(self, body: dict[str, Any]) -> None:
        super()._operate(body)
        if body["kind"] == "Deployment":  # what is changed is rolled out again
            key = (
                kmock_resource("apps/v1/deployments"),
                body["metadata"]["namespace"],
                body["metadata"]["name"],
            )
            made = dict(self.objects[key].raw)
            made["status"] = {**made["status"], "observedGeneration": made["metadata"]["generation"]}
            self.objects[key] = made

    def _space(self, request: Request, name: str) -> aiohttp.web.StreamResponse:
        body = json.loads(request.body or "{}")
        names = [key[2] for key in self.objects if key[0] == _SPACES]
        spaces = {each: found for each in names if (found := self._known(_SPACES, None, each))}
        if request.method.value == "GET" and not name:
            return fake_cluster._selected(
                request, aiohttp.web.json_response({"items": list(spaces.values())})
            )
        known = spaces.get(name or body["metadata"]["name"])
        if request.method.value == "POST" and known:
            return status(409, f'namespaces "{body["metadata"]["name"]}" already exists', "AlreadyExists")
        if known is None and request.method.value in {"GET", "DELETE"}:
            return status(404, f'namespaces "{name}" not found', "NotFound")
        if request.method.value == "DELETE":
            for key in [key for key in self.objects if name in {key[1], key[2] if key[0] == _SPACES else ""}]:
                del self.objects[key]
            return aiohttp.web.json_response(known)
        made = known if known and request.method.value == "GET" else self._merged(known, body)
        self.objects[_SPACES, None, made["metadata"]["name"]] = made
        return aiohttp.web.json_response(made)

    def _merged(self, known: dict[str, Any] | None, body: dict[str, Any]) -> dict[str, Any]:
        """A namespace after an apply or a merge patch: of its metadata, only entries are added here."""
        if known is None:
            self._stamp(body)
            return {"apiVersion": "v1", "kind": "Namespace", **body}
        metadata = dict(known["metadata"])
        for key in ("labels", "annotations"):
            metadata[key] = {**(metadata.get(key) or {}), **(body["metadata"].get(key) or {})}
        return {**known, "metadata": metadata}

    def _known(self, kind: kmock_resource, namespace: str | None, name: str) -> dict[str, Any] | None:
        key = (kind, namespace, name)
        return dict(self.objects[key].raw) if key in self.objects and not self.objects[key].deleted else None

    def _token(self, namespace: str, account: str) -> aiohttp.web.StreamResponse:
        found = self._known(kmock_resource("v1/serviceaccounts"), namespace, account)
        if found is None:
            return status(404, f'serviceaccounts "{account}" not found', "NotFound")
        uid = found["metadata"]["uid"]
        claims = {"exp": _UNTIL, "n": len(self.seats), "kubernetes.io": {"serviceaccount": {"uid": uid}}}
        token = f"made-up.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()}.token"
        self.seats[token] = namespace
        answer = {"status": {"token": token, "expirationTimestamp": "2100-01-01T00:00:00Z"}}
        return aiohttp.web.json_response(answer, status=201)

    def _rules(self, seat: str, namespace: str) -> list[dict[str, Any]]:
        """What the seat may do in a namespace: in its own, and in the room's to log in."""
        name = {seat: "workshop-seat", seat.rpartition("-")[0]: "workshop-practice-login"}.get(namespace, "")
        role = self._known(_ROLES, namespace, name)
        return list(role["rules"]) if role else []

    def _rules_of(self, seat: str, namespace: str) -> aiohttp.web.StreamResponse:
        answer = {"status": {"resourceRules": self._rules(seat, namespace), "incomplete": False}}
        return aiohttp.web.json_response(answer, status=201)

    def _forbidden(self, request: Request, seat: str) -> aiohttp.web.StreamResponse | None:
        """The refusal of a request that the Role in the seat's namespace does not allow, as RBAC words it."""
        parts = request.url.path.strip("/").split("/")
        if parts[0] not in {"api", "apis"}:
            return None
        group, parts = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        if not parts or group == "authorization.k8s.io":
            return None  # discovery, and what anybody may ask about themselves
        namespace, parts = (parts[1], parts[2:]) if parts[0] == "namespaces" and parts[2:] else ("", parts)
        resource = "/".join(filter(None, [parts[0], *parts[2:]]))
        verb = _VERBS[request.method.value]
        verb = "list" if verb == "get" and not parts[1:] else verb
        rules, needed = self._rules(seat, namespace), [verb]
        if verb == "patch" and "apply-patch" in request.headers["Content-Type"]:
            found = request.resource and self._known(request.resource, namespace, parts[1])
            needed += [] if found else ["create"]  # as the API server asks for an apply that creates
        lacking = [one for one in needed if not any(_allows(rule, group, resource, one) for rule in rules)]
        if not lacking:
            self.used |= {f"{one} {resource}" for one in needed}
            return None
        verb = lacking[0]
        self.refused.append(f"{verb} {resource}")
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        said = f'User "seat" cannot {verb} resource "{resource}" in API group "{group}" {where}'
        return status(403, f"{resource} is forbidden: {said}", "Forbidden")


def _allows(rule: Mapping[str, Any], group: str, resource: str, verb: str) -> bool:
    return group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
