"""The settings in `.env`, each with its source; `os.environ` is neither read nor changed."""

import difflib
import io
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from workshop.core.errors import UsageError, reason
from workshop.core.instance import Instance
from workshop.core.paths import checkout_dir, current_dir
from workshop.core.text import unbroken

_KEYS = {
    "GITHUB_OAUTH_CLIENT_ID": "github_client_id",
    "GITHUB_OAUTH_CLIENT_SECRET": "github_client_secret",
    "OPENAI_BASE_URL": "openai_base_url",
    "OPENAI_API_KEY": "openai_api_key",
    "WORKSHOP_MODEL": "model",
}
_SENT_KEYS = frozenset({"GITHUB_OAUTH_CLIENT_ID", "GITHUB_OAUTH_CLIENT_SECRET", "OPENAI_API_KEY"})
_ALIKE = 0.8
SECRET_KEYS = frozenset({"GITHUB_OAUTH_CLIENT_SECRET", "OPENAI_API_KEY"})


@dataclass(frozen=True)
class Setting:
    """One value, never shown by `repr`, and its source."""

    value: str | None = field(default=None, repr=False)
    source: str = "not set"

    def __bool__(self) -> bool:
        return self.value is not None


@dataclass(frozen=True)
class Settings:
    """The settings in a person's `.env`; see `.env.example`."""

    github_client_id: Setting = Setting()
    github_client_secret: Setting = Setting()
    openai_base_url: Setting = Setting()
    openai_api_key: Setting = Setting()
    model: Setting = Setting()
    warnings: tuple[str, ...] = ()
    """A sentence for each key that is unknown and looks like one of these."""

    @classmethod
    def load(cls, env_file: Path | None = None) -> "Settings":
        """Read `env_file`, else `.env` here, else the checkout's; without a file nothing is set.

        Raises UsageError when the file cannot be read, is not UTF-8, or has a line that is not KEY=VALUE, or
        when a value could only be refused where it is sent.
        """
        path = env_path(env_file)
        if path is None:
            return cls()
        values = read_env(path)
        known = {_KEYS[key]: _checked(key, value, path) for key, value in values.items() if key in _KEYS}
        unknown = (_warning(key, path) for key in values if key not in _KEYS)
        return cls(**known, warnings=tuple(warning for warning in unknown if warning))

    def by_key(self) -> dict[str, Setting]:
        """Each setting by its name in `.env`."""
        return {key: getattr(self, name) for key, name in _KEYS.items()}

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown."""
        held = (self.github_client_secret.value, self.openai_api_key.value)
        return tuple(value for value in held if value)


def env_path(env_file: Path | None = None) -> Path | None:
    """The file to read settings from, or None: the first of these that there is.

    `env_file`, that of the last `up --env-file`, `.env` here, the checkout's.
    """
    if env_file is not None:
        return env_file
    if remembered := remembered_env_file():
        return remembered
    root = checkout_dir()
    folders = [folder for folder in (current_dir(), root) if folder]
    return next((path for folder in folders if (path := folder / ".env").exists()), None)


def remembered_env_file() -> Path | None:
    """The file of the last `up --env-file`; a damaged record names none, and what needs it reports that."""
    try:
        record = Instance.load().record
    except UsageError:
        return None
    return Path(record.env_file) if record and record.env_file else None


def read_env(path: Path) -> dict[str, str]:
    """The values of a file of KEY=VALUE lines; raises UsageError when it is not one."""
    return _parse(path, _read(path))


def _read(path: Path) -> str:
    try:
        # Editors on Windows begin a file with a byte-order mark.
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"Cannot read `{path}`",
            why=reason(error),
            hint="Name another file with `--env-file`",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"`{path}` is not UTF-8 text",
            why=f"The byte at position {error.start} is not valid UTF-8",
            hint="Save the file as UTF-8; see `.env.example`",
        ) from error


def _parse(path: Path, text: str) -> dict[str, str]:
    from dotenv.parser import parse_stream

    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            raise UsageError(
                f"Line {binding.original.line} of `{path}` is not KEY=VALUE",
                why="A quote may be open, or the `=` is missing",
                hint="See `.env.example`; the line is not printed because it may hold a secret",
            )
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def _checked(key: str, value: str, path: Path) -> Setting:
    if value != value.strip() or any(ord(char) < ord(" ") for char in value):
        raise UsageError(
            f"{key} in `{path}` has a space or line break around or inside its value",
            why="It would be sent unchanged, and refused",
            hint="Write it without spaces inside the quotes",
        )
    if key in _SENT_KEYS and (found := _beyond_ascii(value)):
        raise UsageError(
            f"{key} in `{path}` has {found}",
            why="A key or secret has ASCII characters only, so this one would be refused",
            hint="Copy the value again, without quotes or invisible characters from a document or a chat",
        )
    if key in SECRET_KEYS and any(char.isspace() for char in value):
        raise UsageError(f"{key} in `{path}` contains a space", hint="Copy the value once more")
    # A line such as `OPENAI_API_KEY=`, from an uncommented `.env.example`, sets nothing.
    return Setting(value or None, f"{path}" if value else "not set")


def _warning(key: str, path: Path) -> str:
    """The warning about an unknown key; "" for one that resembles no setting."""
    near = difflib.get_close_matches(key.upper(), _KEYS, n=1, cutoff=_ALIKE)
    # WORKSHOP_HOME and the like are variables of the shell, and not far from WORKSHOP_MODEL.
    if not near or (key.startswith("WORKSHOP_") and key.isascii() and "MODEL" not in key):
        return ""
    found = _beyond_ascii(key)
    reason = f"it has {found}" if found else "there is no such setting"
    return f"`{unbroken(key)}` in `{path}` is ignored, because {reason}. Did you mean {near[0]}?"


def _beyond_ascii(text: str) -> str:
    """The first character outside ASCII with its position, from 1, and its code point; "" for none."""
    for position, char in enumerate(text, 1):
        if not char.isascii():
            name = unicodedata.name(char, "no name").lower()
            return f"the character U+{ord(char):04X} ({name}) at position {position}"
    return ""
