# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux kernel's zswap in user space, with the kernel's own figures.

A Zswap is one simulated machine. It stores pages compressed, loads them, and counts
what the kernel counts:

import zswap_py as zs

with zs.Zswap(compressor="lz4") as z:
    z.swapon(pages=1 << 20)
    if z.store(0, page):        # a buffer of 4096 bytes, into slot 0
        z.load(0, out)          # into a writable one
    z.stats()["pool_total_size"]

SwapDevice adds the zero map and a swap file, CompressedStore a mapping of bytes over
that. Zram is a zram device, with the same allocator and compressors. Accelerator
simulates Intel IAA devices. zswap_py.testing is for test harnesses.
"""

from zswap_py._lib import interrupt as interrupt  # first: it handles Ctrl-C while the modules load
from zswap_py.clock import VirtualClock
from zswap_py.cpuhp import CpuHotplug, CpuhpState
from zswap_py.crypto import (
    Compressor,
    CompressorInfo,
    compressors,
    register_compressor,
    unregister_compressor,
)
from zswap_py.iaa import Accelerator
from zswap_py.pool import Context, Pool, SizeClass
from zswap_py.swap import CompressedStore, SwapDevice
from zswap_py.zram import Zram
from zswap_py.zswap import MAX_FOLIO, StoreResult, Zswap, swp_entry

__version__ = "0.1.0"

__all__ = [
    "MAX_FOLIO",
    "Accelerator",
    "CompressedStore",
    "Compressor",
    "CompressorInfo",
    "Context",
    "CpuHotplug",
    "CpuhpState",
    "Pool",
    "SizeClass",
    "StoreResult",
    "SwapDevice",
    "VirtualClock",
    "Zram",
    "Zswap",
    "compressors",
    "register_compressor",
    "swp_entry",
    "unregister_compressor",
]
