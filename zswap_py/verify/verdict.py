# SPDX-License-Identifier: GPL-2.0-or-later
"""A verdict on our figures by the kernel's: its data, the exit code, and what is made
of it, JSON or a table.

Nothing here asks a kernel. The fields' names are the JSON's. Sizes are bytes,
differences ours minus the kernel's.
"""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from typing import Any

from zswap_py._lib.names import shown
from zswap_py.report.format import size

SCHEMA = 1
STEPS = ("stored", "loaded", "rewritten", "freed", "loaded again", "stored again")
POOL = {"zswap": "pool_total_size", "zram": "mem_used_total"}

Steps = list[dict[str, int]]
"""Figures after each of STEPS."""


@dataclass(frozen=True)
class Comparison:
    """One backend of ours beside the running kernel's compressor of that name."""

    where: str  # zswap or zram
    name: str
    backend: str
    library_version: str | None
    kernel_sizes: bool  # what the backend claims
    kernel: Steps
    ours: Steps
    steady: bool  # the kernel said the same twice, or what we say
    page_stores: int | None  # stores whose size was compared, each; zram only
    page_stores_differ: int | None
    page_largest_difference: int | None

    @property
    def exact(self) -> bool:
        """Every figure of every step is the kernel's, and every page's size."""
        return self.kernel == self.ours and not self.page_stores_differ

    @property
    def differences(self) -> list[int]:
        """The pool's, after each step."""
        pool = POOL[self.where]
        return [
            ours[pool] - kernel[pool] for kernel, ours in zip(self.kernel, self.ours, strict=True)
        ]

    @property
    def wrong_counters(self) -> list[str]:
        """Other figures than the pool's that are not the kernel's after some step."""
        pairs = list(zip(self.kernel, self.ours, strict=True))
        return [
            f
            for f in self.kernel[0]
            if f != POOL[self.where] and any(k[f] != o[f] for k, o in pairs)
        ]


@dataclass(frozen=True)
class Verdict:
    """All comparisons, in the order of the JSON object."""

    schema: int
    command: str
    host: dict[str, str]
    source: str
    page_size: int
    chain_size: int
    rules: str  # of which kernel ours are
    pages: int
    zero_pages: int
    comparisons: list[Comparison]
    not_compared: dict[str, str]  # and why
    broken_off: dict[str, str]  # comparisons that an error ended, and the error
    meanwhile: list[str]  # what others changed of the settings and devices that were ours

    @property
    def failed(self) -> list[Comparison]:
        """What claims the kernel's sizes and has them not."""
        return [c for c in self.comparisons if c.kernel_sizes and not c.exact]

    @property
    def exit_code(self) -> int:
        """0: all that claim the kernel's sizes have them; 3: one has not; 1: none was
        there that claims them, or an error ended a comparison.
        """
        if self.failed:
            return 3
        return 0 if any(c.kernel_sizes for c in self.comparisons) and not self.broken_off else 1


def to_json(verdict: Verdict) -> str:
    """The JSON object, raw numbers, indented; `exact` with each comparison, `exit_code`
    with the whole.
    """
    data = dataclasses.asdict(verdict)
    for row, c in zip(data["comparisons"], verdict.comparisons, strict=True):
        row["exact"] = c.exact
    return json.dumps(data | {"exit_code": verdict.exit_code}, indent=2)


# ---- words ----


def headline(verdict: Verdict) -> str:
    """The verdict in a sentence."""
    if verdict.failed:
        return (
            "Not the kernel's sizes, though claimed: "
            f"{', '.join(f'{c.where} {c.name}' for c in verdict.failed)}."
        )
    if not any(c.kernel_sizes for c in verdict.comparisons):
        return "Nothing was compared that claims the kernel's sizes."
    if verdict.broken_off:
        return (
            "What was compared has the kernel's sizes where it claims them; an error ended the "
            "rest."
        )
    return "Every codec that claims the kernel's sizes has them, to the byte."


def _label(c: Comparison) -> str:
    return f"{c.name}:{c.backend}{'' if c.kernel_sizes else ' ~'}"


def notes(verdict: Verdict) -> list[str]:
    """What stands below the table."""
    said = []
    for c in verdict.comparisons:
        if c.wrong_counters and c.kernel_sizes:
            said.append(
                f"{c.where} {_label(c)}: not the kernel's either: {', '.join(c.wrong_counters)}"
            )
        if not c.steady:
            said.append(
                f"{c.where} {c.name}: the kernel's figures were others each time, as "
                "other memory was swapped "
                "meanwhile; run again on a quieter machine"
            )
    if any(not c.kernel_sizes for c in verdict.comparisons):
        said.append("~ does not claim the kernel's sizes, and does not decide the exit code")
    if stores := max((c.page_stores or 0 for c in verdict.comparisons), default=0):
        said.append(f"in zram each of {stores:,} stores was compared by its page's size")
    if verdict.zero_pages:
        said.append(
            f"{verdict.zero_pages:,} zero-filled pages were left out: they never come to zswap"
        )
    said += [f"{what} was not compared: {why}" for what, why in verdict.not_compared.items()]
    said += [
        f"{what} was not compared to the end: {why}" for what, why in verdict.broken_off.items()
    ]
    return said + [f"meanwhile: {change}" for change in verdict.meanwhile]


# ---- the table ----


def to_text(verdict: Verdict, width: int = 80, colour: bool = False) -> str:
    """The verdict for people."""
    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    # wider than the output: a table that does not fit is better than one that is cut
    console = Console(
        file=out,
        width=max(width, 200),
        force_terminal=colour,
        no_color=not colour,
        color_system="standard" if colour else None,
        highlight=False,
        _environ={},
    )

    def say(text: str, style: str = "") -> None:
        console.print(Text(shown(text), style=style), width=width)

    host, page = verdict.host, size(verdict.page_size).replace(".0", "")
    say(f"{verdict.source}: {verdict.pages:,} pages, {size(verdict.pages * verdict.page_size)}")
    say(
        f"this machine's Linux {host['kernel']} ({host['machine']}, pages of {page}, chains of "
        f"{verdict.chain_size}) "
        f"and ours as Linux {verdict.rules}",
        "dim",
    )
    say("")
    say(headline(verdict), "bold" if not verdict.exit_code else "bold red")
    say("")
    table = _table(verdict)
    if console.measure(table).maximum > width:
        table.padding = (0, 1, 0, 0)
    console.print(table)
    if below := notes(verdict):
        say("")
        for note in below:
            say(note, "dim")
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def _table(verdict: Verdict) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("\n", "\ncompressor"):
        table.add_column(name, no_wrap=True)
    for name in (
        "kernel's pool,\nall stored",
        "ours,\nless it",
        "largest in\n6 steps",
        "stores of\nother size",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("\n", no_wrap=True)
    for c in verdict.comparisons:
        grown, worst = c.differences[0], max(c.differences, key=abs)
        pages = "-" if c.page_stores is None else f"{c.page_stores_differ:,}"
        table.add_row(
            c.where,
            shown(_label(c)),
            f"{c.kernel[0][POOL[c.where]]:,}",
            f"{grown:+,}" if grown else "0",
            f"{worst:+,}" if worst else "0",
            pages,
            "exact" if c.exact else "differs",
            style="red" if c in verdict.failed else "green" if c.exact else None,
        )
    return table
