"""The lessons: the parts, each a folder `parts/NN_name` with a `part.toml`, and the variations below them."""

import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.core.errors import UsageError
from workshop.core.files import read_toml
from workshop.core.paths import parts_dir

if TYPE_CHECKING:
    from workshop.agent.part import Part
    from workshop.lab.base import Deployment, Program

_FOLDER = re.compile(r"(\d+)_(\w+)")
_VARIATIONS = "variations"
_MCP_PATH = "/mcp"


@dataclass(frozen=True)
class Lesson:
    """One part of the tutorial: its number and its folder."""

    number: int
    directory: Path

    @property
    def key(self) -> str:
        """The key of a learner's progress and files of this lesson."""
        return str(self.number)

    @property
    def label(self) -> str:
        """Its name within a sentence."""
        return f"part {self.number}"

    @property
    def title_label(self) -> str:
        """Its name at the beginning of a sentence."""
        return f"{self.label[:1].upper()}{self.label[1:]}"

    def command(self, *words: str) -> str:
        """A command about it, such as `workshop part 4 run`."""
        return " ".join(("workshop part", str(self.number), *words))

    @property
    def start_command(self) -> str:
        """The command that starts what its checks need."""
        return "workshop up"

    @property
    def heading(self) -> str:
        """The first line of its text, such as `Part 1: the agent loop`; quicker to read than `part.toml`."""
        with (self.directory / "README.md").open(encoding="utf-8") as file:
            return file.readline().removeprefix("# ").rstrip()

    @property
    def readme(self) -> str:
        return (self.directory / "README.md").read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        """The title without the rest of `part.toml`: validating that takes longer than all of `status`."""
        return str(read_toml(self.directory / "part.toml").get("title", self.title_label))

    @functools.cached_property
    def contents(self) -> "Part":
        """What `part.toml` contains, read once; raises UsageError when it is wrong."""
        from workshop.agent.part import Part

        return Part.load(self.directory)

    @property
    def entrypoints(self) -> "Mapping[str, Program]":
        """What the image of each workload runs, by the workload's name."""
        from workshop.lab.base import Program

        return {
            found.name: Program(
                found.name, found.entrypoint, found.local_port, found.path or _MCP_PATH, self.directory
            )
            for found in self.contents.workloads
        }

    def deployment(self) -> "Deployment | None":
        """What this part deploys, or None when it deploys nothing."""
        from workshop.lab.base import Deployment
        from workshop.toolhive import manifests

        resources = manifests.load(self.directory / "toolhive")
        if not resources.all:
            return None
        return Deployment(self.number, resources, self.entrypoints, self.contents.timeouts.ready)


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


def ways_to_register() -> list[str]:
    """How clients become known to each proxy with a login, as sentences; none for a wrong manifest."""
    from workshop.toolhive import manifests
    from workshop.toolhive.secrets import auth_configs

    sentences = []
    for lesson in find_lessons():
        with contextlib.suppress(UsageError):
            for auth in auth_configs(manifests.load(lesson.directory / "toolhive")):
                documents = auth.find("spec.embeddedAuthServer.cimd.enabled") is True
                found = "register, or name a client ID document (needs the internet)"
                sentences.append(f"Clients of part {lesson.number} {found if documents else 'register'}")
    return sentences


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

    @property
    def start_command(self) -> str:
        return self.command("run")

    @functools.cached_property
    def programs(self) -> "Sequence[Program]":
        """The programs that run for it; raises UsageError if `part.toml` lacks the agent's server."""
        from workshop.lab.base import Program

        file = self.directory / "part.toml"
        found = []
        for number, item in enumerate(self.contents.workloads, 1):
            if item.run is None:
                raise UsageError(
                    f"`workloads.{number}.run` in `{file}` is missing", hint="A variation runs programs"
                )
            # A module is a service with pages and an API; a file of the variation's own is an MCP server.
            path = item.path if item.path is not None else _MCP_PATH if item.run.endswith(".py") else ""
            argv = ("python", item.run) if item.run.endswith(".py") else ("python", "-m", item.run)
            found.append(Program(item.name, argv, item.local_port, path, self.directory, item.config))
        if self.name not in {program.name for program in found}:
            raise UsageError(f"`{file}` has no workload `{self.name}`", why="The agent connects to it")
        return found

    def deployment(self) -> "Deployment | None":
        """What it deploys on a cluster in place of its programs, or None for one without manifests."""
        from workshop.lab.base import Deployment
        from workshop.toolhive import manifests

        resources = manifests.load(self.directory / "toolhive", gateways=True)
        if not resources.all:
            return None
        github = next(program for program in self.programs if program.name == f"{self.name}-github")
        seconds = self.contents.timeouts.ready
        return Deployment(self.number, resources, {}, seconds, self.name, github.name, github.port)

    @property
    def has_editions(self) -> bool:
        """Whether it has a weak edition besides the fixed one."""
        return any("{edition}" in str(program.config) for program in self.programs)


def has_variations(lesson: Lesson) -> bool:
    """Whether there are other ways to do a part."""
    return (lesson.directory / _VARIATIONS).is_dir()


def variations_of(lesson: Lesson) -> tuple[Variation, ...]:
    """The variations of a part, in the order of their preferred ports."""
    folders = sorted((lesson.directory / _VARIATIONS).glob("*/part.toml"))
    found = [Variation(lesson.number, path.parent, path.parent.name, lesson) for path in folders]
    return tuple(sorted(found, key=lambda variation: variation.programs[0].port))


def variation_of(lesson: Lesson, name: str) -> Variation:
    """One variation of a part; raises UsageError if it does not exist."""
    found = {variation.name: variation for variation in variations_of(lesson)}
    if name in found:
        return found[name]
    if not found:
        raise UsageError(
            f"Part {lesson.number} has no variations", hint="Part 4 has some: `workshop part 4 variations`"
        )
    raise UsageError(f"Part {lesson.number} has no variation `{name}`", hint=f"There are {', '.join(found)}")


def find_variation(name: str) -> Variation:
    """A variation of any part; raises UsageError if it does not exist."""
    (lesson,) = (lesson for lesson in find_lessons() if has_variations(lesson))
    return variation_of(lesson, name)
