"""Take a system away, and see what is left: here, and at the practice GitHub, which is the last to go."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workshop.agent.sign_out import sign_out
from workshop.agent.token_store import TokenStore
from workshop.audit.compare import upstream
from workshop.audit.compare.evidence import Asked, Cleaned, Evidence, Searched, Witnessed
from workshop.audit.compare.rooms import Room, still_there
from workshop.audit.compare.wire import Reply, Wire
from workshop.servers.practice.client import fingerprint, read_requests

_APPROVED = re.compile(r"<li>(?!Nobody )\S+ has approved ")
_REVOKING = re.compile(r"revo(ke|cation)|/applications/|/grants?\b")


@dataclass(frozen=True)
class _AtGitHub:
    """What the practice GitHub still had when the system's own programs were gone."""

    approvals: int | None = None
    revoked: tuple[str, ...] = ()
    credential: int | None = None


async def clean_up(room: Room, logins: Path, found: Evidence, remove: Callable[[], None]) -> Cleaned:
    """Sign out, take back what was set up, stop the programs, ask GitHub, and `remove` the rest."""
    ports = [state.port for state in room.states().values()]
    async with Wire() as wire:
        signed_out, token_after = await _sign_out(wire, room, logins)
        login_left = TokenStore(logins).find(room.url) is not None
        steps = room.take_back()
        room.stop_server()
        left = await _ask_github(wire, room, found)
    remove()
    processes, taken = still_there(room.directory, ports)
    return Cleaned(
        steps,
        signed_out,
        token_after,
        login_left,
        left.approvals,
        left.revoked,
        left.credential,
        processes,
        taken,
        room.directory.exists(),
    )


async def _sign_out(wire: Wire, room: Room, logins: Path) -> tuple[str, Reply | None]:
    """End the agent's login (RFC 7009), and try its access token once more."""
    store = TokenStore(logins)
    login = store.find(room.url)
    if login is None or login.tokens is None:
        return "The agent had no login", None
    (ended,) = await sign_out(store, [login], forget=False)
    return ended.told, await wire.knock(room.url, login.tokens.access_token, room.headers)


async def _ask_github(wire: Wire, room: Room, found: Evidence) -> _AtGitHub:
    if room.github is None:
        return _AtGitHub()
    url = room.endpoints[room.github]
    requests = await read_requests(url)
    home = await wire.send("GET", url)
    revoked = [each.path for each in requests if each.method == "DELETE" or _REVOKING.search(each.path)]
    return _AtGitHub(
        len(_APPROVED.findall(home.text)), tuple(revoked), await _is_good(wire, url, _credential(room, found))
    )


async def _is_good(wire: Wire, url: str, credential: str) -> int | None:
    if not credential:
        return None
    reply = await wire.send("GET", f"{url}/user", headers={"authorization": f"Bearer {credential}"})
    return reply.status


def _credential(room: Room, found: Evidence) -> str:
    """The credential for GitHub, where it is in our hands: the agent sent it, or it stood in a file."""
    if isinstance(found.searched, Searched) and found.searched.credential:
        return found.searched.credential
    if isinstance(found.witnessed, Witnessed) and isinstance(found.asked, Asked):
        used = upstream.credentials(upstream.calls_of_tools(found.witnessed.first, found.asked))
        return next((value for value in room.headers.values() if fingerprint(value) in used), "")
    return ""
