# SPDX-License-Identifier: GPL-2.0-or-later
"""What follows from a report: which compressor, what to set, which limits bind, what is
not known. Every line has a fact of the report behind it, and is absent without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from zswap_py.kernels import rules
from zswap_py.report.data import (
    ALIKE,
    OTHERS,
    Estimate,
    Figures,
    Group,
    Report,
    Savings,
    load_ns,
)
from zswap_py.report.format import at_least, counted, percent, seconds, size
from zswap_py.report.host import ZRAM

#: The share of a group's pages that must not compress for a line to name it.
MANY = 0.05

#: The share of the memory that must be saved for zswap to be advised.
WORTHWHILE = 0.1

#: The share of the memory that must be left out for a line to name it.
LEFT_OUT = 0.01

#: Groups that lines name.
NAMED = 3

#: Names of the ways to find cold memory, for people.
METHODS = {"damon": "DAMON"}

_REFUSES_FOLIOS = "zswap of Linux {} refuses folios of several pages"

#: Names of ZFS volumes in /dev.
ZVOL = re.compile(r"zd\d+|zvol/.*")


class Line(NamedTuple):
    """A line below the tables: its title and its text."""

    title: str
    text: str


def lines(report: Report) -> list[Line]:
    """Returns the lines that follow from the report, in the order of the screen."""
    return [
        Line(title, text)
        for title, texts in (
            ("To do", [to_do(report)]),
            ("Limit", [limit(report)]),
            ("Watch", list(watch(report))),
            ("Without", [without(report)]),
            ("Unknown", ["; ".join(unknown(report))]),
            ("Sure?", ["; ".join(sure(report))]),
            ("Cost", [cost(report)]),
        )
        for text in texts
        if text
    ]


def live(report: Report) -> bool:
    """Returns whether the memory is that of processes of this host."""
    return any(source["kind"] == "process" for source in report.source)


# ---- which compressor, and why ----


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
    share = _share_saved(report, pick)
    name = report.label(pick)
    if share < WORTHWHILE:
        return (
            f"zswap would save little here, {percent(share)} with {name}: {_why_not(report, pick)}."
        )
    others = [f for f in figures if f is not pick]
    if not others:
        return f"{name} saves {percent(share)} of this memory, without its zero-filled pages."
    return _comparison(report, pick, others)


def _share_saved(report: Report, f: Figures) -> float:
    """Returns the share of the pages' bytes that a compressor saves."""
    return f.saved / (report.page_size * f.savings.pages) if f.savings.pages else 0.0


def _why_not(report: Report, f: Figures) -> str:
    savings = f.savings
    share = percent(savings.incompressible)
    if savings.incompressible < MANY:
        return (
            "there are too few pages to fill the zspages"
            if savings.stored_pages.value < 4096
            else "the pages compress badly"
        )
    if _small_folios_only(report):
        return f"{_REFUSES_FOLIOS.format(report.kernel)}: --folio 4K"
    if report.folio_pages > 1 and savings.rejected:
        return f"{share} of the pages lie in folios with a page that does not compress"
    return f"{share} of the pages do not compress"


def _small_folios_only(report: Report) -> bool:
    """Returns whether the kernel refuses each folio, whatever its pages hold."""
    if report.folio_pages == 1:
        return False
    try:
        return bool(rules(report.kernel, report.series)["small_folios_only"])
    except ValueError:  # a report of a later version, with a kernel that this one lacks
        return False


def _comparison(report: Report, pick: Figures, others: list[Figures]) -> str:
    name = report.label(pick)
    faster = [f for f in others if f.loads_faster(pick)]
    if faster:
        fastest = min(faster, key=load_ns)
        # among equally fast loads the one that saves most: which of them is fastest in
        # this run is chance
        rival = next(f for f in faster if not fastest.loads_faster(f))
        times = f"{load_ns(pick) / load_ns(rival):.1f}x"
        return f"{_more(report, pick, rival)}; a load takes {times} as long."
    if all(pick.loads_faster(f) for f in others):
        best = report.figures[0]
        less = percent(1 - pick.saved / best.saved)
        what = "the most" if best is pick else f"as much as {report.label(best)}, to within {less}"
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


# ---- To do ----


def to_do(report: Report) -> str | None:
    """Returns the settings that the host lacks. Returns None if it has them, or if
    zswap would save little.
    """
    pick = report.pick
    if pick is None or not live(report) or _share_saved(report, pick) < WORTHWHILE:
        return None
    return "; ".join([*_settings(report, pick), *_swap(report)]) or None


