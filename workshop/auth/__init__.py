"""An OAuth 2.1 kit for servers: authorization server, resource guard, keys, stores, account linking.

It serves no MCP and knows no program. Gateway, identity provider and variations are built with it.
"""
