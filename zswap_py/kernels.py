# SPDX-License-Identifier: GPL-2.0-or-later
"""The differences between kernels, and between versions of the batching series.

TABLE has one row a difference. A kernel's rules are computed from its release: each
row's values have the first releases since which they hold. So a stable release that
takes a change has it here too::

    rules("6.12.108", None)["worker_without_memcg"]   # "idle"
    rules("6.12.109", None)["worker_without_memcg"]   # "root"
"""

from __future__ import annotations

import platform
import re
from typing import Any, NamedTuple

KERNELS = ("6.12", "6.16", "6.17", "6.18", "7.2", "7.3")
"""The releases whose own figures are recorded, oldest first. Any later stable release
of theirs, and any release in between, is a kernel too.
"""
OLDEST, NEWEST = KERNELS[0], KERNELS[-1]
EQUAL: dict[str, str] = {}
"""Names of KERNELS whose rules are all another name's, by name: at present none."""
SERIES = (None, "v10", "v13", "v14")


class Difference(NamedTuple):
    """One difference: its values, oldest first, and the source for them.

    `axis` is "kernel" or "series". A kernel's value is the last one of `values` that
    holds for its release. It holds since each of the releases beside it: "7.3" is
    mainline's, and every later release has it; "6.12.109" is a stable release, and only
    later ones of its branch have it. A series' value stands beside its name; a series
    without one has the kernel's.
    """

    name: str
    axis: str
    values: tuple[tuple[Any, tuple[str | None, ...]], ...]
    source: str


