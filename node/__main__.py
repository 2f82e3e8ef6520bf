"""``python -m node`` is ``chat-node``."""

from node.cli.program import main

main()
