# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of bench/batching.py: tables of its rows and their meaning, in lines of at
most 110 columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import batching_model as model
from batching_model import CONSTANTS, FOLIO_NAMES, MAINLINE_NS, PAGE
from harness import machine

from zswap_py.iaa import IAA

WIDTH = 110
LETTERS = {"host_ns": "h", "compress_ns": "s", "transfer_ns": "b", "share": "r"}
NONE = "-"

Rows = list[dict[str, Any]]


def say(text: str) -> None:
    """Print a paragraph, filled to the width."""
    print(textwrap.fill(" ".join(text.split()), WIDTH))


def line(text: str) -> None:
    """Print a line as it is. Raises RuntimeError if it is wider than WIDTH."""
    if len(text) > WIDTH:
        raise RuntimeError(f"a line of {len(text)} columns: {text}")
    print(text)


def title(text: str) -> None:
    print()
    line(text)
    line("-" * len(text))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(cells[i]) for cells in lines) for i in range(len(head))]
    for cells in lines:
        padded = [
            c.rjust(w) if i else c.ljust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        line("  ".join(padded).rstrip())


def letter(row: dict[str, Any], figure: str) -> str:
    """Returns the letter of the constant that the figure is most sensitive to."""
    return LETTERS.get(row["most_sensitive"][figure] or "", NONE)


def sense(row: dict[str, Any], figure: str, names: Sequence[str] = CONSTANTS) -> str:
    """Returns the elasticities, and the letter of the largest."""
    values = [row["elasticity"][figure][name] for name in names]
    # + 0: no -0.00
    cells = [f"{NONE:>5}" if e is None else f"{round(e, 2) + 0:+5.2f}" for e in values]
    return " ".join([*cells, letter(row, figure)])


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:+.{digits}f}%"


def ns(row: dict[str, Any], figure: str = "p50_ns") -> str:
    return f"{row['figures'][figure]:,.0f}"


def us(nanoseconds: float, digits: int = 1) -> str:
    return f"{nanoseconds / 1000:.{digits}f}"


def print_fit(rows: Rows) -> None:
    title(
        "1. FIT: three constants, from three published latencies (v10 2/25: 64 KiB folios, one "
        "CPU, p50)"
    )
    one, on_one, over_four = (p50 for p50, _ in model.PUBLISHED_LATENCY.values())
    h, s, b = model.solve(one, on_one, over_four)
    line(
        f"h + s = {one:,}    (h + 7b + s) / 8 = {on_one:,}    (8h + s) / 8 = {over_four:,}    ns "
        "a page of 4 KiB"
    )
    line(
        f"h = {h:.1f} (CPU, a page)    s = {s:.1f} (device, a page alone)    b = {b:.1f} "
        "(between a device's pages)"
    )
    say(f"""Run with the library's profile {IAA.name!r}: host_ns={IAA.host_ns} (h),
        compress_ns={IAA.compress_ns} (s), transfer_ns={IAA.transfer_ns} (b).""")
    published = {row["name"]: row for row in rows if row["kind"] == "published"}
    table(
        ["store, ns a page", "published p50", "p99", "closed form", "simulated (fit)", "deviation"],
        (
            [
                name,
                ns(published[name]),
                ns(published[name], "p99_ns"),
                f"{row['closed_form_ns']:,.1f}",
                f"{row['figures']['p50_ns']:,.2f}",
                percent(row["deviation"], 3),
            ]
            for row in rows
            if row["kind"] == "fit"
            for name in (row["name"],)
        ),
    )
    say("""There are as many constants as figures: so their agreement tests the simulator, not the
        model. The simulator has no noise, so one CPU's p99 equals its p50.""")