TABLE = (
    Difference(
        "incompressible",
        "kernel",
        (("reject", ("6.12",)), ("store", ("6.18",))),
        'linux-mm, August 2025, "mm/zswap: store <PAGE_SIZE compression failed page as-is"; seen '
        "on all of KERNELS",
    ),
    Difference(
        "check_dlen",
        "kernel",
        ((False, ("6.12",)), (True, ("6.18",))),
        "zswap_compress(): from 6.18 on a length of 0, or of a page and more, is a failed "
        "compression; before, zs_malloc() decides, which takes exactly a page and returns "
        "-ENOSPC for more",
    ),
    Difference(
        "small_folios_only",
        "kernel",
        ((True, ("6.12",)), (False, ("6.13",))),
        'linux-mm, 2024, "mm: zswap swap-out of large folios": before, zswap_store() refuses a '
        "folio of several pages at once, and counts nothing",
    ),
    Difference(
        "deflate_nospace",
        "kernel",
        (("EINVAL", ("6.12",)), ("ENOSPC", ("6.16",))),
        "crypto/deflate.c: since 6.16, where it is an acomp algorithm, an output that does not fit "
        "is -ENOSPC, which counts as reject_compress_poor; before, as reject_compress_fail; seen "
        "on 6.12 and 6.16",
    ),
    Difference(
        "zstd",
        "kernel",
        (("6.12", ("6.12",)), ("6.16", ("6.15",)), ("6.17", ("6.17",))),
        "crypto/zstd.c: level 3 for an unknown size of the source, and since it is an acomp "
        "algorithm for 256 KiB; lib/zstd: the sizes of libzstd 1.5.4, since 6.15 those of 1.5.7; "
        "seen on all of KERNELS, page by page",
    ),
    Difference(
        "zstd_zram",
        "kernel",
        (("zram 6.12", ("6.12",)), ("zram 6.16", ("6.15",))),
        "drivers/block/zram/backend_zstd.c: the level's parameters for one page, in lib/zstd's "
        "version as above; seen on all of KERNELS, page by page",
    ),
    Difference(
        "zpool",
        "kernel",
        ((True, ("6.12",)), (False, ("6.18",))),
        "zswap's parameter zpool, which may name zbud or z3fold up to 6.14, only zsmalloc up to "
        "6.17; the pool is zsmalloc's here",
    ),
    Difference(
        "swapcache_bypass",
        "kernel",
        ((True, ("6.12",)), (False, ("7.0",))),
        "a page of a synchronous swap device may be swapped in without the swap cache, and then "
        "stays in zswap; log of mm/zswap.c",
    ),
    Difference(
        "buffer_pages",
        "kernel",
        ((2, ("6.12",)), (1, ("7.0",))),
        "zswap_cpu_comp_prepare(): the pages of a context's destination buffer; linux-crypto, "
        "January 2026",
    ),
    Difference(
        "sg_reads",
        "kernel",
        ((False, ("6.12",)), (True, ("7.0",))),
        "mm/zsmalloc.c, zs_obj_read_sg_begin(): the compressor gets an object as the one or two "
        "pieces in which it lies; before, one that crosses a page is copied whole",
    ),
    Difference(
        "dead_frees",
        "kernel",
        ((True, ("6.12",)), (False, ("7.1",))),
        "a CPU that goes offline loses its context; since 7.1 the context stays until the pool is "
        "destroyed; log of mm/zswap.c",
    ),
    Difference(
        "zswap_incomp",
        "kernel",
        ((False, ("6.12",)), (True, ("7.1",))),
        "memory.stat has the bytes of the pages that are stored raw; seen: absent on 6.18, there "
        "on 7.2 and 7.3",
    ),
    Difference(
        "zswap_max_parses",
        "kernel",
        (("wraps", ("6.12",)), ("saturates", ("7.2",))),
        "memory.zswap.max of 2^64 and more: 0, later max; seen on 6.18 (0), 7.2 and 7.3 (max)",
    ),
    Difference(
        "zswap_max_survives",
        "kernel",
        ((True, ("6.12",)), (False, ("7.3",))),
        "a group's zswap.max and zswap.writeback after its memory controller was off and on; seen "
        "on 6.18 and 7.2 (kept), 7.3 (reset)",
    ),
    Difference(
        "shrink_batch",
        "kernel",
        ((1, ("6.12",)), (32, ("7.3",))),
        "shrink_memcg(): the entries walked a node and step; seen on 6.18 and 7.2 (1), 7.3 (32)",
    ),
    Difference(
        "worker_without_memcg",
        "kernel",
        (("idle", ("6.12",)), ("root", ("7.3", "6.12.109"))),
        "shrink_worker() with the memory controller disabled: 16 empty walks, since the mend the "
        "root's list; seen on 6.18.15 (idle) and 7.3 (root); ChangeLog-6.12.109",
    ),
    Difference(
        "max_batch",
        "series",
        ((1, (None,)), (8, ("v10", "v13", "v14"))),
        "ZSWAP_MAX_BATCH_SIZE, v10 23/25; before the series a context has one buffer",
    ),
    Difference(
        "sequential_batch",
        "series",
        ((1, (None,)), (2, ("v10",)), (8, ("v13", "v14"))),
        "pool->batch_size of a compressor that does not batch: ZSWAP_MAX_BATCH_SIZE / 4 in v10 "
        "23/25, ZSWAP_MAX_BATCH_SIZE from v11 on",
    ),
    Difference(
        "buffer_pages",
        "series",
        ((2, ("v10", "v13")), (1, ("v14",))),
        "zswap_cpu_comp_prepare(): two pages a buffer, one from v14 on",
    ),
    Difference(
        "dead_frees",
        "series",
        ((False, ("v10", "v13", "v14")),),
        "from v10 21/25 on a CPU that goes offline keeps its context until the pool is destroyed",
    ),
    Difference(
        "instance_stays",
        "series",
        ((True, (None,)), (False, ("v10",)), (True, ("v13", "v14"))),
        "v10 21/25 removes the hotplug instance as soon as it is added, so a CPU that first "
        "comes online later gets no context; v13 removes it when the pool is destroyed",
    ),
)

_RELEASE = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
# A vendor's: a name of its build, or 0 for the stable release, with the build's number.
_VENDOR = re.compile(r"\.(el|uek|amzn|oe)\d|^\d+\.\d+\.0-\d")

Release = tuple[int, ...]
"""(6, 12) is mainline's 6.12, and (6, 12, 109) a stable release of it."""


