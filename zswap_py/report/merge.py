# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes one report of the parts of one sample of one host.

Parts share a pool, so their pools do not add up: each leaves a zspage of each class
partly empty, and the common pool fills it with the other's objects. The objects of each
size class add up; the pool follows from these. It is the pool of a report of the whole,
but for the zspages that several CPUs, or rejected folios, left partly empty. Of samples
the expected empty parts are taken, as report.estimate does.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from zswap_py.report.advice import largest
from zswap_py.report.data import (
    OTHERS,
    Coldness,
    Cost,
    Estimate,
    Figures,
    Group,
    GroupSavings,
    Report,
    Sample,
    Savings,
    numbered,
    together,
    total,
)
from zswap_py.report.estimate import SizeClass, partly_empty
from zswap_py.zswap import Zswap

#: The label that makes parts: reports of one host and rules with the same value of it.
SAMPLE_LABEL = "sample"

#: Names the reports that merge() makes, after their parts' ids.
_NAMESPACE = uuid.UUID("6f1c9a52-5f0e-4c39-9c7e-9a1f0d6b2e11")

_Z = 1.96  # standard errors of a 95% interval

#: Ways in which reading ends, the least of the memory read last.
_ENDS = ("all", "precision", "sample", "budget", "memory", "interrupted")


class MergeError(ValueError):
    """Reports that are not parts of one sample. The message is the reason."""


def sample_key(data: dict[str, Any]) -> tuple[Any, ...] | None:
    """Returns what the parts of a sample have in common, from a report's JSON object;
    None for a report without SAMPLE_LABEL.
    """
    labels, host = data.get("labels"), data.get("host")
    if not isinstance(labels, dict) or SAMPLE_LABEL not in labels or not isinstance(host, dict):
        return None
    of_host = [host.get(name) for name in ("name", "cpu", "kernel", "ram")]
    rules = [data.get(name) for name in ("kernel", "target", "series", "page_size", "folio_pages")]
    return (repr(labels[SAMPLE_LABEL]), *map(repr, of_host), *map(repr, rules))


def merge(parts: Sequence[Report]) -> Report:
    """Returns the report of the pages of all parts of one sample. Parts have an equal
    sample_key(), the same compressors, and no source in common.

    Counts add up, errors by their squares, objects by size class. Times are averages,
    weighted by the pages that were stored. Raises MergeError.
    """
    first = parts[0]
    _must_be_parts(parts)
    cold = _cold(parts)
    if cold is not None and cold.method is None:
        parts = [_without_cold(part) for part in parts]
    return dataclasses.replace(
        first,
        id=uuid.uuid5(_NAMESPACE, " ".join(sorted(part.id for part in parts))).hex,
        time=max(part.time for part in parts),
        complete=all(part.complete for part in parts),
        command=_joined([part.command for part in parts]),
        labels=dict(set.intersection(*(set(part.labels.items()) for part in parts))),
        source=[source for part in parts for source in part.source],
        pages_total=_sum(part.pages_total for part in parts),
        cold_pages=_sum(part.cold_pages for part in parts),
        zero_pages=total(part.zero_pages for part in parts),
        estimated=any(part.estimated for part in parts),
        cold=cold,
        groups=_groups(parts),
        compressors=[
            _figures([_same(part, c) for part in parts], first.page_size)
            if isinstance(c, Figures)
            else c
            for c in first.compressors
        ],
        target="zswap",  # each part has zram's own figures
        zram=None,
        sample=_sample([part.sample for part in parts]),
        cost=_cost([part.cost for part in parts]),
    )


# ---- whether, and what of the whole ----


def _must_be_parts(parts: Sequence[Report]) -> None:
    for what, kind in (("pid", int), ("path", str)):
        seen: set[Any] = set()
        for part in parts:
            mine = {source[what] for source in part.source if isinstance(source.get(what), kind)}
            if seen & mine:
                raise MergeError(f"shares a source with another part of its sample: a {what}")
            seen |= mine
    if len({frozenset((f.name, f.backend) for f in part.figures) for part in parts}) > 1:
        raise MergeError("has other compressors than another part of its sample")
    known, _ = _zsmalloc(parts[0].page_size)
    if not all(f.classes.keys() <= known.keys() for part in parts for f in part.figures):
        raise MergeError("has objects of a size that zsmalloc has no class for")
    for f in (f for part in parts for f in part.figures):
        counts = itertools.chain([f.sample.get("stored_pages", 0)], *f.classes.values())
        if min(counts) < 0:
            raise MergeError("has a negative number of objects or pages")


def _same(part: Report, c: Figures) -> Figures:
    return next(f for f in part.figures if (f.name, f.backend) == (c.name, c.backend))


