# SPDX-License-Identifier: GPL-2.0-or-later
"""Selects processes: by pid, cgroup, systemd unit, name, or all of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

from zswap_py.sources.cgroup import Group, Tree, cut, find_groups, find_units, nearest, trees
from zswap_py.sources.procfs import ProcessGone, all_pids, read_stat
from zswap_py.sources.source import SourceError

_COMM = 15  # characters of a process's name that the kernel keeps


@dataclass
class Selection:
    """Processes, and the groups that were selected."""

    pids: list[int] = field(default_factory=list)  #: named one by one: a failure is an error
    found: list[int] = field(default_factory=list)  #: by groups, units, names, or as all
    groups: list[Group] = field(default_factory=list)
    empty: list[Group] = field(default_factory=list)  #: of these groups, those without a process
    all_processes: bool = False
    #: for people, what was asked for: "cgroup app/*", "name redis"
    asked: list[str] = field(default_factory=list)

    @property
    def all_pids(self) -> list[int]:
        """The pids of all processes, each once: those named one by one, then the others
        by pid.
        """
        return list(dict.fromkeys([*self.pids, *sorted(self.found)]))

    @property
    def options(self) -> str:
        """The options of ``zswap-py report`` that select the same, as a shell reads
        them.
        """
        asked = (text.partition(" ") for text in self.asked)
        options = [f"--{option} {shlex.quote(text)}" for option, _, text in asked]
        if self.pids:
            options.append(f"--pid {' '.join(map(str, self.pids))}")
        return " ".join(options) if options and not self.all_processes else "--all"

    @cached_property
    def trees(self) -> list[Tree]:
        return trees()

    @cached_property
    def _by_depth(self) -> list[Group]:
        return sorted(self.groups, key=lambda group: -len(group.path))

    def group_of(self, proc: str) -> Group | None:
        """Returns the group in whose row the process counts, by its directory in /proc:
        the innermost of the selected groups that has it, else its own. None if it has
        exited.
        """
        return self._selected(proc) or next(
            (Group(tree, path) for tree in self.trees[:1] if (path := tree.of(proc)) is not None),
            None,
        )

    def _selected(self, proc: str) -> Group | None:
        paths = {tree: tree.of(proc) for tree in {group.tree for group in self.groups}}
        for group in self._by_depth:
            path = paths[group.tree]
            if path is not None and group.holds(path):
                return group
        return None


def select(
    pids: Iterable[int] = (),
    all_processes: bool = False,
    *,
    cgroups: Iterable[str] = (),
    units: Iterable[str] = (),
    names: Iterable[str] = (),
) -> Selection:
    """Returns the processes of these pids, those in these cgroups (globs of paths) and
    below them, of these systemd units, of these names (globs), or all but this one.
    Raises SourceError for a group, unit or name that does not exist, with the names
    that are most like it.
    """
    selection = Selection(list(dict.fromkeys(pids)), all_processes=all_processes)
    cgroups, units, names = list(cgroups), list(units), list(names)
    if cgroups or units:
        among = selection.trees
        found = [find_groups(glob, among) for glob in cgroups]
        found += [find_units(unit, among) for unit in units]
        selection.groups = list(dict.fromkeys(group for groups in found for group in groups))
        inside = {pid: selection._selected(f"/proc/{pid}") for pid in all_pids()}
        selection.found += [pid for pid, group in inside.items() if group]
        full = set(inside.values())
        selection.empty = [group for group in selection.groups if group not in full]
    for name in names:
        selection.found += _named(name)
    if all_processes:
        selection.found += all_pids()
    for option, given in (("cgroup", cgroups), ("unit", units), ("name", names)):
        selection.asked += [f"{option} {text}" for text in given]
    return selection


def _named(pattern: str) -> list[int]:
    """Returns the processes of that name, which the kernel cuts to 15 characters."""
    comms = {}
    for pid in all_pids():
        try:
            comms[pid] = read_stat(pid)[0]
        except ProcessGone:
            continue
    found = [
        pid for pid, comm in comms.items() if comm == pattern[:_COMM] or fnmatchcase(comm, pattern)
    ]
    if not found:
        raise SourceError(
            f"there is no process of the name {cut(pattern)}{nearest(pattern, comms.values())}. "
            "List them: ps -eo pid,comm"
        )
    return found
