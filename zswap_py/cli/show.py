# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap-py show: reports that were made elsewhere, one or thousands."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from zswap_py.cli.options import add_output
from zswap_py.cli.report import render
from zswap_py.cli.streams import CommandError, deliver, must_deliver, plain, say, style
from zswap_py.report import Report, fleet_text
from zswap_py.report.files import NotAReport, documents
from zswap_py.report.fleet import Fleet, TooManyLabels

DESCRIPTION = """\
Shows reports from their JSON. One report: the screen that zswap-py report
printed. Several: the distribution of their figures, host beside host; hosts are
never one pool.

Reports with the same label "sample", of one host, are parts of one sample:
they become one report, and their pools one pool. Reports of other rules (kernel,
series, page size, folio) have tables of their own. Of reports with the same id
one counts. A file that is no report is counted, with the reason.
"""

EXAMPLES = """\
columns:
  reports          reports that have this figure
  p5, p50, p95     quantiles over reports: 5% of them have less than p5
  sum              over reports; ± is 95%, if their errors are independent
  swappable, cold  bytes that could be swapped; of these, not accessed lately
  saves, cold      net saved bytes if the cold memory were swapped
  saves, all       net saved bytes if all of it were

examples:
  zswap-py show web-042.json                 one report
  zswap-py show --by service reports/        every .json file below reports/
  cat *.json | zswap-py show --format csv -  all figures, one a line

docs/fleet.md describes how to collect reports. pip installs the file in
share/doc/zswap-py.
"""


def add_show(commands: Any) -> None:
    """Adds the command."""
    sub = commands.add_parser(
        "show",
        help="show reports from their JSON: one, or a fleet's",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    sub.set_defaults(run=_show, usage_error=sub.error)
    sub.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a report's JSON file, one of many reports, a directory, or - for standard input",
    )
    sub.add_argument(
        "--by", dest="by_label", metavar="LABEL", help="a row for each value of this label"
    )
    add_output(sub)


def _show(args: argparse.Namespace) -> int:
    must_deliver(args)
    fleet = Fleet(args.by_label)
    try:
        fleet.read(documents(args.paths))
    except TooManyLabels as e:
        raise CommandError(f"--by {args.by_label}: {e}") from None
    if not fleet.distinct:
        for line in fleet_text.left_out(fleet):
            say(line)
        raise CommandError("there is no report: give the JSON file of one, or a directory")
    only = _only(fleet) if args.by_label is None else None
    if only is None:
        deliver(args, functools.partial(_render, fleet, args.color), "show")
        return 0 if fleet.reports else 1
    deliver(args, functools.partial(render, only, args.color), only.id)
    for line in fleet_text.left_out(fleet):
        say(line)
    return 0


def _only(fleet: Fleet) -> Report | None:
    try:
        return fleet.only()
    except NotAReport as e:
        raise CommandError(str(e)) from None


def _render(fleet: Fleet, color: str, chosen: str) -> str:
    if chosen == "table":
        colour, width = style(color)
        return fleet_text.to_text(fleet, width=width, colour=colour, plain=plain())
    if chosen == "csv":
        return fleet_text.to_csv(fleet)
    if chosen == "markdown":
        return fleet_text.to_markdown(fleet)
    return fleet_text.to_json(fleet, indent=2 if chosen == "json" else None) + "\n"
