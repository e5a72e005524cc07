"""The gateway: ToolHive's `MCPRemoteProxy` with its embedded authorization server, as one local process.

Same as ToolHive 0.63.0 (so that what is learned here is true on the cluster): paths, callback, audience
pinning, the consent page and the cookies that tie it and the callback to one browser, lifetimes and their
bounds, limits and expiry of registrations, `resource` at both endpoints, token claims with `tsid`, one
JSON-RPC message a request, header forwarding, tool filter, the refresh that a dead upstream token ends.

Different, on purpose (part 4's `differences.md` has what a client sees of it, held to
`tests/toolhive_real/differences.py`):

- a consent page each time: nobody is remembered, and a callback in another browser ends the sign-in;
- `iss` in every authorization response (RFC 9207), and a revocation endpoint (RFC 7009);
- a 401 without an error code when no token was sent; `resource_metadata` in every challenge;
- the token swap fails closed, the upstream's own challenges and cookies never pass, and request headers are
  an allowlist;
- an MCP session belongs to one sign-in; ToolHive's belongs to the person;
- private-use redirect schemes are accepted, except those that a browser or the system gives a meaning;
- `offline_access` is announced in the server metadata only, not for the resource (MCP 2026-07-28: SHOULD
  NOT); clients learn from `scopes_supported` of the authorization server that they may ask for it;
- refresh tokens: a repetition within 20 seconds gets the same successor, any later reuse ends the sign-in;
- the resource has a second identifier, the URL of `/mcp`: the metadata below that path name it (RFC 9728
  section 3.3), and a token has the one that was asked for as its audience;
- a client that registers the refresh grant may ask for `offline_access` without registering that scope;
- client ID metadata documents, where `cimd` enables them, are cached by HTTP's rules, and read from public
  addresses only; ToolHive caches each for a fixed time;
- an open stream ends when its sign-in does;
- state is kept in SQLite and survives a restart; ToolHive's memory storage does not;
- no token exchange grant.
"""
