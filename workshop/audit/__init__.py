"""Examine servers from outside: `probe` checks any MCP server, `compare` shows five systems side by side."""
