# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as text: headline, table, advice, notes."""

from __future__ import annotations

from typing import Any

from zswap_py._lib.names import shown
from zswap_py.report.data import ALIKE, Figures, Report, Unavailable, load_ns
from zswap_py.report.format import micros, percent, size
from zswap_py.report.screen import Screen


def advice(report: Report) -> str | None:
    """Returns a sentence on which compressor to choose, or None if nothing was stored.
    Says nothing about speed where quartiles overlap.
    """
    figures = [f for f in report.figures if f.intact]
    if not any(f.savings.pages for f in figures):
        return None
    pick = report.pick
    if pick is None:
        return f"zswap would save nothing here: {_why_not(report, figures[0])}."
    share = pick.saved / (report.page_size * pick.savings.pages)
    if share < 0.1:
        return (
            f"zswap would save little here, {percent(share)} with {report.label(pick)}: "
            f"{_why_not(report, pick)}."
        )
    others = [f for f in figures if f is not pick]
    if not others:
        return (
            f"{report.label(pick)} would save {percent(share)} of this memory, without its "
            "zero-filled pages."
        )
    return _comparison(report, pick, others)


def _why_not(report: Report, f: Figures) -> str:
    share = percent(f.savings.incompressible)
    if f.savings.incompressible < 0.05:
        return (
            "there are too few pages to fill the zspages"
            if f.savings.stored_pages.value < 4096
            else "the pages compress badly"
        )
    if report.folio_pages > 1 and f.savings.rejected:
        return f"{share} of the pages lie in folios with a page that does not compress"
    return f"{share} of the pages do not compress"


def _comparison(report: Report, pick: Figures, others: list[Figures]) -> str:
    name = report.label(pick)
    faster = [f for f in others if f.loads_faster(pick)]
    if faster:
        fastest = min(faster, key=load_ns)
        # among equally fast loads the one that saves most: which of them is fastest in
        # this run is chance
        rival = next(f for f in faster if not fastest.loads_faster(f))
        return (
            f"{_more(report, pick, rival)}; a load takes {load_ns(pick) / load_ns(rival):.1f}x as "
            "long."
        )
    if all(pick.loads_faster(f) for f in others):
        best = report.figures[0]
        what = (
            "the most"
            if best is pick
            else f"as much as {report.label(best)}, to within {_less(best, pick)}"
        )
        return f"{name} saves {what}, and its loads are the fastest."
    return f"{_more(report, pick, others[0])}."


def _more(report: Report, pick: Figures, rival: Figures) -> str:
    one, other = report.label(pick), report.label(rival)
    if rival.saved <= 0:
        return f"{one} saves memory, {other} saves none"
    gain = pick.saved / rival.saved - 1
    if abs(gain) < ALIKE:
        return f"{one} and {other} save the same to within {percent(ALIKE)}"
    if gain > 0.9:
        return f"{one} saves {gain + 1:.1f}x as much memory as {other}"
    return f"{one} saves {percent(gain)} more memory than {other}"


def _less(best: Figures, pick: Figures) -> str:
    return percent(1 - pick.saved / best.saved)


def _sources(report: Report) -> str:
    labels = [s["label"] for s in report.source]
    if len(labels) <= 2:
        return " and ".join(labels)
    kinds = {"process": "processes", "stdin": "standard input"}
    counts: dict[str, int] = {}
    for s in report.source:
        counts[s["kind"]] = counts.get(s["kind"], 0) + 1
    return ", ".join(
        f"{n:,} {kinds.get(kind, kind + 's') if n > 1 else kind}" for kind, n in counts.items()
    )


def _count(pages: int) -> str:
    return f"{pages:,} page{'' if pages == 1 else 's'}"


def _pages_read(report: Report) -> str:
    read, all_of_it = report.sample.pages, report.pages_total
    if all_of_it is None or read == all_of_it:
        text = f"{_count(read)}, {size(read * report.page_size)}"
    else:
        total = size(all_of_it * report.page_size)
        text = f"{read:,} of {_count(all_of_it)} ({size(read * report.page_size)} of {total})"
    if report.estimated:
        text += ", estimated"
    if not report.complete:
        return text + "; incomplete, not scaled up"
    return text + (", scaled up" if not report.exact else "")


