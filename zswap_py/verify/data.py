# SPDX-License-Identifier: GPL-2.0-or-later
"""A verdict's data, its exit code and its JSON.

The fields have the names of the JSON object. Sizes are in bytes; differences are ours
minus the kernel's.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

SCHEMA = 1
STEPS = ("stored", "loaded", "rewritten", "freed", "loaded again", "stored again")
POOL = {"zswap": "pool_total_size", "zram": "mem_used_total"}

Steps = list[dict[str, int]]
"""The figures after each of STEPS."""


@dataclass(frozen=True)
class Comparison:
    """One backend of ours, and the running kernel's compressor of that name."""

    where: str  # zswap or zram
    name: str
    backend: str
    library_version: str | None
    kernel_sizes: bool  # whether the backend claims this kernel's sizes
    remedy: str | None  # the library to install for them, if one is missing
    kernel: Steps
    ours: Steps
    steady: bool  # the kernel's figures repeated, or are ours
    page_stores: int | None  # number of stores compared by size; zram only
    page_stores_differ: int | None
    page_largest_difference: int | None

    @property
    def exact(self) -> bool:
        """Whether all figures of all steps, and all pages' sizes, are the kernel's."""
        return self.kernel == self.ours and not self.page_stores_differ

    @property
    def differences(self) -> list[int]:
        """The differences of the pool, after each step; none if it was not compared."""
        pool = POOL[self.where]
        return [
            ours[pool] - kernel[pool]
            for kernel, ours in zip(self.kernel, self.ours, strict=True)
            if pool in kernel
        ]

    @property
    def wrong_counters(self) -> list[str]:
        """The names of the other figures that differ after any step."""
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
    rules: str  # the Linux release that ours follows
    remark: str  # why its rules may be others than the host's; "" if they are the host's
    pages: int
    zero_pages: int
    comparisons: list[Comparison]
    not_compared: dict[str, str]  # the reason, by name
    broken_off: dict[str, str]  # the error that ended a comparison, by name
    meanwhile: list[str]  # changes by other programs to settings and devices in use here

    @property
    def failed(self) -> list[Comparison]:
        """The comparisons that claim the kernel's sizes and differ."""
        return [c for c in self.comparisons if c.kernel_sizes and not c.exact]

    @property
    def exit_code(self) -> int:
        """0: all that claim the kernel's sizes have them; 3: one differs; 1: none
        claims them, or an error ended a comparison.
        """
        if self.failed:
            return 3
        return 0 if any(c.kernel_sizes for c in self.comparisons) and not self.broken_off else 1


def to_json(verdict: Verdict, indent: int | None = 2) -> str:
    """Returns the JSON object, with raw numbers. Adds `exact` to each
    comparison, and `exit_code`.
    """
    data = dataclasses.asdict(verdict)
    for row, c in zip(data["comparisons"], verdict.comparisons, strict=True):
        row["exact"] = c.exact
    return json.dumps(data | {"exit_code": verdict.exit_code}, indent=indent)
