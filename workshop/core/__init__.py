"""Errors, results, the console, settings, paths, ports, the instance record: what every other room may use.

It imports nothing else of the workshop.
"""
