"""Names that stand for secrets: the same secret has the same name everywhere, and two have two."""

import hashlib
import re
from urllib.parse import quote

SHORTEST_SWEPT = 8
"""Shorter values are masked where they stand, but not looked for: they occur in ordinary words."""
DIGEST = "sha256:"
"""Prefix of a fingerprint in the upstream's record, which has no more of a credential than that."""

_KINDS_BY_SHAPE = (
    (
        "github-token",
        re.compile(r"(?:gh[oprsu]_|github_pat_)\w{16,}|practice_[a-z0-9-]+_[a-z2-7]+_[0-9a-f]{32}"),
    ),
    ("token", re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")),
    ("token", re.compile(r"(?<=Bearer )[\w.~+/=-]{8,}")),
)
LABEL = re.compile(r"⟨([a-z-]+)-(\d+)⟩")


def fingerprint(value: str) -> str:
    """SHA-256 in hexadecimal digits, as the practice GitHub writes down what it received."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


class Labels:
    """Gives out labels such as `⟨code-1⟩`, numbered by kind in the order they are asked for."""

    def __init__(self) -> None:
        self._by_digest: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._values: dict[str, str] = {}

    def of(self, kind: str, value: str) -> str:
        """The label of a secret; an empty value is shown as such."""
        if not value:
            return "(empty)"
        if value.startswith(DIGEST):
            return self.of_digest(kind, value.removeprefix(DIGEST))
        label = self.of_digest(kind, fingerprint(value))
        if len(value) >= SHORTEST_SWEPT:
            self._values |= {value: label, quote(value, safe="", errors="replace"): label}
        return label

    def of_digest(self, kind: str, digest: str) -> str:
        """The label of a secret of which only the fingerprint is known."""
        if digest not in self._by_digest:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._by_digest[digest] = f"⟨{kind}-{self._counts[kind]}⟩"
        return self._by_digest[digest]

    def sweep(self, text: str) -> str:
        """The text without any value that has a label, and without anything that looks like a token."""
        for value in sorted(self._values, key=len, reverse=True):
            if value in text:
                text = text.replace(value, self._values[value])
        for kind, shape in _KINDS_BY_SHAPE:
            text = shape.sub(lambda found, kind=kind: self.of(kind, found.group()), text)  # type: ignore[misc]
        return text
