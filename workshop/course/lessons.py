"""The parts, each a folder `parts/NN_name` with a `part.toml`, and the variations below them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workshop.core.errors import UsageError
from workshop.core.paths import parts_dir

if TYPE_CHECKING:
    from workshop.lab.base import Deployment, Entrypoint
    from workshop.lab.variation_room import Program

_FOLDER = re.compile(r"(\d+)_(\w+)")
_READY_SECONDS = 30.0
_VARIATIONS = "variations"
_HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Lesson:
    """One part of the tutorial: its number and its folder."""

    number: int
    directory: Path

    @property
    def key(self) -> str:
        """What a learner's progress and files of it are kept under."""
        return str(self.number)

    @property
    def label(self) -> str:
        """What it is called in a sentence."""
        return f"part {self.number}"

    def command(self, *words: str) -> str:
        """A command about it, such as `workshop part 4 run`."""
        return " ".join(("workshop part", str(self.number), *words))

    @property
    def words(self) -> str:
        """The folder's name in words, such as `agent loop`."""
        return self.directory.name.split("_", 1)[1].replace("_", " ")

    @property
    def readme(self) -> str:
        return (self.directory / "README.md").read_text(encoding="utf-8")

    def describe(self) -> "Description":
        """Read `part.toml`; raises UsageError when it is wrong."""
        return _describe(self.directory / "part.toml")

    def deployment(self) -> "Deployment | None":
        """What this part deploys, or None when it deploys nothing."""
        from workshop.lab.base import Deployment
        from workshop.toolhive import manifests

        resources = manifests.load(self.directory / "toolhive")
        if not resources.all:
            return None
        description = self.describe()
        return Deployment(self.number, resources, description.entrypoints, description.ready_seconds)


@dataclass(frozen=True)
class Description:
    """What `part.toml` says of a part."""

    title: str
    summary: str
    question: str
    expect: Sequence[str]
    entrypoints: "Mapping[str, Entrypoint]"
    ready_seconds: float


def find_lessons(root: Path | None = None) -> tuple[Lesson, ...]:
    """Every part below `root`, in order; raises UsageError when two have the same number."""
    root = root or parts_dir()
    found: dict[int, Lesson] = {}
    for folder in sorted(root.glob("*_*")):
        match = _FOLDER.fullmatch(folder.name)
        if match is None or not (folder / "part.toml").is_file():
            continue
        lesson = Lesson(int(match[1]), folder)
        if lesson.number in found:
            other = found[lesson.number].directory
            raise UsageError(
                f"`{folder}` and `{other}` are both part {lesson.number}", hint="Rename one of them"
            )
        found[lesson.number] = lesson
    return tuple(found[number] for number in sorted(found))


def _describe(path: Path) -> Description:
    data = read_toml(path)
    return Description(
        title=text_in(data, "title", path),
        summary=text_in(data, "summary", path),
        question=text_in(data, "question", path),
        expect=tuple(str(fact) for fact in data.get("expect", ())),
        entrypoints=_entrypoints(data, path),
        ready_seconds=_ready_seconds(data.get("timeouts", {}), path),
    )


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file; raises UsageError when it cannot be read."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Cannot read `{path}`", why=str(error)) from error


def _entrypoints(data: Mapping[str, Any], path: Path) -> "dict[str, Entrypoint]":
    from workshop.lab.base import Entrypoint

    found = {}
    for item in data.get("workloads", ()):
        name, port = text_in(item, "name", path), item.get("local_port")
        if not isinstance(port, int) or not 0 < port < 1 << 16:
            raise UsageError(f"`{path}`: `local_port` of `{name}` must be a port, not {port!r}")
        argv = tuple(str(word) for word in item.get("entrypoint", ()))
        found[name] = Entrypoint(name, argv, path.parent, port, str(item.get("path", "/mcp")))
    return found


