# SPDX-License-Identifier: GPL-2.0-or-later
"""csrc/mm/zswap.c beside mm/zswap.c: the same functions in the same order, and a reason
for each that is not.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# mm/zswap.c of Linux 6.16 with the series v10 applied, top to bottom.
KERNEL = """
zswap_is_enabled zswap_never_enabled
acomp_ctx_dealloc zswap_cpu_comp_prepare zswap_pool_create __zswap_pool_create_fallback
zswap_pool_destroy
__zswap_pool_release __zswap_pool_empty zswap_pool_tryget zswap_pool_get zswap_pool_put
__zswap_pool_current zswap_pool_current zswap_pool_current_get zswap_pool_find_get
zswap_max_pages zswap_accept_thr_pages zswap_total_pages zswap_check_limits
zswap_pool_changed zswap_compressor_param_set zswap_zpool_param_set __zswap_param_set
zswap_enabled_param_set
entry_to_nid mem_cgroup_from_entry zswap_lru_add zswap_lru_del zswap_lruvec_state_init
zswap_folio_swapin
zswap_memcg_offline_cleanup
zswap_entry_cache_alloc zswap_entry_cache_free zswap_entry_free
zswap_compress zswap_decompress
zswap_writeback_entry
shrink_memcg_cb zswap_shrinker_scan zswap_shrinker_count zswap_alloc_shrinker shrink_memcg
shrink_worker
zswap_store_pages zswap_store zswap_load zswap_invalidate zswap_swapon zswap_swapoff
debugfs_get_total_size debugfs_get_stored_pages zswap_debugfs_init
zswap_setup zswap_init
""".split()

NOT_HERE = {
    "zswap_is_enabled": "zswap_get_param(z, ZSWAP_ENABLED)",
    "__zswap_pool_create_fallback": (
        "a Zswap whose compressor is missing is an error, with the name of it"
    ),
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
    "zswap_enter": (
        "a call into the library, which the kernel has no need to mark: shutdown, recursion, this "
        "CPU"
    ),
    "zswap_exit": "the same",
    "zswap_inside": "a part of zswap_enter()",
    "dead": "the same",
    "cpu_to_node": "the simulated machine's topology",
    "acomp_ctx_init_locks": "a mutex here must be destroyed too",
    "acomp_ctx_destroy_locks": "the same",
    "zswap_cpu_comp_alloc": "prepare's allocations, which both kinds of prepare make",
    "zswap_cpu_comp_dead": "before the series: a CPU that goes offline loses its context",
    "zswap_pool_start": (
        "the end of the kernel's zswap_pool_create(), after Python's hotplug part of it"
    ),
    "zswap_pool_make_current": "the switch itself; Python decides on it",
    "zswap_pool_resurrect": "percpu_ref_resurrect",
    "zswap_pool_kill": "percpu_ref_kill",
    "zswap_pool_wait_empty": "the queue of the release work, which a Python thread waits on",
    "zswap_set_param": "module_param",
    "zswap_get_param": "the same",
    "stored_raw": "which entries are incompressible: Linux 6.18",
    "zswap_entries_free": "zswap_entry_free() of a batch",
    "acomp_ctx_get_cpu_lock": (
        "Linux 6.14 to 6.16 have it before the series; here it also finds CPUs without a context"
    ),
    "acomp_ctx_lock": "a part of it",
    "acomp_ctx_move_lock": "the same",
    "acomp_ctx_put_unlock": "the same as acomp_ctx_get_cpu_lock()",
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
    "erase_slot": "a part of it, and of drop_slots()",
    "drop_slots": "zswap_invalidate() of a range, which a refused store and swapoff need too",
    "pool_to_store_in": "the start of zswap_store()",
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
    "zswap_page_size": "an instance has a configuration",
    "zswap_forked": "the same, in a child",
    "is_childs_copy": "the same",
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
    "statistics",
    "tunables",
    "data structures",
    "helpers and fwd declarations",
    "pool functions",
    "param callback functions",
    "lru functions",
    "zswap entry functions",
    "compressed storage functions",
    "main API",
    "debugfs functions",
    "module init and exit",
]


def functions() -> list[str]:
    """The names that csrc/mm/zswap.c defines, in order."""
    text = (ROOT / "csrc" / "mm" / "zswap.c").read_text()
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
    banners = re.findall(
        r"^/\*{33}\n\* (.+)\n\*{34}/$", (ROOT / "csrc" / "mm" / "zswap.c").read_text(), re.M
    )
    assert [b for b in banners if b in BANNERS] == BANNERS
    assert banners[len(BANNERS) :] == ["faults and checks"]


def includes(path: Path) -> list[str]:
    """The names of the headers that a C file includes, without their directories."""
    found = re.findall(r'^\s*#\s*include\s*["<]([^">]+)', path.read_text(), re.M)
    return [Path(name).name for name in found]


def test_no_lower_floor_knows_of_zswap():
    for path in sorted((ROOT / "csrc").rglob("*.[ch]")):
        if path.name not in ("zswap.c", "zswap.h", "measure.c"):
            assert "zswap.h" not in includes(path), path.name


@pytest.mark.parametrize(
    "line", ['#include "zswap.h"', '#include "mm/zswap.h"', " # include <../mm/zswap.h>"]
)
def test_an_include_is_known_by_its_file(tmp_path, line):
    (tmp_path / "lru.c").write_text(f'/* "zswap.h" */\n#include <errno.h>\n{line} /* ours */\n')
    assert includes(tmp_path / "lru.c") == ["errno.h", "zswap.h"]


FLOORS = [
    {"_native", "corpus"},
    {"_lib"},
    {"crypto", "cpuhp", "kernels", "faults", "clock"},
    {"pool", "iaa"},
    {"iaa_plan"},
    {"zswap"},
    {"swap", "testing"},
    {"pytest_plugin", "sources", "store"},
    {"report"},
    {"verify"},
    {"__init__"},
    {"cli"},
]


PACKAGE = "zswap_py"


def imports(path: Path, package: str = PACKAGE) -> set[str]:
    """The modules that a file of `package` imports; "__init__" for zswap_py itself."""
    named: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*above, node.module] if node.module else above)
            names = [alias.name if is_module(alias.name) else "__init__" for alias in node.names]
            named += [f"{module}.{name}" for name in names]
    ours = [name.split(".") for name in named if name.split(".")[0] == PACKAGE]
    return {parts[1] if len(parts) > 1 else "__init__" for parts in ours}


def is_module(name: str) -> bool:
    return (ROOT / PACKAGE / f"{name}.py").exists() or (ROOT / PACKAGE / name).is_dir()


def test_no_import_goes_up():
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    top = ROOT / PACKAGE
    for path in sorted(top.rglob("*.py")):
        inside = path.relative_to(top)
        module = inside.parts[0].removesuffix(".py")
        if module in ("__main__", "_build"):
            continue
        assert module in floor, f"{inside} is on no floor"
        for name in imports(path, ".".join([PACKAGE, *inside.parts[:-1]])):
            if name in floor and name != module:
                assert floor[name] < floor[module], f"{inside} imports {name}, which is above it"


@pytest.mark.parametrize(
    "text",
    [
        "from zswap_py.cli import main",
        "from zswap_py import crypto, cli",
        "from zswap_py import (\n    crypto,\n    cli as it,\n)",
        "import zswap_py.cli",
        "import os, zswap_py.cli as it",
        "from . import cli",
        "from .cli import main",
        "def late():\n    from zswap_py.cli import (\n        main,\n    )",
    ],
)
def test_an_import_is_seen_however_it_is_written(tmp_path, text):
    (tmp_path / "lru.py").write_text(text)
    assert imports(tmp_path / "lru.py") - {"crypto"} == {"cli"}


def test_an_import_from_a_floor_of_its_own_is_seen(tmp_path):
    (tmp_path / "live.py").write_text("from .. import cli\nfrom ..pages import read\nimport os")
    assert imports(tmp_path / "live.py", "zswap_py.sources") == {"cli", "pages"}


@pytest.mark.parametrize(
    "text", ["import zswap_py as zs", "from zswap_py import Zswap", "from . import Zswap"]
)
def test_an_import_of_the_whole_package_is_seen(tmp_path, text):
    (tmp_path / "lru.py").write_text(text)
    assert imports(tmp_path / "lru.py") == {"__init__"}


def test_the_nightly_run_sets_each_variable_that_makes_a_test_longer():
    pattern = re.compile(r"environ(?:\.get\(|\[)\"((?:ZSWAP|ENCODER)_\w+)")
    tests = [path.read_text() for path in (ROOT / "tests").glob("*.py")]
    read = {name for text in tests for name in pattern.findall(text)}
    assert {"ZSWAP_HYPOTHESIS", "ENCODER_CROSS_PAGES", "ZSWAP_VERIFY"} <= read
    nightly = (ROOT / ".ci" / "nightly").read_text()
    assert [name for name in sorted(read) if f"{name}=" not in nightly] == []
