"""The images of a cluster: pulled, built here or taken from a bundle, then loaded into its node."""

import contextlib
import json
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workshop.core.errors import WorkshopError
from workshop.core.files import DamagedFileError, read_json, typed
from workshop.core.paths import make_private_dir, write_private
from workshop.lab.cluster.recipes import (
    BASE_LABEL,
    LABEL,
    TRUSTING,
    Recipe,
    build_arguments,
    build_network,
    recipes_for,
)
from workshop.lab.pins import Pins
from workshop.lab.tools.clusters import Kind, control_plane
from workshop.lab.tools.docker import Docker, ImageInfo, image_ids
from workshop.lab.tools.run import copyable

Note = Callable[[str], None]
_NODE_IMAGE = "node_image"
_PULL_SECONDS = 600.0
_LOADING = "load-"
_ARCHIVE = "images.tar"
_NOT_WHOLE = "no suitable export target found"  # moby#52193, with Docker's containerd store


class Images:
    """Brings images into the engine and into a cluster's node; their names are field names of Pins."""

    def __init__(self, docker: Docker, pins: Pins, folder: Path) -> None:
        self._docker = docker
        self._pins = pins
        self._folder = folder
        self._lock = threading.Lock()  # image groups are loaded in parallel
        self._saved: dict[frozenset[str], Path] = {}

    def clear(self) -> None:
        """Remove the archives, hundreds of MB each, of a run that was killed while it loaded them."""
        for left in self._folder.glob(f"{_LOADING}*"):
            shutil.rmtree(left, ignore_errors=True)

    def fetched(self, names: Sequence[str]) -> bool:
        """Whether the engine has all it needs of these; `node_image` may be among them."""
        return not any(self._to_build(name) or self._is_absent(name) for name in names)

    def fetch(self, names: Sequence[str], note: Note) -> None:
        """Pull or build what the engine lacks; it needs no cluster."""
        for name in names:
            for recipe in self._to_build(name):
                note(f"building {recipe.tag}")
                self._build(recipe)
            reference = self._reference(name)
            if not self._is_absent(name):
                continue
            note(f"fetching {reference}")
            if archive := self._pins.archives.get(reference):
                self._docker.load(archive.path)
            else:
                self._docker.pull(reference, self._docker.engine.platform)

    def save(self, names: Sequence[str], note: Note) -> None:
        """Write the archive for `load` while there is no node yet; `load` repeats what fails here."""
        chosen = [name for name in names if not (self._is_archived(name) or self._node_pulls(name))]
        if not chosen:
            return
        note(f"saving {', '.join(map(self._reference, chosen))}")
        with contextlib.suppress(WorkshopError):
            self._saved[frozenset(chosen)] = self._save(chosen)

    def loaded(self, kind: Kind, names: Sequence[str]) -> bool:
        """Whether the cluster's node has these images, each in the engine's version."""
        return not self._lacking(_node(kind, self._pins), names)

    def load(self, kind: Kind, names: Sequence[str], note: Note) -> tuple[str, ...]:
        """Load what the node lacks, and return its names: pods with an older image have to be replaced."""
        node = _node(kind, self._pins)
        lacking = self._lacking(node, names)
        in_engine = []
        for name in lacking:
            reference = self._reference(name)
            if archive := self._pins.archives.get(reference):
                note(f"loading {reference}")
                self._import(kind, node, archive.path)
            elif self._node_pulls(name):
                note(f"loading {reference}")
                self._docker.exec(node, ["crictl", "pull", reference], seconds=_PULL_SECONDS)
            else:
                in_engine.append(name)
        if in_engine:
            self._load_from_engine(kind, node, in_engine, note)
        return tuple(self._reference(name) for name in lacking)

    def plan_fetch(self, names: Sequence[str]) -> list[str]:
        """The commands of `fetch`, as a person would type them."""
        lines = []
        for name in names:
            reference = self._reference(name)
            if recipes := [] if self._is_archived(name) else recipes_for(name, self._pins):
                lines += [self._planned_build(recipe) for recipe in recipes]
            elif name == _NODE_IMAGE and (bundled := self._pins.archives.get(reference)):
                lines.append(copyable(["docker", "load", "--input", str(bundled.path)]))
            elif name == _NODE_IMAGE or self._is_planned_to_save(name):
                lines.append(copyable(["docker", "pull", reference]))
        return list(dict.fromkeys(lines))

    def plan_save(self, names: Sequence[str]) -> list[str]:
        """The command of `save`; the images of the engine are saved and loaded together."""
        saved = [self._reference(name) for name in names if self._is_planned_to_save(name)]
        return [copyable(Docker.save_argv(saved, _planned_archive(saved)))] if saved else []

    def plan_load(self, names: Sequence[str]) -> list[str]:
        """The commands of `load`, without that of `save`."""
        lines, cluster = [], self._pins.cluster_name
        for name in names:
            reference = self._reference(name)
            if bundled := self._pins.archives.get(reference):
                lines.append(copyable(Kind.load_argv(cluster, bundled.path)))
            elif not self._is_planned_to_save(name):
                lines.append(
                    copyable(["docker", "exec", control_plane(cluster), "crictl", "pull", reference])
                )
        saved = [self._reference(name) for name in names if self._is_planned_to_save(name)]
        return [*lines, *([copyable(Kind.load_argv(cluster, _planned_archive(saved)))] if saved else [])]

    def _reference(self, name: str) -> str:
        return str(getattr(self._pins, name))

    def _is_archived(self, name: str) -> bool:
        """Whether a bundle has brought this image as an archive."""
        return self._reference(name) in self._pins.archives

    def _to_build(self, name: str) -> list[Recipe]:
        """The recipes whose image is absent or made of other files, and those that are based on them."""
        if self._is_archived(name):
            return []
        recipes = recipes_for(name, self._pins)
        stale = [recipe for recipe in recipes if not self._is_built(recipe)]
        return recipes[recipes.index(stale[0]) :] if stale else []

    def _is_built(self, recipe: Recipe) -> bool:
        """Whether the engine has this image, made of these files and of its present base.

        Images that somebody else built under the same name do not carry these labels. A base that was removed
        does not matter, because its layers are in the image.
        """
        image = self._docker.image(recipe.tag)
        if image is None or image.labels.get(LABEL) != recipe.made_of():
            return False
        base = self._docker.image(recipe.base)
        return base is None or image.labels.get(BASE_LABEL) == base.id

    def _build(self, recipe: Recipe) -> None:
        built_here = "mcp_server" not in self._pins.prebuilt and recipe.base == self._pins.mcp_server
        trusting = recipe.base.startswith(TRUSTING)
        if not built_here and not trusting and self._in_engine(recipe.base) is None:
            # Not left to the build, which would not retry without the stored login.
            self._docker.pull(recipe.base, self._docker.engine.platform)
        base = self._docker.image(recipe.base)
        with recipe.context() as context:
            self._docker.build(
                recipe.tag,
                context,
                recipe.dockerfile,
                build_arguments(recipe, self._pins),
                network=build_network(),
                labels={LABEL: recipe.made_of(), BASE_LABEL: base.id if base else ""},
            )

    def _is_absent(self, name: str) -> bool:
        """Whether the engine has to get this image before the next steps."""
        if recipes_for(name, self._pins) or (self._is_archived(name) and name != _NODE_IMAGE):
            return False
        return not self._node_pulls(name) and self._in_engine(self._reference(name)) is None

    def _node_pulls(self, name: str) -> bool:
        """With a mirror, the node pulls absent images, because only the node is configured with it."""
        if self._pins.registry_mirror is None or name == _NODE_IMAGE:
            return False
        known = recipes_for(name, self._pins) or self._is_archived(name)
        return not known and self._in_engine(self._reference(name)) is None

    def _in_engine(self, reference: str) -> ImageInfo | None:
        """The image, if the engine has it for its own platform."""
        image = self._docker.image(reference)
        fits = image is not None and f"{image.platform}/".startswith(f"{self._docker.engine.platform}/")
        return image if fits else None

    def _lacking(self, node: str, names: Sequence[str]) -> list[str]:
        """The names of the images that the node lacks, or has from another build."""
        there = self._inventory(node)
        return [
            name for name in names if not self._is_in_node(name, there.get(_qualified(self._reference(name))))
        ]

    def _is_in_node(self, name: str, node_id: str | None) -> bool:
        reference = self._reference(name)
        if node_id is None or self._node_pulls(name):
            return node_id is not None
        if archive := self._pins.archives.get(reference):
            return node_id == archive.image_id
        image = self._docker.image(reference)
        return image is not None and node_id in {image.id, self._known_ids().get(image.id)}

    def _inventory(self, node: str) -> dict[str, str]:
        """The id of each tagged image of a node, from `crictl images`."""
        output = self._docker.exec(node, ["crictl", "images", "--output", "json"]).stdout
        try:
            images = json.loads(output)["images"]
            return {tag: image["id"] for image in images for tag in image["repoTags"] or ()}
        except (ValueError, KeyError, TypeError) as error:
            raise WorkshopError(
                "`crictl images` printed something unexpected", why=output.strip()[:200]
            ) from error

    def _load_from_engine(self, kind: Kind, node: str, names: Sequence[str], note: Note) -> None:
        """Load images from the engine; the node pulls those that the engine cannot export."""
        note(f"loading {', '.join(map(self._reference, names))}")
        try:
            node_ids = self._load_together(kind, node, names)
        except WorkshopError as error:
            if _NOT_WHOLE not in error.why or (len(names) == 1 and recipes_for(names[0], self._pins)):
                raise
            if len(names) > 1:  # the message does not name the image
                for name in names:
                    self._load_from_engine(kind, node, [name], note)
                return
            self._docker.exec(node, ["crictl", "pull", self._reference(names[0])], seconds=_PULL_SECONDS)
            node_ids = self._inventory(node)
        for name in names:
            image = self._docker.image(self._reference(name))
            node_id = node_ids.get(_qualified(self._reference(name)), "")
            if image is not None and image.id != node_id:
                self._remember_id(image.id, node_id)

    def _load_together(self, kind: Kind, node: str, names: Sequence[str]) -> Mapping[str, str]:
        """Load images as one archive, which has shared layers only once; return their ids in the node.

        The archive has one platform: `kind load docker-image` fails with Docker's containerd store.
        """
        archive = self._saved.pop(frozenset(names), None) or self._save(names)
        try:
            node_ids = {_qualified(reference): node_id for reference, node_id in image_ids(archive).items()}
            if len(node_ids) < len(names) or not node_ids.items() <= self._inventory(node).items():
                self._import(kind, node, archive)
        finally:
            shutil.rmtree(archive.parent, ignore_errors=True)
        return node_ids

    def _save(self, names: Sequence[str]) -> Path:
        """Save these images to an archive in a folder that is removed with this object at the latest."""
        make_private_dir(self._folder)
        folder = Path(tempfile.mkdtemp(dir=self._folder, prefix=_LOADING))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        archive = folder / _ARCHIVE
        self._docker.save(list(map(self._reference, names)), archive, self._docker.engine.platform)
        return archive

    def _import(self, kind: Kind, node: str, archive: Path) -> None:
        """Load an archive into the node the cheapest way; if that fails, let `kind` do it and report why."""
        if not self._docker.import_archive(node, archive):
            kind.load_archive(self._pins.cluster_name, archive)

    def _known_ids(self) -> Mapping[str, str]:
        """The node's image ids by the engine's, where these differ because of Docker's containerd store."""
        try:
            return typed(dict[str, str], read_json(self._ids_file))
        except (OSError, DamagedFileError):
            return {}

    def _remember_id(self, engine_id: str, node_id: str) -> None:
        with self._lock:
            known = {**self._known_ids(), engine_id: node_id}
            write_private(self._ids_file, json.dumps(known, indent=2).encode())

    @property
    def _ids_file(self) -> Path:
        return self._folder / "image-ids.json"

    def _is_planned_to_save(self, name: str) -> bool:
        if name == _NODE_IMAGE or self._is_archived(name):
            return False
        return bool(recipes_for(name, self._pins)) or self._pins.registry_mirror is None

    def _planned_build(self, recipe: Recipe) -> str:
        arguments = build_arguments(recipe, self._pins)
        context = recipe.folder or Path("CONTEXT")
        argv = Docker.build_argv(recipe.tag, context, recipe.dockerfile, arguments, network=build_network())
        return copyable(argv, {recipe.argument: recipe.base})


def _planned_archive(saved: Sequence[str]) -> Path:
    return Path(f"{saved[0].rpartition('/')[2].partition(':')[0]}.tar")


def _node(kind: Kind, pins: Pins) -> str:
    nodes = kind.nodes(pins.cluster_name)
    if not nodes:
        raise WorkshopError(f"There is no cluster `{pins.cluster_name}`", hint="`workshop up` creates it")
    return nodes[0]


def _qualified(reference: str) -> str:
    """The reference as containerd writes it: with the registry and the `library` that Docker omits."""
    first, slash, _ = reference.partition("/")
    if not slash:
        return f"docker.io/library/{reference}"
    named = "." in first or ":" in first or first == "localhost"
    return reference if named else f"docker.io/{reference}"
