"""The log: the one ordered, durable sequence of entries that all nodes apply."""
