# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap-py show: one report, the parts of one, and files that are none."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpus import corpus
from helpers import Run
from reports import figures, make

from zswap_py import report
from zswap_py.report import compact
from zswap_py.report.data import OTHERS, Coldness, Figures, Group, GroupSavings, Report
from zswap_py.report.files import MAX_DOCUMENT, documents
from zswap_py.report.merge import MergeError, merge

P = 4096
COMPRESSORS = ("-c", "lzo", "-c", "lz4")


@pytest.fixture
def made(run: Run, tmp_path: Path) -> Callable[..., Report]:
    """Makes the report of some pages, which are a file of their own."""

    def make(pages: bytes, *options: str, name: str = "pages", **changes: Any) -> Report:
        path = tmp_path / name
        path.write_bytes(pages)
        code, out, err = run("report", "--json", path, *(options or COMPRESSORS))
        assert code == 0, err
        return dataclasses.replace(report.from_json(out), **changes)

    return make


def written(path: Path, *reports: Report) -> Path:
    path.write_text("".join(report.to_json(each, indent=None) + "\n" for each in reports))
    return path


# ---- one report ----


@pytest.mark.parametrize("options", [(), ("--color", "always"), ("--json",)], ids=" ".join)
def test_one_report_is_shown_as_report_showed_it(
    run: Run,
    memory: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, _ = run("report", "--json", memory, *COMPRESSORS, "--sample", "2M")
    (tmp_path / "a.json").write_text(out)
    # the same measurement, drawn by report
    result = type("Result", (), {"report": report.from_json(out), "stopped": None})
    monkeypatch.setattr("zswap_py.cli.report.measure.measure", lambda *_, **__: result)
    code, drawn, _ = run("report", memory, *COMPRESSORS, "--sample", "2M", *options)
    assert code == 0
    assert run("show", tmp_path / "a.json", *options) == (0, drawn, "")


def test_json_is_the_same_after_any_number_of_turns(run: Run, memory: Path, tmp_path: Path) -> None:
    _, out, _ = run("report", "--json", memory, *COMPRESSORS, "-c", "842", "--sample", "3M")
    path = tmp_path / "a.json"
    path.write_text(out)
    assert run("show", "--json", path)[1] == out


def test_an_incomplete_report_is_shown(
    run: Run, made: Callable[..., Report], tmp_path: Path
) -> None:
    one = made(b"".join(corpus(1)[:100]), complete=False)
    code, out, err = run("show", written(tmp_path / "a.json", one))
    assert (code, err) == (0, "")  # it is not "left out"
    assert "incomplete" in out


def test_standard_input(memory: Path) -> None:
    command = [sys.executable, "-m", "zswap_py"]
    out = subprocess.run(
        [*command, "report", "--json", memory, "-c", "lz4"], capture_output=True, check=True
    ).stdout
    shown = subprocess.run(
        [*command, "show", "--json", "-"], input=out, capture_output=True, check=True
    ).stdout
    assert shown == out


# ---- parts of a sample ----


def in_parts(made: Callable[..., Report], pages: list[bytes], cuts: list[int]) -> list[Report]:
    edges = [0, *cuts, len(pages)]
    return [
        made(b"".join(pages[begin:end]), name=f"part{i}", labels={"sample": "one"})
        for i, (begin, end) in enumerate(itertools.pairwise(edges))
    ]


def pool(one: Report, name: str) -> float:
    return next(f.all.pool_total_size.value for f in one.figures if f.name == name)


@pytest.mark.parametrize("cuts", [[1000], [3, 700, 1500]], ids=["two", "four"])
def test_parts_are_the_report_of_the_whole(made: Callable[..., Report], cuts: list[int]) -> None:
    pages = corpus(1)
    whole = made(b"".join(pages))
    parts = in_parts(made, pages, cuts)
    one = merge(parts)
    assert (one.pages_total, one.zero_pages) == (whole.pages_total, whole.zero_pages)
    for of_parts, of_whole in zip(one.compressors, whole.compressors, strict=True):
        assert isinstance(of_parts, Figures)
        assert isinstance(of_whole, Figures)
        assert of_parts.classes == of_whole.classes
        # one CPU stores all pages, in order: to the byte
        assert of_parts.all == of_whole.all
        apart = sum(
            f.all.pool_total_size.value
            for part in parts
            for f in part.figures
            if f.name == of_parts.name
        )
        assert apart > of_whole.all.pool_total_size.value


def test_parts_may_be_merged_in_steps(made: Callable[..., Report]) -> None:
    first, second, third = in_parts(made, corpus(2), [500, 1200])
    steps, at_once = merge([merge([first, second]), third]), merge([first, second, third])
    for one, other in zip(steps.figures, at_once.figures, strict=True):
        assert one.all == other.all
        assert one.classes == other.classes
    assert steps.sample == at_once.sample
    assert merge([second, first]).id == merge([first, second]).id


def with_error(one: Report, half: float) -> Report:
    """The report as if its pools and savings were estimates."""

    def wide(savings: Any) -> Any:
        pool, net = savings.pool_total_size.value, savings.net_saved_bytes.value
        return dataclasses.replace(
            savings,
            pool_total_size=report.Estimate(pool, pool - half, pool + half),
            net_saved_bytes=report.Estimate(net, net - half, net + 2 * half),
        )

    return dataclasses.replace(
        one, compressors=[dataclasses.replace(f, all=wide(f.all)) for f in one.figures]
    )


def test_errors_of_parts_add_by_their_squares(made: Callable[..., Report]) -> None:
    first, second = in_parts(made, corpus(1), [1000])
    exact = merge([first, second]).figures[0].all
    both = merge([with_error(first, 3000), with_error(second, 4000)]).figures[0].all
    assert both.pool_total_size.value == exact.pool_total_size.value
    assert both.pool_total_size.value - both.pool_total_size.low == pytest.approx(5000)
    assert both.net_saved_bytes.high - both.net_saved_bytes.value == pytest.approx(10000)


def test_samples_in_parts_hold_the_pool_of_the_whole(made: Callable[..., Report]) -> None:
    pages = corpus(3, 6000)
    halves = [b"".join(half) for half in (pages[:2000], pages[2000:])]
    whole, *apart = (made(part, name="x") for part in (b"".join(pages), *halves))
    shared = {
        f.name: sum(pool(a, f.name) for a in apart) - f.all.pool_total_size.value
        for f in whole.figures
    }
    held, found = 0, dict.fromkeys(shared, 0.0)
    for seed in range(8):
        options = ("--sample", "2M", "--seed", seed, *COMPRESSORS)
        parts = [
            made(half, *options, name=f"half{i}", labels={"sample": "x"})
            for i, half in enumerate(halves)
        ]
        for f in merge(parts).figures:
            estimate = f.all.pool_total_size
            held += estimate.low <= pool(whole, f.name) <= estimate.high
            found[f.name] += sum(pool(part, f.name) for part in parts) - estimate.value
            # narrower than the parts' intervals end to end
            mine = [g.all for part in parts for g in part.figures if g.name == f.name]
            assert estimate.error < sum(each.pool_total_size.error for each in mine)
    assert held >= 13  # of 16, each with 95%
    # of the zspages that the parts fill together; a sample misses classes: without the
    # expectation it is less than half of them
    for name, nbytes in shared.items():
        assert 0.7 * nbytes < found[name] / 8 < 1.3 * nbytes


def with_cold(one: Report, share: float, method: str | None = "DAMON") -> Report:
    """The report as if a share of each of its pages' sizes were cold."""
    if method is None:
        return dataclasses.replace(one, cold=Coldness(None, 120, reason="no DAMON"))
    return dataclasses.replace(
        one,
        cold=Coldness(method, 120),
        cold_pages=round((one.pages_total or 0) * share),
        compressors=[
            dataclasses.replace(
                f,
                cold=f.all,
                classes={size: [n, math.floor(n * share)] for size, (n,) in f.classes.items()},
            )
            for f in one.figures
        ],
    )


def test_cold_parts_have_a_pool_of_their_own(made: Callable[..., Report]) -> None:
    first, second = in_parts(made, corpus(1), [1000])
    one = merge([with_cold(first, 1), with_cold(second, 1)])
    assert one.cold_pages == one.pages_total
    assert one.cold == Coldness("DAMON", 120)
    for f in one.figures:
        assert f.cold == f.all
    part = merge([with_cold(first, 0.5), with_cold(second, 0.5)]).figures[0]
    assert part.cold is not None
    assert part.cold.pool_total_size != part.all.pool_total_size


def test_cold_memory_of_a_part_alone_is_unknown(made: Callable[..., Report]) -> None:
    first, second = in_parts(made, corpus(1), [1000])
    one = merge([with_cold(first, 0.5), with_cold(second, 0.5, method=None)])
    assert one.cold is not None
    assert one.cold.method is None
    assert one.cold_pages is None
    for f in one.figures:
        assert f.cold is None
        assert {len(objects) for objects in f.classes.values()} == {1}
    assert merge([first, second]).cold is None


def test_groups_of_one_name_are_one_group(made: Callable[..., Report]) -> None:
    first, second = (
        dataclasses.replace(part, groups=[group(part, "app/api"), group(part, f"own {i}")])
        for i, part in enumerate(in_parts(made, corpus(1), [1000]))
    )
    one = merge([first, second])
    assert [g.label for g in one.groups] == ["app/api", "own 0", "own 1"]
    assert one.groups[0].pages == one.pages_total
    # memory.stat is the group's in each part
    assert one.groups[0].facts == {"anon": 8000}
    bare = merge([report.without_names(first), report.without_names(second)])
    assert [g.label for g in bare.groups] == [f"cgroup {i}" for i in (1, 2, 3, 4)]
    rest = [group(first, OTHERS), group(second, "app")]
    first, second = (dataclasses.replace(part, groups=rest) for part in (first, second))
    bare = merge([report.without_names(first), report.without_names(second)])
    assert [g.label for g in bare.groups] == ["cgroup 1", "cgroup 2", OTHERS]
    assert bare.groups[-1].facts == {"anon": 16000}


def group(one: Report, label: str) -> Group:
    return Group(
        "cgroup",
        label,
        {"anon": 8000},
        one.pages_total or 0,
        None,
        one.zero_pages,
        {f.name: GroupSavings(f.all, f.cold) for f in one.figures},
    )


def test_times_are_weighted(made: Callable[..., Report]) -> None:
    first, second = in_parts(made, corpus(1), [500])
    one = merge([first, second])
    for f in one.figures:
        times = sorted(
            g.load_ns_p50 or 0 for part in (first, second) for g in part.figures if g.name == f.name
        )
        assert f.load_ns_p50 is not None
        assert times[0] <= f.load_ns_p50 <= times[1]


def test_what_are_no_parts_is_refused(made: Callable[..., Report]) -> None:
    first, second = in_parts(made, corpus(1), [1000])
    same = [
        dataclasses.replace(part, source=[{"kind": "process", "pid": 7}])
        for part in (first, second)
    ]
    with pytest.raises(MergeError, match="shares a source"):
        merge(same)
    with pytest.raises(MergeError, match="other compressors"):
        merge([first, made(b"x" * P, "-c", "lz4", name="other")])
    with pytest.raises(MergeError, match="pages of 4097 bytes"):
        merge([dataclasses.replace(part, page_size=4097) for part in (first, second)])
    odd = [dataclasses.replace(f, classes={"33": [1.0]}) for f in first.figures]
    with pytest.raises(MergeError, match="no class"):
        merge([dataclasses.replace(first, compressors=odd), second])


def test_show_merges_the_parts(run: Run, made: Callable[..., Report], tmp_path: Path) -> None:
    parts = in_parts(made, corpus(1), [1000])
    path = written(tmp_path / "parts.jsonl", *parts)
    assert json.loads(run("show", "--json", path)[1]) == json.loads(report.to_json(merge(parts)))
    several = [path, written(tmp_path / "again.json", parts[0])]
    assert run("show", *several) == (0, report.to_text(merge(parts)), "")


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"sample": "two"}},
        {"labels": {}},
        {"kernel": "6.16"},
        {"series": None},
        {"target": "zram"},
        {"folio_pages": 16},
    ],
    ids=str,
)
def test_others_are_no_parts(
    run: Run, made: Callable[..., Report], tmp_path: Path, changes: dict[str, Any]
) -> None:
    first, second = in_parts(made, corpus(1), [1000])
    path = written(tmp_path / "a.json", first, dataclasses.replace(second, **changes))
    fleet = json.loads(run("show", "--json", path)[1])
    assert (fleet["reports"], fleet["merged"]) == (2, 0)


