# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON Schema of reports: it has the fields of the data, and real reports of every
kind are valid by it.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from helpers import Run
from test_cli import half_fed
from test_corefile import Recipe, Segment
from test_pages import Child, spawn  # noqa: F401

from zswap_py import report
from zswap_py.report import data
from zswap_py.report.compact import to_compact_json
from zswap_py.report.merge import merge
from zswap_py.sources.source import NotRead, Source

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

SCHEMA: dict[str, Any] = json.loads(
    resources.files("zswap_py.report").joinpath("report.schema.json").read_text("utf-8")
)
PARTS: dict[str, Any] = {"report": SCHEMA, **SCHEMA["$defs"]}

#: The class of each object of the schema. The others are dictionaries in the data.
CLASSES = {
    "report": data.Report,
    "estimate": data.Estimate,
    "host": data.Host,
    "swap_area": data.SwapArea,
    "zswap_settings": data.ZswapSettings,
    "source": Source,
    "coldness": data.Coldness,
    "group": data.Group,
    "group_savings": data.GroupSavings,
    "savings": data.Savings,
    "figures": data.Figures,
    "unavailable": data.Unavailable,
    "sample": data.Sample,
    "not_read": NotRead,
    "cost": data.Cost,
}
DICTIONARIES = {"facts", "counted", "cell"}

#: Fields that the JSON adds.
ADDED = {"savings": {"ratio"}, "source": {"sources"}}

#: Objects whose fields may be absent.
SPARSE = {"source", "facts"}


def objects(part: Any) -> Iterator[dict[str, Any]]:
    """Yields the objects with properties in a part of the schema."""
    if isinstance(part, dict):
        if "properties" in part and "type" in part:
            yield part
        for item in part.values():
            yield from objects(item)
    elif isinstance(part, list):
        for item in part:
            yield from objects(item)


def strict() -> Any:
    """A validator by which a field that the schema lacks is an error."""
    closed = json.loads(json.dumps(SCHEMA))
    for part in objects(closed):
        part["additionalProperties"] = False
    return jsonschema.Draft202012Validator(
        closed, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


VALIDATOR = strict()


def must_be_valid(text: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(text)
    errors = [f"{e.json_path}: {e.message[:200]}" for e in VALIDATOR.iter_errors(made)]
    assert errors == []
    return made


# ---- the schema beside the data ----


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == report.SCHEMA
    assert set(CLASSES) | DICTIONARIES == set(PARTS)


@pytest.mark.parametrize("name", CLASSES)
def test_the_schema_has_exactly_the_fields_of_the_data(name: str) -> None:
    fields = {field.name for field in dataclasses.fields(CLASSES[name])} | ADDED.get(name, set())
    assert set(PARTS[name]["properties"]) == fields
    if name not in SPARSE:
        assert set(PARTS[name]["required"]) == fields
    assert set(PARTS[name]["required"]) <= fields


def may_be_null(field: dict[str, Any]) -> bool:
    allowed = [field, *field.get("anyOf", [])]
    return any("null" in (kind.get("type") or ()) for kind in allowed)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"source"}))
def test_a_field_may_be_null_where_it_may_be_none(name: str) -> None:
    hints = typing.get_type_hints(CLASSES[name])
    for field, hint in hints.items():
        optional = isinstance(hint, types.UnionType) and types.NoneType in typing.get_args(hint)
        assert may_be_null(PARTS[name]["properties"][field]) == optional, field


def test_each_field_has_a_description_and_each_number_a_unit() -> None:
    for name, part in PARTS.items():
        assert part["description"].endswith("."), name
        for field, its in part["properties"].items():
            target = its.get("$ref", "").removeprefix("#/$defs/")
            assert its.get("description") or target in PARTS, f"{name}.{field}"
            kinds = {its["type"]} if isinstance(its.get("type"), str) else set(its.get("type", ()))
            number = bool(kinds & {"integer", "number"}) or target == "estimate"
            if number and field not in ("seed", "pid"):
                assert its.get("unit"), f"{name}.{field}"


# ---- real reports ----


def test_a_file(run: Run, memory: Path) -> None:
    _, out, _ = run("report", "--json", memory, "-c", "lz4", "-c", "lzo", "--folio", "64K")
    made = must_be_valid(out)
    assert [source["kind"] for source in made["source"]] == ["file"]


@pytest.mark.parametrize("wrong", [{"low": "1"}, {"value": None}, {"extra": 1}])
def test_a_wrong_field_is_seen(run: Run, memory: Path, wrong: dict[str, Any]) -> None:
    made = json.loads(run("report", "--json", memory, "-c", "lz4")[1])
    made["zero_pages"].update(wrong)
    assert not VALIDATOR.is_valid(made)


def test_a_sample(run: Run, memory: Path) -> None:
    made = must_be_valid(run("report", "--json", memory, "-c", "lz4", "--sample", "1M")[1])
    assert made["sample"]["pages"] < made["pages_total"]


def test_an_unavailable_compressor(run: Run, memory: Path) -> None:
    made = must_be_valid(run("report", "--json", memory, "-c", "lz4", "-c", "842")[1])
    assert "unavailable" in made["compressors"][1]


def test_a_core(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("elftools", reason="pyelftools is not installed")
    core = tmp_path / "core"
    made = Recipe([Segment(bytes(range(256)) * 64)]).bytes()
    core.write_bytes(made)
    assert (
        must_be_valid(run("report", "--json", core, "-c", "lz4")[1])["source"][0]["kind"] == "core"
    )
    core.write_bytes(made[:-4096])
    cut = must_be_valid(run("report", "--json", core, "-c", "lz4")[1])
    assert "incomplete" in cut["source"][0]
    assert not cut["complete"]


def test_an_interrupted_stream() -> None:
    process = half_fed("--json")
    process.send_signal(2)
    made = must_be_valid(process.communicate(timeout=30)[0].decode())
    assert (made["complete"], made["sample"]["ended"]) == (False, "interrupted")


def test_a_live_process(run: Run, spawn: Callable[..., Child]) -> None:  # noqa: F811
    _, out, err = run("report", "--json", "--pid", spawn().pid, "-c", "lz4")
    made = must_be_valid(out or err)
    assert [source["kind"] for source in made["source"]] == ["process"]


@pytest.mark.parametrize("by", ["process", "mapping", "cgroup"])
def test_groups(run: Run, spawn: Callable[..., Child], by: str) -> None:  # noqa: F811
    pids = [spawn().pid, spawn().pid]
    options = ("-c", "lz4", "-c", "lzo", "--sample", "1M")
    _, out, err = run("report", "--json", "--by", by, "--pid", *pids, *options)
    made = must_be_valid(out or err)
    assert {group["kind"] for group in made["groups"]} == {by}
    bare = must_be_valid(to_compact_json(report.without_names(report.from_json(out))))
    assert sum(g["pages"] for g in bare["groups"]) == sum(g["pages"] for g in made["groups"])


def test_a_report_without_names_in_one_line(run: Run, memory: Path) -> None:
    whole = report.from_json(run("report", "--json", memory, memory, "-c", "lz4")[1])
    text = to_compact_json(report.without_names(whole))
    assert text.count("\n") == 1
    assert must_be_valid(text)["source"][0]["sources"] == len(whole.source)


def test_parts_of_a_sample(run: Run, memory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(memory.read_bytes()[: 400 * 4096])
    parts = [run("report", "--json", path, "-c", "lz4")[1] for path in (memory, other)]
    made = must_be_valid(report.to_json(merge([report.from_json(part) for part in parts])))
    assert len(made["source"]) == 2
