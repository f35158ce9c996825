# SPDX-License-Identifier: GPL-2.0-or-later
"""zram beside zswap in a report: the figures of kernels' zram, and where they stand."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from corpus import SEEDS, corpus
from helpers import Run, of_kernel_sizes

import zswap_py as zs
from zswap_py import report
from zswap_py.report import Figures, Unavailable, measure
from zswap_py.report.data import from_json
from zswap_py.report.merge import merge
from zswap_py.sources.pages import open_pages

DATA = Path(__file__).parent / "data"
KERNEL = json.loads((DATA / "kernel_figures.json").read_text())
P = 4096


def measured(path: Path, *compressors: str, **how: Any) -> report.Report:
    with open_pages([path]) as pages:
        return measure.measure(pages, compressors, zram=True, **how).report


def of(rows: Any) -> Figures:
    (f,) = rows
    assert isinstance(f, Figures)
    assert f.intact
    return f


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    path = tmp_path / "memory"
    path.write_bytes(b"".join(corpus(1, 600)))
    return path


@pytest.mark.parametrize("name", ["lz4", "lzo", "lzo-rle"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_figures_are_those_of_a_kernels_zram(tmp_path: Path, seed: int, name: str) -> None:
    of_kernel_sizes(name)
    path = tmp_path / "memory"
    path.write_bytes(b"".join(corpus(seed)))
    found = measured(path, name, jobs=1)
    zram, kernel = of(found.zram), KERNEL[f"corpus:{seed}"][f"zram:{name}"]
    assert zram.kernel_sizes
    assert zram.sample["pool_total_size"] == kernel["mem_used_total"]
    assert zram.sample["compressed_bytes"] == kernel["compr_data_size"]
    assert zram.sample["stored_incompressible_pages"] == kernel["huge_pages"]
    assert zram.sample["rejected_pages"] == 0
    same = kernel["same_pages"] - found.sample.zero_pages
    assert zram.sample["stored_pages"] - sum(map(sum, zram.classes.values())) == same > 0
    assert zram.all.pool_total_size.value == kernel["mem_used_total"]


def test_jobs_change_no_figure(memory: Path) -> None:
    one, many = (of(measured(memory, "lz4", jobs=jobs).zram) for jobs in (1, 3))
    assert (one.all, one.classes) == (many.all, many.classes)
    assert one.sample == many.sample


def test_zswap_is_measured_as_without_zram(memory: Path) -> None:
    with open_pages([memory]) as pages:
        alone = measure.measure(pages, ["lzo", "deflate"], jobs=1).report
    both = measured(memory, "lzo", "deflate", jobs=1)
    assert alone.zram is None
    assert (alone.target, both.target) == ("zswap", "zswap,zram")
    for a, b in zip(alone.figures, both.figures, strict=True):
        assert (a.name, a.all, a.sample) == (b.name, b.all, b.sample)


def test_zram_has_its_own_parameters_of_zstd(memory: Path) -> None:
    """6.16's zswap has others than its zram; a Zram gives the same pool."""
    found = measured(memory, "zstd", jobs=1, kernel="6.16")
    zram = of(found.zram)
    with zs.Zram("zstd", pages=600, kernel="6.16", nr_cpus=1) as z:
        for slot, page in enumerate(corpus(1, 600)):
            if any(page):
                z.write(slot, page)
        stat = z.mm_stat()
    assert zram.sample["pool_total_size"] == stat["mem_used_total"]
    assert zram.sample["compressed_bytes"] == stat["compr_data_size"]
    assert zram.sample["compressed_bytes"] != of(found.compressors).sample["compressed_bytes"]


def test_it_comes_back_from_json_and_parts_leave_it_out(memory: Path, tmp_path: Path) -> None:
    found = measured(memory, "lz4", "lzo", jobs=1)
    again = from_json(report.to_json(found))
    assert report.to_json(again) == report.to_json(found)
    assert json.loads(report.to_json(found))["zram"][0]["name"] == "lz4"
    other = tmp_path / "other"
    other.write_bytes(b"".join(corpus(2, 300)))
    merged = merge([found, measured(other, "lz4", "lzo", jobs=1)])
    assert (merged.zram, merged.target) == (None, "zswap")


def test_what_is_not_available_is_said_once(memory: Path) -> None:
    found = measured(memory, "lz4", "842", jobs=1)
    assert [c.name for c in found.compressors] == ["lz4", "842"]
    assert found.zram is not None
    assert [c.name for c in found.zram] == ["lz4"]


def test_a_zram_that_cannot_be_made_is_said(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(meter: Any, spec: str, slots: int, **machine: Any) -> None:
        if spec == "lzo":
            raise OSError(errno.ENOMEM, "cannot create a Zram")
        made(meter, spec, slots, **machine)

    made = measure._ZramMeter._open
    monkeypatch.setattr(measure._ZramMeter, "_open", refuse)
    found = from_json(report.to_json(measured(memory, "lzo", "lz4")))
    missing, there = found.zram or []
    assert missing == Unavailable("lzo", None, "cannot create a Zram")
    assert isinstance(there, Figures)
    screen = report.to_text(found, width=80)
    assert "lzo is not available in zram: cannot create a Zram" in " ".join(screen.split())
    of_one = dataclasses.replace(found, zram=[there])  # a report of another maker
    assert "lz4" in report.to_text(of_one, width=80)


def test_a_damaged_page_of_zram_is_a_failure(
    run: Run, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = measure._ZramMeter.mark
    monkeypatch.setattr(
        measure._ZramMeter, "mark", lambda meter: mark(meter)._replace(intact=False)
    )
    code, _, err = run("report", "--target", "zswap,zram", "-c", "lz4", "--json", memory)
    assert code == 1
    assert "lz4:kernel in zram: pages were lost or loaded with other bytes" in err


def test_the_screen_has_both_side_by_side(run: Run, memory: Path) -> None:
    code, out, err = run("report", memory, "-c", "lz4", "-c", "zstd", "--target", "zswap,zram")
    assert (code, err) == (0, "")
    assert "zswap,zram modelled as Linux 7.3" in out
    head = next(i for i, line in enumerate(out.splitlines()) if "kept raw," in line)
    rows = [line.split()[0] for line in out.splitlines()[head + 2 : head + 4]]
    assert rows == ["zstd", "lz4"]
    assert "zram" not in run("report", memory, "-c", "lz4")[1]
    code, out, _err = run(
        "report", memory, "-c", "lz4", "--target", "zswap,zram", "--kernel", "6.12"
    )
    assert "to disk," in out


def test_another_target_is_named(run: Run, memory: Path) -> None:
    code, _out, err = run("report", memory, "--target", "zram")
    assert code == 2
    assert "argument --target: invalid choice: 'zram'" in err
