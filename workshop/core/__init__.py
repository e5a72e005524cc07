"""Errors, results, console, settings, paths, ports and the instance record: what every package may import.

It imports no other package of the workshop.
"""
