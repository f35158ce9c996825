# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux kernel's zswap in user space, with the kernel's own figures.

    import zswap_py as zs

    with zs.Zswap(compressor="lz4") as z:
        z.swapon(pages=1 << 20)
        if z.store(0, page):
            z.load(0, out)
        z.stats()["pool_total_size"]
"""

TYPE_CHECKING = False  # as typing has it, which takes its time to load
if TYPE_CHECKING:
    from zswap_py.clock import VirtualClock
    from zswap_py.cpuhp import CpuHotplug, CpuhpState
    from zswap_py.crypto import Compressor, CompressorInfo, compressors, register_compressor, unregister_compressor
    from zswap_py.iaa import Accelerator
    from zswap_py.pool import Context, Pool, SizeClass
    from zswap_py.swap import CompressedStore, SwapDevice
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
    "Zswap",
    "compressors",
    "register_compressor",
    "swp_entry",
    "unregister_compressor",
]

# Loaded when it is first asked for, so that the command line can tell what Ctrl-C does before anything is loaded.
_MODULES = {
    "MAX_FOLIO": "zswap",
    "Accelerator": "iaa",
    "CompressedStore": "swap",
    "Compressor": "crypto",
    "CompressorInfo": "crypto",
    "Context": "pool",
    "CpuHotplug": "cpuhp",
    "CpuhpState": "cpuhp",
    "Pool": "pool",
    "SizeClass": "pool",
    "StoreResult": "zswap",
    "SwapDevice": "swap",
    "VirtualClock": "clock",
    "Zswap": "zswap",
    "compressors": "crypto",
    "register_compressor": "crypto",
    "swp_entry": "zswap",
    "unregister_compressor": "crypto",
}


if not TYPE_CHECKING:  # a type checker knows the names above, and no others

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _MODULES:
            globals()[name] = value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
            return value
        if name in _MODULES.values():
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
