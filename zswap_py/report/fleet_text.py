# SPDX-License-Identifier: GPL-2.0-or-later
"""A fleet's rows as text, markdown, CSV and JSON."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from zswap_py._lib.names import shown
from zswap_py.report.fleet import Fleet, Row, Rules, Sum
from zswap_py.report.format import around, counted, size
from zswap_py.report.screen import Screen
from zswap_py.report.tables import csv_text, escaped, markdown_table

#: Figures of a table; JSON and CSV have all.
SHOWN = ("swappable_bytes", "cold_bytes", "net_saved_bytes")

COLUMNS = ("reports", "p5", "p50", "p95", "sum")


class Line(NamedTuple):
    """A line of a table: a label's value, a figure's words, and its cells."""

    label: str
    figure: str
    cells: tuple[str, ...]


class Table(NamedTuple):
    """The reports of the same rules."""

    rules: str
    headline: str
    lines: list[Line]


# ---- words ----


def tables(fleet: Fleet) -> Iterator[Table]:
    """Yields a table for each set of rules. Shows what swappable and cold memory there
    is, and what each compressor saves; the JSON and CSV have all figures.
    """
    for rules, every in itertools.groupby(fleet.rows(), Rules.of):
        rows = [row for row in every if row.figure in SHOWN]
        by_label: dict[str | None, list[Row]] = {}
        for row in rows:
            by_label.setdefault(row.label, []).append(row)
        largest = sorted(by_label.values(), key=lambda its: -_sum(its[0]).value)
        lines = [line for its in largest for line in _lines(its)]
        yield Table(_rules(rules), _headline(rows), lines)


def _sum(row: Row) -> Sum:
    assert row.sum is not None, row
    return row.sum


def _lines(rows: list[Row]) -> Iterator[Line]:
    """Yields the lines of one label: the memory, then the compressors, best first.
    Where cold memory is known, the savings of all memory are a ceiling: one line.
    """
    label = "(none)" if rows[0].label is None else shown(rows[0].label)
    of_memory = [row for row in rows if row.compressor is None]
    saved = [row for row in rows if row.compressor is not None]
    of_cold, of_all = (
        sorted((row for row in saved if row.pages == pages), key=lambda row: -_sum(row).value)
        for pages in ("cold", "all")
    )
    for row in (
        *sorted(of_memory, key=lambda row: row.figure, reverse=True),
        *of_cold,
        *(of_all[:1] if of_cold else of_all),
    ):
        cells = (f"{row.reports:,}", *map(size, (row.p5, row.p50, row.p95)), _around(_sum(row)))
        yield Line(label, _words(row), cells)


def _words(row: Row) -> str:
    if row.compressor is None:
        return row.figure.removesuffix("_bytes")
    return f"{shown(row.compressor)} saves, {row.pages}"


def _around(it: Sum) -> str:
    return around(it.value, (it.high - it.low) / 2)


def _rules(rules: Rules) -> str:
    batching = f", batching {rules.series}" if rules.series else ""
    folio = size(rules.folio_pages * rules.page_size).replace(".0", "")
    return shown(f"{rules.target} as Linux {rules.kernel}{batching}, folios of {folio}")


def _headline(rows: list[Row]) -> str:
    """Returns the sentence with the most important figure: of cold memory, if known."""
    for pages, memory in (("cold", "cold_bytes"), ("all", "swappable_bytes")):
        saved: dict[str, float] = {}
        for row in rows:
            if row.compressor is not None and row.pages == pages:
                saved[row.compressor] = saved.get(row.compressor, 0) + _sum(row).value
        given = sum(_sum(row).value for row in rows if row.figure == memory)
        best = max(saved, key=lambda name: saved[name], default=None)
        if best is None:
            continue
        what = f"{size(given)} cold" if pages == "cold" else f"{size(given)}, if all were swapped"
        if saved[best] <= 0:
            return f"zswap would save nothing of {what}."
        return f"{shown(best)} would save {size(saved[best])} of {what}."
    return "No compressor was available."


def counts(fleet: Fleet) -> str:
    """Returns what was read, in a line."""
    text = counted(fleet.reports, "report")
    if fleet.merged:
        text += f", {fleet.merged:,} of the files are parts of samples"
    if fleet.duplicates:
        text += f"; {counted(fleet.duplicates, 'duplicate')} dropped"
    return text


def left_out(fleet: Fleet) -> list[str]:
    """Returns a line for each reason for which files were left out."""
    return [
        f"{it.files:,} left out: {shown(it.first)} {it.reason}"
        f"{f'; and {it.files - 1:,} more' if it.files > 1 else ''}"
        for it in sorted(fleet.left_out.values(), key=lambda it: -it.files)
    ]


# ---- formats ----


def to_text(fleet: Fleet, width: int = 80, colour: bool = False, plain: bool = False) -> str:
    """Returns the fleet for people."""
    screen = Screen(width, colour, plain)
    screen.say(counts(fleet))
    for table in tables(fleet):
        screen.say("")
        screen.say(table.headline, "bold")
        screen.say(table.rules, "dim")
        screen.say("")
        screen.table(_drawn(table.lines, fleet.by))
    if lines := left_out(fleet):
        screen.say("")
        for line in lines:
            screen.say(line, "dim")
    return screen.text()


def _drawn(lines: Iterable[Line], by: str | None) -> Any:
    from rich.table import Table as Drawn

    table = Drawn(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    if by is not None:
        table.add_column(shown(by), no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    before = None
    for line in lines:
        label = [] if by is None else [line.label if line.label != before else ""]
        table.add_row(*_plain([*label, line.figure, *line.cells]))
        before = line.label
    return table


def _plain(cells: list[str]) -> list[Any]:
    """Returns cells in which brackets are not rich's markup."""
    from rich.text import Text

    return [Text(cell) for cell in cells]


def to_markdown(fleet: Fleet) -> str:
    """Returns the fleet as a section for a page."""
    out = [f"{counts(fleet)}", ""]
    for table in tables(fleet):
        by = [] if fleet.by is None else [fleet.by]
        out += [f"**{escaped(table.headline)}** {escaped(table.rules)}", ""]
        out += markdown_table(
            [
                (*by, "", *COLUMNS),
                *(
                    (*([line.label] if by else []), line.figure, *line.cells)
                    for line in table.lines
                ),
            ]
        )
    out += [f"- {escaped(line)}" for line in left_out(fleet)]
    return "\n".join(out).rstrip("\n") + "\n"


def to_csv(fleet: Fleet) -> str:
    """Returns all rows as CSV, with the names of the JSON object's fields."""
    return csv_text([_flat(row) for row in fleet.rows()])


def _flat(row: Row) -> dict[str, Any]:
    flat = dataclasses.asdict(row)
    total = flat.pop("sum") or {}
    return flat | {
        "sum": total.get("value"),
        "sum_low": total.get("low"),
        "sum_high": total.get("high"),
    }


def to_json(fleet: Fleet, indent: int | None = 2) -> str:
    """Returns one JSON object with all rows, and the counts of what is in none."""
    found = {
        "by": fleet.by,
        "reports": fleet.reports,
        "merged": fleet.merged,
        "duplicates": fleet.duplicates,
        "left_out": [dataclasses.asdict(it) for it in fleet.left_out.values()],
        "rows": [dataclasses.asdict(row) for row in fleet.rows()],
    }
    return json.dumps(found, indent=indent)
