"""What `docker save` wrote, as far as we read it: which images are inside, and their ids in a node."""

import json
import tarfile
from pathlib import Path
from typing import Any

from workshop.core.errors import WorkshopError

_MOST_BYTES = 4 * 2**20


def image_ids(archive: Path) -> dict[str, str]:
    """The id of each image by its reference: the digest of its configuration, as containerd counts.

    The engine's own id is the same with Docker's classic store, and another with its containerd store.
    Raises WorkshopError when the file is no image archive.
    """
    try:
        with tarfile.open(archive) as tar:
            index = next((member for member in tar if member.name == "manifest.json"), None)
            held = tar.extractfile(index) if index and index.size <= _MOST_BYTES else None
            images: list[dict[str, Any]] = json.loads(held.read() if held else b"null")
        return {tag: _digest(image["Config"]) for image in images for tag in image["RepoTags"] or ()}
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise WorkshopError(
            f"`{archive.name}` is no image archive", why=str(error) or "It ends too early"
        ) from error


def _digest(config: str) -> str:
    return f"sha256:{Path(config).name.removesuffix('.json')}"
