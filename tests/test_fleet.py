# SPDX-License-Identifier: GPL-2.0-or-later
"""Many reports side by side, and how a fleet collects them."""

from __future__ import annotations

import copy
import csv
import doctest
import io
import json
import math
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import Run

from zswap_py.report import fleet_text
from zswap_py.report.compact import MAX_BYTES
from zswap_py.report.files import Document
from zswap_py.report.fleet import Fleet, Row, quantile

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "fleet"
FLEET = (ROOT / "docs" / "fleet.md").read_text()


@pytest.fixture
def template(run: Run, memory: Path) -> dict[str, Any]:
    """The JSON object of a report that cannot be mistaken for a host's."""
    _, out, _ = run("report", "--json", memory, "-c", "lzo", "-c", "lz4", "--label", "app=api")
    made: dict[str, Any] = json.loads(out)
    return made


def host(template: dict[str, Any], n: int, **changes: Any) -> dict[str, Any]:
    """Another host's report: n times as large, with errors of n pages."""
    made = copy.deepcopy(template)
    made["id"] = f"{n:032x}"
    made["pages_total"] *= n
    for c in made["compressors"]:
        for estimate in c["all"].values():
            if isinstance(estimate, dict):
                value = estimate["value"] * n
                estimate.update(value=value, low=value - 4096 * n, high=value + 8192 * n)
    return made | changes


def fleet_of(*reports: dict[str, Any], by: str | None = None) -> Fleet:
    fleet = Fleet(by)
    fleet.read(Document(f"{i}.json", None, json.dumps(r).encode()) for i, r in enumerate(reports))
    return fleet


def row(fleet: Fleet, figure: str, **wanted: Any) -> Row:
    found = [
        row
        for row in fleet.rows()
        if row.figure == figure and all(getattr(row, k) == v for k, v in wanted.items())
    ]
    assert len(found) == 1, found
    return found[0]


# ---- figures ----


@pytest.mark.parametrize("count", [2, 3, 20, 21, 100, 1001])
def test_quantiles_are_exact(count: int) -> None:
    values = sorted(random.Random(count).lognormvariate(20, 3) for _ in range(count))
    of_100 = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (5, 50, 95):
        assert quantile(values, percent / 100) == pytest.approx(of_100[percent - 1])
    assert quantile(values[:1], 0.95) == values[0]


def test_hosts_add_up_and_their_pools_do_not_merge(template: dict[str, Any]) -> None:
    sizes = [1, 2, 3, 4, 10]
    fleet = fleet_of(*(host(template, n) for n in sizes))
    for f in template["compressors"]:
        pool = row(fleet, "pool_total_size", compressor=f["name"], pages="all")
        one = f["all"]["pool_total_size"]["value"]
        assert (pool.reports, pool.p50) == (5, 3 * one)
        assert (pool.p5, pool.p95) == (round(1.2 * one), round(8.8 * one))
        assert pool.sum is not None
        assert pool.sum.value == 20 * one
        # independent errors: by their squares
        error = math.sqrt(sum(n * n for n in sizes))
        assert pool.sum.low == round(20 * one - 4096 * error)
        assert pool.sum.high == round(20 * one + 8192 * error)
    swappable = row(fleet, "swappable_bytes")
    assert swappable.sum is not None
    assert swappable.sum.value == swappable.sum.low == 20 * template["pages_total"] * 4096


def test_ratios_and_times_have_no_sum(template: dict[str, Any]) -> None:
    fleet = fleet_of(host(template, 1), host(template, 2))
    f = template["compressors"][0]
    ratio = row(fleet, "ratio", compressor=f["name"])
    assert ratio.sum is None
    assert ratio.p50 == pytest.approx(f["all"]["ratio"], abs=1e-4)
    times = row(fleet, "load_ns_p50", compressor=f["name"])
    assert (times.pages, times.p50, times.sum) == (None, round(f["load_ns_p50"], 4), None)


