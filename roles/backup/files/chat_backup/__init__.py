"""Backups of the chat on a host: made, listed, checked, tried and put back. Standard library only, for bare Debian."""
