"""A seat file: a kubeconfig for one seat of a room, with an extension that describes the seat.

`kubectl --kubeconfig FILE` can use it as it is. It contains the token of the seat's service account, so it
is a secret; the token expires.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workshop.core.encoding import jwt_claims
from workshop.core.errors import UsageError, reason
from workshop.core.files import DamagedFileError, read_bounded
from workshop.core.mistakes import Needed, first, in_words
from workshop.core.outgoing import is_loopback
from workshop.core.paths import write_private
from workshop.core.text import DNS_LABEL
from workshop.lab.kube.objects import text

EXTENSION = "workshop"
_MOST_BYTES = 1024 * 1024
_NOT_A_SEAT_FILE = "It is a kubeconfig, but not one of a seat"
# Rust's regular expressions, which pydantic uses, have `\z` for the very end.
_Name = Annotated[str, Field(pattern=rf"^{DNS_LABEL}\z"), Needed("one label of a host name")]
_Text = Annotated[str, Field(min_length=1)]


class _Model(BaseModel):
    # An error that repeats its input would show the token.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Practice(_Model):
    """The seat's access to the room's practice GitHub; `record_key` shows what was recorded of this user."""

    user: _Name
    namespace: _Name
    record_key: Annotated[str, Field(min_length=1, repr=False)]


class SeatImages(_Model):
    """The images that the cluster can pull, for the programs of the parts."""

    mcp_server: _Text
    practice: _Text


class Seat(_Model):
    """The extension: which seat of which room; `practice` is None if the room uses the real GitHub."""

    room: _Name
    seat: Annotated[str, Field(pattern=r"^[0-9]{2,4}\z"), Needed("a text of two to four digits")]
    namespace: _Name
    practice: Practice | None = None
    github_client_id: _Text | None = None
    """The OAuth app of a room at the real GitHub, if the manifest does not name one."""
    images: SeatImages | None = None


class SeatFile(_Model):
    """A seat, and how to reach it: `cluster` is the kubeconfig's entry for the API server."""

    about: Seat
    cluster: Annotated[dict[str, Any], Field(repr=False)]
    token: Annotated[str, Field(min_length=1, repr=False)]

    @property
    def context(self) -> str:
        """The name of the context, such as `workshop-monday-01`."""
        return f"workshop-{self.about.namespace}"

    @property
    def server(self) -> str:
        """The address of the API server."""
        return str(self.cluster["server"])

    @property
    def expires(self) -> datetime | None:
        """The end of the token, as its own `exp` claim has it; None if it has none that can be read."""
        try:
            return datetime.fromtimestamp((jwt_claims(self.token) or {})["exp"], UTC)
        except (LookupError, ValueError, TypeError, OverflowError, OSError):
            return None

    @property
    def account_uid(self) -> str:
        """The uid of the ServiceAccount that the token belongs to; empty if it has none that can be read."""
        return text(jwt_claims(self.token), "kubernetes.io", "serviceaccount", "uid")

    def kubeconfig(self) -> dict[str, Any]:
        """The document to write: one context, with the extension."""
        name = self.context
        about = self.about.model_dump(exclude_none=True)
        context = {
            "cluster": name,
            "user": name,
            "namespace": self.about.namespace,
            "extensions": [{"name": EXTENSION, "extension": about}],
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": self.cluster}],
            "users": [{"name": name, "user": {"token": self.token}}],
            "contexts": [{"name": name, "context": context}],
        }


def text_of(seat: SeatFile) -> bytes:
    """The contents of a seat file."""
    import yaml

    return yaml.safe_dump(seat.kubeconfig(), sort_keys=False).encode()


def write(path: Path, seat: SeatFile) -> None:
    """Write a seat file that only its owner can read."""
    write_private(path, text_of(seat))


def read(path: Path) -> SeatFile:
    """Read a seat file; raises UsageError if it is missing, damaged, or another kubeconfig."""
    try:
        return parsed(read_bounded(path, _MOST_BYTES))
    except OSError as error:
        raise UsageError(
            f"The seat file `{path}` cannot be read",
            why=reason(error),
            hint="Give the path of the file that you got from the facilitator",
        ) from error
    except DamagedFileError as error:
        raise UsageError(
            f"`{path}` is not a seat file that can be used",
            why=str(error),
            hint="Ask the facilitator for your file again; `workshop room renew` writes new ones",
        ) from error


def parsed(data: bytes) -> SeatFile:
    """The seat file in these bytes; raises DamagedFileError for anything else, without showing any of it."""
    import yaml

    try:
        found = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DamagedFileError("It is not YAML") from error
    if not isinstance(found, dict) or found.get("kind") != "Config":
        raise DamagedFileError("It is not a kubeconfig")
    context = _entry(found, "context", str(found.get("current-context")))
    extensions = context.get("extensions")
    extension = next((each for each in _named(extensions) if each.get("name") == EXTENSION), None)
    if extension is None:
        raise DamagedFileError(_NOT_A_SEAT_FILE)
    parts = {
        "about": extension.get("extension"),
        "cluster": _entry(found, "cluster", str(context.get("cluster"))),
        "token": _entry(found, "user", str(context.get("user"))).get("token"),
    }
    try:
        seat = SeatFile.model_validate({key: value for key, value in parts.items() if value is not None})
    except ValidationError as error:
        mistake = first(error)
        at = ".".join(str(each) for each in mistake["loc"] if each != "about")
        # Without its cause, which may contain the token.
        raise DamagedFileError(f"`{at[:60]}` {in_words(mistake)}") from None
    server = seat.cluster.get("server")
    # Over plain http to another machine, anyone on the way could read the token.
    if not isinstance(server, str) or not (server.startswith("https://") or is_loopback(server)):
        raise DamagedFileError("`cluster.server` is missing or not valid")
    return seat


def _entry(found: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """The entry of this name in one of a kubeconfig's three lists; an empty one if it is absent."""
    entry = next((each for each in _named(found.get(f"{kind}s")) if each.get("name") == name), {})
    inner = entry.get(kind)
    return inner if isinstance(inner, dict) else {}


def _named(entries: object) -> list[dict[str, Any]]:
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
