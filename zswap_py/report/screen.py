# SPDX-License-Identifier: GPL-2.0-or-later
"""A screen of text: sentences, tables and titled lines, by rich."""

from __future__ import annotations

import io
from typing import Any

from zswap_py._lib.names import shown

#: Columns of a titled line's title.
TITLE = 8

#: Space around the cells of a table that is too wide.
NARROW = (0, 1, 0, 0)


class Screen:
    """Collects lines for an output `width` columns wide. Replaces µ and ± with u and +-
    if `plain`.

    Raises ImportError where rich is missing.
    """

    def __init__(self, width: int, colour: bool, plain: bool = False) -> None:
        from rich.console import Console

        self.width, self._plain = width, plain
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

        self._console.print(Text(shown(text), style=style), width=self.width)

    def item(self, title: str, text: str) -> None:
        """Adds a titled line. What does not fit goes on below the text."""
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=0)
        grid.add_column(width=TITLE, no_wrap=True)
        grid.add_column()
        grid.add_row(Text(title, style="bold"), Text(shown(text)))
        self._console.print(grid, width=self.width)

    def table(self, table: Any) -> None:
        """Adds a table, with less space between its columns if it is too wide."""
        if self.room(table) < 0:
            table.padding = NARROW
        self._console.print(table)

    def room(self, table: Any) -> int:
        """Returns the columns that a table leaves free; negative if it does not fit."""
        return int(self.width - self._console.measure(table).maximum)

    def text(self) -> str:
        """Returns all lines, without spaces at their ends."""
        text = "".join(line.rstrip() + "\n" for line in self._out.getvalue().splitlines())
        return text.replace("µ", "u").replace("±", "+-") if self._plain else text
