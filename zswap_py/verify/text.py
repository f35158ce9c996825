# SPDX-License-Identifier: GPL-2.0-or-later
"""A verdict as text: headline, table, notes."""

from __future__ import annotations

from typing import Any

from zswap_py._lib.names import shown
from zswap_py.report.format import size
from zswap_py.report.screen import Screen
from zswap_py.verify.data import POOL, Comparison, Verdict


def headline(verdict: Verdict) -> str:
    """Returns the verdict as one sentence."""
    if verdict.failed:
        return (
            "These claim the kernel's sizes, but differ: "
            f"{', '.join(f'{c.where} {c.name}' for c in verdict.failed)}."
        )
    if not any(c.kernel_sizes for c in verdict.comparisons):
        return "No codec that claims the kernel's sizes was compared."
    if verdict.broken_off:
        return (
            "Every codec compared has the kernel's sizes if it claims them; an error ended the "
            "rest."
        )
    return "Every codec that claims the kernel's sizes has them, to the byte."


def _label(c: Comparison) -> str:
    return f"{c.name}:{c.backend}{'' if c.kernel_sizes else ' ~'}"


def notes(verdict: Verdict) -> list[str]:
    """Returns the lines below the table."""
    said = []
    for c in verdict.comparisons:
        if c.wrong_counters and c.kernel_sizes:
            said.append(
                f"{c.where} {_label(c)}: counters that differ: {', '.join(c.wrong_counters)}"
            )
        if not c.steady:
            said.append(
                f"{c.where} {c.name}: the kernel's figures changed from run to run, as other "
                "memory was swapped; run again on a quieter machine"
            )
    said += dict.fromkeys(
        f"{_label(c)}: Linux {verdict.rules} has the sizes of {c.remedy}"
        for c in verdict.comparisons
        if c.remedy
    )
    if any(not c.kernel_sizes for c in verdict.comparisons):
        said.append("~ does not claim the kernel's sizes, and does not affect the exit code")
    if stores := max((c.page_stores or 0 for c in verdict.comparisons), default=0):
        said.append(f"in zram the page's size was compared after each of {stores:,} stores")
    if verdict.zero_pages:
        said.append(
            f"{verdict.zero_pages:,} zero-filled pages were left out: they never reach zswap"
        )
    said += [f"{what} was not compared: {why}" for what, why in verdict.not_compared.items()]
    said += [
        f"the comparison of {what} ended early: {why}" for what, why in verdict.broken_off.items()
    ]
    return said + [f"meanwhile: {change}" for change in verdict.meanwhile]


# ---- the table ----


def to_text(verdict: Verdict, width: int = 80, colour: bool = False) -> str:
    """Returns the verdict for people: headline, table, notes."""
    screen = Screen(width, colour)
    say = screen.say
    host, page = verdict.host, size(verdict.page_size).replace(".0", "")
    say(f"{verdict.source}: {verdict.pages:,} pages, {size(verdict.pages * verdict.page_size)}")
    say(
        f"this machine's Linux {host['kernel']} ({host['machine']}, pages of {page}, chains of "
        f"{verdict.chain_size}) "
        f"and ours as Linux {verdict.rules}",
        "dim",
    )
    if verdict.remark:
        say(verdict.remark, "dim")
    say("")
    say(headline(verdict), "bold" if not verdict.exit_code else "bold red")
    say("")
    screen.table(_table(verdict))
    if below := notes(verdict):
        say("")
        for note in below:
            say(note, "dim")
    return screen.text()


def _table(verdict: Verdict) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("\n", "\ncompressor"):
        table.add_column(name, no_wrap=True)
    for name in (
        "kernel's pool,\nall stored",
        "ours\nminus it",
        "largest in\n6 steps",
        "page sizes\ndiffering",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("\n", no_wrap=True)
    for c in verdict.comparisons:
        table.add_row(
            c.where,
            shown(_label(c)),
            *_pool_cells(c),
            "-" if c.page_stores is None else f"{c.page_stores_differ:,}",
            "exact" if c.exact else "differs",
            style="red" if c in verdict.failed else "green" if c.exact else None,
        )
    return table


def _pool_cells(c: Comparison) -> tuple[str, str, str]:
    """Returns the first step's pool, its difference, and the largest of all steps."""
    if not c.differences:
        return "-", "-", "-"
    grown, worst = c.differences[0], max(c.differences, key=abs)
    return (
        f"{c.kernel[0][POOL[c.where]]:,}",
        f"{grown:+,}" if grown else "0",
        f"{worst:+,}" if worst else "0",
    )
