"""What a part's `checks.py` is written with: a check is a function, its docstring the sentence it proves.

    @check(hints=("Where to look", "What to do there"), seconds=15)
    async def it_answers(subject: Subject) -> None:
        \"\"\"The endpoint answers.\"\"\"
        expect(await asked(subject.endpoint("workshop")), "It returned nothing")

A check passes when it returns. It may be async or not; it runs in a process of its own, which is ended when
`seconds` are over. `retries` is for what may need a moment, such as a server that has just started.
"""

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from workshop.agent.approval import PrintUrl
from workshop.agent.messages import (
    ChatModel,
    Conversation,
    ModelTurn,
    ToolCall,
    ToolReply,
    ToolResult,
    ToolSpec,
)
from workshop.core.errors import WorkshopError
from workshop.core.instance import Instance
from workshop.core.settings import Settings
from workshop.core.text import docstring
from workshop.course.check_outcome import (
    NotApplicableError,
    NotPassedError,
    NotUpError,
    expect,
    random_number,
)

if TYPE_CHECKING:
    from workshop.agent.loop import Agent
    from workshop.course.check_handshake import Handshake
    from workshop.course.check_servers import Embedded, ProtectedServer
    from workshop.toolhive.manifests import Resource, Resources

__all__ = [
    "Check",
    "NotApplicableError",
    "NotPassedError",
    "Script",
    "Subject",
    "WorkshopError",
    "check",
    "checks_of",
    "expect",
    "random_number",
]

Act = Callable[["Subject"], Awaitable[None] | None]
PlannedCall = tuple[str, Mapping[str, Any]]
_ATTRIBUTE = "workshop_check"


@dataclass(frozen=True)
class Check:
    """One check: its name, the sentence that it proves, its function, its hints and its limits."""

    name: str
    sentence: str
    act: Act
    hints: tuple[str, ...] = ()
    seconds: float = 10
    retries: int = 0
    needs: tuple[str, ...] = ()
    exercise: int | None = None


def check(
    *,
    hints: tuple[str, ...],
    seconds: float = 10,
    retries: int = 0,
    needs: tuple[Act, ...] = (),
    exercise: int | None = None,
) -> Callable[[Act], Act]:
    """Declare a check; it is not tried until those in `needs` have passed.

    With `exercise`, it checks the learner's file of that exercise, once it is begun.
    """

    def declared(act: Act) -> Act:
        sentence = docstring(act).splitlines()[0].removesuffix(".")
        wanted = tuple(getattr(other, "__name__", "") for other in needs)
        found = Check(getattr(act, "__name__", ""), sentence, act, hints, seconds, retries, wanted, exercise)
        setattr(act, _ATTRIBUTE, found)
        return act

    return declared


def checks_of(module: ModuleType) -> tuple[Check, ...]:
    """The checks that a module declares, in the order they are written."""
    found = (getattr(value, _ATTRIBUTE, None) for value in vars(module).values())
    return tuple(value for value in found if isinstance(value, Check))


class Script:
    """A model that asks for one call in each turn, then answers; without an answer it never stops asking."""

    name = "a check's script, not a language model"

    def __init__(self, *calls: PlannedCall, answer: str | None, most: int = 100) -> None:
        """`most` is the limit for a loop without an end: after that many turns it answers."""
        self._calls = calls
        self._answer = answer
        self.turns_left = most
        self.requests: list[Conversation] = []
        self.tools: Sequence[ToolSpec] = ()

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        """The next planned call, else the answer."""
        turn = len(self.requests)
        self.requests.append(tuple(conversation))
        self.tools = tools
        self.turns_left -= 1
        if not self.turns_left:
            return ModelTurn("The model was asked too often")
        if turn >= len(self._calls) and self._answer is not None:
            return ModelTurn(self._answer)
        name, arguments = self._calls[turn % len(self._calls)]
        return ModelTurn("", (ToolCall(f"call-{turn + 1}", name, arguments),))

    @property
    def results(self) -> list[ToolResult]:
        """The result of each call, from the last request to the model."""
        last = self.requests[-1] if self.requests else ()
        return [entry.result for entry in last if isinstance(entry, ToolReply)]


