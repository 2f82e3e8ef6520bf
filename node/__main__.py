"""``python -m node`` is ``chat-node``."""

from node.cli import main

main()