def _settings(report: Report, pick: Figures) -> Iterator[str]:
    zswap = report.host.zswap
    if zswap is None:
        yield "a kernel with CONFIG_ZSWAP=y: this one has no zswap"
        return
    current = next((f for f in report.figures if f.name == zswap.compressor), None)
    # a compressor that was not measured is not known to be worse
    as_good = current is not None and (
        current.name == pick.name
        or (
            current.intact
            and current.saved >= (1 - ALIKE) * pick.saved
            and not pick.loads_faster(current)
        )
    )
    wanted = [] if as_good or (current is None and zswap.enabled) else [f"compressor={pick.name}"]
    if not zswap.enabled:
        wanted.append("enabled=Y")
    if wanted:
        yield ", ".join(wanted)


def _swap(report: Report) -> Iterator[str]:
    areas = report.host.swap
    needed = (report.pages_total if report.cold_pages is None else report.cold_pages) or 0
    needed *= report.page_size
    if not areas:
        most = "up to " if report.cold_pages is None else "at least "
        yield (
            f"a swap of {most}{at_least(needed)} (there is none, and each page in zswap keeps its "
            "slot in one)"
        )
        return
    whole, used = sum(a.size for a in areas), sum(a.used for a in areas)
    # without cold memory it is not known how much will be swapped
    if report.cold_pages is not None and whole - used < needed:
        there = f"{size(whole)} is too small"
        if used:
            there = f"of {size(whole)} {size(whole - used)} are free"
        yield f"a swap of at least {at_least(used + needed)} ({there})"


# ---- Limit ----


def limit(report: Report) -> str | None:
    """Returns whether the pool would reach the host's max_pool_percent, or None without
    a pool or a zswap to compare.
    """
    zswap, ram = report.host.zswap, report.host.ram
    shown = report.pick or next(iter(report.figures), None)
    if zswap is None or not ram or shown is None or not live(report):
        return None
    most = ram * zswap.max_pool_percent // 100
    cold = None if shown.cold is None else shown.cold.pool_total_size
    whole = shown.all.pool_total_size
    said = f"max_pool_percent {zswap.max_pool_percent} is {size(most)}"
    if cold is None:
        found = f"{_reached(whole, most)} at most ({size(whole.value)})"
    elif _reached(cold, most) != "not reached":
        found = f"{_reached(cold, most)} cold ({size(cold.value)})"
    else:
        joint = ", nor" if _reached(whole, most) == "not reached" else f"; {_reached(whole, most)}"
        found = f"not reached cold ({size(cold.value)}){joint} at most ({size(whole.value)})"
    if _reached(whole, most) == "not reached":
        return f"{said}: {found}"
    threshold = zswap.accept_threshold_percent
    until = f" until the pool is below {threshold}% of it" if threshold is not None else ""
    return f"{said}: {found}. A full pool sends pages to disk{until}"


def _reached(pool: Estimate, most: int) -> str:
    if pool.value >= most:
        return "reached"
    return "perhaps reached" if pool.high >= most else "not reached"


# ---- Watch ----


def watch(report: Report) -> Iterator[str]:
    """Yields what goes wrong quietly: pages that do not compress, swap areas that do
    not suit zswap, pages that the reading made look hot.
    """
    yield from _incompressible(report)
    if not live(report):
        return
    for area in report.host.swap:
        name = area.name or "a swap file"
        if ZRAM.fullmatch(name):
            yield f"{name} is swap in memory: what zswap rejects or writes back takes memory there"
        elif ZVOL.fullmatch(name):
            yield f"{name} is a ZFS volume: swapping to one can deadlock when memory is short"
        elif area.rotational:
            yield f"{name} is a rotating disk to the kernel: pages that zswap rejects wait for it"
    if heated := report.sample.heated_pages:
        yield (
            f"reading marked {counted(heated, 'page')} as accessed, as /proc/kcore cannot be read: "
            "they look hot for a while"
        )


