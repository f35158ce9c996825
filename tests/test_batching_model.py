# SPDX-License-Identifier: GPL-2.0-or-later
"""bench/batching.py's arithmetic: the closed form, and that the simulator keeps to it;
elasticities; usemem30's fit.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from pathlib import Path

import pytest

import zswap_py as zs
from zswap_py.clock import VirtualClock
from zswap_py.iaa import IAA

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))
import batching
import batching_model as model
import harness
from batching_model import PAGE, Run, Usemem

# another device: slower CPUs, and pages that need not be as far apart
OTHER = IAA.replace(host_ns=500, compress_ns=2_000, transfer_ns=700)
PUBLISHED = [p50 for p50, _ in model.PUBLISHED_LATENCY.values()]
NOISE = 16  # pages


@pytest.fixture(scope="module", autouse=True)
def _pages():
    model.use_pages(harness.real_pages(nr=1024) + random.Random(1).randbytes(NOISE * PAGE))


# ---- the closed form ----


def test_the_solution_solves():
    h, s, b = model.solve(*PUBLISHED)
    assert [h + s, (h + 7 * b + s) / 8, (8 * h + s) / 8] == pytest.approx(
        [3_503, 1_356, 706], abs=1e-9
    )


def test_the_library_has_this_solution():
    assert (IAA.host_ns, IAA.compress_ns, IAA.transfer_ns) == tuple(
        map(round, model.solve(*PUBLISHED))
    )


@pytest.mark.parametrize(
    "latencies", [(706, 1_356, 3_503), (3_503, 706, 1_356), (3_503, 2_500, 706), (100, 706, 13)]
)
def test_no_pipeline_has_these_latencies(latencies):
    with pytest.raises(ValueError, match="not a pipeline's"):
        model.solve(*latencies)


@pytest.mark.parametrize("profile", [IAA, OTHER], ids=["IAA", "other"])
def test_closed_form(profile):
    h, s, b = profile.host_ns, profile.compress_ns, profile.transfer_ns
    assert model.closed_form(profile, 1, 4) == h + s
    assert model.closed_form(profile, 8, 1) == (h + 7 * b + s) / 8
    assert model.closed_form(profile, 8, 4) == (8 * h + s) / 8
    assert model.closed_form(profile, 2, 1) == (h + b + s) / 2
    assert model.closed_form(profile, 2, 2) == (2 * h + s) / 2


# ---- the simulator ----


@pytest.mark.parametrize("profile", [IAA, OTHER], ids=["IAA", "other"])
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_one_cpu_is_the_closed_form(batch, devices, profile):
    figures = Run("v10", devices, (0,), 16, 3, batch=batch, profile=profile).figures()
    assert figures["p50_ns"] == figures["p99_ns"] == model.closed_form(profile, batch, devices)
    assert figures["stored_pages"] == figures["total_comp_calls"] == 48


def test_the_simulator_gives_what_was_published():
    specs = batching.fit_specs()
    rows = batching.fit_rows({spec: spec.figures() for spec in specs.values()})
    fits = [row for row in rows if row["kind"] == "fit"]
    assert [row["name"] for row in fits] == list(model.PUBLISHED_LATENCY)
    for row, published in zip(fits, PUBLISHED, strict=True):
        assert row["figures"]["p50_ns"] == pytest.approx(published, rel=0.02)
        assert row["closed_form_ns"] == pytest.approx(published)
    assert batching.off(rows) == []


def test_a_profile_that_is_not_the_fit_is_noticed():
    wrong = IAA.replace(transfer_ns=1_100)
    specs = batching.fit_specs()
    rows = batching.fit_rows(
        {spec: dataclasses.replace(spec, profile=wrong).figures() for spec in specs.values()}
    )
    assert [row["name"] for row in batching.off(rows)] == ["8 on one"]
    on_one = (IAA.host_ns + 7 * 1_100 + IAA.compress_ns) / 8
    assert batching.off(rows)[0]["deviation"] == pytest.approx(on_one / 1_356 - 1)


def test_the_drivers_are_the_kernels():
    def seen(run: Run) -> tuple[object, ...]:
        with run.accelerator(VirtualClock()) as acc:
            return (
                acc.series,
                acc.batch_size,
                acc.verify_compress,
                [len(acc.table(cpu).comp) for cpu in run.cpus],
            )

    run = Run("mainline", 4, tuple(range(8)), 16, 1)
    assert seen(run) == (None, 1, False, [1] * 8)
    v10 = dataclasses.replace(run, driver="v10")
    assert seen(v10) == ("v10", 8, False, [4] * 8)
    assert seen(dataclasses.replace(v10, distribute=False)) == ("v10", 8, False, [1] * 8)
    assert seen(dataclasses.replace(v10, packages=2)) == ("v10", 8, False, [2] * 8)


def test_many_cpus_get_what_the_devices_give():
    for driver in ("mainline", "v10"):
        figures = Run(driver, 2, tuple(range(16)), 16, 4).figures()
        assert figures["gb_s"] == pytest.approx(2 * PAGE / IAA.transfer_ns, rel=0.02)
        assert figures["p50_ns"] == pytest.approx(16 / 2 * IAA.transfer_ns, rel=0.02)


def test_pages_of_all_kinds_are_stored():
    nr, good = len(model._pages) // PAGE, len(model._compressible) // PAGE
    assert nr - good >= NOISE
    figures = Run("v10", 2, (0,), 16, nr // 16).figures()
    assert figures["stored_pages"] == nr
    assert figures["stored_incompressible_pages"] == nr - good
    assert (nr - good) * PAGE < figures["pool_total_size"] < nr * PAGE


def test_only_pages_that_compress():
    run = Run("v10", 2, (0,), 16, len(model._pages) // PAGE // 16, kernel="6.16")
    assert run.figures()["refused"] > 0
    assert dataclasses.replace(run, compressible=True).figures()["refused"] == 0


FULL = Run("v10", 1, tuple(range(12)), 16, 2, entries=16, kernel="6.16", compressible=True)


def test_full_queues_refuse_batches_not_single_pages():
    batches, pages = FULL.figures(), dataclasses.replace(FULL, batch=1).figures()
    assert batches["refused"] > 0.5
    assert batches["no_descriptor"] > 0
    assert batches["reject_compress_fail"] > 0
    assert pages["refused"] == pages["no_descriptor"] == 0


def test_what_begins_at_once_gets_into_step():
    # 240 pages for 128 descriptors
    at_once = dataclasses.replace(FULL, cpus=tuple(range(30)), entries=128)
    apart = dataclasses.replace(at_once, apart_ns=306)
    assert at_once.figures()["refused"] == 0.5
    assert apart.figures()["refused"] == 0


def test_the_same_nanoseconds_each_time_and_in_other_processes():
    cpus = tuple(range(9))
    specs = [
        Run("v10", 4, cpus, 16, 2),
        Run("mainline", 4, cpus, 16, 2, outside_ns=999.5, share=0.5),
    ]
    here = {spec: spec.figures() for spec in specs}
    assert model.simulate_all(specs) == here == {spec: spec.figures() for spec in specs}


def test_a_page_that_is_not_there_is_noticed(monkeypatch):
    monkeypatch.setattr(zs.Zswap, "load", lambda self, entry, out, *, cpu=None: True)
    with pytest.raises(RuntimeError, match="a page was lost"):
        Run("v10", 1, (0,), 16, 1).figures()


def test_too_few_pages():
    before = model._pages, model._compressible
    with pytest.raises(ValueError, match="10 of 10 pages compress: give a file with at least 512"):
        model.use_pages(bytes(range(256)) * 16 * 10)
    assert (model._pages, model._compressible) == before


# ---- sensitivity ----


def test_percentile():
    assert [model.percentile(range(1, 101), share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
    assert [model.percentile([7, 9], share) for share in (0.5, 0.51, 0.99)] == [7, 9, 9]


def test_elasticity():
    assert model.elasticity(4, 1.8**2, 2.2**2, 2, 1.8, 2.2) == pytest.approx(2)
    assert model.elasticity(1 / 2, 1 / 1.8, 1 / 2.2, 2, 1.8, 2.2) == pytest.approx(-1, abs=0.02)
    assert model.elasticity(5, 5, 5, 2, 1.8, 2.2) == 0
    assert model.elasticity(0, 0, 1, 2, 1.8, 2.2) is None


def test_elasticities_are_those_of_the_closed_form():
    spec = Run("v10", 4, (0,), 16, 1)
    around = [s for _, low, high in model.perturbed(spec).values() for s, _ in (low, high)]
    assert len(set(around)) == 6
    results = {s: {"p50_ns": s.figures()["p50_ns"]} for s in (spec, *around)}
    h, s = IAA.host_ns, IAA.compress_ns
    found = model.elasticities(spec, results)["p50_ns"]
    expected = {"host_ns": 8 * h / (8 * h + s), "compress_ns": s / (8 * h + s), "transfer_ns": 0}
    assert found == pytest.approx(expected, abs=1e-4)
    assert model.most_sensitive(found) == "compress_ns"


def test_most_sensitive():
    assert (
        model.most_sensitive({"host_ns": 0.2, "compress_ns": -0.9, "transfer_ns": None})
        == "compress_ns"
    )
    assert model.most_sensitive({"host_ns": 0.0, "compress_ns": None}) is None


def test_a_perturbation_changes_its_constant_alone():
    for name, (value, (low, low_x), (high, high_x)) in model.perturbed(Usemem(16, 4, 6e6)).items():
        whose = (lambda spec: spec) if name == "share" else (lambda spec: spec.profile)
        assert [getattr(whose(spec), name) for spec in (low, high)] == [low_x, high_x]
        assert (low_x / value, high_x / value) == pytest.approx((0.9, 1.1), abs=2e-3)
        restored = (
            {name: value} if name == "share" else {"profile": low.profile.replace(**{name: value})}
        )
        assert dataclasses.replace(low, **restored) == Usemem(16, 4, 6e6)


# ---- usemem30 ----


def test_fit_with_contention():
    # the less time outside, the more they are in each other's way
    def simulated(outside: float) -> float:
        return model.PROCESSES * 4e9 / (outside + 3_000 + 4e6 / outside)

    outside, tries = model.fit_outside(simulated, 6_078_729, 1_000)
    assert simulated(outside) == pytest.approx(6_078_729, rel=1e-4)
    assert 1 < tries < 10


def test_fits_that_cannot_be():
    with pytest.raises(ValueError, match="stores alone take longer"):
        model.fit_outside(
            lambda outside: model.PROCESSES * 4e9 / (outside + 30_000), 6_078_729, 1_000
        )
    with pytest.raises(RuntimeError, match="is not reached"):
        model.fit_outside(lambda outside: 6_000_000, 6_078_729, 50_000)


@pytest.fixture(scope="module")
def small():
    spec = Usemem(16, 8, model.PUBLISHED_USEMEM[16][0])
    return spec, spec.figures()


def test_usemem_comes_to_the_row_before(small):
    spec, figures = small
    assert figures["before_kb_s"] == pytest.approx(6_078_729, rel=1e-4)
    assert (
        figures["before_kb_s"]
        == spec.run("mainline", figures["outside_ns"]).figures()["touched_kb_s"]
    )
    assert figures["after_kb_s"] == spec.run("v10", figures["outside_ns"]).figures()["touched_kb_s"]


def test_usemem_gains_what_stores_get_shorter(small):
    spec, figures = small
    saved = spec.share * (figures["before_p50_ns"] - figures["after_p50_ns"])
    gain = (
        model.page_ns(figures["before_kb_s"]) / (model.page_ns(figures["before_kb_s"]) - saved) - 1
    )
    assert figures["gain"] == pytest.approx(gain, rel=0.15)
    slower = dataclasses.replace(spec, mainline_ns=model.MAINLINE_NS).figures()
    assert slower["before_kb_s"] == pytest.approx(figures["before_kb_s"], rel=2e-4)
    assert slower["gain"] > figures["gain"]
    more = dataclasses.replace(spec, share_after=model.SHARE_AFTER).figures()
    assert more["outside_ns"] == figures["outside_ns"]
    assert more["gain"] < figures["gain"]


def test_shares_are_stored():
    cpus = tuple(range(10))
    figures = Run("v10", 1, cpus, 16, 8, outside_ns=20_000, share=0.7375).figures()
    assert figures["stores"] == pytest.approx(10 * 8 * 0.7375, abs=1)
    nobody_waits = 20_000 + 0.7375 * model.closed_form(IAA, 8, 1)
    assert figures["touched_kb_s"] == pytest.approx(len(cpus) * 4e9 / nobody_waits, rel=0.02)


def test_explanation():
    before, after = model.PUBLISHED_USEMEM[16]
    figures = {
        "before_kb_s": before,
        "after_kb_s": after,
        "after_p50_ns": 706.0,
        "outside_ns": 10_000.0,
    }
    why = model.explain(16, figures, 0.75)
    assert why["explained"] == pytest.approx(1)
    assert why["published_gain"] == pytest.approx(0.72, abs=0.005)
    # put back where it comes from: that much longer stores before make the published
    # difference
    assert 0.75 * (why["needed_before_ns"] - 706) == pytest.approx(
        model.page_ns(before) - model.page_ns(after)
    )
    assert why["most_gain"] == pytest.approx(model.page_ns(before) / 10_000 - 1)
    assert (why["sys_ns_a_swap_out_before"], why["sys_ns_a_swap_out_after"]) == pytest.approx(
        (40_720, 24_240), abs=10
    )
    nothing = model.explain(16, figures | {"after_kb_s": before}, 0.75)
    assert nothing["explained"] == 0
    assert nothing["needed_before_ns"] == why["needed_before_ns"]
