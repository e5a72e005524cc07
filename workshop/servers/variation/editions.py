"""A server in two editions: mended, with its exercises solved, or weak, with a learner's own files."""

import logging
import sys
import traceback
from pathlib import Path
from types import ModuleType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workshop.auth import private_json

_LOG = logging.getLogger(__name__)


class Editions:
    """Called with an exercise's name, it returns its module; a file that has changed is read again.

    Mended, that is the solution; weak, the learner's own file, or else what the exercise starts with.
    """

    def __init__(self, exercises: Path, *, weak: bool, own: str = "") -> None:
        """`own` is the folder with the learner's files; it may be missing."""
        self.weak = weak
        self._exercises, self._own = exercises, own
        self._folders = {folder.name.partition("_")[2]: folder for folder in exercises.glob("[0-9]_*")}
        self._loaded: dict[str, tuple[tuple[Path, int, int], ModuleType]] = {}

    def __call__(self, name: str) -> ModuleType:
        path = self._file(self._folders[name])
        state = path.stat()
        # With the path, because the learner's own file may appear or be removed.
        version = (path, state.st_mtime_ns, state.st_size)
        if name not in self._loaded or self._loaded[name][0] != version:
            self._loaded[name] = version, _module(path)
        return self._loaded[name][1]

    def _file(self, folder: Path) -> Path:
        mine = Path(self._own, f"{folder.name}.py")
        if self.weak and self._own and mine.is_file():
            return mine
        return folder / ("start.py" if self.weak else "solution.py")

    def explain(self, error: Exception) -> str:
        """The file and line of an exercise that failed, and the error, for the author of that file."""
        places = (str(self._exercises), self._own or str(self._exercises))
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(places)]
        # The innermost of these frames: below it are only libraries.
        file, line = (frames[-1].filename, frames[-1].lineno) if frames else ("", 0)
        if isinstance(error, SyntaxError) and error.filename:
            file, line = error.filename, error.lineno
        where = f"{Path(file).name}, line {line}: " if file else ""
        return f"{where}{type(error).__name__}: {error}"[:300]


class ReportedMistakes:
    """Answers and logs a mistake in a learner's file with its line; in the weak edition only."""

    def __init__(self, app: ASGIApp, editions: Editions) -> None:
        self._app, self._editions = app, editions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            # An answer that has begun cannot be replaced.
            if begun or not self._editions.weak or scope["type"] != "http":
                raise
            mistake = self._editions.explain(error)
            _LOG.warning(mistake)
            answer = private_json({"error": "server_error", "error_description": mistake}, status=500)
            await answer(scope, receive, send)


def _module(path: Path) -> ModuleType:
    # Not by the import system: it compares times in whole seconds, and writes bytecode beside the file.
    module = ModuleType(path.name)
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # a dataclass looks its module up there
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102 - the learner's code
    return module
