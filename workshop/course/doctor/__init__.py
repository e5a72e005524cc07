"""Looks at this machine before a room full of people does."""
