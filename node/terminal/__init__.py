"""The terminal client: what a room looks like, what a person can type, and the screen between the two."""
