"""What a check looks at: the part's own code, what `up` started, the learner's file."""

import functools
import importlib.util
import secrets
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from workshop.agent.approval import PrintUrl
from workshop.agent.messages import ChatModel
from workshop.core.errors import CheckError, WorkshopError
from workshop.core.instance import Instance

if TYPE_CHECKING:
    from workshop.agent.agent import Agent
    from workshop.course.check_embedded import Embedded
    from workshop.course.check_login import ProtectedServer
    from workshop.toolhive.manifests import Resource, Resources


class NotPassedError(Exception):
    """The check's sentence does not hold, and this is why."""


class NotApplicableError(Exception):
    """The check cannot be made here, and this is why."""


def expect(holds: object, otherwise: str) -> None:
    """Raise NotPassedError with this reason unless `holds`."""
    if not holds:
        raise NotPassedError(otherwise)


def random_number() -> int:
    """A number of three digits that nobody can have written into a program beforehand."""
    return 100 + secrets.randbelow(900)


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
        from workshop.agent.run import RunOptions, prepare

        made = prepare(self.directory, RunOptions(question, rehearsal_model=True))
        return replace(made, approval=PrintUrl(), model=model or made.model)

    def endpoint(self, name: str) -> str:
        """Where a workload answers, of the room or of this variation; not passed when it is not up."""
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
        """A workload that wants a token, with the agent's stored login there."""
        from workshop.agent.token_store import TokenStore
        from workshop.course.check_login import ProtectedServer

        return ProtectedServer(self.endpoint(name), TokenStore(self.instance.directory / "logins"))

    def embedded(self, *changed: "Resource") -> "AbstractAsyncContextManager[Embedded]":
        """Run the part's manifests, with these in place of those of the same name, as local processes."""
        from workshop.course.check_embedded import embedded

        return embedded(self.directory, self.scratch, changed)

    def witness(self) -> str:
        """What the practice GitHub saw of our tokens; not passed when it saw the wrong ones."""
        github, server = f"{self.directory.name}-github", self.directory.name
        if github in self._variation():
            from workshop.course.witness import API, token_swap

            logins = self.instance.directory / "logins"
            return token_swap(self.endpoint(github), self.endpoint(server), logins, API)
        if self.instance.upstream == "github":
            raise NotApplicableError("Only the practice GitHub tells what it received")
        from workshop.course.witness import require_token_swap

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
