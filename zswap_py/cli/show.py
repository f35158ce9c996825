# SPDX-License-Identifier: GPL-2.0-or-later
"""zswap-py show: reports that were made elsewhere, one or thousands."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from zswap_py._lib.names import shown
from zswap_py.cli.options import add_by, add_command, add_output
from zswap_py.cli.report import render
from zswap_py.cli.streams import CommandError, deliver, must_draw, must_write, plain, say, style
from zswap_py.report import Report, fleet_text
from zswap_py.report.files import NotAReport, documents
from zswap_py.report.fleet import INCOMPLETE, Fleet, TooManyLabels

#: Labels that a message names.
NAMED = 5

DESCRIPTION = """\
Shows reports from their JSON: one as report showed it; several as the
distribution of their figures, host beside host. Hosts are never one pool.

Parts of one sample (one host, the same label "sample") become one report, and
their pools one pool. Other rules (kernel, series, page size, folio) have tables
of their own. Of reports with the same id one counts. A file that is no report
is counted.
"""

EXAMPLES = """\
columns:
  reports       reports that have this figure
  p5, p50, p95  quantiles over reports: 5% of them have less than p5
  sum           over reports; ± is 95%, if their errors are independent
  swappable     memory that could be swapped; cold: of this, not accessed lately
  saves, cold   bytes stored - pool - metadata, if the cold memory were swapped
  saves, all    the same, if all of it were

examples:
  zswap-py show web-042.json                 one report
  zswap-py show --by service reports/        the .json files below reports/
  cat *.json | zswap-py show --format csv -  all figures: docs/fleet.md
"""


def add_show(commands: Any) -> None:
    """Adds the command."""
    sub = add_command(
        commands,
        "show",
        help="show reports from their JSON: one, or a fleet's",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    sub.set_defaults(run=_show)
    sub.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="reports, one a file or many; a directory; -: standard input",
    )
    add_by(sub)
    add_output(sub)


def _show(args: argparse.Namespace) -> int:
    must_write(args)
    must_draw(args)
    fleet = Fleet(args.by)
    try:
        fleet.read(documents(args.paths))
    except TooManyLabels as e:
        raise CommandError(f"--by {args.by}: {e}") from None
    if not fleet.distinct:
        _say_left_out(fleet)
        raise CommandError("there is no report: give the JSON file of one, or a directory")
    only = _only(fleet) if args.by is None else None
    if only is not None:
        deliver(args, functools.partial(render, only, args.color), only.id)
        fleet.left_out.pop(INCOMPLETE, None)  # it is what was shown
        _say_left_out(fleet)
        return 0
    deliver(args, functools.partial(_render, fleet, args.color), "show")
    if args.format == "csv" or not fleet.reports:  # CSV has only rows
        _say_left_out(fleet)
    if args.by is not None and fleet.reports and not fleet.labelled:
        say(_no_label(args.by, sorted(fleet.label_names)))
    return 0 if fleet.reports else 1


def _no_label(name: str, there: list[str]) -> str:
    if not there:
        return f"no report has a label: zswap-py report --label {shown(name)}=VALUE adds it"
    more = f" and {len(there) - NAMED:,} more" if len(there) > NAMED else ""
    return (
        f"no report has the label {shown(name)}: give {', '.join(map(shown, there[:NAMED]))}{more}"
    )


def _say_left_out(fleet: Fleet) -> None:
    for line in fleet_text.left_out(fleet):
        say(line)


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
