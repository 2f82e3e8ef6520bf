"""The command line: the only place that prints or exits. A file for each group of commands."""

from node.cli.program import main

__all__ = ["main"]
