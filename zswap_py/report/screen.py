# SPDX-License-Identifier: GPL-2.0-or-later
"""A screen of text: sentences and one table, by rich."""

from __future__ import annotations

import io
from typing import Any

from zswap_py._lib.names import shown


class Screen:
    """Collects lines for an output `width` columns wide.

    Raises ImportError where rich is missing.
    """

    def __init__(self, width: int, colour: bool) -> None:
        from rich.console import Console

        self._width = width
        self._out = io.StringIO()
        # wider than the output: better a table that does not fit than one cut off
        self._console = Console(
            file=self._out,
            width=max(width, 200),
            force_terminal=colour,
            no_color=not colour,
            color_system="standard" if colour else None,
            highlight=False,
            _environ={},
        )

    def say(self, text: str, style: str = "") -> None:
        """Adds a sentence, wrapped, with the names in it made printable."""
        from rich.text import Text

        self._console.print(Text(shown(text), style=style), width=self._width)

    def table(self, table: Any) -> None:
        """Adds a table, with less space between its columns if it is too wide."""
        if self._console.measure(table).maximum > self._width:
            table.padding = (0, 1, 0, 0)
        self._console.print(table)

    def text(self) -> str:
        """Returns all lines, without spaces at their ends."""
        return "".join(line.rstrip() + "\n" for line in self._out.getvalue().splitlines())