@dataclass(frozen=True)
class Subject:
    """The part that is checked; `work` is the learner's file of an exercise."""

    directory: Path
    scratch: Path
    ran: bool = False
    work: Path | None = None

    @functools.cached_property
    def instance(self) -> Instance:
        return Instance.load()

    def part(self, folder: str) -> "Subject":
        """Another part, for a comparison with this one."""
        return replace(self, directory=self.directory.parent / folder)

    def module(self, name: str = "main") -> ModuleType:
        """A module of the part, imported anew as its `main.py` would import it."""
        return self._load(self.directory / f"{name}.py")

    @functools.cached_property
    def program(self) -> ModuleType:
        """The learner's file as a module."""
        return self._load(self.file)

    @property
    def file(self) -> Path:
        """The learner's file; only the check of an exercise has one."""
        if self.work is None:
            raise TypeError("only the check of an exercise has a file")
        return self.work

    def function(self, name: str) -> Callable[..., Any]:
        """A function of the learner's file."""
        found = getattr(self.program, name, None)
        if not callable(found):
            raise NotPassedError(f"The file no longer has a function `{name}`")
        return found  # type: ignore[no-any-return]  # whatever it is, it can be called

    def agent(self, model: ChatModel | None = None, question: str | None = None) -> "Agent":
        """The part's agent, which opens no browser; without a `model`, with the rehearsal model."""
        from workshop.agent.part import Part, RunContext
        from workshop.agent.run import RunOptions, prepare

        # No settings: the learner's code runs in this process, and they have secrets in them.
        context = RunContext(self.directory, Part.load(self.directory), Settings(), self.instance)
        made = prepare(context, RunOptions(question, rehearsal_model=True))
        # A check runs unattended, also in a class: a browser must not open by itself.
        return replace(made, approval=PrintUrl(), model=model or made.model)

    def endpoint(self, name: str) -> str:
        """The URL of a workload of the instance or of this variation; not passed when it is not up."""
        url = self.instance.endpoints.get(name) or self._variation().get(name)
        if url is not None:
            return url
        if self.directory.parent.name == "variations":
            hint = f"`workshop part 4 run --variation {self.directory.name}` starts it"
            raise NotUpError(f"`{name}` is not up", hint=hint)
        what = f"`{name}` is not up" if self.instance.endpoints else "Nothing is up"
        raise NotUpError(what, hint="`workshop up` starts what the parts need")

    def manifests(self) -> "Resources":
        """The part's manifests, as they are in its folder."""
        from workshop.toolhive.manifests import load

        return load(self.directory / "toolhive")

    def own_manifest(self) -> "Resources":
        """The manifests in the learner's file."""
        from workshop.toolhive.manifests import load_file

        return load_file(self.file)

    def lint(self, manifests: "Resources", *, hints: bool = True) -> None:
        """Check manifests against ToolHive's rules; raises UsageError at the first violation.

        Without `hints`, that is NotPassedError with its reason alone.
        """
        from workshop.core.errors import UsageError
        from workshop.toolhive.lint import check

        try:
            check(manifests)
        except UsageError as error:
            if hints:
                raise
            raise NotPassedError(error.sentence) from error

    def server(self, name: str) -> "ProtectedServer":
        """A workload that requires a token, with the agent's stored login there."""
        from workshop.agent.token_store import TokenStore
        from workshop.course.check_servers import ProtectedServer

        return ProtectedServer(self.endpoint(name), TokenStore(self.instance.logins))

    def embedded(self, *changed: "Resource") -> "AbstractAsyncContextManager[Embedded]":
        """Run the part's manifests as local processes; `changed` replace those of the same name."""
        from workshop.course.check_servers import embedded

        return embedded(self.directory, self.scratch, changed)

    def handshake(self, *, apart: bool = False) -> "Handshake":
        """A login with fresh values at servers of its own; see `Handshake`."""
        from workshop.course.check_handshake import Handshake

        return Handshake(apart=apart)

    def token_swap(self) -> str:
        """The token-swap check: not passed when the practice GitHub received a wrong token."""
        github, server = f"{self.directory.name}-github", self.directory.name
        if github in self._variation():
            from workshop.course.practice_record import API, token_swap

            logins = self.instance.logins
            return token_swap(self.endpoint(github), self.endpoint(server), logins, API)
        if self.instance.upstream == "github":
            raise NotApplicableError("Only the practice GitHub records what it receives")
        from workshop.course.practice_record import require_token_swap

        return require_token_swap(self.instance)

    def _variation(self) -> Mapping[str, str]:
        from workshop.course.variation_run import started_variations

        own = [found for found in started_variations() if found.directory.name == self.directory.name]
        return own[0].endpoints() if own else {}

    def _load(self, path: Path) -> ModuleType:
        from workshop.agent.part import load_module

        return load_module(path, self.directory)