def _pages(report: Report) -> int:
    return report.sample.pages if report.pages_total is None else report.pages_total


def headline(report: Report) -> str:
    """Returns the sentence with the most important figure."""
    whole = size(_pages(report) * report.page_size)
    if not report.sample.pages:
        return "Nothing was measured."
    if report.pick is None:
        return f"If all this were swapped, zswap would save nothing of {whole}."
    saved = size(report.pick.saved)
    return (
        f"If all this were swapped, {report.label(report.pick)} would save {saved} of {whole}, net."
    )


def _notes(report: Report) -> list[str]:
    """Returns the lines below the table: pages left out, and the meaning of marks."""
    notes = [
        f"{report.label(c)} is not available: {c.unavailable}"
        for c in report.compressors
        if isinstance(c, Unavailable)
    ]
    if report.pick is not None and len(report.figures) > 1:
        notes.append(
            f"* saves most, or is within {percent(ALIKE)} of the best, with clearly faster loads"
        )
    if near := [f for f in report.figures if not f.kernel_sizes]:
        codecs = ", ".join(f"{f.backend} {f.library_version or ''}".rstrip() for f in near)
        notes.append(f"~ sizes may differ from the kernel's: {codecs}")
    if refused := [f for f in report.figures if f.savings.rejected]:
        to_disk = "; ".join(f"{report.label(f)} {_to_disk(f)}" for f in refused)
        notes.append(f"rejected by zswap, and so written to disk: {to_disk}")
    if report.zero_pages.value:
        zero = size(report.zero_pages.value * report.page_size)
        notes.append(f"zero-filled pages: {zero} more, saved without zswap")
    if report.estimated:
        notes.append(
            "estimated: only root can tell which pages processes share; each process counts "
            "its share of them (Pss)"
        )
    if any(report.sample.not_read.values()):
        counts = ", ".join(
            f"{n:,} {cause.replace('_', ' ')}" for cause, n in report.sample.not_read.items() if n
        )
        notes.append(f"pages not read: {counts}")
    return notes


# ---- the table ----


def to_text(report: Report, width: int = 80, colour: bool = False, micro: str = "µ") -> str:
    """Returns the report for people: headline, table, advice, notes. `micro` replaces
    µ where the output cannot encode it.
    """
    screen = Screen(width, colour)
    say = screen.say
    made_by = f"as Linux {report.kernel}{f', batching {report.series}' if report.series else ''}"
    folio = size(report.folio_pages * report.page_size).replace(".0", "")
    say(f"{_sources(report)}: {_pages_read(report)}")
    for source in report.source:
        if "incomplete" in source:
            say(f"{source['label']} {source['incomplete']}", "bold")
    say(f"zswap {made_by}, folios of {folio}; {report.host.cpu}", "dim")
    say("")
    say(headline(report), "bold")
    if report.sample.pages and report.figures:
        say("")
        screen.table(_table(report, micro))
    if sentence := advice(report):
        say("")
        say(sentence)
    if notes := _notes(report):
        say("")
        for note in notes:
            say(note, "dim")
    return screen.text()


def _table(report: Report, micro: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("\ncompressor", no_wrap=True)
    time = f"{micro}s/page"
    for name in (
        "net\nsaved",
        "\nratio",
        "\npool",
        "do not\ncompress",
        f"store\n{time}",
        f"load\n{time}",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for f in report.figures:
        ratio = f.savings.ratio(report.page_size)
        cells = [
            size(f.saved),
            "-" if ratio is None else f"{ratio:.2f}",
            size(f.savings.pool_total_size.value),
            percent(f.savings.incompressible),
            micros(f.store_ns_p50),
            micros(f.load_ns_p50),
        ]
        if not f.intact:
            cells[0] = "DAMAGED"
        name = shown(report.label(f)) + ("" if f.kernel_sizes else " ~")
        picked = f is report.pick
        table.add_row(
            "*" if picked else "",
            name,
            *cells,
            style="red" if not f.intact else "bold green" if picked else None,
        )
    return table


def _to_disk(f: Figures) -> str:
    """Returns the pages that zswap rejected, and their share."""
    pages = round(f.savings.rejected_pages.value)
    return f"{_count(pages)}, {percent(f.savings.rejected)}"
