# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as one screen: whose memory, what is saved, by group and by compressor, and
what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zswap_py._lib.names import shown
from zswap_py.kernels import rules
from zswap_py.report.advice import advice, largest, lines, live
from zswap_py.report.data import OTHERS, Figures, Group, Report, Savings, together
from zswap_py.report.format import around, counted, micros, percent, seconds, size
from zswap_py.report.screen import NARROW, Screen

#: Rows of the table of groups, without the one for all others.
ROWS = 10

#: Faults a second behind the column "CPU".
FAULTS = 1000

#: Characters of a label that always stay.
LABEL = 8

#: Columns of the output from which a group's own counters have room.
WIDE = 120


def to_text(report: Report, width: int = 80, colour: bool = False, plain: bool = False) -> str:
    """Returns the report for people. `plain` replaces µ and ± where the output cannot
    encode them.
    """
    screen = Screen(width, colour, plain)
    say = screen.say
    for line, style in first_lines(report):
        say(line, style)
    say("")
    say(headline(report), "bold")
    if (at_most := _at_most(report)) is not None:
        say(at_most)
    name = report.label(report.pick or report.figures[0]) if report.figures else ""
    if groups := [group for group in largest(report.groups) if name in group.savings]:
        say("")
        _groups(report, groups, name, screen)
    if report.sample.pages and report.figures:
        say("")
        _compressors(report, screen)
        if any(isinstance(f, Figures) for f in report.zram or []):
            say("")
            _beside_zram(report, screen)
    if sentence := advice(report):
        say("")
        say(sentence)
    say("")
    for row in report.compressors:
        if not isinstance(row, Figures):
            say(f"{report.label(row)} is not available: {row.unavailable}", "dim")
    there = {report.label(f) for f in report.figures}
    for row in report.zram or []:
        if not isinstance(row, Figures) and report.label(row) in there:
            say(f"{report.label(row)} is not available in zram: {row.unavailable}", "dim")
    for title, text in lines(report):
        screen.item(title, text)
    return screen.text()


# ---- the first lines ----


def first_lines(report: Report) -> Iterator[tuple[str, str]]:
    """Yields whose memory this is, what is missing of it, the machine and the kernel
    that was modelled: each line, and its style on the screen.
    """
    yield _whose(report), ""
    for source in report.source:
        if "incomplete" in source:
            yield f"{source.get('label', source['kind'])} {source['incomplete']}", "bold"
    yield _where(report), "dim"
    if report.kernel_remark:
        yield report.kernel_remark, "dim"


def _whose(report: Report) -> str:
    """Returns whose memory this is, its size, and how much of it was read."""
    if not live(report):
        return f"{_sources(report)}: {_pages_read(report)}"
    whose = (report.host.name or "this host") if report.scope == "host" else _sources(report)
    ram = f" of {size(report.host.ram)} RAM" if report.host.ram else ""
    all_of_it = _pages(report) * report.page_size
    read = report.sample.pages * report.page_size
    amount = "all read" if report.exact and report.complete else f"{size(read)} read"
    time = seconds(report.cost.wall_seconds)
    return f"{whose}: {size(all_of_it)} swappable{ram}; {amount} in {time}{_reserve(report)}"


def _sources(report: Report) -> str:
    labels = report.selected or [s["label"] for s in report.source if "label" in s]
    if labels and len(labels) <= 2:
        return " and ".join(labels)
    kinds = {"stdin": "standard input"}
    counts: dict[str, int] = {}
    for source in report.source:
        kind = kinds.get(source["kind"], source["kind"])
        counts[kind] = counts.get(kind, 0) + source.get("sources", 1)
    if report.selected:
        counts = {"cgroup": len(report.selected)}
    return ", ".join(counted(n, kind) for kind, n in counts.items())


def _pages_read(report: Report) -> str:
    read, all_of_it = report.sample.pages, _pages(report)
    if read == all_of_it:
        text = f"{counted(read, 'page')}, {size(read * report.page_size)}"
    else:
        total = size(all_of_it * report.page_size)
        pages = counted(all_of_it, "page")
        text = f"{read:,} of {pages} ({size(read * report.page_size)} of {total})"
    return text + _reserve(report)


