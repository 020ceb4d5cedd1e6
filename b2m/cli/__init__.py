"""The command line: `app` is the program, every other module a group of its commands."""

from b2m.cli.app import main

__all__ = ["main"]
