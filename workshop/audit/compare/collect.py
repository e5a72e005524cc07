"""Probe one system and remove it, in a fixed order; a failure is recorded and ends only its own probe."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import httpx2

from workshop.agent.approval import Approval, ApproveAs, NobodyApproves
from workshop.agent.connect import connect
from workshop.agent.events import Event, ToolsFound
from workshop.agent.loop import Agent
from workshop.agent.mcp_tools import McpTools
from workshop.agent.rehearsal import RehearsalModel
from workshop.agent.run import load_answer
from workshop.agent.token_store import TokenStore, sign_out
from workshop.audit.compare import upstream
from workshop.audit.compare.client import USER, HttpSession, LoginProbes, token_for_upstream
from workshop.audit.compare.evidence import (
    Asked,
    Cleaned,
    Evidence,
    GitHubRecord,
    Moment,
    Names,
    NotObservedError,
    Provider,
    Searched,
    Sent,
    Unobserved,
    observed,
)
from workshop.audit.compare.systems import RunningSystem, remains
from workshop.audit.compare.upstream import search
from workshop.audit.probe.model import Answer, Target
from workshop.audit.probe.report import examine
from workshop.core.errors import WorkshopError
from workshop.core.text import one_line, plain
from workshop.course.variation_run import PROXY
from workshop.servers.practice.client import RecordedRequest, fingerprint, read_requests

T = TypeVar("T")
Note = Callable[[str], None]
_SECONDS = 15.0
_AGENT_SECONDS = 25.0
_LIST_SECONDS = 5.0
_APPROVAL_SECONDS = 10.0
_NOBODY_SECONDS = 1.0  # nobody will come
_LONGEST = 160
"""Characters of an error."""
_MCP = "/mcp"
# The list on the practice GitHub's home page, which has a line with `Nobody` if it is empty.
_APPROVED = re.compile(r"<li>(?!Nobody )\S+ has approved ")
# GitHub's API revokes at `/applications/{client_id}/token` and `/grant`, others at `/revoke` (RFC 7009).
_REVOKING = re.compile(r"revo(ke|cation)|/applications/|/grants?\b")


async def attempt(seconds: float, probe: Callable[[], Awaitable[T]]) -> T | Unobserved:
    """The result of a probe, or the reason why there is none within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await probe()
    except Exception as error:  # noqa: BLE001 - a failure of any kind is a result too
        return Unobserved(one_line(_why(error, seconds), _LONGEST - 1))


def _why(error: BaseException, seconds: float) -> str:
    if isinstance(error, NotObservedError):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"not finished within {seconds:g} s"
    if isinstance(error, WorkshopError):
        return error.sentence
    if isinstance(error, httpx2.HTTPError):
        return f"no answer: {type(error).__name__} {error}".strip()
    # The SDK's transport runs in a task group, which wraps every error.
    if isinstance(error, BaseExceptionGroup):
        return _why(error.exceptions[0], seconds)
    return f"{type(error).__name__}: {error}"


async def ask(running: RunningSystem, logins: Path, *, approval: Approval | None = None) -> Asked:
    """Run the part's agent, as practice user unless another approval is given; the result has any failure."""
    moments: list[Moment] = []
    tools: tuple[str, ...] = ()

    def observe(event: Event) -> None:
        nonlocal tools
        # The time of day, which the practice GitHub's record has too.
        moments.append(Moment(time.time(), type(event).__name__))
        if isinstance(event, ToolsFound):
            tools = event.names

    agent = _agent(running, logins, approval or ApproveAs(USER))
    answer, failure = "", ""
    try:
        answer = await load_answer(running.system.main_directory)(replace(agent, observe=observe))
    except WorkshopError as error:
        failure = one_line(error.sentence, 600)
    return Asked(plain(answer), failure, moments, tools, token_of(running, logins))


def token_of(running: RunningSystem, logins: Path) -> str:
    """The access token that the agent has for a system; empty without one."""
    login = TokenStore(logins).find(running.url)
    return login.tokens.access_token if login and login.tokens else ""


def _agent(running: RunningSystem, logins: Path, approval: Approval) -> Agent:
    part = running.system.lesson.contents
    patience = _NOBODY_SECONDS if isinstance(approval, NobodyApproves) else _APPROVAL_SECONDS
    bounded = replace(part.timeouts, approval=patience)
    endpoints: Mapping[str, str] = {**running.endpoints, PROXY: running.url}
    return Agent(
        question=part.question,
        model=RehearsalModel(part.plans, part.question),
        approval=approval,
        logins=logins,
        endpoints=endpoints,
        timeouts=bounded,
        headers=running.headers,
    )


