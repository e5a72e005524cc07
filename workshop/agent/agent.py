"""One agent: a question, a model, and the means to reach tools."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.agent.approval import Approval, Consent, nobody
from workshop.agent.events import Observer, ignore
from workshop.agent.loop import run_agent
from workshop.agent.messages import ChatModel, Toolbox
from workshop.agent.part import Timeouts
from workshop.agent.watched import watched_model, watched_tools

if TYPE_CHECKING:
    import httpx2
    from mcp import Client, StdioServerParameters

    from workshop.agent.token_store import TokenStore


@dataclass(frozen=True)
class Agent:
    """What a part's `answer` gets: everything except the tools, which the part chooses."""

    question: str
    model: ChatModel
    approval: Approval
    logins: Path
    endpoints: Mapping[str, str] = field(default_factory=dict)
    timeouts: Timeouts = field(default_factory=Timeouts)
    observe: Observer = ignore
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers that `connect` sends to the MCP server only; they may contain secrets."""
    consent: Consent = nobody
    """Asks the person before a page of a server is opened."""

    def __post_init__(self) -> None:
        """Let the model report its turns to `observe`."""
        object.__setattr__(self, "model", watched_model(self.model, self.observe))

    def watch(self, toolbox: Toolbox) -> Toolbox:
        """The same toolbox, which also shows its tools and each call on the screen."""
        return watched_tools(toolbox, self.observe)

    @property
    def tokens(self) -> "TokenStore":
        """The stored logins of this instance."""
        from workshop.agent.token_store import TokenStore

        return TokenStore(self.logins, self.observe)

    def endpoint(self, name: str, default: str) -> str:
        """The URL of the workload `name` that `up` started, else `default`."""
        return self.endpoints.get(name, default)

    def connect(
        self, target: "str | StdioServerParameters", *, auth: "httpx2.Auth | None" = None
    ) -> "AbstractAsyncContextManager[Client]":
        """Connect to an MCP server by URL, or start one as a program (see `workshop.agent.connect`).

        Its tools may need the person at a page (see `workshop.agent.elicitation`).
        """
        from workshop.agent.connect import connect
        from workshop.agent.elicitation import Person

        return connect(
            target,
            auth=auth,
            headers=self.headers,
            person=Person(self.approval, self.consent, self.timeouts.approval),
            seconds=self.timeouts.call,
            observe=self.observe,
        )

    async def ask(self, toolbox: Toolbox) -> str:
        """Answer the question with these tools (see `workshop.agent.loop.run_agent`)."""
        return await run_agent(self.question, self.model, toolbox, self.observe)
