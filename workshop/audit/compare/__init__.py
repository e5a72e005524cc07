"""Five ways to put authorization in front of MCP, compared by what was observed of each in this run.

`collect` sends the same probes to each system, and `rows` derives a cell from the answers. A row does not
know which system it describes.
"""
