"""A four-part tutorial on the Model Context Protocol, driven by a single command."""

__version__ = "0.1.0"
