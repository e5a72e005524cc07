"""The gateway: ToolHive's `MCPRemoteProxy` with its embedded authorization server, as one local process.

Same as ToolHive 0.63.0 (so that what is learned here is true on the cluster): paths, callback, audience
pinning, lifetimes and their bounds, registration limits, token claims with `tsid`, header forwarding, tool
filter.

Different, on purpose:

- a consent page for each client and sign-in, tied to the browser by a cookie until the callback;
- `iss` in every authorization response (RFC 9207), and a revocation endpoint (RFC 7009);
- a 401 without an error code when no token was sent; `resource_metadata` in every challenge;
- the token swap fails closed, the upstream's own challenges and cookies never pass, and request headers are
  an allowlist;
- `resource` is checked at the authorization endpoint too; private-use redirect schemes are refused;
- `offline_access` is announced in the server metadata only, not for the resource (MCP 2026-07-28: SHOULD
  NOT); clients learn from `scopes_supported` of the authorization server that they may ask for it;
- refresh tokens: a repetition within 20 seconds gets the same successor, any later reuse ends the sign-in;
- client ID metadata documents are on unless switched off, kept by HTTP's rules, and read from public
  addresses only; ToolHive has them off, and keeps each for a fixed time;
- an open stream ends when its sign-in does;
- state is kept in SQLite and survives a restart; ToolHive's memory storage does not;
- no token exchange grant and no confidential clients.
"""
