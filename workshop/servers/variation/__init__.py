"""What servers of variations share, and what the gateway must not have because it needs the MCP SDK."""