def _incompressible(report: Report) -> Iterator[str]:
    pick = report.pick or next(iter(report.figures), None)
    if pick is None:
        return
    if _small_folios_only(report):
        yield f"{_REFUSES_FOLIOS.format(report.kernel)}: they go to disk"
        return
    name = report.label(pick)
    named: list[tuple[str, Savings]] = [
        (group.label, group.savings[name].savings)
        for group in largest(report.groups)
        if name in group.savings
    ] or [("", pick.savings)]
    many = [(label, savings) for label, savings in named if savings.incompressible >= MANY]
    if not many:
        return
    shares = [f"{label} {percent(savings.incompressible)}" for label, savings in many[:NAMED]]
    if len(many) > NAMED:
        shares.append(f"{counted(len(many) - NAMED, 'group')} more")
    label, savings = many[0]
    share = percent(savings.incompressible)
    whose = f"{label}: {share} of its" if label else f"{share} of the"
    if len(many) > 1:
        whose = f"{', '.join(shares)} of their"
    yield f"{whose} pages {_consequence(savings)}"


def _consequence(savings: Savings) -> str:
    if savings.rejected_pages.value:
        return "are refused and go to disk (Linux 6.18 keeps them raw)"
    return "do not compress and are kept raw (before Linux 6.18: refused, to disk)"


def largest(groups: list[Group]) -> list[Group]:
    """Returns the groups by their swappable pages, the largest first, OTHERS last."""
    return sorted(groups, key=lambda group: (group.label == OTHERS, -group.pages))


# ---- Without, Unknown, Sure?, Cost ----


def without(report: Report) -> str | None:
    """Returns the pages that are not part of the figures, or None for less than
    LEFT_OUT of the memory.
    """
    counts = {cause: n for cause, n in report.sample.not_read.items() if n and cause != "swapped"}
    if sum(counts.values()) < LEFT_OUT * (report.pages_total or report.sample.pages):
        return None
    said = ", ".join(f"{n:,} {cause.replace('_', ' ')}" for cause, n in counts.items())
    return f"{said} pages" if said else None


def unknown(report: Report) -> Iterator[str]:
    """Yields what the figures of live processes cannot tell."""
    if not live(report):
        return
    if report.cold is None:
        yield "how much of it is cold: --cold 120"
    elif report.cold.bytes is not None:
        nbytes = size(report.cold.bytes)
        yield f"which pages are cold: by {report.cold.method} only that {nbytes} are"
    elif report.cold_pages is None:
        remedy = f". {report.cold.remedy}" if report.cold.remedy else ""
        yield f"how much of it is cold: {report.cold.reason or 'not found'}{remedy}"
    else:
        yield "how often cold pages return"
    if denied := report.sample.processes_denied:
        yield f"{counted(denied, 'process')} that could not be read"
    if report.estimated:
        yield "which pages processes share: only root sees it; each counts its part (Pss)"
    if swapped := report.sample.not_read.get("swapped"):
        yield f"{size(swapped * report.page_size)} that are in swap already"


def sure(report: Report) -> Iterator[str]:
    """Yields how far the figures can be trusted."""
    if report.cold is not None and report.cold.method is not None:
        method = METHODS.get(report.cold.method, report.cold.method)
        yield f"cold by {method}, {seconds(report.cold.seconds)}"
    if not report.complete:
        yield "incomplete: see the messages"
    elif report.exact:
        yield "every page was read"
    else:
        yield f"± is 95%{_short_of_the_aim(report)}"
    near = [f for f in report.figures if not f.kernel_sizes]
    if near:
        codecs = ", ".join(f"{f.backend} {f.library_version or ''}".rstrip() for f in near)
        yield f"~ sizes may differ from the kernel's ({codecs})"
    if len(near) < len(report.figures):
        yield f"{'other ' if near else ''}sizes exact to the byte for {report.kernel}"
    if live(report):
        yield "the processes ran on meanwhile"
    if report.cold is not None and report.cold.method is not None:
        yield from report.cold.remarks


def _short_of_the_aim(report: Report) -> str:
    """Returns why ± is more than was asked for, if it is."""
    aim, ended = report.sample.precision, report.sample.ended
    if ended == "budget":
        return ", as far as the CPU budget went"
    return f", not yet {percent(aim)} of the figure" if aim and ended == "sample" else ""


def cost(report: Report) -> str:
    """Returns what the report cost this machine."""
    c = report.cost
    threads = "one thread" if c.threads == 1 else f"{c.threads} threads"
    policy = f", {c.policy} priority" if c.policy != "other" else ""
    spent = f"{seconds(c.cpu_seconds)} CPU on {threads}{policy}"
    return f"{spent}, {at_least(c.peak_memory)}; no contents kept"
