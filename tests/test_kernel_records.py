# SPDX-License-Identifier: GPL-2.0-or-later
"""Ours beside the figures that kernels gave in a machine: vm/record wrote them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from vm import records
from vm.records import VERSIONS, Corpus

RECORDS = records.load()
CASES = [
    (version, where, name)
    for version, record in RECORDS.items()
    for where in ("zswap", "zram")
    for name in record.get(where, {})
]

#: What differs, and why. A case that is exact fails until it is taken out.
KNOWN: dict[tuple[str, str, str], str] = {
    ("6.1", "zram", "zstd"): "the zstd of Linux 6.1 is not modelled",
}


def case(version: str, where: str, name: str) -> Any:
    why = KNOWN.get((version, where, name))
    marks = [pytest.mark.xfail(reason=why, strict=True)] if why else []
    return pytest.param(version, where, name, marks=marks, id=f"{version}-{where}-{name}")


@pytest.mark.parametrize(("version", "where", "name"), [case(*of) for of in CASES])
def test_every_figure_is_the_kernels(version: str, where: str, name: str) -> None:
    record = RECORDS[version]
    if records.backend_of(name) is None:
        pytest.skip(f"no backend of {name} is here")
    for of in records.corpora_of(record).values():
        found = records.compared(record, where, name, of)
        if not found.kernel_sizes and (version, where, name) not in KNOWN:
            pytest.skip(f"no backend of {name} here has these sizes: {found.remedy or 'none has'}")
        assert found.ours == found.kernel
        assert not found.page_stores_differ


def test_each_kernel_is_recorded_with_its_settings():
    assert list(RECORDS) == list(VERSIONS)
    for version, record in RECORDS.items():
        assert record["host"]["kernel"].startswith(f"{version}.")
        assert (record["page_size"], record["chain_size"]) == (4096, 4 if version == "6.1" else 8)
        assert record["host"]["page-cluster"] == "0"
        assert record["host"]["lru_gen"] == ("0x0000" if version == "6.1" else "0x0007")
        assert record["host"]["transparent_hugepage"] == "[always] madvise never"
        assert set(record["not_recorded"]) == ({"zswap"} if version == "6.1" else set())
        assert len(record["corpora"]) == 3
        for where, names in (("zswap", {"lzo", "lzo-rle", "deflate"}), ("zram", set())):
            if where not in record["not_recorded"]:
                assert {"lz4", "lz4hc", "zstd"} | names <= set(record[where])


def test_the_records_hold_no_page_and_are_small():
    paths = list(records.DATA.iterdir())
    assert sum(path.stat().st_size for path in paths) < 400_000
    for path in paths:
        assert records.dumps(json.loads(path.read_text())) == path.read_text()


def test_a_corpus_of_other_bytes_is_refused():
    described = Corpus(1, 10).described()
    record = {"corpora": {"seed 1": described | {"sha256": "0"}}}
    with pytest.raises(ValueError, match="makes other pages now"):
        records.corpora_of(record)
    assert records.corpora_of({"corpora": {"seed 1": described}}) == {"seed 1": Corpus(1, 10)}


def test_one_size_and_one_step_that_differ_are_seen():
    """Also that the comparison is one: a record that is changed is not ours."""
    version = max(RECORDS, key=VERSIONS.index)
    record = json.loads(json.dumps(RECORDS[version]))
    first = next(iter(records.corpora_of(record).values()))
    told = record["zram"]["lz4"][first.name]
    told["sizes"][7] += 2
    told["mem_used_total"][3] -= 4096
    found = records.compared(record, "zram", "lz4", first)
    assert (found.page_stores_differ, found.differences) == (1, [0, 0, 0, 4096, 0, 0])
    assert records.cell([found]) == "+4,096\n1 sizes"


def test_the_comparison_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {key: value for key, value in RECORDS["6.18"].items() if key != "zswap"}
    record["corpora"] = {"seed 1": record["corpora"]["seed 1"]}
    record["zram"] = {"lz4": record["zram"]["lz4"]}
    (tmp_path / "6.18.json").write_text(records.dumps(record))
    assert records.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"zram +lz4:kernel +0 ", said)
    assert "6.18: Linux 6.18.15+deb13-amd64, 500 pages" in said
    record["zram"]["lz4"]["seed 1"]["sizes"][0] += 1
    (tmp_path / "6.18.json").write_text(records.dumps(record))
    assert records.main([str(tmp_path)]) == 3
    assert re.search(r"zram +lz4:kernel +1 sizes", capsys.readouterr().out)
    with pytest.raises(SystemExit):
        records.main([str(tmp_path / "none")])
    assert "has no records: tests/vm/record --to" in capsys.readouterr().err


# ---- 6.1 ----

PAGE = 4096


def chain_before_6_3(size: int) -> int:
    """The pages of a chain for objects of `size` bytes: up to 4, the fewest that use
    the largest whole percentage of their bytes.
    """
    return max(range(1, 5), key=lambda n: (n * PAGE - n * PAGE % size) * 100 // (n * PAGE))


def pool_before_6_3(sizes: list[int]) -> int:
    """The pool of objects of these sizes, none of which was freed."""
    classes: dict[int, tuple[int, int]] = {}  # by the smallest object's bytes, from the top
    merged = (0, 0)
    for size in range(PAGE, 31, -16):
        chain = chain_before_6_3(size)
        if (chain, chain * PAGE // size) != merged[:2]:
            merged = (chain, chain * PAGE // size)
        classes[size] = merged
    used = Counter(classes[min(max(32, -(-(size + 8) // 16) * 16), PAGE)] for size in sizes if size)
    return sum(-(-n // objects) * chain * PAGE for (chain, objects), n in used.items())


@pytest.mark.parametrize("name", sorted(RECORDS.get("6.1", {}).get("zram", {})))
def test_the_pool_of_6_1_is_that_of_its_own_chains(name: str) -> None:
    for told in RECORDS["6.1"]["zram"][name].values():
        assert pool_before_6_3(told["sizes"]) == told["mem_used_total"][0]