def print_grid(rows: Rows) -> None:
    title(
        "2a. PREDICTED: one CPU, batches of 1 to 8 pages, 1 to 8 devices of its package; ns a "
        "page of a store"
    )
    groups = {folio: [row for row in rows if row["folio_pages"] == folio] for folio in FOLIO_NAMES}
    times = [[row["figures"]["p50_ns"] for row in group] for group in groups.values()]
    same = all(t == times[0] for t in times)
    for folio, group in groups.items():
        merged: dict[tuple[str, ...], list[int]] = {}
        for row in group:
            t = row["figures"]["p50_ns"]
            cells = (str(row["batch"]), f"{t:,.1f}", f"{times[0][0] / t:.2f}", sense(row, "p50_ns"))
            merged.setdefault(cells, []).append(row["devices"])
        line(
            f"folios of {FOLIO_NAMES[folio]}{', and of 2 MiB to the nanosecond' if same else ''}; "
            "elasticity: % of the figure for each % of the constant"
        )
        table(
            ["batch", "devices", "ns a page", "times faster", "h     s     b  "],
            (
                [batch, ", ".join(map(str, devices)), *rest]
                for (batch, *rest), devices in merged.items()
            ),
        )
        if same:
            break
    say("""With 4 devices no page of a batch waits for b, so more devices do not help one CPU. No
        known server has 8 devices in one package; Sapphire Rapids has 4.""")


def print_cpus(rows: Rows) -> None:
    title(
        "2b. PREDICTED: 56 CPUs that only store, at once; 4 devices of one package, or 8 of two "
        "(28 CPUs each)"
    )
    for folio, name in FOLIO_NAMES.items():
        group = [row for row in rows if row["folio_pages"] == folio]
        if not group:
            continue
        line(
            f"folios of {name}; p50, p99: ns a page of a store; elasticities h s b, and which is "
            "largest"
        )
        table(
            ["", "dev.", "p50", "p99", "GB/s", "of p50", "of p99", "of GB/s"],
            (
                [
                    row["name"],
                    str(row["devices"]),
                    ns(row),
                    ns(row, "p99_ns"),
                    f"{row['figures']['gb_s']:.2f}",
                    *(sense(row, k) for k in ("p50_ns", "p99_ns", "gb_s")),
                ]
                for row in group
            ),
        )
    say("""1: one page at a time, by mainline's driver (one device a CPU) or by v10's (all devices
        of the package, in turn). 8: batches, to the CPU's own device (distribute_comps=0) or over
        the four devices of the package.""")


def print_sweep(rows: Rows) -> None:
    title(
        "2c. PREDICTED: how many CPUs fill the devices; 4 devices, CPUs that only store, folios "
        "of 64 KiB"
    )
    names = list(dict.fromkeys(row["name"] for row in rows))
    by_cpus: dict[int, list[str]] = {}
    for row in rows:
        cell = (
            f"{ns(row)} {row['figures']['gb_s']:8.2f} {letter(row, 'p50_ns')} {letter(row, 'gb_s')}"
        )
        by_cpus.setdefault(row["cpus"], []).append(cell)
    table(["CPUs", *names], ([str(nr), *cells] for nr, cells in by_cpus.items()))
    cap, alone, batched = (
        4 / IAA.transfer_ns,
        model.closed_form(IAA, 1, 4),
        model.closed_form(IAA, 8, 4),
    )
    say(f"""Each cell: ns a page (p50), GB/s of all CPUs, and the constants that these two are most
        sensitive to (--json has all elasticities). Each of the four devices starts a page every b
        ns: {cap * PAGE:.1f} GB/s together. {cap * alone:.1f} CPUs that store one by one reach that,
        or {cap * batched:.1f} CPUs that batch. With more CPUs batching gains nothing: 56 CPUs fill
        the devices either way. Batching helps a few CPUs that wait, not many CPUs.""")


