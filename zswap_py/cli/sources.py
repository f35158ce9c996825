# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of sources, which several commands share: whose memory, how it is
grouped, what of it is cold.
"""

from __future__ import annotations

import argparse
import mmap
import sys
from typing import Any

from zswap_py.cli.options import MAX_PID, add_by, number
from zswap_py.cli.streams import say
from zswap_py.sources.cold import Cold, Unknown, find_cold
from zswap_py.sources.pages import Pages, open_pages
from zswap_py.sources.process import readable
from zswap_py.sources.selection import select

BY = ("process", "mapping", "cgroup")
MAX_COLD = 24 * 60 * 60  # seconds


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Adds the options, as a group of their own."""
    group = parser.add_argument_group("sources")
    group.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="memory pages, or an ELF core; -: standard input",
    )
    group.add_argument(
        "--pid",
        dest="pids",
        nargs="+",
        type=number(MAX_PID),
        action="extend",
        default=[],
        metavar="N",
        help="live processes",
    )
    for option, metavar, text in (
        ("cgroup", "GLOB", "processes of cgroups, and of those below: 'app/*'"),
        ("unit", "NAME", "processes of a systemd unit"),
        ("name", "NAME", "processes of this name, or glob"),
    ):
        group.add_argument(
            f"--{option}",
            dest=f"{option}s",
            action="append",
            default=[],
            metavar=metavar,
            help=text,
        )
    group.add_argument(
        "--all",
        dest="all_processes",
        action="store_true",
        help="all processes that you may read (default)",
    )
    add_by(group)
    group.add_argument(
        "--cold",
        type=number(MAX_COLD),
        metavar="SECONDS",
        help="first watch which memory nothing uses for so long",
    )
    group.add_argument(
        "--cold-intrusive",
        action="store_true",
        help="let --cold change what the kernel next swaps out",
    )


def is_live(args: argparse.Namespace) -> bool:
    """Returns whether the options name processes, or nothing, which is all of them."""
    processes = args.pids or args.all_processes or args.cgroups or args.units or args.names
    return bool(processes or not args.files)


def open_sources(args: argparse.Namespace, **how: Any) -> Pages:
    """Opens the sources that the options name; ``how`` goes to open_pages(). Finds cold
    memory first, as reading may heat it. Raises SourceError; exits with 2 for options
    that do not go together.
    """
    chosen = {"cgroups": args.cgroups, "units": args.units, "names": args.names}
    args.all_processes |= not (args.files or args.pids or any(chosen.values()))
    if args.by not in (None, *BY):
        args.usage_error(f"argument --by: {args.by!r} is none of {', '.join(BY)}")
    if args.cold_intrusive and args.cold is None:
        args.usage_error("argument --cold-intrusive: give it with --cold SECONDS")
    if args.cold is not None and not is_live(args):
        args.usage_error("argument --cold: files do not show it: give live processes, as --pid N")
    try:
        return open_pages(
            args.files,
            args.pids,
            args.all_processes,
            **chosen,
            by=args.by,
            cold=None if args.cold is None else _cold(args, chosen),
            page_size=mmap.PAGESIZE,
            **how,
        )
    except ValueError as e:
        args.usage_error(str(e))
        raise


def _cold(args: argparse.Namespace, chosen: dict[str, list[str]]) -> Cold | Unknown:
    """Waits for --cold seconds. Returns the memory that nothing used meanwhile."""
    selection = select(args.pids, args.all_processes, **chosen)
    if sys.stderr.isatty():
        say(f"watching for {args.cold} s which memory is used")
    return find_cold(
        readable(selection.all_pids),
        [f"/{group.path}" for group in selection.groups],
        args.cold,
        intrusive=args.cold_intrusive,
    )