def _reserve(report: Report) -> str:
    """Returns what the first line must add: the figures do not cover all."""
    return ("; estimated" if report.estimated else "") + (
        "" if report.complete else "; incomplete, not scaled up"
    )


def _pages(report: Report) -> int:
    return report.sample.pages if report.pages_total is None else report.pages_total


def _where(report: Report) -> str:
    """Returns the machine, its zswap and swap, and the kernel that was modelled."""
    folio = size(report.folio_pages * report.page_size).replace(".0", "")
    folios = f", folios of {folio}" if report.folio_pages > 1 else ""
    if not live(report):
        return f"{report.target} modelled as Linux {report.kernel}{folios}; {report.host.cpu}"
    host = report.host
    zswap = "no zswap"
    if host.zswap is not None:
        zswap = f"zswap on ({host.zswap.compressor})" if host.zswap.enabled else "zswap off"
    swap = "no swap"
    if host.swap:
        names = ", ".join(area.name or area.kind for area in host.swap)
        swap = f"swap {size(sum(area.size for area in host.swap))} ({names})"
    return f"Linux {host.kernel}, {zswap}, {swap}, modelled as {report.kernel}{folios}"


def headline(report: Report) -> str:
    """Returns the sentence with the most important figure."""
    if not report.sample.pages:
        return "Nothing was measured."
    pick, whole = report.pick, size(_pages(report) * report.page_size)
    if not report.complete:  # the figures are those of the pages that were read
        whole = f"the {size(report.sample.pages * report.page_size)} read"
    if pick is None:
        return f"zswap would save nothing of {whole}{_zero(report)}."
    name, saved = report.label(pick), _unsure(pick.savings, brackets=True)
    if report.cold_pages is None or report.cold is None or pick.cold is None:
        return (
            f"At most, if everything were swapped, {name} saves {saved} of {whole}{_zero(report)}."
        )
    cold = size(report.cold_pages * report.page_size)
    time = seconds(report.cold.seconds)
    if report.scope == "host":
        return f"With {name} this host gets {saved} back from {cold} cold for {time}."
    return f"{name} saves {saved} of {cold} cold for {time}."


def _zero(report: Report) -> str:
    """Returns the size of the zero-filled pages, which zswap never sees, if it is not
    small.
    """
    pages = report.zero_pages.value
    if pages < 0.005 * _pages(report):
        return ""
    return f"; its zero-filled pages save {size(pages * report.page_size)} without zswap"


def _at_most(report: Report) -> str | None:
    """Returns the ceiling, where the headline has the cold memory."""
    pick = report.pick
    if pick is None or pick.cold is None:
        return None
    return f"At most, if everything were swapped: {_unsure(pick.all, brackets=True)}."


def _unsure(savings: Savings, brackets: bool = False) -> str:
    saved = savings.net_saved_bytes
    return around(saved.value, saved.error, brackets)


# ---- the tables ----