@pytest.mark.parametrize("field", ["name", "cpu", "kernel", "ram"])
def test_hosts_are_never_one_pool(
    run: Run, made: Callable[..., Report], tmp_path: Path, field: str
) -> None:
    first, second = in_parts(made, corpus(1), [1000])
    other = dataclasses.replace(second.host, **{field: 1 if field == "ram" else "other"})
    path = written(tmp_path / "a.json", first, dataclasses.replace(second, host=other))
    fleet = json.loads(run("show", "--json", path)[1])
    assert (fleet["reports"], fleet["merged"]) == (2, 0)


def test_parts_that_overlap_are_left_out(
    run: Run, made: Callable[..., Report], tmp_path: Path
) -> None:
    parts = [
        dataclasses.replace(part, source=[{"kind": "process", "pid": 7, "tail_bytes": 0}])
        for part in in_parts(made, corpus(1), [1000])
    ]
    fleet = json.loads(run("show", "--json", written(tmp_path / "a.json", *parts))[1])
    assert fleet["reports"] == 0
    assert fleet["left_out"] == [
        {
            "reason": "shares a source with another part of its sample: a pid",
            "files": 2,
            "first": str(tmp_path / "a.json"),
        }
    ]


@pytest.mark.parametrize(
    ("classes", "read", "reason"),
    [
        ({"2048": [4000.0], "144": [0.6]}, 3900, None),  # rounded, more objects than estimated
        ({"2048": [4000.0]}, 10**20, None),
        ({"2048": [-10.0]}, 400, "has a negative number of objects or pages"),
        ({"2048": [4000.0]}, -5, "has a negative number of objects or pages"),
    ],
)
def test_a_part_with_odd_counts_is_merged_or_left_out(
    run: Run, tmp_path: Path, classes: dict[str, list[float]], read: int, reason: str | None
) -> None:
    good = make(figures("zstd", 1000, sample={"stored_pages": 400}), labels={"sample": "x"})
    odd = make(figures("zstd", 1000, classes=classes, sample={"stored_pages": read}))
    parts = [
        dataclasses.replace(part, id=digit * 32, source=[], labels={"sample": "x"})
        for digit, part in zip("12", (good, odd), strict=True)
    ]
    fleet = json.loads(run("show", "--json", "--by", "x", written(tmp_path / "a.json", *parts))[1])
    assert fleet["reports"] == (1 if reason is None else 0)
    assert [row["reason"] for row in fleet["left_out"]] == [reason] * (reason is not None)