def test_a_label_makes_rows(template: dict[str, Any]) -> None:
    api, batch, none = {"app": "api"}, {"app": "batch", "zone": "1"}, {"zone": "1"}
    fleet = fleet_of(
        *(host(template, n, labels=labels) for n, labels in enumerate([api, api, batch, none], 1)),
        by="app",
    )
    totals = {each.label: each.sum for each in fleet.rows() if each.figure == "swappable_bytes"}
    sizes = {label: total.value // 4096 for label, total in totals.items() if total}
    pages = template["pages_total"]
    assert sizes == {"api": 3 * pages, "batch": 3 * pages, None: 4 * pages}


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": "6.16"},
        {"series": "v13"},
        {"series": None},
        {"page_size": 16384},
        {"folio_pages": 16},
        {"target": "zram"},
    ],
    ids=str,
)
def test_other_rules_are_rows_of_their_own(
    template: dict[str, Any], changes: dict[str, Any]
) -> None:
    fleet = fleet_of(host(template, 1), host(template, 2, **changes), host(template, 3))
    rows = [each for each in fleet.rows() if each.figure == "swappable_bytes"]
    assert sorted(each.reports for each in rows) == [1, 2]
    (name,) = changes
    assert {getattr(each, name) for each in rows} == {template[name], changes[name]}
    assert len(list(fleet_text.tables(fleet))) == 2


def test_another_backend_is_another_compressor(template: dict[str, Any]) -> None:
    other = host(template, 2)
    other["compressors"][0]["backend"] = "liblzo2"
    fleet = fleet_of(host(template, 1), other)
    names = {each.compressor for each in fleet.rows() if each.compressor}
    assert names == {"lzo", "lz4", "lzo:liblzo2"}


def test_duplicates_are_dropped_and_counted(template: dict[str, Any]) -> None:
    fleet = fleet_of(host(template, 1), host(template, 2), host(template, 1))
    assert (fleet.reports, fleet.duplicates) == (2, 1)


def test_what_must_not_be_used_is_in_no_row(template: dict[str, Any]) -> None:
    damaged = host(template, 2)
    damaged["compressors"][0]["intact"] = False
    damaged["compressors"][1] = {"name": "lz4", "backend": None, "unavailable": "no"}
    fleet = fleet_of(host(template, 1), damaged, host(template, 3, complete=False))
    assert row(fleet, "swappable_bytes").reports == 2
    assert row(fleet, "pool_total_size", compressor="lzo").reports == 1
    assert row(fleet, "pool_total_size", compressor="lz4").reports == 1
    (why,) = fleet.left_out.values()
    assert (why.files, why.reason[:13]) == (1, "is incomplete")


def test_cold_memory_counts_where_it_is_known(template: dict[str, Any]) -> None:
    warm, cold = host(template, 1), host(template, 2, cold_pages=100)
    for c in cold["compressors"]:
        c["cold"] = template["compressors"][0]["all"]
    fleet = fleet_of(warm, cold)
    assert row(fleet, "cold_bytes").reports == 1
    assert row(fleet, "net_saved_bytes", compressor="lz4", pages="cold").reports == 1
    assert row(fleet, "net_saved_bytes", compressor="lz4", pages="all").reports == 2
    text = fleet_text.to_text(fleet)
    assert "lz4 saves, cold" in text
    assert "of 400.0 KiB cold." in text


# ---- the formats ----


def test_the_formats_have_the_same_figures(template: dict[str, Any]) -> None:
    reports = [host(template, n, labels={"app": f"a{n % 2}"}) for n in range(1, 8)]
    fleet = fleet_of(*reports, by="app")
    rows = json.loads(fleet_text.to_json(fleet))["rows"]
    flat = list(csv.DictReader(io.StringIO(fleet_text.to_csv(fleet))))
    assert len(rows) == len(flat)
    for one, other in zip(rows, flat, strict=True):
        assert one["figure"] == other["figure"]
        assert float(other["p95"]) == one["p95"]
        assert other["sum"] == ("" if one["sum"] is None else str(one["sum"]["value"]))
    text, markdown = fleet_text.to_text(fleet), fleet_text.to_markdown(fleet)
    for line in next(iter(fleet_text.tables(fleet))).lines:
        assert re.search(r"\s+".join(map(re.escape, (line.figure, *line.cells))), text)
        assert f"| {' | '.join((line.label, line.figure, *line.cells))} |" in markdown


