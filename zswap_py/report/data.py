# SPDX-License-Identifier: GPL-2.0-or-later
"""A report: its data, and what is made of it, JSON or a table. Nothing here measures or reads arguments.

The fields' names are the JSON's, and docs/report.md says what each means. Numbers are raw and of the pages that were
read, but for the estimates; the table shows these, and says so.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
from dataclasses import dataclass
from typing import Any

from zswap_py._lib.names import shown

SCHEMA = 1

#: Pages below which nothing is said about speed: quartiles of so few runs say little.
ENOUGH_PAGES = 1024

#: Savings that differ by less are as good as equal.
ALIKE = 0.02


@dataclass(frozen=True)
class Figures:
    """What one compressor came to. Sizes in bytes; times in nanoseconds a page, None where no page was stored."""

    name: str
    backend: str
    library_version: str | None
    kernel_sizes: bool
    stored_pages: int
    stored_incompressible_pages: int
    rejected_pages: int
    compressed_bytes: int
    pool_total_size: int
    ratio: float | None
    net_saved_bytes: int
    estimated_pool_total_size: int
    estimated_net_saved_bytes: int
    store_ns_p50: float | None
    store_ns_p25: float | None
    store_ns_p75: float | None
    load_ns_p50: float | None
    load_ns_p25: float | None
    load_ns_p75: float | None
    intact: bool

    @property
    def incompressible(self) -> float:
        """The share of the pages given to it that would not compress, 0 to 1."""
        given = self.stored_pages + self.rejected_pages
        return (self.stored_incompressible_pages + self.rejected_pages) / given if given else 0.0

    def loads_faster(self, other: Figures) -> bool:
        """Whether its loads are clearly faster: the quartiles do not overlap."""
        mine, theirs = self.load_ns_p75, other.load_ns_p25
        enough = min(self.stored_pages, other.stored_pages) >= ENOUGH_PAGES
        return mine is not None and theirs is not None and enough and mine < theirs


@dataclass(frozen=True)
class Unavailable:
    """A compressor that cannot be had, and why."""

    name: str
    backend: str | None
    unavailable: str


@dataclass(frozen=True)
class Report:
    """All of a report, in the order of the JSON object."""

    schema: int
    complete: bool
    command: str
    host: dict[str, str]
    source: list[dict[str, Any]]
    kernel: str
    series: str | None
    page_size: int
    folio_pages: int
    pages_total: int | None
    estimated: bool
    pages: int
    zero_pages: int
    not_read: dict[str, int]
    processes_gone: list[int]
    compressors: list[Figures | Unavailable]

    @property
    def scale(self) -> float:
        """How many pages each page that was read stands for in the estimates; 1 unless a whole sample was read."""
        return scale_of(self.pages_total, self.pages, self.not_read["vanished"]) if self.complete else 1.0

    @property
    def figures(self) -> list[Figures]:
        """The compressors that could be had, those that save most first."""
        found = [c for c in self.compressors if isinstance(c, Figures)]
        return sorted(found, key=lambda f: -f.estimated_net_saved_bytes)

    @property
    def pick(self) -> Figures | None:
        """What saves most; or, of those that save as good as the same, what loads clearly faster."""
        good = [f for f in self.figures if f.intact and f.estimated_net_saved_bytes > 0]
        if not good:
            return None
        best = good[0]
        enough = (1 - ALIKE) * best.estimated_net_saved_bytes
        alike = [f for f in good if f.estimated_net_saved_bytes >= enough and f.loads_faster(best)]
        return min(alike, key=_load_ns, default=best)


def scale_of(pages_total: int | None, pages: int, vanished: int) -> float:
    """How many pages of all each page read stands for. Those that vanished stand for others that did."""
    return pages_total / (pages + vanished) if pages_total and pages else 1.0


def _load_ns(f: Figures) -> float:
    return math.inf if f.load_ns_p50 is None else f.load_ns_p50


# ---- JSON ----


def to_json(report: Report) -> str:
    """The JSON object, raw numbers, indented."""
    return json.dumps(dataclasses.asdict(report), indent=2)


# ---- words ----


def size(nbytes: float) -> str:
    """Bytes with a binary unit: 15.1 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(nbytes) < 1024:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} TiB"


