"""Where an API server has the objects of a kind."""

import time
from dataclasses import dataclass

from workshop.lab.kube.connection import Connection
from workshop.lab.kube.objects import items, text
from workshop.lab.kube.refusals import NotFoundError

_LAG_ATTEMPTS = 5
_LAG_SECONDS = 0.5


@dataclass(frozen=True)
class Kind:
    """A kind as the API serves it: the path of its group and version, and its plural name."""

    base: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """The path of the kind's objects, in a namespace or in all, or of one of them."""
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.base}{within}/{self.plural}" + (f"/{name}" if name else "")


class Kinds:
    """Asks once for all kinds of a group and version; a kind that was absent is asked for again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str], Kind] = {}

    def find(self, api_version: str, kind: str) -> Kind | None:
        """How the API serves a kind; None when it does not."""
        if (api_version, kind) not in self._known:
            self._ask(api_version)
        return self._known.get((api_version, kind))

    def await_kind(self, api_version: str, kind: str) -> Kind | None:
        """The same for a kind that should be there: discovery may follow a definition a few seconds later."""
        for attempt in range(1, _LAG_ATTEMPTS):
            if found := self.find(api_version, kind):
                return found
            time.sleep(_LAG_SECONDS * attempt)
        return self.find(api_version, kind)

    def _ask(self, api_version: str) -> None:
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            answer = self._connection.ask(f"list the kinds of {api_version}", "get", base)
        except NotFoundError:
            return
        for item in items(answer, "resources"):
            kind = Kind(base, text(item, "name"), bool(item.get("namespaced")))
            if "/" not in kind.plural:  # with one it is a part of a kind, such as `pods/log`
                self._known[api_version, text(item, "kind")] = kind