def print_queues(rows: Rows) -> None:
    title(
        "2d. PREDICTED: queues that fill; v10, folios of 64 KiB of pages that compress, Linux "
        "6.16's rules"
    )
    table(
        [
            "batch",
            "CPUs",
            "dev.",
            "queue",
            "apart",
            "refused",
            "no descr.",
            "p50",
            "p99",
            "of p50",
            "of no descr.",
        ],
        (
            [
                str(row["batch"]),
                str(row["cpus"]),
                str(row["devices"]),
                str(row["entries"]),
                str(row["apart_ns"]),
                f"{100 * row['figures']['refused']:.0f}%",
                f"{100 * row['figures']['no_descriptor']:.1f}%",
                ns(row),
                ns(row, "p99_ns"),
                sense(row, "p50_ns"),
                sense(row, "no_descriptor"),
            ]
            for row in rows
        ),
    )
    say("""queue: entries of each device's queue; apart: ns from one CPU's first store to the next
        CPU's; refused: share of the stores that failed; no descr.: share of the pages that got no
        descriptor in 1,000 tries (reject_compress_fail); p50, p99: ns a page of a store, refused or
        not. A batch keeps the descriptors of its first pages, finished or not, while it waits for
        more. If CPUs x 8 is well above all entries, all CPUs wait for each other until their tries
        are used up, again and again. One by one the same queues refuse no store. In between stores
        succeed unless all CPUs begin in the same instant (the last two rows: each CPU's first store
        fails, no other). The series' author reports failures only for one IAA with 30 and more busy
        cores. Two things are assumed. A freed descriptor goes to the CPU that has waited longest;
        CPUs that poll get it by chance, which moves the shares. And these CPUs store again at once;
        a real one would first write the folio to the swap device. Where stores fail, the
        elasticities mostly depend on the order of the CPUs. Linux 6.18 keeps such pages raw and
        refuses no store.""")


def print_software(rows: Rows) -> None:
    title("3. MEASURED here: software, one core; PREDICTED: 56 such cores, which share nothing")
    at_once = {
        (row["compressor"], row["folio_pages"]): row for row in rows if row["kind"] == "predicted"
    }
    table(
        ["", "folios", "ns of CPU a page, measured", "ratio", "GB/s of 56, predicted"],
        (
            [
                row["compressor"],
                FOLIO_NAMES[row["folio_pages"]],
                ns(row, "ns"),
                f"{row['figures']['ratio']:.2f}",
                f"{at_once[row['compressor'], row['folio_pages']]['figures']['gb_s']:.2f}",
            ]
            for row in rows
            if row["kind"] == "measured"
        ),
    )
    say(f"""These are this machine's cores ({machine()["cpu"]}), not a 2.5 GHz Sapphire Rapids':
        they stand beside the calibrated device for scale, so do not read a speed-up from the two.
        All 56 cores only compress; the memory bandwidth that they would share is left out. The
        elasticity to the measured time is -1.""")


