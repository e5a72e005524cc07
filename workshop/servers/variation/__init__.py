"""What servers of variations share: how they are started for real, and what needs the MCP SDK."""
