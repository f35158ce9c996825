# SPDX-License-Identifier: GPL-2.0-or-later
"""A report's JSON in one line of bounded length, for a fleet's collection."""

from __future__ import annotations

import bisect
import dataclasses

from zswap_py.report.data import Figures, Report, to_json, together
from zswap_py.report.merge import SAMPLE_LABEL

#: Bytes of the JSON of a report without names, at most.
MAX_BYTES = 16 << 10

#: Groups that are worth more than the histograms of objects.
FEW_GROUPS = 8

#: The group that stands for those that do not fit.
OTHERS = "all others"


def to_compact_json(report: Report, most: int = MAX_BYTES) -> str:
    """Returns the JSON object in one line, cut to `most` bytes.

    Cuts, until it fits: the counts by cell, and the groups' savings by other
    compressors than the best; groups, the smallest first, which become one group; the
    histograms of objects, unless the report is a part of a sample and needs them. Cuts
    no other estimate, so that many compressors may take more.
    """
    lean = _of_the_best(report)
    bare = lean if SAMPLE_LABEL in report.labels else _without_classes(lean)
    for made, least in ((report, len(report.groups)), (lean, FEW_GROUPS), (bare, 0)):
        kept = _most_groups(made, min(least, len(report.groups)), most)
        if kept is not None:
            return _json(_first_groups(made, kept))
    return _json(_first_groups(bare, 0))


def _json(report: Report) -> str:
    return to_json(report, indent=None) + "\n"


def _most_groups(report: Report, least: int, most: int) -> int | None:
    """Returns how many groups fit, or None if fewer than `least` do."""
    fewer = range(len(report.groups), least - 1, -1)

    def fits(kept: int) -> bool:
        return len(_json(_first_groups(report, kept)).encode()) <= most

    at = bisect.bisect_left(fewer, True, key=fits)
    return fewer[at] if at < len(fewer) else None


def _first_groups(report: Report, kept: int) -> Report:
    """Returns the report with its largest groups, and one for all others."""
    if kept >= len(report.groups):
        return report
    by_size = sorted(report.groups, key=lambda group: -group.pages)
    others = together(by_size[kept:], OTHERS)
    return dataclasses.replace(report, groups=[*by_size[:kept], others])


def _of_the_best(report: Report) -> Report:
    """Returns the report without cells and zram, and with one compressor in its
    groups.
    """
    best = report.pick or next(iter(report.figures), None)
    name = report.label(best) if best is not None else ""
    return dataclasses.replace(
        report,
        zram=None,
        sample=dataclasses.replace(report.sample, cells=[]),
        groups=[
            dataclasses.replace(
                group, savings={k: its for k, its in group.savings.items() if k == name}
            )
            for group in report.groups
        ],
    )


def _without_classes(report: Report) -> Report:
    return dataclasses.replace(
        report,
        compressors=[
            dataclasses.replace(c, classes={}) if isinstance(c, Figures) else c
            for c in report.compressors
        ],
    )