def parse(release: str) -> Release:
    """Returns the numbers with which a release begins, as uname -r prints it.

    A stable number of 0 is mainline's. Raises ValueError if it begins with none.
    """
    match = _RELEASE.match(release)
    if not match:
        raise ValueError(f"release {release!r}: must begin as uname -r prints it, 6.18.15")
    numbers = tuple(int(n) for n in match.groups() if n is not None)
    return numbers[:2] if numbers[2:] == (0,) else numbers


def _holds(first: str, release: Release) -> bool:
    """Whether a change that came with `first` is in `release`."""
    since = parse(first)
    return release >= since if len(since) == 2 else release[:2] == since[:2] and release >= since


_CHANGES = [row for row in TABLE if row.axis == "kernel"]


def _of_kernel(release: Release) -> dict[str, Any]:
    return {
        row.name: next(
            value
            for value, since in reversed(row.values)
            if any(_holds(str(first), release) for first in since)
        )
        for row in _CHANGES
    }


def _branch(release: Release) -> str:
    return ".".join(map(str, release[:2]))


def rules(kernel: str, series: str | None) -> dict[str, Any]:
    """Returns each difference's value, by name, for a kernel and a series.

    Raises ValueError for a kernel that is older than OLDEST or newer than NEWEST, and
    for a series that is not in SERIES.
    """
    if (
        not isinstance(kernel, str)
        or not _RELEASE.fullmatch(kernel)
        or not parse(OLDEST) <= parse(kernel)[:2] <= parse(NEWEST)
    ):
        raise ValueError(
            f"kernel={kernel!r}: must be one of {', '.join(map(repr, KERNELS))}, or a stable "
            "release such as '6.12.109'"
        )
    if series not in SERIES:
        raise ValueError(f"series={series!r}: must be one of {', '.join(map(repr, SERIES))}")
    found = _of_kernel(parse(kernel))
    for row in TABLE:
        if row.axis == "series":
            found.update((row.name, value) for value, names in row.values if series in names)
    return found


# ---- a machine's kernel ----


class Kernel(NamedTuple):
    """The kernel that stands for a release.

    `name` is the first release with its rules, for Zswap's kernel=. `exact` is false if
    the release may have other rules, or its rules were never asked of a kernel;
    `remark` then says so, in a sentence without a full stop.
    """

    name: str
    exact: bool
    remark: str


def _named(release: Release) -> str:
    """Returns the first release, of KERNELS or a stable one, with all rules of
    `release`; its branch if no release of that is in KERNELS.
    """
    branch = _branch(release)
    if branch not in KERNELS:
        return branch
    changes = {str(first) for row in _CHANGES for _, since in row.values for first in since}
    firsts = sorted(parse(first) for first in {branch, *changes} if first.startswith(branch))
    same = next(
        first
        for first in firsts
        if first[:2] == release[:2] and _of_kernel(first) == _of_kernel(release)
    )
    return ".".join(map(str, same))


def kernel_for(release: str) -> Kernel:
    """Returns the kernel that stands for a release, as uname -r prints it.

    A release older than OLDEST has the oldest rules, one newer than NEWEST the newest.
    Raises ValueError if `release` begins with no number.
    """
    numbers = parse(release)
    said = f"this machine's Linux {_branch(numbers)}"
    if numbers < parse(OLDEST):
        return Kernel(OLDEST, False, f"{said} is not modelled; as {OLDEST}; its zswap may use zbud")
    if numbers[:2] > parse(NEWEST):
        return Kernel(NEWEST, False, f"{said} is newer than any modelled; as {NEWEST}")
    name = _named(numbers)
    if _VENDOR.search(release):
        return Kernel(
            name, False, f"{said} is a vendor's, and may have later changes too; as {name}"
        )
    if _branch(numbers) not in KERNELS:
        return Kernel(name, False, f"{said}'s own figures are not recorded; by its changes")
    return Kernel(name, True, "")


def this_machines() -> Kernel:
    """Returns the kernel that stands for the one that runs here."""
    return kernel_for(platform.release())