def _new_table() -> Any:
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _numbers(table: Any, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def _groups(report: Report, groups: list[Group], name: str, screen: Screen) -> None:
    """Adds the table of the groups with what the compressor `name` saves: the largest,
    and all others as one. Cuts labels if it does not fit.
    """
    if len(groups) > ROWS + 1:
        groups = [*groups[:ROWS], together(groups[ROWS:], OTHERS)]
    facts: list[str] = []
    if screen.width >= WIDE:
        facts = list(dict.fromkeys(fact for group in groups for fact in group.facts))
    longest = max(len(shown(group.label)) for group in groups)
    table = _groups_table(report, groups, name, facts, longest)
    if screen.room(table) < 0:
        table.padding = NARROW
        if (room := screen.room(table)) < 0:
            table = _groups_table(report, groups, name, facts, max(LABEL, longest + room))
    screen.table(table)


def _keeps_raw(report: Report) -> bool:
    """Returns whether the modelled kernel stores a page raw that does not compress. A
    report may be of a kernel that this version does not know: then none was refused.
    """
    try:
        return bool(rules(report.kernel, None)["incompressible"] == "store")
    except ValueError:
        return not any(f.all.rejected_pages.value for f in report.figures)


def _groups_table(
    report: Report, groups: list[Group], name: str, facts: list[str], label: int
) -> Any:
    from rich.text import Text  # as a string, [heap] would be markup

    cold = report.cold_pages is not None
    table = _new_table()
    table.add_column("", no_wrap=True)
    _numbers(table, "swappable", *(["cold"] if cold else []))
    misfits = "kept raw" if _keeps_raw(report) else "to disk"
    _numbers(table, "saved, cold" if cold else "saved", "ratio", misfits)
    _numbers(table, *(f"{fact} now" for fact in facts))
    for group in groups:
        savings = group.savings[name].savings
        ratio = savings.ratio(report.page_size)
        table.add_row(
            Text(_cut(shown(group.label), label)),
            size(group.pages * report.page_size),
            *([size((group.cold_pages or 0) * report.page_size)] if cold else []),
            _unsure(savings),
            "-" if ratio is None else f"{ratio:.1f}",
            percent(savings.incompressible),
            *(size(group.facts[fact]) if fact in group.facts else "-" for fact in facts),
        )
    return table


def _cut(label: str, width: int) -> str:
    """Returns a label with its middle cut out if it is longer than `width`."""
    if len(label) <= width:
        return label
    tail = (width - 2) // 2
    return f"{label[: width - 2 - tail]}..{label[-tail:]}"


def _compressors(report: Report, screen: Screen) -> None:
    """Adds the table of the compressors; without the CPU if that does not fit, as it
    follows from the times.
    """
    table = _compressors_table(report, cpu=True)
    if screen.room(table) < 0:
        table.padding = NARROW
        if screen.room(table) < 0:
            table = _compressors_table(report, cpu=False)
    screen.table(table)


def _compressors_table(report: Report, cpu: bool) -> Any:
    from rich.text import Text

    table = _new_table()
    table.add_column("")
    table.add_column("\n", no_wrap=True)
    cold = any(f.cold is not None for f in report.figures)
    _numbers(table, "\nsaved, cold" if cold else "\nsaved", "\nratio", "\npool")
    _numbers(table, "store\nµs/page", "load\nµs/page")
    if cpu:
        _numbers(table, f"CPU, {FAULTS:,}\nfaults/s")
    for f in report.figures:
        picked = f is report.pick
        ratio = f.savings.ratio(report.page_size)
        cells = [
            _unsure(f.savings) if f.intact else "DAMAGED",
            "-" if ratio is None else f"{ratio:.2f}",
            size(f.savings.pool_total_size.value),
            micros(f.store_ns_p50),
            micros(f.load_ns_p50),
        ]
        if cpu:
            cells.append(_cpu(f))
        table.add_row(
            "*" if picked else "",
            Text(shown(report.label(f)) + ("" if f.kernel_sizes else " ~")),
            *cells,
            style="red" if not f.intact else "bold green" if picked else None,
        )
    return table


def _beside_zram(report: Report, screen: Screen) -> None:
    """Adds the table that has zram beside zswap, by compressor."""
    from rich.text import Text

    table = _new_table()
    table.add_column("\n", no_wrap=True)
    _numbers(table, "saved,\nzswap", "saved,\nzram", "pool,\nzswap", "pool,\nzram")
    to_disk = any(f.savings.rejected for f in report.figures)
    _numbers(table, "to disk,\nzswap" if to_disk else "kept raw,\nzswap", "kept raw,\nzram")
    by_zram = {(f.name, f.backend): f for f in report.zram or [] if isinstance(f, Figures)}
    for f in report.figures:
        zram = by_zram.get((f.name, f.backend))
        if zram is None:
            continue
        table.add_row(
            Text(shown(report.label(f)) + ("" if f.kernel_sizes and zram.kernel_sizes else " ~")),
            size(f.savings.net_saved_bytes.value),
            size(zram.savings.net_saved_bytes.value) if zram.intact else "DAMAGED",
            size(f.savings.pool_total_size.value),
            size(zram.savings.pool_total_size.value),
            percent(f.savings.incompressible),
            percent(zram.savings.incompressible),
        )
    screen.table(table)


def _cpu(f: Figures) -> str:
    """Returns the share of a CPU that the faults take: each loads a page and, in the
    long run, stores one.
    """
    if f.store_ns_p50 is None or f.load_ns_p50 is None:
        return "-"
    return percent((f.store_ns_p50 + f.load_ns_p50) * FAULTS / 1e9)
