"""`workshop login …`: list the agent's stored logins, and end them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from workshop.cli.groups import EXAMPLES, Commands
from workshop.cli.next import following
from workshop.cli.options import complete_logins
from workshop.cli.terminal import console
from workshop.core.errors import UsageError, WorkshopError
from workshop.core.instance import Instance
from workshop.core.interrupts import interrupts
from workshop.core.invocation import again
from workshop.core.result import Result, Table
from workshop.core.text import one_line, plain, rough_time

if TYPE_CHECKING:
    from workshop.agent.events import Event
    from workshop.agent.token_store import Login, TokenStore

Resource = Annotated[
    str | None,
    typer.Argument(
        metavar="[RESOURCE]",
        help="The MCP server whose login to end; `login list` shows them.",
        show_default=False,
        autocompletion=complete_logins,
    ),
]
All = Annotated[bool, typer.Option("--all", help="End every login.")]
Forget = Annotated[bool, typer.Option("--forget", help="Forget a login even if it could not be revoked.")]
_NONE = "No login is stored"
_SHOWN = 8
_MOST = 300


def build_group() -> Commands:
    """The `login` group."""
    group = Commands("List and end the agent's logins.", EXAMPLES["login"])
    group.command("list")(list_logins)
    group.command("revoke")(revoke)
    return group


def list_logins() -> Result:
    """List the stored logins; tokens are never shown."""
    data = logins_now()
    if not data:
        return Result("login list", data, _NONE, next=following(part=4))
    columns = ["resource", "expires", "client", "scope"]
    if any(not str(row["resource"]).startswith(str(row["issuer"])) for row in data):
        columns.insert(1, "issuer")  # otherwise each server issues its own tokens
    shown = [{**row, "expires": expiry(row)} for row in data]
    rows = [[one_line(str(row[column]), _MOST) for column in columns] for row in shown]
    return Result("login list", data, table=Table(columns, rows), next=following())


def logins_now() -> list[dict[str, object]]:
    """The stored logins for display, without their tokens."""
    if not any(Instance.load().logins.glob("*.json")):
        return []  # without the import of the store, which is slow
    return [_described(login) for login in _store().all()]


def revoke(resource: Resource = None, *, all_logins: All = False, forget: Forget = False) -> Result:
    """End a login: revoke its tokens at the authorization server, then forget it."""
    from workshop.agent.token_store import sign_out

    store = _store()
    logins = _chosen(store.all(), resource, everything=all_logins)
    ended = interrupts.run(sign_out(store, logins, forget=forget)) if logins else []
    failed = any(not one.forgotten for one in ended)
    rows = [
        ("✓" if one.ended else "✗", one_line(one.resource, _MOST), one_line(one.told, _MOST)) for one in ended
    ]
    return Result(
        "login revoke",
        ended,
        "" if ended else _NONE,
        table=Table(("", "resource", "what happened"), rows) if rows else None,
        next=f"{again('--forget')} drops what could not be revoked" if failed else "",
        exit_code=WorkshopError.exit_code if failed else 0,
    )


def observe(event: "Event") -> None:
    """Show the address at which a login waits for its person, and the agent's warnings."""
    from workshop.agent.events import ApprovalNeeded, Warned

    if isinstance(event, ApprovalNeeded):
        # Also with `--quiet`: nothing goes on until somebody has opened it.
        console().tell(f"Log in at {plain(event.url)}")
    elif isinstance(event, Warned):
        console().warn(plain(event.text))


def _store() -> "TokenStore":
    from workshop.agent.token_store import TokenStore

    return TokenStore(Instance.load().logins, observe)


def _chosen(logins: "Sequence[Login]", resource: str | None, *, everything: bool) -> "Sequence[Login]":
    if everything and resource is not None:
        raise UsageError("`--all` and a resource exclude each other")
    chosen = [login for login in logins if resource in {None, login.resource}]
    names = sorted({login.resource for login in logins})
    if resource is not None and not chosen:
        raise UsageError(
            f"There is no login for {resource!r}", hint=f"Stored logins: {', '.join(names) or 'none'}"
        )
    if len(names) > 1 and resource is None and not everything:
        raise UsageError(
            "There are several logins", hint=f"Name one of {', '.join(names)}, or end all: {again('--all')}"
        )
    return chosen


def _described(login: "Login") -> dict[str, object]:
    tokens = login.tokens
    return {
        "resource": login.resource,
        "issuer": login.issuer,
        "scope": (tokens.scope or "") if tokens else "",
        "expires": _expiry(login),
        "refreshable": bool(tokens and tokens.refresh_token),
        "client": _shortened(str(login.client.client_id)),
    }


def _expiry(login: "Login") -> str:
    """When the access token ends, as local time to the minute."""
    if login.tokens is None:
        return "no token"
    if login.expires_at is None:
        return "not stated"
    return datetime.fromtimestamp(login.expires_at).astimezone().isoformat(" ", "minutes")


def expiry(row: Mapping[str, object], now: datetime | None = None) -> str:
    """When a login of `logins_now` ends, as time from now: `in 58 min`, `5 min ago`, or just now."""
    try:
        ends = datetime.fromisoformat(str(row["expires"]))
    except ValueError:
        return str(row["expires"])
    minutes = round((ends - (now or datetime.now().astimezone())).total_seconds() / 60)
    if minutes == 0:
        return "just now; the next run renews it"
    return f"in {rough_time(minutes)}" if minutes > 0 else f"{rough_time(-minutes)} ago"


def _shortened(client_id: str) -> str:
    return client_id if len(client_id) <= _SHOWN else f"{client_id[:_SHOWN]}…"
