"""What an MCP server tells anybody who asks politely: discovery, challenges, limits, headers.

A fixed small number of requests, to the host that was named only. Never a login, never a real token, and one
registration that has to be refused. Ids of findings: R and A are the duties of resource server and
authorization server (MCP authorization specification), T the attacks that they prevent, M the transport, H
headers.
"""
