"""How bytes come and go. Nothing outside of this package knows trio-websocket."""
