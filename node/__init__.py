"""The chat node: one process that speaks the client protocol on top of a replicated log."""

from importlib.metadata import version

__version__ = version("chat-node")
