"""Remove from a text every secret on this machine, and whatever is shaped like a token."""

import platform
import re
from collections.abc import Iterable
from pathlib import Path

from workshop.core.errors import WorkshopError
from workshop.core.files import read_json
from workshop.core.instance import Instance
from workshop.core.settings import Settings

# A shorter value, such as a name, would mask ordinary words.
_SHORTEST = 8
_OF_A_SEAT = re.compile(r"^\s*(?:token|record_key): (\S+)$", re.MULTILINE)
_TOKEN_KINDS = ("access_token", "refresh_token", "id_token")
# A JWT begins with `{"` and a letter, which is `eyJ` in base64url.
_TOKENS = re.compile(
    r"eyJ[\w-]+\.[\w-]+\.[\w-]+|gh[a-z]_\w{8,}|github_pat_\w+|(?<=[Bb]earer )\S+|practice_[\w-]+_\w{16,}"
)

# The weak edition of a variation writes these into its log on purpose.
_MEMBERS = re.compile(r'("(?:client_secret|code|code_verifier|token|\w+_token)": ?")[^"]+')


def without_secrets(text: str, hidden: Iterable[str]) -> str:
    """The text without these values, and without anything shaped like a token."""
    for value in hidden:
        text = text.replace(value, "***")
    return _MEMBERS.sub(r"\1***", _TOKENS.sub("***", text))


def redacted(text: str, hidden: Iterable[str]) -> str:
    """The text without these values, without anything shaped like a token, and without the person's name."""
    text = without_secrets(text, hidden).replace(str(Path.home()), "~")
    name = platform.node()
    return text if name in {"", "localhost"} else text.replace(name, "this-machine")


def known_secrets(env_file: Path | None) -> list[str]:
    """Every secret value: of `.env`, the generated secrets, the logins and the seat file; longest first."""
    try:
        values = set(Settings.load(env_file).secrets())
    except WorkshopError:
        values = set()
    directory = Instance.locate().directory
    folders = [directory / "secrets", *directory.glob("variations/*/secrets")]
    for path in (path for folder in folders for path in folder.rglob("*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            # Each line as well: a log may quote one line of a private key.
            values |= {text, *text.splitlines()}
    for path in (directory / "logins").glob("*.json"):
        values |= set(_strings(path))
    for path in directory.glob("*.kubeconfig"):
        values |= set(_OF_A_SEAT.findall(path.read_text(encoding="utf-8", errors="replace")))
    # The longest first: one secret may contain another.
    return sorted((value for value in values if len(value.strip()) >= _SHORTEST), key=len, reverse=True)


def _strings(path: Path) -> Iterable[str]:
    try:
        tokens = read_json(path).get("tokens") or {}
        return [str(tokens[kind]) for kind in _TOKEN_KINDS if tokens.get(kind)]
    except (OSError, ValueError, AttributeError, TypeError):
        return []
