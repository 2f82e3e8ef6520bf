"""The replicated state: the same log gives the same state on every node."""
