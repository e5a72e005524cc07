"""A library: plain functions as an MCP server, for callers with a token of an outside identity provider.

    from workshop.servers.resource_server import mk_http_app

    app = mk_http_app([add, "my_package.tools:search"], name="Tools", auth=AUTH)

The names and what they accept are the contract of py2mcp. `python -m workshop.servers.resource_server` is the
same as a program. It issues no token, passes none on, and uses the network only when a first token arrives.
"""

from workshop.servers.resource_server.app import (
    AuthProvider,
    ConfigError,
    mk_auth_provider,
    mk_http_app,
    mk_mcp_from_refs,
    mk_mcp_server,
    serve_http,
)

__all__ = [
    "AuthProvider",
    "ConfigError",
    "mk_auth_provider",
    "mk_http_app",
    "mk_mcp_from_refs",
    "mk_mcp_server",
    "serve_http",
]