def advice(report: Report) -> str | None:
    """One sentence on which to choose; None if nothing was stored. Nothing about speed where quartiles overlap."""
    figures = [f for f in report.figures if f.intact]
    if not any(f.stored_pages + f.rejected_pages for f in figures):
        return None
    pick = report.pick
    if pick is None:
        return f"zswap would save nothing here: {_why_not(report, figures[0])}."
    given = report.page_size * report.scale * (pick.stored_pages + pick.rejected_pages)
    share = pick.estimated_net_saved_bytes / given
    if share < 0.1:
        return (f"zswap would save little here, {_percent(share)} with {_label(report, pick)}: "
                f"{_why_not(report, pick)}.")
    others = [f for f in figures if f is not pick]
    if not others:
        return f"{_label(report, pick)} would give back {_percent(share)} of this memory, zero-filled pages aside."
    return _comparison(report, pick, others)


def _why_not(report: Report, f: Figures) -> str:
    share = _percent(f.incompressible)
    if f.incompressible < 0.05:
        return "so few pages leave most zspages half empty" if f.stored_pages < 4096 else "the pages compress badly"
    if report.folio_pages > 1 and f.rejected_pages:
        return f"{share} of the pages lie in folios of which a page does not compress"
    return f"{share} of the pages do not compress"


def _comparison(report: Report, pick: Figures, others: list[Figures]) -> str:
    name = _label(report, pick)
    faster = [f for f in others if f.loads_faster(pick)]
    if faster:
        fastest = min(faster, key=_load_ns)
        # of those that load alike, what saves most: which of them happened to be first today means nothing
        rival = next(f for f in faster if not fastest.loads_faster(f))
        return f"{_more(report, pick, rival)}; a load takes {_load_ns(pick) / _load_ns(rival):.1f}x as long."
    if all(pick.loads_faster(f) for f in others):
        best = report.figures[0]
        what = "the most" if best is pick else f"as much as {_label(report, best)}, or all but {_less(best, pick)}"
        return f"{name} saves {what}, and its loads are the fastest."
    return f"{_more(report, pick, others[0])}."


def _more(report: Report, pick: Figures, rival: Figures) -> str:
    one, other = _label(report, pick), _label(report, rival)
    if rival.estimated_net_saved_bytes <= 0:
        return f"{one} saves memory, {other} saves none"
    gain = pick.estimated_net_saved_bytes / rival.estimated_net_saved_bytes - 1
    if abs(gain) < ALIKE:
        return f"{one} and {other} save the same to within {_percent(ALIKE)}"
    if gain > 0.9:
        return f"{one} saves {gain + 1:.1f}x as much memory as {other}"
    return f"{one} saves {_percent(gain)} more memory than {other}"


def _less(best: Figures, pick: Figures) -> str:
    return _percent(1 - pick.estimated_net_saved_bytes / best.estimated_net_saved_bytes)


def _percent(share: float) -> str:
    """Two digits where that is under a percent; 100% and 0% only if it is all or none."""
    percent = 100 * share
    if 0 < percent < 1:
        return f"{max(percent, 0.01):.2g}%"
    return f"{percent:.0f}%" if percent in (0, 100) or round(percent) < 100 else f"{min(percent, 99.9):.1f}%"


def _label(report: Report, c: Figures | Unavailable) -> str:
    """The kernel's name; with the backend where there are several of a name."""
    twins = [other for other in report.compressors if other.name == c.name]
    return c.name if len(twins) == 1 or not c.backend else f"{c.name}:{c.backend}"


def _sources(report: Report) -> str:
    labels = [s["label"] for s in report.source]
    if len(labels) <= 2:
        return " and ".join(labels)
    kinds = {"process": "processes", "stdin": "standard input"}
    counts: dict[str, int] = {}
    for s in report.source:
        counts[s["kind"]] = counts.get(s["kind"], 0) + 1
    return ", ".join(f"{n:,} {kinds.get(kind, kind + 's') if n > 1 else kind}" for kind, n in counts.items())


def _count(pages: int) -> str:
    return f"{pages:,} page{'' if pages == 1 else 's'}"


def _pages_read(report: Report) -> str:
    # what vanished is in neither figure, so that this total is the headline's
    read, all_of_it = report.pages, report.pages_total
    if report.complete and all_of_it is not None:
        all_of_it = round(read * report.scale)
    if all_of_it is None or read == all_of_it:
        text = f"{_count(read)}, {size(read * report.page_size)}"
    else:
        total = size(all_of_it * report.page_size)
        text = f"{read:,} of {_count(all_of_it)} ({size(read * report.page_size)} of {total})"
    if report.estimated:
        text += ", estimated"
    if not report.complete:
        return text + "; incomplete, not scaled up"
    return text + (", scaled up" if report.scale > 1 else "")


