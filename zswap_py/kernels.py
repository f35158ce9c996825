# SPDX-License-Identifier: GPL-2.0-or-later
"""The differences between kernels, and between versions of the batching series."""

from __future__ import annotations

from typing import Any, NamedTuple

KERNELS = ("6.16", "6.18")
SERIES = (None, "v10", "v13")


class Difference(NamedTuple):
    """One difference: its value for each kernel or series, and the source for it.

    `axis` is "kernel" or "series", and tells which of the two are `values`' keys.
    """

    name: str
    axis: str
    values: dict[str | None, Any]
    source: str


TABLE = (
    Difference(
        "incompressible",
        "kernel",
        {"6.16": "reject", "6.18": "store"},
        'linux-mm, August 2025, "mm/zswap: store <PAGE_SIZE compression failed page as-is"; seen '
        "on 6.18",
    ),
    Difference(
        "check_dlen",
        "kernel",
        {"6.16": False, "6.18": True},
        "zswap_compress(): from 6.18 on a length of 0, or of a page and more, is a failed "
        "compression; before, zs_malloc() decides, which takes exactly a page and returns "
        "-ENOSPC for more",
    ),
    Difference(
        "zstd_variant",
        "kernel",
        {"6.16": 1, "6.18": 0},
        "crypto/zstd.c: level 3 parameters for an unknown size; since 6.17, where it is an "
        "acomp algorithm, for 256 KiB",
    ),
    Difference(
        "max_batch",
        "series",
        {None: 1, "v10": 8, "v13": 8},
        "ZSWAP_MAX_BATCH_SIZE, v10 23/25; before the series a context has one buffer",
    ),
    Difference(
        "sequential_batch",
        "series",
        {None: 1, "v10": 2, "v13": 8},
        "pool->batch_size of a compressor that does not batch: ZSWAP_MAX_BATCH_SIZE / 4 in v10 "
        "23/25, ZSWAP_MAX_BATCH_SIZE from v11 on",
    ),
    Difference(
        "dead_frees",
        "series",
        {None: True, "v10": False, "v13": False},
        "zswap_cpu_comp_dead(): a CPU that goes offline loses its context; from v10 21/25 on it "
        "keeps the context until the pool is destroyed",
    ),
    Difference(
        "instance_stays",
        "series",
        {None: True, "v10": False, "v13": True},
        "v10 21/25 removes the hotplug instance as soon as it is added, so a CPU that first "
        "comes online later gets no context; v13 removes it when the pool is destroyed",
    ),
)


def rules(kernel: str, series: str | None) -> dict[str, Any]:
    """Returns each difference's value, by name, for a kernel and a series.

    Raises ValueError for one that is not in KERNELS or SERIES.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel={kernel!r}: must be one of {', '.join(map(repr, KERNELS))}")
    if series not in SERIES:
        raise ValueError(f"series={series!r}: must be one of {', '.join(map(repr, SERIES))}")
    return {row.name: row.values[kernel if row.axis == "kernel" else series] for row in TABLE}
