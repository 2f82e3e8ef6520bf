"""The terminal client in a real terminal: tmux, whose screen can be read and whose keys can be pressed."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator

from .process import CHAT_NODE, environment, until


class Terminal:
    """``chat-node chat`` on 80 columns and 24 lines. Use :meth:`running`."""

    def __init__(self, *arguments: str, **settings: object) -> None:
        assert shutil.which("tmux"), "tmux is missing: run `make tools`"
        self._socket = f"chat-test-{secrets.token_hex(4)}"
        variables = [f"{name}={value}" for name, value in environment(**settings).items()]
        command = shlex.join(["env", "-i", *variables, *CHAT_NODE, "chat", *arguments])
        size = ("-x", "80", "-y", "24")
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, f"{command}; echo ended with $?; sleep 1000")

    @classmethod
    @contextlib.contextmanager
    def running(cls, *arguments: str, **settings: object) -> Iterator[Terminal]:
        """A terminal in which the client runs, and that is gone at the end."""
        terminal = cls(*arguments, **{"term": "screen-256color", "lang": "C.UTF-8", **settings})
        try:
            yield terminal
        finally:
            terminal._tmux("kill-server")

    def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys by their names."""
        self._tmux("send-keys", "-l", text)
        for key in keys:
            self._tmux("send-keys", key)

    def say(self, text: str) -> None:
        """Type a line."""
        self.type(text, "Enter")

    def screen(self, *, styled: bool = False) -> str:
        """What is on the screen, with the escapes for colours if wanted."""
        return self._tmux("capture-pane", "-p", *(["-e"] if styled else []))

    def wait(self, *wanted: str, without: str = "", timeout_s: float = 30) -> None:
        """Wait until all of this is on the screen, and something else is not."""
        try:
            until(lambda: _shows(self.screen(), wanted, without), timeout_s)
        except TimeoutError:
            raise AssertionError(f"waited for {wanted}, without {without!r}:\n{self.screen()}") from None

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, *arguments], capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout


def _shows(screen: str, wanted: tuple[str, ...], without: str) -> bool:
    return all(text in screen for text in wanted) and not (without and without in screen)
