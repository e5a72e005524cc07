"""Five ways to put authorization in front of MCP, compared by what was observed of each in this run.

`gather` makes the same probes against each system in a room of its own; `rows` tells what they saw. No row
knows which system it looks at.
"""