def _sum(counts: Iterable[int | None]) -> int | None:
    """Returns the sum, or None if one of the counts is unknown."""
    known = 0
    for count in counts:
        if count is None:
            return None
        known += count
    return known


def _joined(commands: list[str | None]) -> str | None:
    known = [command for command in commands if command is not None]
    return "; ".join(known) if len(known) == len(commands) else None


def _cold(parts: Sequence[Report]) -> Coldness | None:
    """Returns how cold memory was found, if it was found alike in each part."""
    found = [part.cold for part in parts if part.cold is not None]
    if not found:
        return None
    if len(found) == len(parts) and len({(c.method, c.seconds) for c in found}) == 1:
        remarks = list(dict.fromkeys(remark for c in found for remark in c.remarks))
        # parts may be of one control group, whose cold bytes each then has
        return dataclasses.replace(found[0], bytes=None, remarks=remarks)
    return Coldness(None, found[0].seconds, reason="it was not found alike in each part")


def _without_cold(part: Report) -> Report:
    return dataclasses.replace(
        part,
        cold_pages=None,
        groups=[
            dataclasses.replace(
                group,
                cold_pages=None,
                savings={k: GroupSavings(v.all, None) for k, v in group.savings.items()},
            )
            for group in part.groups
        ],
        compressors=[
            dataclasses.replace(
                c, cold=None, classes={k: objects[:1] for k, objects in c.classes.items()}
            )
            if isinstance(c, Figures)
            else c
            for c in part.compressors
        ],
    )


def _groups(parts: Sequence[Report]) -> list[Group]:
    """Returns the groups, the largest first. Groups of one name are one group, but not
    those of reports without names, which are only numbered.
    """
    bare = any(part.command is None for part in parts)
    by_name: dict[tuple[object, ...], list[Group]] = {}
    for i, part in enumerate(parts):
        for group in part.groups:
            alone = bare and group.label != OTHERS
            by_name.setdefault((group.kind, group.label, i if alone else None), []).append(group)
    made = largest([_one_group(same) for same in by_name.values()])
    return numbered(made) if bare else made


def _one_group(same: list[Group]) -> Group:
    if len(same) == 1:
        return same[0]
    made = together(same, same[0].label)
    # memory.stat is of the whole group in each part
    return made if made.label == OTHERS else dataclasses.replace(made, facts=same[0].facts)


def _sample(samples: list[Sample]) -> Sample:
    first = samples[0]
    precisions = [s.precision for s in samples if s.precision is not None]

    def counted(name: str) -> Any:
        return sum(getattr(s, name) for s in samples)

    return dataclasses.replace(
        first,
        **{
            name: counted(name)
            for name in ("pages", "zero_pages", "runs", "processes_denied", "heated_pages")
        },
        precision=max(precisions) if len(precisions) == len(samples) else None,
        ended=max((s.ended for s in samples), key=lambda end: end in _ENDS and _ENDS.index(end)),
        not_read=_counts(s.not_read for s in samples),
        processes_gone=sorted({pid for s in samples for pid in s.processes_gone}),
        cells=[cell for s in samples for cell in s.cells],
    )


def _cost(costs: list[Cost]) -> Cost:
    policies = {cost.policy for cost in costs}
    return Cost(
        cpu_seconds=sum(cost.cpu_seconds for cost in costs),
        wall_seconds=sum(cost.wall_seconds for cost in costs),
        bytes_read=sum(cost.bytes_read for cost in costs),
        peak_memory=max(cost.peak_memory for cost in costs),
        threads=max(cost.threads for cost in costs),
        policy=policies.pop() if len(policies) == 1 else "other",
    )


def _counts(several: Iterable[dict[str, int]]) -> dict[str, int]:
    added: dict[str, int] = {}
    for counts in several:
        for name, count in counts.items():
            added[name] = added.get(name, 0) + count
    return added


# ---- the figures of a compressor ----


@functools.cache
def _zsmalloc(page_size: int) -> tuple[dict[str, SizeClass], int]:
    """Returns zsmalloc's classes by the bytes of an object, the smallest first, and a
    zspage's descriptor in bytes.
    """
    try:
        with Zswap("lzo", max_pool_percent=100, page_size=page_size) as z:
            classes = {
                str(c.size): SizeClass(c.size, c.pages_per_zspage, c.objs_per_zspage)
                for c in z.pool.size_classes
            }
            z.swapon(1)
            z.store(0, b"\1" * page_size)
            return classes, z.memory()["zspage"]
    except (ValueError, OSError):
        raise MergeError(f"has pages of {page_size} bytes, which no kernel has") from None


