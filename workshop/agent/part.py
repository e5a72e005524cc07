"""The model of `part.toml`, a part's or a variation's, and what else a run of it reads once."""

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from workshop.agent.rehearsal import Plan
from workshop.core.errors import UsageError
from workshop.core.files import read_toml, validated
from workshop.core.instance import Instance
from workshop.core.mistakes import Port, Seconds, VisibleText
from workshop.core.settings import Settings


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


@dataclass(frozen=True)
class Timeouts:
    """How long to wait, in seconds.

    `ready` is for a workload, from its start to its first healthy answer; `approval` for a person;
    `call` for one MCP request; `model` for one reply of the model.
    """

    ready: Seconds = 30
    approval: Seconds = 300
    call: Seconds = 30
    model: Seconds = 120
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class Workload(_Table):
    """One `[[workloads]]` table.

    A part's names a resource of its manifests (`kind`), and what the image of it runs (`entrypoint`). A
    variation's names a program (`run`: a module, or a file beside `part.toml`) and its configuration.
    `path` is that of the endpoint's URL; unset, it depends on `run`.
    """

    name: VisibleText
    local_port: Port
    kind: Literal["MCPServer", "MCPRemoteProxy"] | None = None
    entrypoint: tuple[str, ...] = ()
    run: VisibleText | None = None
    path: str | None = None
    config: Mapping[str, Any] = {}


class Prepare(_Table):
    """The `[prepare]` table: a variation's script `run` that sets it up, with its configuration."""

    run: str = ""
    config: Mapping[str, Any] = {}


class Part(_Table):
    """A whole `part.toml`.

    `expect` are the facts that a right answer contains. `headers` maps the name of each header that the
    agent sends to the name of the secret with its value.
    """

    title: VisibleText
    summary: VisibleText
    question: VisibleText
    expect: tuple[str, ...] = ()
    timeouts: Timeouts = Timeouts()
    workloads: tuple[Workload, ...] = ()
    headers: Mapping[str, str] = {}
    prepare: Prepare = Prepare()
    # `[rehearsal]` is one table, `[[rehearsal]]` a list of them.
    plans: Annotated[
        tuple[Plan, ...], BeforeValidator(lambda found: [found] if isinstance(found, dict) else found)
    ] = Field((), alias="rehearsal")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the `part.toml` of a folder; raises UsageError for the first mistake in it."""
        file = directory / "part.toml"
        return cls.parse(read_toml(file), file)

    @classmethod
    def parse(cls, data: Mapping[str, Any], file: Path) -> Self:
        """The tables of a `part.toml` as a part; raises UsageError for the first mistake in them."""
        return validated(cls, data, file)


@dataclass(frozen=True)
class RunContext:
    """What a command that runs a part reads once and passes on."""

    directory: Path
    part: Part
    settings: Settings
    instance: Instance

    @classmethod
    def load(cls, directory: Path, env_file: Path | None = None) -> Self:
        """Read everything for the part in `directory`; raises UsageError for the first mistake."""
        return cls(directory, Part.load(directory), Settings.load(env_file), Instance.load())


def load_module(path: Path, directory: Path) -> ModuleType:
    """A file as a new module, which finds the modules in its part's `directory`; UsageError without the file.

    An error inside the file itself is raised as it is: it names the line of the learner's code.
    """
    # By its file: the name of a part's folder begins with a digit, and every part has a `main`.
    spec = importlib.util.spec_from_file_location(f"workshop_{path.parent.name}_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UsageError(f"There is no `{path}`")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up there
    for sibling in directory.glob("*.py"):
        sys.modules.pop(sibling.stem, None)  # two parts may each have a `tools.py`
    sys.path.insert(0, str(directory))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(directory))
    return module