async def list_names(running: RunningSystem, found: Evidence) -> Names:
    """The tools that the agent lists, and those of each other MCP server of the system."""
    tools = observed(found.asked).tools
    if not tools:
        raise NotObservedError("the agent found no tools")
    behind: dict[str, tuple[str, ...]] = {}
    for name, url in running.endpoints.items():
        if name != running.server:
            listed = await attempt(_LIST_SECONDS, lambda url=url: _listed(url, running))  # type: ignore[misc]
            if not isinstance(listed, Unobserved):
                behind[name] = listed
    return Names(tools, behind)


async def _listed(url: str, running: RunningSystem) -> tuple[str, ...]:
    """The tools of a server behind, asked directly; fails for a program that is not an MCP server."""
    token = token_for_upstream(running)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with connect(
        url if url.endswith(_MCP) else url + _MCP, headers=headers, seconds=_LIST_SECONDS
    ) as client:
        return tuple(tool.name for tool in await McpTools(client).list_tools())


async def collect(running: RunningSystem, logins: Path, note: Note) -> Evidence:
    """Probe a system that runs; `note` is called with the name of each step."""
    blank = Evidence(
        name=running.system.name,
        url=running.url,
        workloads=running.endpoints,
        facts=tuple(running.system.lesson.contents.expect),
        server=running.server,
        github=running.github,
    )
    note("the probe")
    found = replace(
        blank, probe_result=await attempt(_SECONDS, lambda: examine(Target.parse(running.url), follow=True))
    )
    note("the question")
    found = replace(found, asked=await attempt(_AGENT_SECONDS, lambda: ask(running, logins)))
    # Now, because later requests to GitHub are not the agent's.
    first = await attempt(_SECONDS, lambda: _recorded(running))
    found = replace(found, sent=await _sent(running, logins))
    async with HttpSession() as http:
        found = await _as_client(http, running, found, note)
        found = replace(found, names=await attempt(_SECONDS, lambda: list_names(running, found)))
    found = replace(found, searched=await attempt(_SECONDS, lambda: _searched(running, found, first)))
    note("a restart")
    found = replace(found, again=await attempt(_AGENT_SECONDS, lambda: _ask_again(running, logins)))
    return replace(found, github_record=await attempt(_SECONDS, lambda: _read_record(running, found, first)))


async def _as_client(http: HttpSession, running: RunningSystem, found: Evidence, note: Note) -> Evidence:
    note("a login")
    probes = LoginProbes(http, running, await attempt(_SECONDS, lambda: _provider(found)))
    found = replace(found, registered=await attempt(_SECONDS, probes.registrations))
    found = replace(found, session=await attempt(_SECONDS, probes.session))
    note("tokens")
    found = replace(found, presented=await attempt(_SECONDS, lambda: probes.present(found.session)))
    found = replace(found, refreshed=await attempt(_SECONDS, lambda: probes.refresh(found.session)))
    note("logins that should fail")
    found = replace(found, without_proof=await attempt(_SECONDS, probes.without_proof))
    return replace(found, for_another=await attempt(_SECONDS, probes.for_another))


async def _provider(found: Evidence) -> Provider:
    probed = observed(found.probe_result).evidence
    prm = probed.prm.document if probed.prm else {}
    challenge = (probed.refusal.challenge if probed.refusal else None) or {}
    # The challenge first, then the metadata (MCP authorization, Scope Selection Strategy).
    scopes = challenge.get("scope", "").split() or _texts(prm.get("scopes_supported"))
    metadata = probed.metadata or {}
    scopes = scopes or _texts(metadata.get("scopes_supported"))
    return Provider.described(metadata, str(prm.get("resource") or found.url), scopes)


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


async def _sent(running: RunningSystem, logins: Path) -> Sent:
    """The headers that the agent adds, and a run with its stored login but without these headers."""
    if not running.headers:
        return Sent({})
    digests = {name: fingerprint(value) for name, value in running.headers.items()}
    bare_system = replace(running, headers={})
    bare = await attempt(_AGENT_SECONDS, lambda: ask(bare_system, logins, approval=NobodyApproves()))
    return Sent(digests, bare)


