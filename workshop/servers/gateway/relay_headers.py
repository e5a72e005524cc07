"""Which headers cross the relay: few on the way in, all but the dangerous ones on the way out."""

from collections.abc import Iterable, Mapping

from multidict import CIMultiDict

RawHeaders = list[tuple[bytes, bytes]]

_REQUEST = frozenset(
    {b"accept", b"content-type", b"last-event-id", b"traceparent", b"tracestate", b"user-agent"}
)
_REQUEST_PREFIX = b"mcp-"
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"}
    | {b"trailer", b"trailers", b"transfer-encoding", b"upgrade"}
)
# Cookies and challenges would speak for our origin, CORS would open it to web pages, and Location would lead
# a client with our token elsewhere; server and date are written by our own server.
_NOT_OURS = frozenset(
    {b"set-cookie", b"set-cookie2", b"www-authenticate", b"authentication-info", b"server", b"date", b"via"}
    | {b"alt-svc", b"location", b"refresh", b"strict-transport-security", b"clear-site-data", b"x-powered-by"}
    | {b"report-to", b"nel", b"service-worker-allowed", b"x-content-type-options"}
)
_CORS_PREFIX = b"access-control-"


def to_upstream(headers: Iterable[tuple[bytes, bytes]], *added: Mapping[str, str]) -> CIMultiDict[str]:
    """The allowed request headers, then ours, which win; later ones win over earlier ones."""
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        if name in _REQUEST or name.startswith(_REQUEST_PREFIX):
            kept.add(name.decode("ascii"), value.decode("utf-8", "replace"))  # aiohttp writes UTF-8
    kept["Accept-Encoding"] = "identity"
    for group in added:
        for shown, text in group.items():
            kept[shown] = text
    return kept


def to_client(
    headers: Iterable[tuple[bytes, bytes]], *, without: frozenset[bytes] = frozenset()
) -> RawHeaders:
    """The response headers, without hop-by-hop ones (also those `Connection` names) and its origin's own."""
    pairs = [(name.lower(), value) for name, value in headers]
    named = {
        token.strip().lower() for name, value in pairs if name == b"connection" for token in value.split(b",")
    }
    dropped = _HOP_BY_HOP | _NOT_OURS | named | without
    kept = [
        (name, value) for name, value in pairs if name not in dropped and not name.startswith(_CORS_PREFIX)
    ]
    return [*kept, (b"x-content-type-options", b"nosniff")]
