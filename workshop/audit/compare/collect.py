"""The probes of one system, in their order; each failure is recorded and ends only its own probe."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import httpx2

from workshop.agent.agent import Agent
from workshop.agent.approval import Approval, ApproveAs, NobodyApproves
from workshop.agent.connect import connect
from workshop.agent.events import Event, ToolsFound
from workshop.agent.mcp_tools import McpTools
from workshop.agent.rehearsal import RehearsalModel
from workshop.agent.run import load_answer
from workshop.agent.token_store import TokenStore
from workshop.audit.compare import upstream
from workshop.audit.compare.client import USER, Provider, Wire
from workshop.audit.compare.evidence import (
    Asked,
    Evidence,
    GitHubRecord,
    Moment,
    Names,
    NotObservedError,
    ProbeResult,
    Searched,
    Sent,
    Unobserved,
    seen,
)
from workshop.audit.compare.logins import LoginProbes, token_for_upstream
from workshop.audit.compare.systems import Room
from workshop.audit.compare.upstream import search
from workshop.audit.probe.exchange import Exchange
from workshop.audit.probe.model import Target
from workshop.audit.probe.report import judge
from workshop.audit.probe.requests import collect as probe_server
from workshop.core.errors import WorkshopError
from workshop.core.foreign import one_line, plain
from workshop.course.variation_run import PROXY
from workshop.servers.practice.client import RecordedRequest, fingerprint, read_requests

T = TypeVar("T")
_LONGEST = 160


async def attempt(seconds: float, probe: Callable[[], Awaitable[T]]) -> T | Unobserved:
    """What the probe brings, or why it brought nothing within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await probe()
    except Exception as error:  # noqa: BLE001 - whatever a system does to its probe is a result, not our end
        return Unobserved(_shown(_why(error, seconds)))


def _why(error: BaseException, seconds: float) -> str:
    if isinstance(error, NotObservedError):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"no end within {seconds:g} s"
    if isinstance(error, WorkshopError):
        return f"{error.what}: {error.why}" if error.why else error.what
    if isinstance(error, httpx2.HTTPError):
        return f"no answer: {type(error).__name__} {error}".strip()
    if isinstance(error, BaseExceptionGroup):
        return _why(error.exceptions[0], seconds)
    return f"{type(error).__name__}: {error}"


def _shown(text: str) -> str:
    return one_line(text, _LONGEST - 1)


_APPROVAL_SECONDS = 10.0
_NOBODY_SECONDS = 1.0


async def ask(room: Room, logins: Path, *, approval: Approval | None = None) -> Asked:
    """The question, as learner unless another approval is given; a failure is told in what comes back."""
    moments: list[Moment] = []
    tools: tuple[str, ...] = ()

    def observe(event: Event) -> None:
        nonlocal tools
        moments.append(Moment(time.time(), type(event).__name__))
        if isinstance(event, ToolsFound):
            tools = event.names

    agent = _agent(room, logins, approval or ApproveAs(USER))
    answer, failure = "", ""
    try:
        answer = await load_answer(room.system.main_directory)(replace(agent, observe=observe))
    except WorkshopError as error:
        failure = one_line(f"{error.what}: {error.why}" if error.why else error.what, 600)
    return Asked(plain(answer), failure, moments, tools, token_of(room, logins))


def token_of(room: Room, logins: Path) -> str:
    """The access token that the agent has at a system; empty without one."""
    login = TokenStore(logins).find(room.url)
    return login.tokens.access_token if login and login.tokens else ""


def _agent(room: Room, logins: Path, approval: Approval) -> Agent:
    part = room.system.lesson.contents
    patience = _NOBODY_SECONDS if isinstance(approval, NobodyApproves) else _APPROVAL_SECONDS
    bounded = replace(part.timeouts, approval=patience)
    endpoints: Mapping[str, str] = {**room.endpoints, PROXY: room.url}
    return Agent(
        question=part.question,
        model=RehearsalModel(part.plans, part.question),
        approval=approval,
        logins=logins,
        endpoints=endpoints,
        timeouts=bounded,
        headers=room.headers,
    )


_LIST_SECONDS = 5.0
_MCP = "/mcp"


async def list_names(room: Room, found: Evidence) -> Names:
    """The tools that the agent was offered, and those of every other program here that speaks MCP."""
    offered = seen(found.asked).tools
    if not offered:
        raise NotObservedError("the agent saw no tool")
    behind: dict[str, tuple[str, ...]] = {}
    for name, url in room.endpoints.items():
        if name != room.server:
            listed = await attempt(_LIST_SECONDS, lambda url=url: _listed(url, room))  # type: ignore[misc]
            if not isinstance(listed, Unobserved):
                behind[name] = listed
    return Names(offered, behind)


async def _listed(url: str, room: Room) -> tuple[str, ...]:
    """The tools of a server behind, asked past the system; not every program there is an MCP server."""
    token = token_for_upstream(room)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with connect(
        url if url.endswith(_MCP) else url + _MCP, headers=headers, seconds=_LIST_SECONDS
    ) as client:
        return tuple(tool.name for tool in await McpTools(client).list_tools())


_SECONDS = 15.0
_AGENT_SECONDS = 25.0
Note = Callable[[str], None]


async def collect(room: Room, logins: Path, note: Note) -> Evidence:
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
    found = replace(blank, probe_result=await attempt(_SECONDS, lambda: _probe(room.url)))
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
    return replace(found, github_record=await attempt(_SECONDS, lambda: _read_record(room, found, first)))


async def _probe(url: str) -> ProbeResult:
    target = Target.parse(url)
    async with Exchange(target, lambda _: None) as exchange:
        probed = await probe_server(target, exchange, follow=True)
    return ProbeResult(probed, judge(probed, exchange.requests))


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
    probed = seen(found.probe_result).probed
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


async def _searched(room: Room, found: Evidence, first: Sequence[RecordedRequest] | Unobserved) -> Searched:
    digests = upstream.credentials(upstream.calls(seen(first)))
    return search(room.directory, room.secrets, digests, [seen(found.asked).token])


async def _ask_again(room: Room, logins: Path) -> Asked:
    """After a restart of the server alone, with the agent's stored login, and nobody at the browser."""
    room.restart_server()
    return await ask(room, logins, approval=NobodyApproves())


async def _recorded(room: Room) -> Sequence[RecordedRequest]:
    return await read_requests(room.endpoints[room.github]) if room.github else ()


async def _read_record(
    room: Room, found: Evidence, first: Sequence[RecordedRequest] | Unobserved
) -> GitHubRecord:
    before, every = seen(first), await _recorded(room)
    again = found.again.first("Connecting") if isinstance(found.again, Asked) else None
    tokens = _client_tokens(found)
    after = [each for each in every if again is not None and upstream.moment(each) >= again - 0.001]
    return GitHubRecord(before, after, upstream.carrying(every, tokens), len(every), len(tokens))


def _client_tokens(found: Evidence) -> set[str]:
    """Every token that this system gave to a client of ours."""
    tokens: set[str] = set()
    for asked in (found.asked, found.again):
        if isinstance(asked, Asked):
            tokens.add(asked.token)
    if not isinstance(found.session, Unobserved):
        tokens |= {found.session.answered.access_token, found.session.answered.refresh_token}
    return tokens - {""}
