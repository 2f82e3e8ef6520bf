"""The screen: lines above, how things are, and a line to type. The only importer of urwid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import urwid

from node.terminal.words import Markup

_PALETTE: list[tuple[str, str, str] | tuple[str, str, str, str] | tuple[str, str, str, str, str, str]] = [
    ("body", "default", "default"),
    ("dim", "default", "default", "default", "g54", "default"),
    ("bar", "white", "dark blue", "standout"),
    ("alert", "light red", "default", "bold"),
    ("mention", "yellow", "default", "bold"),
    *((f"name{i}", f"{color},bold", "default", "bold") for i, color in enumerate(
        ("dark red", "dark green", "brown", "dark blue", "dark magenta", "dark cyan"))),
]  # fmt: skip
_TIME_COLUMNS = 5
_PASTE_BEGINS, _PASTE_ENDS = "begin paste", "end paste"


class Pane:
    """The lines of one room. A line has a key, by which it is changed; pending lines stay below all others."""

    def __init__(self) -> None:
        self._walker: urwid.SimpleFocusListWalker[Any] = urwid.SimpleFocusListWalker([])
        self._lines: dict[int | str, urwid.Columns] = {}
        self._pending: set[int | str] = set()
        self.box = urwid.ListBox(self._walker)
        self.follows = True

    def put(self, key: int | str, time: str, markup: Markup, *, pending: bool = False) -> None:
        """Show a line, or change the one with this key where it stands."""
        line = urwid.Columns([(_TIME_COLUMNS, urwid.Text(("dim", time))), urwid.Text(list(markup))], 1)
        old = self._lines.get(key)
        self._lines[key] = line
        if old is not None:
            self._walker[self._walker.index(old)] = line
        elif pending:
            self._pending.add(key)
            self._walker.append(line)
        else:
            self._walker.insert(len(self._walker) - len(self._pending), line)
        self._settle()

    def drop(self, key: int | str) -> None:
        """Take a line away, if it is there."""
        line = self._lines.pop(key, None)
        self._pending.discard(key)
        if line is not None:
            self._walker.remove(line)
        self._settle()

    def clear(self) -> None:
        """Take away all lines but the pending."""
        for key in [key for key in self._lines if key not in self._pending]:
            self.drop(key)

    def scroll(self, size: tuple[int, int], key: str) -> None:
        """Move by a page; at the end it follows what arrives again."""
        self.box.keypress(size, key)
        self.follows = key == "page down" and "bottom" in self.box.ends_visible(size)
        self._settle()

    def _settle(self) -> None:
        if self.follows and self._walker:
            self.box.set_focus(len(self._walker) - 1)
            self.box.set_focus_valign("bottom")


class _Input(urwid.Edit):
    """A line to type. What is pasted may have several; Enter sends only when a person pressed it."""

    def __init__(self, on_enter: Callable[[str], bool]) -> None:
        super().__init__("> ", multiline=True)
        self._on_enter = on_enter
        self._is_pasting = False

    def keypress(self, size: Any, key: str) -> str | None:
        if key in (_PASTE_BEGINS, _PASTE_ENDS):
            self._is_pasting = key == _PASTE_BEGINS
            return None
        if key != "enter" or self._is_pasting:
            return super().keypress(size, key)
        if self._on_enter(self.edit_text):
            self.set_edit_text("")
        return None


class Screen:
    """A terminal as a whole. :meth:`run` has it until cancelled; changes are drawn by themselves.

    Args:
        on_enter: called with the line typed; returns whether it was taken, otherwise it stays.
        on_typing: called with the line while it is being typed.
        on_end: called when the person wants to go.
    """

    def __init__(
        self, on_enter: Callable[[str], bool], on_typing: Callable[[str], None], on_end: Callable[[], None]
    ) -> None:
        self._on_end = on_end
        self._title = urwid.Text("", wrap="ellipsis")
        self._status = urwid.Text("", wrap="ellipsis")
        self._input = _Input(on_enter)
        self._below = urwid.Pile([self._status, self._input])
        self._pane = Pane()
        urwid.connect_signal(self._input, "change", lambda _, text: on_typing(text))
        self._frame = urwid.Frame(
            self._pane.box,
            header=urwid.AttrMap(self._title, "bar"),
            footer=self._below,
            focus_part="footer",
        )
        self._events = urwid.TrioEventLoop()
        self._loop = urwid.MainLoop(
            self._frame, _PALETTE, handle_mouse=False, event_loop=self._events, unhandled_input=self._unhandled
        )

    def show(self, pane: Pane) -> None:
        """Put another room's lines above."""
        self._pane = pane
        self._frame.body = pane.box

    def say_how_it_is(self, title: str, status: str, *, alert: bool) -> None:
        """Write the bar above and the line below."""
        self._title.set_text(title)
        self._status.set_text(("alert" if alert else "dim", status))

    async def run(self) -> None:
        """Have the terminal; it is as it was before when this ends."""
        with self._loop.start():
            await self._events.run_async()

    def _unhandled(self, key: str | tuple[str, int, int, int]) -> bool:
        if key == "ctrl d" and not self._input.edit_text:
            self._on_end()
        elif key in ("page up", "page down"):
            columns, rows = self._loop.screen.get_cols_rows()
            below = self._below.rows((columns,))
            self._pane.scroll((columns, rows - below - 1), str(key))
        else:
            return False
        return True