def headline(report: Report) -> str:
    """The figure that matters."""
    whole = size(report.pages * report.page_size * report.scale)
    if not report.pages:
        return "Nothing was measured."
    if report.pick is None:
        return f"If all this were swapped, zswap would save nothing of {whole}."
    saved = size(report.pick.estimated_net_saved_bytes)
    return f"If all this were swapped, {_label(report, report.pick)} would save {saved} of {whole}, net."


def _notes(report: Report) -> list[str]:
    """What stands below the table: what is not in it, and what its marks mean."""
    notes = [f"{_label(report, c)} is not available: {c.unavailable}" for c in report.compressors
             if isinstance(c, Unavailable)]
    if report.pick is not None and len(report.figures) > 1:
        notes.append(f"* saves most, or all but {_percent(ALIKE)} of that with loads that are clearly faster")
    if near := [f for f in report.figures if not f.kernel_sizes]:
        codecs = ", ".join(f"{f.backend} {f.library_version or ''}".rstrip() for f in near)
        notes.append(f"~ sizes not shown to be the kernel's to the byte: {codecs}")
    if refused := [f for f in report.figures if f.rejected_pages]:
        to_disk = "; ".join(f"{_label(report, f)} {_to_disk(report, f)}" for f in refused)
        notes.append(f"refused by zswap, so they would go to the disk: {to_disk}")
    if report.zero_pages:
        zero = size(report.zero_pages * report.page_size * report.scale)
        notes.append(f"zero-filled: {zero}, saved as well, without zswap")
    if report.estimated:
        notes.append("estimated: processes share pages that only root can tell apart; "
                     "each counts by its shares")
    if any(report.not_read.values()):
        counts = ", ".join(f"{n:,} {cause.replace('_', ' ')}" for cause, n in report.not_read.items() if n)
        notes.append(f"pages not read: {counts}")
    return notes


# ---- the table ----


def to_text(report: Report, width: int = 80, colour: bool = False, micro: str = "µ") -> str:
    """The report for people: headline, table, advice, notes. `micro` is for outputs that cannot encode µ."""
    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    # wider than the output: a table that does not fit is better than one that is cut
    console = Console(file=out, width=max(width, 200), force_terminal=colour, no_color=not colour,
                      color_system="standard" if colour else None, highlight=False, _environ={})
    made_by = f"as Linux {report.kernel}{f', batching {report.series}' if report.series else ''}"
    folio = size(report.folio_pages * report.page_size).replace(".0", "")

    def say(text: str, style: str = "") -> None:
        console.print(Text(shown(text), style=style), width=width)

    say(f"{_sources(report)}: {_pages_read(report)}")
    for source in report.source:
        if "incomplete" in source:
            say(f"{source['label']} {source['incomplete']}", "bold")
    say(f"zswap {made_by}, folios of {folio}; {report.host['cpu']}", "dim")
    say("")
    say(headline(report), "bold")
    if report.pages and report.figures:
        say("")
        table = _table(report, micro)
        if console.measure(table).maximum > width:
            table.padding = (0, 1, 0, 0)
        console.print(table)
    if sentence := advice(report):
        say("")
        say(sentence)
    if notes := _notes(report):
        say("")
        for note in notes:
            say(note, "dim")
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def _table(report: Report, micro: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("\ncompressor", no_wrap=True)
    time = f"{micro}s/page"
    for name in ("net\nsaved", "\nratio", "\npool", "do not\ncompress", f"store\n{time}", f"load\n{time}"):
        table.add_column(name, justify="right", no_wrap=True)
    for f in report.figures:
        pool, stored = f.estimated_pool_total_size, f.stored_pages * report.page_size * report.scale
        cells = [size(f.estimated_net_saved_bytes), f"{stored / pool:.2f}" if pool else "-", size(pool),
                 _percent(f.incompressible), _micros(f.store_ns_p50), _micros(f.load_ns_p50)]
        if not f.intact:
            cells[0] = "DAMAGED"
        name = shown(_label(report, f)) + ("" if f.kernel_sizes else " ~")
        picked = f is report.pick
        table.add_row("*" if picked else "", name, *cells,
                      style="red" if not f.intact else "bold green" if picked else None)
    return table


def _to_disk(report: Report, f: Figures) -> str:
    """What zswap refuses of the pages given to it, in words."""
    pages = round(f.rejected_pages * report.scale)
    return f"{_count(pages)}, {_percent(f.rejected_pages / (f.stored_pages + f.rejected_pages))}"


def _micros(ns: float | None) -> str:
    """Microseconds, in three digits."""
    if ns is None:
        return "-"
    us = ns / 1000
    return f"{us:.2f}" if us < 9.995 else f"{us:.1f}" if us < 99.95 else f"{us:,.0f}"
