"""The control plane: what `targets` keeps, set up over HTTP by whoever can read the control secret's file."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from workshop.auth.linking.targets import FIELDS, ConflictError, Resources
from workshop.auth.responses import private_json
from workshop.auth.vault import same
from workshop.core.errors import UsageError


class Control:
    """`PUT` and `DELETE /control/KIND/NAME`, with the control secret as bearer token."""

    def __init__(self, resources: Resources, secret: str) -> None:
        self._resources = resources
        self._secret = secret

    def routes(self) -> list[Route]:
        return [Route("/control/{kind}/{name}", self._answer, methods=["PUT", "DELETE"])]

    async def _answer(self, request: Request) -> Response:
        kind, name = request.path_params["kind"], request.path_params["name"]
        if not same(request.headers.get("authorization", ""), f"Bearer {self._secret}"):
            return private_json({"error": "The control secret is needed"}, status=401)
        if kind not in FIELDS:
            return private_json({"error": "There is no such kind"}, status=404)
        try:
            if request.method == "DELETE":
                gone = self._resources.delete(kind, name)
                return private_json({"outcome": "deleted" if gone else "absent"})
            outcome, made = self._resources.put(kind, name, await request.json())
            return private_json({"outcome": outcome, "id": made})
        except ConflictError as error:
            return private_json({"error": str(error)}, status=409)
        except (UsageError, ValueError) as error:
            why = f"{error}: {error.why}" if isinstance(error, UsageError) else "The body is no JSON"
            return private_json({"error": why}, status=400)