# ---- files that are no reports ----


def cut(text: str) -> bytes:
    return text[: len(text) // 2].encode()


def without(text: str, *path: str) -> bytes:
    made = json.loads(text)
    inner = made
    for name in path[:-1]:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    del inner[path[-1]]
    return json.dumps(made).encode()


def with_value(text: str, value: Any, *path: str) -> bytes:
    made = json.loads(text)
    inner = made
    for name in path[:-1]:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    inner[path[-1]] = value
    return json.dumps(made).replace('"1e999"', "1e999").encode()


FIELD = "lacks a field of a report, or has a bad value in one"
NOT_JSON = "is not JSON, or is cut off"
POOL = ("compressors", "0", "all", "pool_total_size")

#: What a file holds, the reason for which it is left out of a fleet, and the line that
#: comes if it is the only one.
BAD: dict[str, tuple[Callable[[str], bytes], str, str]] = {
    "empty": (lambda _: b"", "is empty", "is empty"),
    "cut off": (cut, NOT_JSON, NOT_JSON),
    "a text": (lambda _: b"hello\n", NOT_JSON, NOT_JSON),
    "bytes": (lambda _: bytes(range(256)), NOT_JSON, NOT_JSON),
    "a list": (lambda _: b"[1, 2]", "is JSON, but not a report", "not a report"),
    "another object": (lambda _: b'{"a": 1}', "is JSON, but not a report", "not a report"),
    "nesting": (lambda _: b'{"schema":' * 100_000, NOT_JSON, NOT_JSON),
    "digits": (lambda _: b'{"schema": ' + b"9" * 5000 + b"}", NOT_JSON, NOT_JSON),
    "schema 1": (
        lambda text: with_value(text, 1, "schema"),
        "has schema 1, of an earlier release: this one reads 2",
        "has schema 1, of an earlier release: this one reads 2",
    ),
    "schema 3": (
        lambda text: with_value(text, 3, "schema"),
        "has schema 3, of a later release: this one reads 2",
        "has schema 3, of a later release: this one reads 2",
    ),
    "no id": (lambda text: without(text, "id"), "has no id", "has no id"),
    "an odd id": (lambda text: with_value(text, "x", "id"), "has no id", "has no id"),
    "no labels": (lambda text: without(text, "labels"), FIELD, "labels is missing"),
    "no pool": (
        lambda text: without(text, *POOL),
        FIELD,
        "compressors[0].all.pool_total_size is missing",
    ),
    "a text for a number": (
        lambda text: with_value(text, "much", *POOL, "value"),
        FIELD,
        "compressors[0].all.pool_total_size.value is 'much': it must be a number",
    ),
    "a number without a square": (
        lambda text: with_value(text, -1e200, *POOL, "low"),
        FIELD,
        "compressors[0].all.pool_total_size.low is -1e+200: it must be a number",
    ),
    "an infinite number": (
        lambda text: with_value(text, "1e999", *POOL, "value"),
        FIELD,
        "compressors[0].all.pool_total_size.value is inf: it must be a number",
    ),
    "NaN": (lambda text: with_value(text, math.nan, *POOL, "value"), NOT_JSON, NOT_JSON),
    "a list for compressors": (
        lambda text: with_value(text, [[]], "compressors"),
        FIELD,
        "compressors[0] is []: it must be an object",
    ),
    "a list for a name": (
        lambda text: with_value(text, ["lz4"], "compressors", "0", "name"),
        FIELD,
        "compressors[0].name is ['lz4']: it must be a string",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_counted_with_its_reason(
    run: Run, made: Callable[..., Report], tmp_path: Path, what: str
) -> None:
    spoil, reason, line = BAD[what]
    good = [made(b"".join(corpus(1)[:50]), name=f"memory{i}") for i in range(2)]
    bad = tmp_path / "bad.json"
    bad.write_bytes(spoil(report.to_json(made(b"".join(corpus(2)[:50])))))
    several = [bad, written(tmp_path / "a.json", *good)]
    code, out, err = run("show", "--json", *several)
    fleet = json.loads(out)
    assert (code, err, fleet["reports"]) == (0, "", 2)
    assert fleet["left_out"] == [{"reason": reason, "files": 1, "first": str(bad)}]
    screen = "".join(run("show", *several)[1].split())  # the path is wrapped
    assert "".join(f"1 left out: {bad} {reason}".split()) in screen
    code, out, err = run("show", bad)
    assert (code, out) == (1, "")
    assert line in err
    assert "Traceback" not in err


def test_a_labels_name_is_escaped_too() -> None:
    text = report.to_csv(make(figures("zstd", 1000), labels={"a\x1b[31m\n": "b"}))
    assert ",label.a\\x1b[31m\\n," in text.splitlines()[0]


def test_a_name_is_no_markup() -> None:
    name = "[/x]"
    made = make(figures(name, 1000), zram=[figures(name, 1000)])
    beside = report.to_text(made, width=80).partition("kept raw")[2]
    assert name in beside.partition("\n\n")[0]


def test_a_deep_value_in_a_source_is_refused(run: Run, tmp_path: Path) -> None:
    text = report.to_json(make(figures("zstd", 1000), source=[{"kind": "file", "x": "deep"}]))
    bad = tmp_path / "bad.json"
    bad.write_text(text.replace('"deep"', '{"a":' * 700 + "1" + "}" * 700))
    code, out, err = run("show", "--json", bad)
    assert (code, out) == (1, "")
    assert "source[0].x must be a string, a number, true, false or null" in err


def test_files_that_cannot_be_read(run: Run, made: Callable[..., Report], tmp_path: Path) -> None:
    gone, device = tmp_path / "gone.json", "/dev/zero"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    good = [made(b"".join(corpus(1)[:50]), name=f"memory{i}") for i in range(2)]
    several = [gone, device, fifo, tmp_path / "a.json"]
    written(tmp_path / "a.json", *good)
    fleet = json.loads(run("show", "--json", *several)[1])
    assert fleet["reports"] == 2
    assert {each["first"]: each["reason"] for each in fleet["left_out"]} == {
        str(gone): "cannot be read: No such file or directory",
        device: "is no file",
        str(fifo): "is empty",
    }
    code, out, err = run("show", gone)
    assert (code, out) == (1, "")
    assert err == (
        f"zswap-py: 1 left out: {gone} cannot be read: No such file or directory\n"
        "zswap-py: there is no report: give the JSON file of one, or a directory\n"
    )


def test_a_large_document_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as f:
        f.write(b'{"schema": 2,\n' + b" " * MAX_DOCUMENT + b"\n}\n")
        f.write(b'{"schema": 1}\n')
    large, small = documents([str(path)])
    assert (large.wrong, large.text) == ("is larger than 16 MiB", b"")
    assert (small.wrong, small.text, small.again()) == (None, b'{"schema": 1}\n', small.text)
    assert small.place().text == b""
    assert small.place().again() == small.text


def test_a_directory_is_read_to_the_bottom(
    run: Run, made: Callable[..., Report], tmp_path: Path
) -> None:
    top = tmp_path / "fleet"
    (top / "2026" / "a").mkdir(parents=True)
    reports = [made(b"".join(corpus(1)[:50]), name=f"m{i}") for i in range(3)]
    (top / "2026" / "a" / "one.json").write_text(report.to_json(reports[0]))
    written(top / "2026" / "day.jsonl", reports[1], reports[2], reports[0])
    (top / "notes.txt").write_text("not read")
    fleet = json.loads(run("show", "--json", top)[1])
    assert (fleet["reports"], fleet["duplicates"], fleet["left_out"]) == (3, 1, [])
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("show", empty)[0] == 1


# ---- a file of bounded length ----


def many_groups(one: Report, count: int) -> Report:
    groups = [dataclasses.replace(group(one, f"app/{i}"), pages=i + 1) for i in range(count)]
    return dataclasses.replace(one, groups=groups)


@pytest.mark.parametrize("cold", [False, True], ids=["all", "cold"])
@pytest.mark.parametrize("count", [0, 3, 500])
def test_a_file_has_16_kib_at_most(made: Callable[..., Report], count: int, cold: bool) -> None:
    one = made(b"".join(corpus(1)), "-c", "zstd", "-c", "lzo", "-c", "lz4")
    whole = report.without_names(many_groups(with_cold(one, 0.5) if cold else one, count))
    text = compact.to_compact_json(whole)
    assert len(text.encode()) <= compact.MAX_BYTES
    back = report.from_json(text)
    for f, of_whole in zip(back.figures, whole.figures, strict=True):
        assert (f.all, f.cold) == (of_whole.all, of_whole.cold)
    pages = [g.pages for g in back.groups]
    assert sum(pages) == sum(g.pages for g in whole.groups)
    if count == 500:
        assert back.groups[-1].label == OTHERS
        # the largest are kept, and as many as fit
        assert pages[:-1] == sorted((g.pages for g in whole.groups), reverse=True)[: len(pages) - 1]
        assert len(pages) > compact.FEW_GROUPS
        assert len(text.encode()) > compact.MAX_BYTES - 4096
        (best,) = {name for g in back.groups for name in g.savings}
        assert best == whole.label(whole.pick or whole.figures[0])
    elif not count:
        assert back.figures[0].classes


def test_a_part_of_a_sample_keeps_its_histograms(made: Callable[..., Report]) -> None:
    one = made(b"".join(corpus(1)), "-c", "zstd", "-c", "lzo", "-c", "lz4")
    whole = many_groups(dataclasses.replace(one, labels={"sample": "x"}), 500)
    back = report.from_json(compact.to_compact_json(whole))
    assert all(f.classes for f in back.figures)


def test_what_fits_is_not_cut(made: Callable[..., Report]) -> None:
    one = many_groups(made(b"".join(corpus(1)[:100])), 2)
    assert report.from_json(compact.to_compact_json(one)) == report.from_json(report.to_json(one))


# ---- reports that were tampered with ----

ODD = (None, "x", "", -1, 0, 1, 2**40, -(10.0**29), 1e-300, [], [1], {}, {"a": 1}, True)


def spoilt(made: Any, rng: random.Random) -> Any:
    """A copy with one value, somewhere, deleted or replaced by an odd one."""
    made = copy.deepcopy(made)
    at, inner = made, None
    while isinstance(at, dict | list) and at and rng.random() < 0.9:
        inner = at
        key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
        at = at[key]
    if inner is None:
        return rng.choice(ODD)
    if rng.random() < 0.2:
        del inner[key]
    else:
        inner[key] = rng.choice(ODD)
    return made


@pytest.mark.parametrize("seed", range(4))
def test_any_report_is_shown_or_refused(
    run: Run, made: Callable[..., Report], tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    one = with_cold(made(b"".join(corpus(1)[:60]), labels={"sample": "x", "app": "y"}), 0.5)
    good = json.loads(report.to_json(many_groups(one, 3)))
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    other.write_text(json.dumps(good | {"id": "0" * 32, "source": []}))
    for _ in range(60):
        path.write_text(json.dumps(spoilt(good, rng)))
        chosen = ("--format", rng.choice(["table", "csv", "markdown", "json"]))
        for argv in ((path,), (path, other), (path, other, "--by", "app")):
            code, out, err = run("show", *argv, *chosen)  # raises nothing
            assert code in (0, 1)
            assert code == 0 or err.startswith("zswap-py: ") or "left out" in out