def test_a_label_is_text(template: dict[str, Any]) -> None:
    hostile = "[red]x|y\x1b[31m\n`"
    fleet = fleet_of(
        host(template, 1, labels={"app": hostile}), host(template, 2, labels={}), by="app"
    )
    for made in (fleet_text.to_text(fleet, 200), fleet_text.to_markdown(fleet)):
        assert "\x1b" not in made
    assert r"[red]x|y\x1b[31m\n`" in fleet_text.to_text(fleet, 200)
    assert "(none)" in fleet_text.to_text(fleet, 200)
    cells = fleet_text.to_markdown(fleet)
    assert r"\[red\]x\|y\\x1b\[31m\\n\`" in cells


def test_show_writes_each_format(
    run: Run, template: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "reports.jsonl"
    path.write_text("".join(json.dumps(host(template, n)) + "\n" for n in (1, 2)))
    files = [tmp_path / f"out{ending}" for ending in (".json", ".csv", ".md")]
    code, out, err = run("show", path, *(word for f in files for word in ("-o", f)))
    assert (code, out, err) == (0, "", "")
    for file, name in zip(files, ("json", "csv", "markdown"), strict=True):
        printed = run("show", path, "--format", name)[1]
        same = json.loads if name == "json" else str
        assert same(file.read_text()) == same(printed)
    (tmp_path / "d").mkdir()
    assert run("show", path, "-o", f"{tmp_path}/d/") == (0, "", "")
    assert [each.name for each in (tmp_path / "d").iterdir()] == ["show.json"]


# ---- bounds ----


def test_a_report_leaves_little_behind(template: dict[str, Any]) -> None:
    """100,000 reports must take less than 300 MiB: 3 KiB each."""

    def reports(count: int) -> Iterator[Document]:
        for n in range(1, count):
            made = template | {"id": f"{n:032x}", "labels": {"rack": f"rack-{n % 100}"}}
            yield Document(f"{n}.json", None, json.dumps(made).encode())

    Fleet().read(reports(10))
    tracemalloc.start()
    try:
        fleet = Fleet("rack")
        fleet.read(reports(2000))
        held, _ = tracemalloc.get_traced_memory()
        reports_of = {}
        for each in fleet.rows():
            figure = (each.compressor, each.pages, each.figure)
            reports_of[figure] = reports_of.get(figure, 0) + each.reports
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert set(reports_of.values()) == {1999}
    assert held / 2000 < 1024
    assert most / 2000 < 2048


def test_a_label_of_too_many_values_is_refused(
    run: Run, template: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zswap_py.report.fleet.MAX_LABELS", 2)
    path = tmp_path / "a.json"
    reports = [host(template, n, labels={"host": f"h{n}"}) for n in (1, 2, 3)]
    path.write_text("".join(json.dumps(each) + "\n" for each in reports))
    code, out, err = run("show", "--by", "host", path)
    assert (code, out) == (1, "")
    assert err.startswith("zswap-py: --by host: the label has more than 2 values: ")
    assert run("show", "--by", "zone", path)[0] == 0


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({}, "no report has a label: zswap-py report --label app=VALUE adds it"),
        ({"b": "1", "a": "2"}, "no report has the label app: give a, b"),
        (
            dict.fromkeys("abcdefg", "1"),
            "no report has the label app: give a, b, c, d, e and 2 more",
        ),
    ],
)
def test_a_label_that_no_report_has_is_told(
    run: Run, template: dict[str, Any], tmp_path: Path, labels: dict[str, str], said: str
) -> None:
    path = tmp_path / "a.json"
    one, other = (json.dumps(host(template, n, labels=labels)) for n in (1, 2))
    path.write_text(f"{one}\n{other}\n")
    code, out, err = run("show", "--by", "app", path)
    assert (code, err) == (0, f"zswap-py: {said}\n")
    assert "(none)" in out
    some = json.dumps(host(template, 3, labels={"app": "x"}))
    path.write_text(f"{one}\n{some}\n")
    assert run("show", "--by", "app", path)[2] == ""


