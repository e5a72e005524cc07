"""The probes of one system, in their order; each is an attempt, and none knows which system it looks at."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from workshop.agent.approval import NobodyApproves
from workshop.audit.compare import upstream
from workshop.audit.compare.asking import ask
from workshop.audit.compare.attempts import attempt
from workshop.audit.compare.client import Provider
from workshop.audit.compare.evidence import Asked, Evidence, Searched, Sent, Tour, Unseen, Witnessed, seen
from workshop.audit.compare.files import search
from workshop.audit.compare.logins import LoginProbes
from workshop.audit.compare.names import list_names
from workshop.audit.compare.rooms import Room
from workshop.audit.compare.wire import Wire
from workshop.audit.probe.exchange import Exchange
from workshop.audit.probe.report import judge
from workshop.audit.probe.target import Target
from workshop.audit.probe.tour import visit
from workshop.servers.practice.client import RecordedRequest, fingerprint, read_requests

_SECONDS = 15.0
_AGENT_SECONDS = 25.0
Note = Callable[[str], None]


async def gather(room: Room, logins: Path, note: Note) -> Evidence:
    """Look at a system that runs, and at nothing else; `note` hears what is being looked at."""
    blank = Evidence(
        name=room.system.name,
        url=room.url,
        workloads=room.endpoints,
        facts=tuple(room.system.lesson.contents.expect),
        server=room.server,
        github=room.github,
    )
    note("the probe")
    found = replace(blank, tour=await attempt(_SECONDS, lambda: _tour(room.url)))
    note("the question")
    found = replace(found, asked=await attempt(_AGENT_SECONDS, lambda: ask(room, logins)))
    first = await attempt(_SECONDS, lambda: _recorded(room))
    found = replace(found, sent=await _sent(room, logins))
    async with Wire() as wire:
        found = await _as_client(wire, room, found, note)
        found = replace(found, names=await attempt(_SECONDS, lambda: list_names(room, found)))
    found = replace(found, searched=await attempt(_SECONDS, lambda: _searched(room, found, first)))
    note("a restart")
    found = replace(found, again=await attempt(_AGENT_SECONDS, lambda: _ask_again(room, logins)))
    return replace(found, witnessed=await attempt(_SECONDS, lambda: _witnessed(room, found, first)))


async def _tour(url: str) -> Tour:
    target = Target.parse(url)
    async with Exchange(target, lambda _: None) as exchange:
        probed = await visit(target, exchange, follow=True)
    return Tour(probed, judge(probed, exchange.requests))


async def _as_client(wire: Wire, room: Room, found: Evidence, note: Note) -> Evidence:
    note("a login")
    probes = LoginProbes(wire, room, await attempt(_SECONDS, lambda: _provider(found)))
    found = replace(found, registered=await attempt(_SECONDS, probes.registrations))
    found = replace(found, session=await attempt(_SECONDS, probes.session))
    note("tokens")
    found = replace(found, presented=await attempt(_SECONDS, lambda: probes.present(found.session)))
    found = replace(found, refreshed=await attempt(_SECONDS, lambda: probes.refresh(found.session)))
    note("logins that should fail")
    found = replace(found, without_proof=await attempt(_SECONDS, probes.without_proof))
    return replace(found, for_another=await attempt(_SECONDS, probes.for_another))


async def _provider(found: Evidence) -> Provider:
    probed = seen(found.tour).probed
    prm = probed.prm.document if probed.prm else {}
    challenge = (probed.refusal.challenge if probed.refusal else None) or {}
    scopes = challenge.get("scope", "").split() or _texts(prm.get("scopes_supported"))
    metadata = probed.metadata or {}
    scopes = scopes or _texts(metadata.get("scopes_supported"))
    return Provider.described(metadata, str(prm.get("resource") or found.url), scopes)


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


async def _sent(room: Room, logins: Path) -> Sent:
    """What the agent adds, and what becomes of its question when it has its login but sends none of that."""
    if not room.headers:
        return Sent({})
    digests = {name: fingerprint(value) for name, value in room.headers.items()}
    silent = replace(room, headers={})
    bare = await attempt(_AGENT_SECONDS, lambda: ask(silent, logins, approval=NobodyApproves()))
    return Sent(digests, bare)


async def _searched(room: Room, found: Evidence, first: Sequence[RecordedRequest] | Unseen) -> Searched:
    digests = upstream.credentials(upstream.calls(seen(first)))
    return search(room.directory, room.secrets, digests, [seen(found.asked).token])


async def _ask_again(room: Room, logins: Path) -> Asked:
    """After a restart of the server alone, with the agent's stored login, and nobody at the browser."""
    room.restart_server()
    return await ask(room, logins, approval=NobodyApproves())


async def _recorded(room: Room) -> Sequence[RecordedRequest]:
    return await read_requests(room.endpoints[room.github]) if room.github else ()


async def _witnessed(room: Room, found: Evidence, first: Sequence[RecordedRequest] | Unseen) -> Witnessed:
    before, every = seen(first), await _recorded(room)
    again = found.again.first("Connecting") if isinstance(found.again, Asked) else None
    tokens = _client_tokens(found)
    after = [each for each in every if again is not None and upstream.moment(each) >= again - 0.001]
    return Witnessed(before, after, upstream.carrying(every, tokens), len(every), len(tokens))


def _client_tokens(found: Evidence) -> set[str]:
    """Every token that this system gave to a client of ours."""
    tokens: set[str] = set()
    for asked in (found.asked, found.again):
        if isinstance(asked, Asked):
            tokens.add(asked.token)
    if not isinstance(found.session, Unseen):
        tokens |= {found.session.answered.access_token, found.session.answered.refresh_token}
    return tokens - {""}
