"""Find the variations of a part: other ways to the same answer, each in a folder `variations/NAME`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workshop.core.errors import UsageError
from workshop.course.find import Lesson, find_lessons, read_toml, text_in

if TYPE_CHECKING:
    from workshop.lab.variation_room import Program

_FOLDER = "variations"
_HIGHEST_PORT = 65535


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
    return (lesson.directory / _FOLDER).is_dir()


def variations_of(lesson: Lesson) -> tuple[Variation, ...]:
    """The variations of a part, in the order of their preferred ports."""
    folders = sorted((lesson.directory / _FOLDER).glob("*/part.toml"))
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
