"""The client protocol, version 1. Pure: no Trio, no I/O, the clock is passed in."""