def print_usemem_folio(name: str, group: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Print one folio size: the rows beside each other, and the model's limits."""
    predicted, constants = group["predicted", "after"], (*CONSTANTS, "share")
    before, after, why = (
        group["fit", "before"]["figures"],
        predicted["figures"],
        predicted["explained"],
    )
    first, second = (group["published", side]["figures"]["kb_s"] for side in ("before", "after"))
    own_swap_outs, slower = (
        group["predicted", n]["figures"]["gain"] for n in model.USEMEM_VARIANTS
    )
    print(f"\nfolios of {name}")
    table(
        ["KB/s", "published", "model", "", "off by"],
        [
            [
                "before",
                f"{first:,}",
                f"{before['before_kb_s']:,.0f}",
                "fit",
                percent(before["before_kb_s"] / first - 1, 2),
            ],
            [
                "after",
                f"{second:,}",
                f"{after['after_kb_s']:,.0f}",
                "predicted",
                percent(after["after_kb_s"] / second - 1),
            ],
            ["gain", percent(why["published_gain"]), percent(after["gain"]), "predicted", ""],
        ],
    )
    table(
        ["elasticity, X fitted anew", "h     s     b     r  "],
        (
            [f"of {what}", sense(predicted, figure, constants)]
            for what, figure in (("KB/s after", "after_kb_s"), ("the gain", "gain"))
        ),
    )
    say(f"""Fitted: X = {before["outside_ns"]:,.0f} ns a page touched, outside zswap. With it r =
        {predicted["share"]:.3f} of the pages touched are stored ({model.SWAP_OUTS[0] / 1e6:.1f} M
        of {model.PAGES_TOUCHED / 1e6:.1f} M), at {before["before_p50_ns"]:,.0f} ns each before
        (p50, other processes' pages in the way) and {after["after_p50_ns"]:,.0f} after.""")
    say(f"""Published, a page touched takes a process {us(why["published_saved_ns"], 2)} us less;
        the model's store latency explains {us(why["saved_ns"], 2)} us of that,
        {100 * why["explained"]:.0f}%. The same model would need stores of
        {us(why["needed_before_ns"])} us before, not the published 3.5, to explain all. Stores that
        take no time at all would give {percent(why["most_gain"])}. After with its own swap-outs
        (r = {model.SHARE_AFTER:.3f}): {percent(own_swap_outs)}. Before with {MAINLINE_NS} ns more a
        page, which v10's logs say that its driver saves: {percent(slower)}.""")
    sys_before, sys_after = why["sys_ns_a_swap_out_before"], why["sys_ns_a_swap_out_after"]
    store = model.PUBLISHED_LATENCY["one by one"][0] - model.PUBLISHED_LATENCY["8 over four"][0]
    say(f"""The kernel's own account: {us(sys_before)} us of system time a swapped page before,
        {us(sys_after)} after: {us(sys_before - sys_after)} us less, of which the published store
        latencies ({us(store)} us less) are {100 * store / (sys_before - sys_after):.0f}%.""")


def print_usemem(rows: Rows) -> None:
    title(
        "4. usemem30: 30 processes x 10 GiB; before FITTED, after PREDICTED, with nothing "
        "changed but the driver"
    )
    for folio, name in FOLIO_NAMES.items():
        group = {(row["kind"], row["name"]): row for row in rows if row["folio_pages"] == folio}
        if group:
            print_usemem_folio(name, group)
    print()
    say("""So the published store latency does not explain the published throughput. Most of the
        gain comes from parts that this model leaves out, and it cannot tell from which. Left out:
        contention for locks and in reclaim, which a store that is 5 times shorter may relieve;
        throttling at memory.high, whose sleeps depend on how far reclaim lags; page faults,
        clearing pages, TLB shootdowns; DMA mapping; cache effects; the series' other changes in
        zswap and the driver (though zstd, in the same runs, went from -1% to +1%); interrupts,
        frequency, memory bandwidth; processes' waits for each other, except at the devices; loads,
        which use the same devices; and the CPU's share of a store under load: the published
        latencies are those of a process alone.""")


def print_assumptions() -> None:
    title("Fit, predicted, assumed, not modelled")
    for what, text in {
        "fit": (
            "h, s, b, to three latencies; X of usemem30, to its rows before. No constant is fitted "
            "to a row after."
        ),
        "predicted": (
            "all of 2; the rows after of 4; the 56 cores of 3, from one core's measured time."
        ),
        "assumed": f"""pause_ns={IAA.pause_ns} (140 cycles) and 1,000 tries for a descriptor, which
            matter in 2d. In the profile, but without a part here:
            decompress_ns={IAA.decompress_ns}, irq_ns={IAA.irq_ns}, software_ns={IAA.software_ns}
            (no page is loaded, no CPU waits for an interrupt), jitter={IAA.jitter}. verify_compress
            is off, as in the published runs. usemem30: KB are 1,024 bytes, of all processes
            together; the swap-out counts hold for both folio sizes; a process is in zswap or
            outside, never both; the 30 are spread over both packages and are out of step.""",
        "not modelled": """times that depend on a page's contents; devices that share a package's
            memory; power; and for usemem30 the list above.""",
    }.items():
        print(
            textwrap.fill(
                f"{what + ':':14}{' '.join(text.split())}", WIDTH, subsequent_indent=" " * 14
            )
        )
