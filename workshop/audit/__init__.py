"""A server examined from outside: `probe` asks any MCP server, `compare` puts five systems side by side."""
