"""Discovery documents, cached for as long as their server allows (RFC 9111, `Cache-Control: max-age`)."""

import re
import time
from collections.abc import Mapping

import httpx2
from pydantic import BaseModel, ConfigDict

_WELL_KNOWN = "/.well-known/"
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s])")
_LONGEST_SECONDS = 600.0


class Document(BaseModel):
    """One answer; until the time `until`, in seconds since the epoch, it may be used again."""

    model_config = ConfigDict(frozen=True)

    text: str
    until: float


class Documents:
    """The discovered documents by URL, so that a login that is soon repeated does not fetch them again."""

    def __init__(self) -> None:
        self.cached: dict[str, Document] = {}

    def adopt(self, cached: Mapping[str, Document]) -> None:
        """Use the cache of an earlier run."""
        self.cached = dict(cached)

    def clear(self) -> None:
        """Forget all documents, because one of them was wrong."""
        self.cached.clear()

    def answer(self, request: httpx2.Request) -> httpx2.Response | None:
        """Return the cached answer to a request if it is still fresh, else None."""
        document = self.cached.get(str(request.url)) if request.method == "GET" else None
        if document is None or document.until <= time.time():
            return None
        return httpx2.Response(200, text=document.text, request=request)

    def keep(self, response: httpx2.Response) -> None:
        """Store the answer to a discovery request for at most ten minutes, if its server allows it."""
        request = response.request
        if request.method != "GET" or not request.url.path.startswith(_WELL_KNOWN):
            return
        control = response.headers.get("cache-control", "").lower()
        age = _MAX_AGE.search(control)
        if response.status_code != httpx2.codes.OK or age is None or "no-" in control:
            return
        until = time.time() + min(float(age.group(1)), _LONGEST_SECONDS)
        self.cached[str(request.url)] = Document(text=response.text, until=until)
