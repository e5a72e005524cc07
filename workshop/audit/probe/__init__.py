"""What an MCP server shows without a login: discovery, challenges, limits, headers.

At most 20 requests, only to the given host, without a login or a real token, and one registration that the
server must refuse. A login is made only when a person asks for it (`workshop.audit.sign_in`); ids with L are
checks with its token. Ids of findings: R and A are the duties of the resource server and the
authorization server (MCP authorization specification), T the attacks that they prevent, M the transport, H
headers.
"""
