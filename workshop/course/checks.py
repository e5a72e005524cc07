"""What a part's `checks.py` is written with: a check is a function, its docstring the sentence it proves.

    @check(hints=("Where to look", "What to do there"), seconds=15)
    async def it_answers(subject: Subject) -> None:
        \"\"\"The endpoint answers.\"\"\"
        expect(await asked(subject.endpoint("workshop")), "It said nothing")

A check passes when it returns. It may be async or not; it runs in a process of its own, which is ended when
`seconds` are over. `retries` is for what only needs a moment longer, such as a server that has just started.
"""

import functools
import importlib.util
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

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
from workshop.core.errors import CheckError, WorkshopError
from workshop.core.instance import Instance
from workshop.course.check_outcome import NotApplicableError, NotPassedError, expect, random_number

if TYPE_CHECKING:
    from workshop.agent.agent import Agent
    from workshop.course.check_embedded import Embedded
    from workshop.course.check_login import ProtectedServer
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
    """One check: its name, its sentence, what it does, and how it may be tried."""

    name: str
    says: str
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
    """Declare a check; it is not tried while one that it `needs` has not passed.

    With `exercise`, it judges the learner's file of that exercise, and only once it is begun.
    """

    def declared(act: Act) -> Act:
        says = (inspect.getdoc(act) or "").splitlines()[0].removesuffix(".")
        wanted = tuple(getattr(other, "__name__", "") for other in needs)
        found = Check(getattr(act, "__name__", ""), says, act, hints, seconds, retries, wanted, exercise)
        setattr(act, _ATTRIBUTE, found)
        return act

    return declared


def checks_of(module: ModuleType) -> tuple[Check, ...]:
    """The checks that a module declares, in the order they are written."""
    found = (getattr(value, _ATTRIBUTE, None) for value in vars(module).values())
    return tuple(value for value in found if isinstance(value, Check))


class Script:
    """Asks for each call in a turn of its own, then answers; without an answer it never stops asking."""

    name = "a check's script (no LLM)"

    def __init__(self, *calls: PlannedCall, answer: str | None, most: int = 100) -> None:
        """`most` ends what would go on for ever: after that many turns `turns_left` is 0 and it answers."""
        self._calls = calls
        self._answer = answer
        self.turns_left = most
        self.heard: list[Conversation] = []
        self.offered: Sequence[ToolSpec] = ()

    async def reply(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> ModelTurn:
        """The next planned call, else the answer."""
        turn = len(self.heard)
        self.heard.append(tuple(conversation))
        self.offered = tools
        self.turns_left -= 1
        if not self.turns_left:
            return ModelTurn("I was asked too often")
        if turn >= len(self._calls) and self._answer is not None:
            return ModelTurn(self._answer)
        name, arguments = self._calls[turn % len(self._calls)]
        return ModelTurn("", (ToolCall(f"call-{turn + 1}", name, arguments),))

    @property
    def results(self) -> list[ToolResult]:
        """The result of each call, from the last request to the model."""
        last = self.heard[-1] if self.heard else ()
        return [entry.result for entry in last if isinstance(entry, ToolReply)]


@dataclass(frozen=True)
class Subject:
    """One part under check; `work` is the learner's file where an exercise is judged."""

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
        """A module of the part, fresh, as its `main.py` would import it."""
        return self._load(self.directory / f"{name}.py")

    @functools.cached_property
    def program(self) -> ModuleType:
        """The learner's file, run."""
        return self._load(self.file)

    @property
    def file(self) -> Path:
        """The learner's file; only the check of an exercise has one."""
        if self.work is None:
            raise TypeError("only the check of an exercise has a file to look at")
        return self.work

    def function(self, name: str) -> Callable[..., Any]:
        """A function of the learner's file."""
        found = getattr(self.program, name, None)
        if not callable(found):
            raise NotPassedError(f"There is no function `{name}` in the file any more")
        return found  # type: ignore[no-any-return]  # whatever it is, it can be called

    def agent(self, model: ChatModel | None = None, question: str | None = None) -> "Agent":
        """The part's agent, with nobody at a browser; without a `model`, the rehearsal model."""
        from workshop.agent.part import RunContext
        from workshop.agent.run import RunOptions, prepare

        made = prepare(RunContext.load(self.directory), RunOptions(question, rehearsal_model=True))
        return replace(made, approval=PrintUrl(), model=model or made.model)

    def endpoint(self, name: str) -> str:
        """The URL of a workload of the instance or of this variation; not passed when it is not up."""
        url = self.instance.endpoints.get(name) or self._variation().get(name)
        if url is None and self.directory.parent.name == "variations":
            hint = f"`workshop part 4 run --variation {self.directory.name}` starts it"
            raise CheckError(f"`{name}` is not up", hint=hint)
        if url is None:
            raise CheckError(f"`{name}` is not up", hint="`workshop up` starts what the parts need")
        return url

    def manifests(self) -> "Resources":
        """The part's manifests, as they are in its folder."""
        from workshop.toolhive.manifests import load

        return load(self.directory / "toolhive")

    def own_manifest(self) -> "Resources":
        """The manifests in the learner's file."""
        from workshop.toolhive.manifests import load_file

        return load_file(self.file)

    def lint(self, manifests: "Resources") -> None:
        """Hold manifests against ToolHive's rules; raises UsageError at the first that is broken."""
        from workshop.toolhive.lint import check

        check(manifests)

    def server(self, name: str) -> "ProtectedServer":
        """A workload that requires a token, with the agent's stored login there."""
        from workshop.agent.token_store import TokenStore
        from workshop.course.check_login import ProtectedServer

        return ProtectedServer(self.endpoint(name), TokenStore(self.instance.directory / "logins"))

    def embedded(self, *changed: "Resource") -> "AbstractAsyncContextManager[Embedded]":
        """Run the part's manifests, with these in place of those of the same name, as local processes."""
        from workshop.course.check_embedded import embedded

        return embedded(self.directory, self.scratch, changed)

    def token_swap(self) -> str:
        """The token-swap check: not passed when the practice GitHub received a wrong token."""
        github, server = f"{self.directory.name}-github", self.directory.name
        if github in self._variation():
            from workshop.course.practice_record import API, token_swap

            logins = self.instance.directory / "logins"
            return token_swap(self.endpoint(github), self.endpoint(server), logins, API)
        if self.instance.upstream == "github":
            raise NotApplicableError("Only the practice GitHub shows what it received")
        from workshop.course.practice_record import require_token_swap

        return require_token_swap(self.instance)

    def _variation(self) -> Mapping[str, str]:
        from workshop.course.variation_run import rooms

        mine = [room for room in rooms() if room.directory.name == self.directory.name]
        return mine[0].endpoints() if mine else {}

    def _load(self, path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"checked_{path.parent.name}_{path.stem}", path)
        if spec is None or spec.loader is None or not path.is_file():
            _gone(path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # a dataclass looks its module up there
        sys.path.insert(0, str(self.directory))
        for sibling in self.directory.glob("*.py"):
            sys.modules.pop(sibling.stem, None)  # two parts may each have a `tools.py`
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(self.directory))
        return module


def _gone(path: Path) -> NoReturn:
    raise WorkshopError(f"There is no `{path}`")
