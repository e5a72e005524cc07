"""Ask the part's question: its own agent, the rehearsal model, and a practice user or nobody to approve."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from workshop.agent.agent import Agent
from workshop.agent.approval import Approval, ApproveAs, NobodyApproves
from workshop.agent.events import Event, ToolsFound
from workshop.agent.rehearsal import RehearsalModel
from workshop.agent.run import load_answer
from workshop.agent.token_store import TokenStore
from workshop.audit.compare.browser import USER
from workshop.audit.compare.evidence import Asked, Moment
from workshop.audit.compare.rooms import Room
from workshop.core.console import plain
from workshop.core.errors import WorkshopError
from workshop.course.variation_run import PROXY

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
        failure = plain(f"{error.what}: {error.why}" if error.why else error.what)
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