def _ready_seconds(timeouts: object, path: Path) -> float:
    value = timeouts.get("ready", _READY_SECONDS) if isinstance(timeouts, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise UsageError(f"`timeouts.ready` in `{path}` is not a number of seconds above 0")
    return float(value)


def text_in(data: Mapping[str, Any], key: str, path: Path) -> str:
    """A text that a `part.toml` must have; raises UsageError when it has none."""
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(f"`{path}` has no `{key}`", hint="`parts/01_agent_loop/part.toml` shows the form")
    return value


@dataclass(frozen=True)
class Variation(Lesson):
    """Another way to do a part: its own server, text and checks; the part's agent and question."""

    name: str
    part: Lesson

    @property
    def key(self) -> str:
        return f"{self.number}-{self.name}"

    @property
    def label(self) -> str:
        return f"variation {self.name}"

    def command(self, *words: str) -> str:
        return f"{super().command(*words)} --variation {self.name}"

    def layout(self) -> "Layout":
        """What runs for it; raises UsageError when `part.toml` is wrong."""
        return _layout(self)


@dataclass(frozen=True)
class Layout:
    """The programs of a variation, the headers its agent sends, and the script that prepares it."""

    programs: "Sequence[Program]"
    headers: Mapping[str, str]
    prepare: str
    prepare_config: Mapping[str, Any]

    @property
    def has_editions(self) -> bool:
        """Whether there is a weak edition beside the mended one."""
        return any("{edition}" in str(program.config) for program in self.programs)


def has_variations(lesson: Lesson) -> bool:
    """Whether there are other ways to do a part."""
    return (lesson.directory / _VARIATIONS).is_dir()


def variations_of(lesson: Lesson) -> tuple[Variation, ...]:
    """The variations of a part, in the order of their preferred ports."""
    folders = sorted((lesson.directory / _VARIATIONS).glob("*/part.toml"))
    found = [Variation(lesson.number, path.parent, path.parent.name, lesson) for path in folders]
    return tuple(sorted(found, key=lambda variation: variation.layout().programs[0].local_port))


def variation_of(lesson: Lesson, name: str) -> Variation:
    """One variation of a part; raises UsageError when there is none of this name."""
    found = {variation.name: variation for variation in variations_of(lesson)}
    if name in found:
        return found[name]
    if not found:
        raise UsageError(
            f"Part {lesson.number} has no variations", hint="Part 4 has some: `workshop part 4 variations`"
        )
    raise UsageError(f"Part {lesson.number} has no variation `{name}`", hint=f"There are {', '.join(found)}")


def find_variation(name: str) -> Variation:
    """A variation of any part; raises UsageError when there is none of this name."""
    (lesson,) = (lesson for lesson in find_lessons() if has_variations(lesson))
    return variation_of(lesson, name)


def _layout(variation: Variation) -> Layout:
    path = variation.directory / "part.toml"
    data = read_toml(path)
    programs = [_program(item, path) for item in data.get("workloads", ())]
    if variation.name not in {program.name for program in programs}:
        raise UsageError(f"`{path}` has no workload `{variation.name}`", why="The agent would talk to it")
    prepare = data.get("prepare", {})
    headers = {str(name): str(secret) for name, secret in data.get("headers", {}).items()}
    return Layout(programs, headers, str(prepare.get("run", "")), prepare.get("config", {}))


def _program(item: Mapping[str, Any], path: Path) -> "Program":
    from workshop.lab.variation_room import Program

    name, port = text_in(item, "name", path), item.get("local_port")
    if not isinstance(port, int) or not 0 < port <= _HIGHEST_PORT:
        raise UsageError(f"`{path}`: `local_port` of `{name}` must be a port, not {port!r}")
    run, config = text_in(item, "run", path), item.get("config", {})
    return Program(name, run, path.parent, port, str(item.get("path", _path_of(run))), config)


def _path_of(run: str) -> str:
    """A module is a service with pages and an API; a file of the variation's own is an MCP server."""
    return "/mcp" if run.endswith(".py") else ""
