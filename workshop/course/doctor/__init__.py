"""Checks that this machine is ready: one function for each thing that can be wrong."""
