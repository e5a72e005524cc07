"""A four-part tutorial on the Model Context Protocol, carried by one command."""

__version__ = "0.1.0"
