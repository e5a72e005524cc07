"""The images of a cluster: pulled, built here or taken from a bundle, then loaded into its node."""

import json
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workshop.backends.recipes import LABEL, TRUSTING, Recipe, build_arguments, build_network, recipes_for
from workshop.errors import WorkshopError
from workshop.paths import make_private_dir, write_private
from workshop.sources import Sources
from workshop.tools.docker import Docker, ImageInfo
from workshop.tools.image_archive import image_ids
from workshop.tools.kind import Kind
from workshop.tools.run import copyable

Note = Callable[[str], None]
_NODE_IMAGE = "node_image"
_PULL_SECONDS = 600.0
_NOT_WHOLE = "no suitable export target found"  # moby#52193, with Docker's containerd store


class Images:
    """Brings images into the engine and into a cluster's node; names are those of the fields of Sources."""

    def __init__(self, docker: Docker, sources: Sources, folder: Path) -> None:
        self._docker = docker
        self._sources = sources
        self._folder = folder
        self._lock = threading.Lock()  # images are loaded side by side

    def fetched(self, names: Sequence[str]) -> bool:
        """Whether the engine has all it needs of these; `node_image` may be among them."""
        return not any(self._to_build(name) or self._is_absent(name) for name in names)

    def fetch(self, names: Sequence[str], note: Note) -> None:
        """Pull or build what the engine lacks; it needs no cluster."""
        for name in names:
            for recipe in self._to_build(name):
                note(f"building {recipe.tag}")
                self._build(recipe)
            if self._is_absent(name):
                note(f"fetching {self._reference(name)}")
                self._bring(self._reference(name))

    def loaded(self, kind: Kind, names: Sequence[str]) -> bool:
        """Whether the cluster's node has these images, and each as it is here."""
        return not self._lacking(_node(kind, self._sources), names)

    def load(self, kind: Kind, names: Sequence[str], note: Note) -> tuple[str, ...]:
        """Bring what the node lacks into it, and name that: a pod keeps an older image until its end."""
        node = _node(kind, self._sources)
        lacking = self._lacking(node, names)
        for name in lacking:
            reference = self._reference(name)
            note(f"loading {reference}")
            if archive := self._sources.archives.get(reference):
                kind.load_archive(self._sources.cluster_name, archive.path)
            elif self._node_pulls(name):
                self._docker.exec(node, ["crictl", "pull", reference], seconds=_PULL_SECONDS)
            else:
                self._load_from_engine(kind, node, name)
        return tuple(self._reference(name) for name in lacking)

    def plan(self, names: Sequence[str]) -> list[str]:
        """The commands that fetching and loading these would come to, as a person would type them."""
        lines = (line for name in names for line in self._planned(name))
        return list(dict.fromkeys(lines))  # what one image stands on may be planned already

    def _reference(self, name: str) -> str:
        return str(getattr(self._sources, name))

    def _to_build(self, name: str) -> list[Recipe]:
        """The recipes whose image is not here, or is made of other files; each stands on the one before."""
        if self._reference(name) in self._sources.archives:
            return []
        recipes = recipes_for(name, self._sources)
        stale = [recipe for recipe in recipes if self._label(recipe.tag) != recipe.made_of()]
        return recipes[recipes.index(stale[0]) :] if stale else []

    def _label(self, tag: str) -> str | None:
        image = self._docker.image(tag)
        return image.labels.get(LABEL) if image else None

    def _build(self, recipe: Recipe) -> None:
        built_here = "mcp_server" not in self._sources.prebuilt and recipe.base == self._sources.mcp_server
        trusting = recipe.base.startswith(TRUSTING)
        if not built_here and not trusting and self._here(recipe.base) is None:
            self._docker.pull(
                recipe.base, self._docker.engine.platform
            )  # a build would not try without login
        with recipe.context() as context:
            self._docker.build(
                recipe.tag,
                context,
                recipe.dockerfile,
                build_arguments(recipe, self._sources),
                network=build_network(),
                labels={LABEL: recipe.made_of()},
            )

    def _is_absent(self, name: str) -> bool:
        """Whether the engine has to be given this image before anything can go on."""
        archived = self._reference(name) in self._sources.archives
        if recipes_for(name, self._sources) or (archived and name != _NODE_IMAGE):
            return False
        return not self._node_pulls(name) and self._here(self._reference(name)) is None

    def _node_pulls(self, name: str) -> bool:
        """With a mirror the node pulls what is not here: it knows the mirror, and the engine does not."""
        if self._sources.registry_mirror is None or name == _NODE_IMAGE:
            return False
        known = recipes_for(name, self._sources) or self._reference(name) in self._sources.archives
        return not known and self._here(self._reference(name)) is None

    def _here(self, reference: str) -> ImageInfo | None:
        """The image if the engine has it, and for its own platform."""
        image = self._docker.image(reference)
        fits = image is not None and f"{image.platform}/".startswith(f"{self._docker.engine.platform}/")
        return image if fits else None

    def _bring(self, reference: str) -> None:
        if archive := self._sources.archives.get(reference):
            self._docker.load(archive.path)
        else:
            self._docker.pull(reference, self._docker.engine.platform)

    def _lacking(self, node: str, names: Sequence[str]) -> list[str]:
        """The names of the images that the node has not, or has of another build."""
        there = self._inventory(node)
        return [name for name in names if not self._is_there(name, there.get(_full(self._reference(name))))]

    def _is_there(self, name: str, node_id: str | None) -> bool:
        reference = self._reference(name)
        if node_id is None or self._node_pulls(name):
            return node_id is not None
        if archive := self._sources.archives.get(reference):
            return node_id == archive.image_id
        image = self._docker.image(reference)
        return image is not None and node_id in {image.id, self._known_ids().get(image.id)}

    def _inventory(self, node: str) -> dict[str, str]:
        return _inventory(self._docker.exec(node, ["crictl", "images", "--output", "json"]).stdout)

    def _load_from_engine(self, kind: Kind, node: str, name: str) -> None:
        """Load what the engine has; the node pulls what the engine has unpacked but not kept whole."""
        reference = self._reference(name)
        image = self._docker.image(reference)
        try:
            node_id = self._hand_over(kind, node, reference)
        except WorkshopError as error:
            if _NOT_WHOLE not in error.why or recipes_for(name, self._sources):
                raise
            self._docker.exec(node, ["crictl", "pull", reference], seconds=_PULL_SECONDS)
            node_id = self._inventory(node).get(_full(reference), "")
        if image is not None and image.id != node_id:
            self._remember_id(image.id, node_id)

    def _hand_over(self, kind: Kind, node: str, reference: str) -> str:
        """Load an archive of one platform: `kind load docker-image` fails with Docker's containerd store."""
        make_private_dir(self._folder)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="load-") as folder:
            archive = Path(folder) / "image.tar"
            self._docker.save([reference], archive, self._docker.engine.platform)
            node_id = next(iter(image_ids(archive).values()), "")
            if self._inventory(node).get(_full(reference)) != node_id:
                kind.load_archive(self._sources.cluster_name, archive)
        return node_id

    def _known_ids(self) -> Mapping[str, str]:
        """A node's ids by the engine's, where Docker's containerd store counts differently."""
        try:
            known: dict[str, str] = json.loads(self._ids_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known

    def _remember_id(self, engine_id: str, node_id: str) -> None:
        with self._lock:
            known = {**self._known_ids(), engine_id: node_id}
            write_private(self._ids_file, json.dumps(known, indent=2).encode())

    @property
    def _ids_file(self) -> Path:
        return self._folder / "image-ids.json"

    def _planned(self, name: str) -> list[str]:
        reference, archive = self._reference(name), f"{name}.tar"
        made = [self._planned_build(recipe) for recipe in recipes_for(name, self._sources)]
        if bundled := self._sources.archives.get(reference):
            made, archive = [], str(bundled.path)
        elif not made and self._sources.registry_mirror and name != _NODE_IMAGE:
            node = f"{self._sources.cluster_name}-control-plane"
            return [copyable(["docker", "exec", node, "crictl", "pull", reference])]
        elif not made:
            made = [copyable(["docker", "pull", reference])]
        if name == _NODE_IMAGE:
            return made or [copyable(["docker", "load", "--input", archive])]
        saved = [] if bundled else [copyable(Docker.save_argv([reference], Path(archive)))]
        load = ["kind", "load", "image-archive", archive, "--name", self._sources.cluster_name]
        return [*made, *saved, copyable(load)]

    def _planned_build(self, recipe: Recipe) -> str:
        arguments = build_arguments(recipe, self._sources)
        context = recipe.folder or Path("CONTEXT")
        argv = Docker.build_argv(recipe.tag, context, recipe.dockerfile, arguments, network=build_network())
        return copyable(argv, {recipe.argument: recipe.base})


def _node(kind: Kind, sources: Sources) -> str:
    nodes = kind.nodes(sources.cluster_name)
    if not nodes:
        raise WorkshopError(f"There is no cluster `{sources.cluster_name}`", hint="`workshop up` makes it")
    return nodes[0]


def _inventory(told: str) -> dict[str, str]:
    """The id of each tagged image of a node, from `crictl images`."""
    try:
        images = json.loads(told)["images"]
        return {tag: image["id"] for image in images for tag in image["repoTags"] or ()}
    except (ValueError, KeyError, TypeError) as error:
        raise WorkshopError(
            "`crictl images` answered something unexpected", why=told.strip()[:200]
        ) from error


def _full(reference: str) -> str:
    """The reference as containerd writes it: with its registry, and `library` where Docker leaves it out."""
    first, slash, _ = reference.partition("/")
    if not slash:
        return f"docker.io/library/{reference}"
    named = "." in first or ":" in first or first == "localhost"
    return reference if named else f"docker.io/{reference}"
