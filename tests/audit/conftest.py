"""The commands of this package run in the process of their tests."""

from tests.cli.conftest import workshop

__all__ = ["workshop"]
