# SPDX-License-Identifier: GPL-2.0-or-later
"""csrc/mm/zswap.c beside mm/zswap.c: the same functions in the same order, and in its
place what only one of them has; which file may include or import which.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

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


class Function(NamedTuple):
    """A function that a C file defines, with the comment above it."""

    name: str
    static: bool
    calls: set[str]
    comment: str
    start: int
    end: int


# type and name in column 0, arguments, body up to the closing brace in column 0
DEFINITION = re.compile(
    r"^(?!typedef|struct \w+ \{|enum )([\w][\w \*]*?)\b(\w+)\([^;{}]*\)\n\{(.*?)^\}", re.M | re.S
)
COMMENT = re.compile(r"/\*.*?\*/", re.S)
RELEASE = re.compile(r"Linux \d+\.\d+|\bv\d+\b")


def functions(text: str) -> list[Function]:
    """The functions that a C file defines, in order."""
    comments = {m.end(): m.group() for m in COMMENT.finditer(text)}
    found = []
    for m in DEFINITION.finditer(text):
        above = comments.get(len(text[: m.start()].rstrip()), "")
        attached = text[: m.start()].endswith("*/\n")
        calls = set(re.findall(r"\b(\w+)\b", COMMENT.sub("", m[3])))
        found.append(
            Function(
                m[2],
                m[1].startswith("static"),
                calls,
                above if attached else "",
                m.start(),
                m.end(),
            )
        )
    return found


def misplaced(text: str, internal: str = "") -> list[str]:
    """What csrc/mm/zswap.c has, mm/zswap.c has not, and the rule does not allow.

    A function that only we have is static, or the text of zswap_internal.h declares it
    for the files beside; and the next function of the kernel's below it calls it,
    itself or through functions that only we have. Or it mirrors another release, which
    the comment above it names. Anything else lives in another file.
    """
    ours = functions(text)
    own = {f.name: f for f in ours if f.name not in KERNEL}

    def reaches(f: Function, name: str, seen: frozenset[str] = frozenset()) -> bool:
        return name in f.calls or any(
            reaches(own[c], name, seen | {c}) for c in f.calls if c in own and c not in seen
        )

    wrong = []
    for i, f in enumerate(ours):
        if f.name in KERNEL or RELEASE.search(f.comment):
            continue
        below = next((g for g in ours[i + 1 :] if g.name in KERNEL), None)
        if not f.static and not re.search(rf"\b{f.name}\(", internal):
            wrong.append(f"{f.name}() is neither static nor in zswap_internal.h")
        elif below is None:
            wrong.append(f"{f.name}() stands below the kernel's functions")
        elif not reaches(below, f.name):
            wrong.append(f"{below.name}(), below {f.name}(), does not call it")
    return wrong


def unnamed(text: str) -> list[str]:
    """The kernel's functions that csrc/mm/zswap.c neither defines nor names, with (),
    in a comment where they would stand: between the kernel's neighbours of it.
    """
    place = {f.name: f for f in functions(text) if f.name in KERNEL}
    comments = list(COMMENT.finditer(text))
    missing = []
    for i, name in enumerate(KERNEL):
        if name in place:
            continue
        above = [place[n].end for n in KERNEL[:i] if n in place]
        below = [place[n].start for n in KERNEL[i:] if n in place]
        first, last = max(above, default=0), min(below, default=len(text))
        named = re.compile(rf"\b{name}\(\)")
        if not any(
            first <= m.start() and m.end() <= last and named.search(m.group()) for m in comments
        ):
            missing.append(name)
    return missing


def zswap_c() -> str:
    """The text of csrc/mm/zswap.c."""
    return (ROOT / "csrc" / "mm" / "zswap.c").read_text()


def test_functions_of_both_stand_in_the_kernels_order():
    names = [f.name for f in functions(zswap_c())]
    assert len(names) == len(set(names))
    ours = [name for name in names if name in KERNEL]
    assert len(ours) > len(KERNEL) / 2
    assert ours == [name for name in KERNEL if name in ours]


def test_a_function_that_only_we_have_helps_the_kernels_below_it():
    internal = (ROOT / "csrc" / "mm" / "zswap_internal.h").read_text()
    assert misplaced(zswap_c(), COMMENT.sub("", internal)) == []


def test_a_function_that_only_the_kernel_has_is_named_where_it_would_stand():
    assert unnamed(zswap_c()) == []


LOAD = "int zswap_load(void)\n{\n\treturn help();\n}\n"
DEEP = "static int deep(void)\n{\n\treturn 1;\n}\n\n"
HELP = "static int help(void)\n{\n\treturn deep(); /* not other() */\n}\n\n"
OTHER = "static int other(void)\n{\n\treturn 1;\n}\n\n"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (DEEP + HELP + LOAD, []),
        (
            DEEP + HELP.removeprefix("static ") + LOAD,
            ["help() is neither static nor in zswap_internal.h"],
        ),
        (LOAD + HELP, ["help() stands below the kernel's functions"]),
        (OTHER + HELP + LOAD, ["zswap_load(), below other(), does not call it"]),
        ("/* Linux 6.18 */\n" + OTHER + LOAD, []),
        ("/* Linux 6.18 */\n\n" + OTHER + LOAD, ["zswap_load(), below other(), does not call it"]),
    ],
)
def test_a_misplaced_function_is_seen(text, wrong):
    assert misplaced(text) == wrong


def test_a_function_of_the_files_beside_need_not_be_static():
    text = DEEP + HELP.removeprefix("static ") + LOAD
    assert misplaced(text, "int help(void);\n") == []


def test_a_name_counts_only_with_brackets_in_a_comment_in_its_place():
    store = LOAD.replace("load", "store")
    named = "/* zswap_load() is gone */\n\n"
    swapon = LOAD.replace("load", "swapon")
    for text in (store + swapon, named + store + swapon, store + swapon + named):
        assert "zswap_load" in unnamed(text)
    assert "zswap_load" in unnamed(store + named.replace("()", "") + swapon)
    assert "zswap_load" not in unnamed(store + named + swapon)


def test_the_kernels_banners_in_its_order():
    banners = re.findall(r"^/\*{33}\n\* (.+)\n\*{34}/$", zswap_c(), re.M)
    assert banners == BANNERS


def includes(path: Path) -> list[str]:
    """The names of the headers that a C file includes, without their directories."""
    found = re.findall(r'^\s*#\s*include\s*["<]([^">]+)', path.read_text(), re.M)
    return [Path(name).name for name in found]


# what implements zswap.h, and what stands above zswap
KNOW_ZSWAP = {
    "mm/zswap.c",
    "mm/zswap_batch.c",
    "mm/zswap_debug.c",
    "mm/zswap_call.c",
    "mm/zswap_instance.c",
    "mm/zswap_internal.h",
    "mm/page_io.c",
    "lib/measure.c",
}


def test_no_lower_floor_knows_of_zswap():
    csrc = ROOT / "csrc"
    found = {
        str(path.relative_to(csrc))
        for path in csrc.rglob("*.[ch]")
        if {"zswap.h", "zswap_internal.h"} & set(includes(path))
    }
    assert found == KNOW_ZSWAP


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
    {"swap", "testing", "zram"},
    {"pytest_plugin", "sources"},
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
