"""What an MCP server shows without a login: discovery, challenges, limits, headers.

At most 20 requests, only to the given host, never a login or a real token, and one registration that the
server must refuse. Ids of findings: R and A are the duties of the resource server and the
authorization server (MCP authorization specification), T the attacks that they prevent, M the transport, H
headers.
"""