# ---- the collection ----


def test_a_report_goes_to_the_file_of_its_id(run: Run, memory: Path, tmp_path: Path) -> None:
    top = tmp_path / "reports"
    top.mkdir()
    for _ in range(2):
        code, out, err = run(
            *("report", memory, "-c", "lzo", "-c", "lz4", "-c", "zstd"),
            *("--no-names", "--label", "app=api", "-o", f"{top}/"),
        )
        assert (code, out, err) == (0, "", "")
    files = list(top.iterdir())
    assert len(files) == 2
    for file in files:
        assert file.name == f"{json.loads(file.read_text())['id']}.json"
        assert file.stat().st_size <= MAX_BYTES
    assert json.loads(run("show", "--json", "--by", "app", top)[1])["rows"][0]["label"] == "api"


def command_of(text: str) -> list[str]:
    """The arguments of the zswap-py report in an example."""
    joined = text.replace("\\\n", " ")
    (line,) = re.findall(r"zswap-py (report [^\n;]*)", joined)
    return [word for word in line.split() if word != "report"]


@pytest.mark.parametrize("name", ["zswap-report.service", "zswap-report.yaml"])
def test_the_examples_command_line_is_valid(name: str) -> None:
    from zswap_py import cli

    argv = ["report", *command_of((EXAMPLES / name).read_text())]
    args = cli.parser().parse_args(argv)
    assert args.all_processes
    assert args.no_names
    assert [path[-1] for path in args.outputs] == ["/"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    # verify looks for the program, which is elsewhere here
    for name in ("zswap-report.service", "zswap-report.timer"):
        text = (EXAMPLES / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/local/bin/zswap-py", "/bin/true"))
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verify.returncode, verify.stdout + verify.stderr) == (0, "")


def test_the_daemonset_is_what_it_says() -> None:
    yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
    documents = list(yaml.safe_load_all((EXAMPLES / "zswap-report.yaml").read_text()))
    (daemonset,) = [each for each in documents if each["kind"] == "DaemonSet"]
    labels = daemonset["spec"]["selector"]["matchLabels"]
    template = daemonset["spec"]["template"]
    assert labels.items() <= template["metadata"]["labels"].items()
    pod = template["spec"]
    assert pod["hostPID"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    shell, dash_c, script = container["command"]
    subprocess.run([shell, "-n", dash_c, script], check=True)
    context = container["securityContext"]
    assert context["capabilities"]["drop"] == ["ALL"]
    assert context["readOnlyRootFilesystem"]
    assert container["resources"]["limits"]["memory"]
    unit = (EXAMPLES / "zswap-report.service").read_text()
    (bounding,) = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.M)
    added = {f"CAP_{name}" for name in context["capabilities"]["add"]}
    assert added <= set(bounding.split())


# ---- docs/fleet.md ----


def test_the_walk_through_runs_as_it_is_written(tmp_path: Path) -> None:
    blocks = re.findall(r"^```console\n(.+?)^```$", FLEET, re.M | re.S)
    steps = re.findall(r"^\$ (.+\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", "".join(blocks), re.M)
    assert len(steps) > 8
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    same = doctest.OutputChecker().check_output
    for command, output in steps:
        script = command.replace("\n> ", "\n")
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert same(output, done.stdout, doctest.ELLIPSIS), f"$ {script}{done.stdout}"