class _Objects(NamedTuple):
    """Objects of each of zsmalloc's classes: as estimated, and in the pages read."""

    estimated: list[float]
    read: list[int]
    exact: bool  #: whether every page was read

    @classmethod
    def of(cls, f: Figures, column: int, shapes: Iterable[str]) -> _Objects:
        """Returns a part's objects; those of a sample as many as its scale says."""
        stored, read = f.all.stored_pages.value, f.sample.get("stored_pages", 0)
        objects = _column(f.classes, column)
        estimated = [float(objects.get(size, 0)) for size in shapes]
        scale = min(1.0, read / stored) if stored > 0 else 1.0
        seen = [min(round(n * scale), math.floor(n)) for n in estimated]
        return cls(estimated, seen, round(stored) == read)

    def __add__(self, other: object) -> _Objects:
        assert isinstance(other, _Objects)
        return _Objects(
            [a + b for a, b in zip(self.estimated, other.estimated, strict=True)],
            [a + b for a, b in zip(self.read, other.read, strict=True)],
            self.exact and other.exact,
        )

    def empty(self, shapes: Sequence[SizeClass]) -> tuple[list[float], list[float]]:
        """Returns the empty part of each class's zspages, in zspages, and its variance.
        An object of a sample is taken to be alone in its run.
        """
        if not self.exact:
            found = zip(self.estimated, self.read, self.read, strict=True)
            empty, variances, _ = partly_empty(shapes, list(found))
            return empty, variances
        objects = [round(n) for n in self.estimated]
        return [-(-n // c.objects) - n / c.objects for n, c in zip(objects, shapes, strict=True)], [
            0.0
        ] * len(shapes)


def _figures(parts: list[Figures], page_size: int) -> Figures:
    """Returns one compressor's figures over all parts."""
    first = parts[0]
    cold = [f.cold for f in parts if f.cold is not None]
    sizes = dict.fromkeys(size for f in parts for size in f.classes)
    columns = min((len(objects) for f in parts for objects in f.classes.values()), default=0)
    classes = {
        size: [
            math.fsum(f.classes[size][i] for f in parts if size in f.classes)
            for i in range(columns)
        ]
        for size in sorted(sizes, key=int)
    }

    def savings(of: list[Savings], column: int) -> Savings:
        shapes = _zsmalloc(page_size)[0]
        return _savings(of, [_Objects.of(f, column, shapes) for f in parts], page_size)

    return dataclasses.replace(
        first,
        kernel_sizes=all(f.kernel_sizes for f in parts),
        intact=all(f.intact for f in parts),
        all=savings([f.all for f in parts], 0),
        cold=savings(cold, 1) if len(cold) == len(parts) else None,
        classes=classes,
        **_averages(parts),
        sample=_counts(f.sample for f in parts),
    )


def _column(classes: dict[str, list[float]], column: int) -> dict[str, float]:
    return {size: objects[column] for size, objects in classes.items() if len(objects) > column}


def _savings(parts: list[Savings], objects: list[_Objects], page_size: int) -> Savings:
    """Returns the sum, less the zspages that the common pool does not need."""
    by_size, descriptor = _zsmalloc(page_size)
    shapes = list(by_size.values())
    whole = functools.reduce(_Objects.__add__, objects)
    pools = [pool.empty(shapes) for pool in (*objects, whole)]
    by_class = zip(*(empty for empty, _ in pools), strict=True)
    zspages = [sum(apart) - common for *apart, common in by_class]
    pages = math.fsum(n * c.pages for n, c in zip(zspages, shapes, strict=True))
    error = _Z * math.sqrt(
        math.fsum(
            v * c.pages**2 for _, variance in pools for v, c in zip(variance, shapes, strict=True)
        )
    )
    made = Savings(
        **{
            field.name: total(getattr(part, field.name) for part in parts)
            for field in dataclasses.fields(Savings)
        }
    )
    nbytes, error = pages * page_size, error * page_size
    saved = nbytes + math.fsum(zspages) * descriptor
    return dataclasses.replace(
        made,
        pool_total_size=_moved(made.pool_total_size, -nbytes, error),
        net_saved_bytes=_moved(made.net_saved_bytes, saved, error),
    )


def _moved(estimate: Estimate, by: float, error: float) -> Estimate:
    value = estimate.value + by
    return Estimate(
        value,
        value - math.hypot(estimate.value - estimate.low, error),
        value + math.hypot(estimate.high - estimate.value, error),
    )


def _averages(parts: list[Figures]) -> dict[str, Any]:
    """Returns the averages of the times, weighted by the pages that were stored."""
    names = [f"{what}_ns_{p}" for what in ("store", "load") for p in ("p50", "p25", "p75")]
    return {name: _average(parts, name) for name in names}


def _average(parts: list[Figures], name: str) -> float | None:
    known = [(f.all.stored_pages.value, ns) for f in parts if (ns := getattr(f, name)) is not None]
    pages = sum(weight for weight, _ in known)
    return sum(weight * ns for weight, ns in known) / pages if pages else None
