"""The practice GitHub: an offline stand-in for github.com, its REST API and its remote MCP server."""
