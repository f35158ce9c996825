# SPDX-License-Identifier: GPL-2.0-or-later
"""csrc/zswap.c beside mm/zswap.c: the same functions in the same order, and a reason for each that is not."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# mm/zswap.c of Linux 6.16 with the series v10 applied, top to bottom.
KERNEL = """
zswap_is_enabled zswap_never_enabled
acomp_ctx_dealloc zswap_cpu_comp_prepare zswap_pool_create __zswap_pool_create_fallback zswap_pool_destroy
__zswap_pool_release __zswap_pool_empty zswap_pool_tryget zswap_pool_get zswap_pool_put
__zswap_pool_current zswap_pool_current zswap_pool_current_get zswap_pool_find_get
zswap_max_pages zswap_accept_thr_pages zswap_total_pages zswap_check_limits
zswap_pool_changed zswap_compressor_param_set zswap_zpool_param_set __zswap_param_set zswap_enabled_param_set
entry_to_nid mem_cgroup_from_entry zswap_lru_add zswap_lru_del zswap_lruvec_state_init zswap_folio_swapin
zswap_memcg_offline_cleanup
zswap_entry_cache_alloc zswap_entry_cache_free zswap_entry_free
zswap_compress zswap_decompress
zswap_writeback_entry
shrink_memcg_cb zswap_shrinker_scan zswap_shrinker_count zswap_alloc_shrinker shrink_memcg shrink_worker
zswap_store_pages zswap_store zswap_load zswap_invalidate zswap_swapon zswap_swapoff
debugfs_get_total_size debugfs_get_stored_pages zswap_debugfs_init
zswap_setup zswap_init
""".split()

NOT_HERE = {
    "zswap_is_enabled": "zswap_get_param(z, ZSWAP_ENABLED)",
    "__zswap_pool_create_fallback": "a Zswap whose compressor is missing is an error, with the name of it",
    "__zswap_pool_release": "pool.py: Pools._release, on the worker",
    "__zswap_pool_current": "no list is searched: zswap_pool_current_get() reads a pointer",
    "zswap_pool_current": "the same",
    "zswap_pool_find_get": "pool.py: Pools._find_get, over zswap_pool_resurrect()",
    "zswap_pool_changed": "parameters' syntax is Python's: zswap.py",
    "zswap_compressor_param_set": "the same",
    "zswap_zpool_param_set": "the same; zsmalloc is the only allocator",
    "__zswap_param_set": "the same",
    "zswap_enabled_param_set": "the same",
    "entry_to_nid": "zswap_entry.nid",
    "mem_cgroup_from_entry": "no memory cgroups yet",
    "zswap_lruvec_state_init": "no memory cgroups yet",
    "zswap_folio_swapin": "no shrinker yet",
    "zswap_memcg_offline_cleanup": "no memory cgroups yet",
    "zswap_writeback_entry": "no writeback yet",
    "shrink_memcg_cb": "no writeback yet",
    "zswap_shrinker_scan": "no shrinker yet",
    "zswap_shrinker_count": "no shrinker yet",
    "zswap_alloc_shrinker": "no shrinker yet",
    "shrink_memcg": "no writeback yet",
    "shrink_worker": "no writeback yet",
    "debugfs_get_total_size": "zswap_stats() gives all counters at once",
    "debugfs_get_stored_pages": "the same",
    "zswap_debugfs_init": "the same",
    "zswap_init": "zswap_create(): an instance, not a module",
}

ONLY_HERE = {
    "count": "a counter is an atomic of the instance",
    "zswap_enter": "a call into the library, which the kernel has no need to mark: shutdown, recursion, this CPU",
    "zswap_exit": "the same",
    "inside": "a part of zswap_enter()",
    "cpu_to_node": "the simulated machine's topology",
    "acomp_ctx_init_locks": "a mutex here must be destroyed too",
    "acomp_ctx_destroy_locks": "the same",
    "zswap_cpu_comp_alloc": "prepare's allocations, which both kinds of prepare make",
    "zswap_cpu_comp_dead": "before the series: a CPU that goes offline loses its context",
    "zswap_pool_start": "the end of the kernel's zswap_pool_create(), after Python's hotplug part of it",
    "zswap_pool_make_current": "the switch itself; Python decides on it",
    "zswap_pool_resurrect": "percpu_ref_resurrect",
    "zswap_pool_kill": "percpu_ref_kill",
    "zswap_pool_wait_empty": "the queue of the release work, which a Python thread waits on",
    "zswap_set_param": "module_param",
    "zswap_get_param": "the same",
    "stored_raw": "which entries are incompressible: Linux 6.18",
    "zswap_entries_free": "zswap_entry_free() of a batch",
    "acomp_ctx_get_cpu_lock": "Linux 6.14 to 6.16 have it before the series; here it also finds CPUs without a context",
    "acomp_ctx_put_unlock": "the same",
    "compress_request": "a part of zswap_compress()",
    "choose_bytes": "the same: Linux 6.18's raw pages",
    "count_compress_failure": "the same",
    "store_bytes": "the same",
    "object_source": "a part of zswap_decompress(): the highmem copy",
    "decompress_result": "the same",
    "decompress_one": "the same",
    "decompress_request": "loads in batches, which the kernel has not yet",
    "zswap_decompress_batch": "the same",
    "free_entries": "the failure label of zswap_store_pages()",
    "lock_slots": "a slot's lock stands for the lock of the swap-cache folio",
    "unlock_slots": "the same",
    "erase_slots": "the end of zswap_store()",
    "store_folio": "the middle of zswap_store()",
    "slot_to_read": "a part of zswap_load()",
    "zswap_peek": "for harnesses and reports: no call of the kernel's keeps the page",
    "lock_turn": "loads in batches",
    "load_turn": "loads in batches",
    "zswap_load_batch": "loads in batches",
    "zswap_is_zero": "mm/page_io.c's is_folio_zero_filled()",
    "zswap_stats": "debugfs",
    "zswap_events": "vmstat, and what only a simulated machine counts",
    "zswap_memory_kind": "slabinfo, by what memory is for",
    "zswap_memory": "the same",
    "zswap_trim": "drop_caches",
    "zswap_next_message": "dmesg",
    "zswap_pool_info": "what the kernel does not show",
    "zswap_ctx_info": "the same",
    "zswap_class_info": "zsmalloc's debugfs",
    "with_entry": "a part of the two below",
    "describe_entry": "the same",
    "zswap_entry_info": "what the kernel does not show",
    "zswap_contains": "the same",
    "config_is_valid": "an instance has a configuration",
    "zswap_create": "zswap_init() of an instance",
    "zswap_shutdown": "the end of an instance",
    "zswap_forked": "the same, in a child",
    "zswap_release": "the same",
    "zswap_destroy": "the same",
    "zswap_fault_kind": "faults on demand",
    "zswap_fault_arm": "the same",
    "zswap_fault_disarm": "the same",
    "zswap_fault_hits": "the same",
    "flip_byte": "the same",
    "zswap_flip": "the same",
    "check_file": "a debug build's checks",
    "check_all": "the same",
    "zswap_check": "the same",
}

BANNERS = [
    "statistics", "tunables", "data structures", "helpers and fwd declarations", "pool functions",
    "param callback functions", "lru functions", "zswap entry functions", "compressed storage functions", "main API",
    "debugfs functions", "module init and exit",
]  # fmt: skip


def functions() -> list[str]:
    """The names that csrc/zswap.c defines, in order."""
    text = (ROOT / "csrc" / "zswap.c").read_text()
    return re.findall(r"^(?!typedef|struct \w+ \{)[\w][\w \*]*?\b(\w+)\([^;{}]*\)\n\{", text, re.M)


def test_functions_of_both_stand_in_the_kernels_order():
    ours = [name for name in functions() if name in KERNEL]
    assert ours == [name for name in KERNEL if name in ours]


def test_each_function_that_only_one_of_them_has_has_a_reason():
    ours = functions()
    assert len(ours) == len(set(ours))
    assert {name for name in KERNEL if name not in ours} == set(NOT_HERE)
    assert {name for name in ours if name not in KERNEL} == set(ONLY_HERE)
    assert all(NOT_HERE.values())
    assert all(ONLY_HERE.values())


def test_the_kernels_banners_in_its_order():
    banners = re.findall(r"^/\*{33}\n\* (.+)\n\*{34}/$", (ROOT / "csrc" / "zswap.c").read_text(), re.M)
    assert [b for b in banners if b in BANNERS] == BANNERS
    assert banners[len(BANNERS) :] == ["faults and checks"]


def test_no_lower_floor_knows_of_zswap():
    for path in sorted((ROOT / "csrc").glob("*.[ch]")):
        if path.name not in ("zswap.c", "zswap.h", "measure.c"):
            assert '#include "zswap.h"' not in path.read_text(), path.name


FLOORS = [
    {"names", "_interrupt"},
    {"_native", "knownpages", "corpus", "hostkernel"},
    {"params"},
    {"crypto", "cpuhp", "kernels", "faults", "clock", "iaa_plan", "idxd"},
    {"pool", "iaa"},
    {"zswap"},
    {"swap", "pytest_plugin"},
    {"procmem"},
    {"pages"},
    {"report"},
    {"verdict"},
    {"measure", "verify"},
    {"cli"},
]


def test_no_import_goes_up():
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    for path in sorted((ROOT / "zswap_py").glob("*.py")):
        if path.stem in ("__init__", "__main__", "_build"):
            continue
        assert path.stem in floor, f"{path.name} is on no floor"
        imports = r"^\s*(?:from zswap_py\.(\w+) import|from zswap_py import ([\w, ]+))"
        for a, b in re.findall(imports, path.read_text(), re.M):
            for name in re.findall(r"\w+", a or b):
                if name in floor:
                    assert floor[name] < floor[path.stem], f"{path.name} imports {name}, which stands above it"