async def _searched(
    running: RunningSystem, found: Evidence, first: Sequence[RecordedRequest] | Unobserved
) -> Searched:
    digests = upstream.credentials(upstream.calls(observed(first)))
    return search(running.directory, running.secrets, digests, [observed(found.asked).token])


async def _ask_again(running: RunningSystem, logins: Path) -> Asked:
    """Restart the server alone, and ask with the agent's stored login and nobody at the browser."""
    running.restart_server()
    return await ask(running, logins, approval=NobodyApproves())


async def _recorded(running: RunningSystem) -> Sequence[RecordedRequest]:
    return await read_requests(running.endpoints[running.github]) if running.github else ()


async def _read_record(
    running: RunningSystem, found: Evidence, first: Sequence[RecordedRequest] | Unobserved
) -> GitHubRecord:
    before, every = observed(first), await _recorded(running)
    again = found.again.first("Connecting") if isinstance(found.again, Asked) else None
    tokens = _client_tokens(found)
    # The record's times are cut to milliseconds.
    after = [each for each in every if again is not None and upstream.moment(each) >= again - 0.001]
    return GitHubRecord(before, after, upstream.carrying(every, tokens), len(every), len(tokens))


def _client_tokens(found: Evidence) -> set[str]:
    """Every token that this system issued to the agent or to the comparison's own client."""
    tokens: set[str] = set()
    for asked in (found.asked, found.again):
        if isinstance(asked, Asked):
            tokens.add(asked.token)
    if not isinstance(found.session, Unobserved):
        tokens |= {found.session.answered.access_token, found.session.answered.refresh_token}
    return tokens - {""}


async def clean_up(
    running: RunningSystem, logins: Path, found: Evidence, remove: Callable[[], None]
) -> Cleaned:
    """Sign out, undo the preparation, stop the programs, check GitHub, and `remove` the rest."""
    # Read before the directory with the states is removed.
    ports = [state.port for state in running.states().values()]
    async with HttpSession() as http:
        signed_out, token_after = await _sign_out(http, running, logins)
        login_left = TokenStore(logins).find(running.url) is not None
        steps = running.undo_preparation()
        running.stop_server()
        # `stop_server` has left the practice GitHub running for this.
        left = await _check_github(http, running, found)
    remove()
    processes, taken = remains(running.directory, ports)
    return Cleaned(
        steps,
        signed_out,
        token_after,
        login_left,
        *left,
        processes,
        taken,
        running.directory.exists(),
    )


async def _sign_out(http: HttpSession, running: RunningSystem, logins: Path) -> tuple[str, Answer | None]:
    """End the agent's login (RFC 7009), and use its access token again."""
    store = TokenStore(logins)
    login = store.find(running.url)
    if login is None or login.tokens is None:
        return "the agent had no login", None
    (ended,) = await sign_out(store, [login], forget=False)
    # A server need not end the access token together with the refresh token (RFC 7009 section 2.1: SHOULD).
    return ended.told, await http.initialize(running.url, login.tokens.access_token, running.headers)


async def _check_github(
    http: HttpSession, running: RunningSystem, found: Evidence
) -> tuple[int | None, tuple[str, ...], int | None]:
    """The number of approvals, the paths that revoke, and the answer to the credential, without programs."""
    if running.github is None:
        return None, (), None
    url = running.endpoints[running.github]
    requests = await read_requests(url)
    home = await http.send("GET", url)
    revoked = tuple(each.path for each in requests if each.method == "DELETE" or _REVOKING.search(each.path))
    status = await _status_of(http, url, _credential(running, found))
    return len(_APPROVED.findall(home.text)), revoked, status


async def _status_of(http: HttpSession, url: str, credential: str) -> int | None:
    """GitHub's answer to the credential; None if it is not known."""
    if not credential:
        return None
    answer = await http.send("GET", f"{url}/user", headers={"authorization": f"Bearer {credential}"})
    return answer.status


def _credential(running: RunningSystem, found: Evidence) -> str:
    """The credential for GitHub, if it is known: it was found in a file, or the agent sent it."""
    if isinstance(found.searched, Searched) and found.searched.credential:
        return found.searched.credential
    if isinstance(found.github_record, GitHubRecord) and isinstance(found.asked, Asked):
        used = upstream.credentials(upstream.calls_of_tools(found.github_record.first, found.asked))
        return next((value for value in running.headers.values() if fingerprint(value) in used), "")
    return ""
