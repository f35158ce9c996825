# SPDX-License-Identifier: GPL-2.0-or-later
"""Control groups, version 1 and 2: finds them by name, tells which of them a process is
in, reads what the kernel charges to them.

The hierarchy that counts is that of the memory controller. On a machine that has it in
version 1, a group may exist in the unified hierarchy or in systemd's own only: names
are looked up there, too.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple

from zswap_py.sources.procfs import open_names
from zswap_py.sources.source import SourceError

MOUNTINFO = "/proc/self/mountinfo"

#: Hierarchies that have names, in the order in which they are searched: the options of
#: a mount of version 1, and "" for version 2.
_HIERARCHIES = ("memory", "", "name=systemd")

_UNITS = (".service", ".scope", ".slice", ".socket", ".mount", ".swap")

# version 1: the group's with those below. swap is in a file of its own in version 2
_V1 = {"total_rss": "anon", "total_shmem": "shmem", "total_swap": "swap"}
_V2 = {name: name for name in ("anon", "shmem", "zswap", "zswapped")}


class Tree(NamedTuple):
    """A mounted hierarchy."""

    name: str  #: as in /proc/PID/cgroup; "": version 2
    mount: str  #: its directory
    root: str = "/"  #: the group at that directory, as in /proc/PID/cgroup

    def of(self, proc: str) -> str | None:
        """Returns the group of the process with that directory in /proc, as its path
        below the mount: "app/api", "" for the root. None if it has exited.
        """
        try:
            with open_names(f"{proc}/cgroup") as f:
                lines = [line.rstrip("\n") for line in f]
        except (FileNotFoundError, ProcessLookupError):
            return None
        for line in lines:
            _, names, path = line.split(":", 2)
            if self.name in names.split(","):
                return _relative(path, self.root)
        return ""

    def matching(self, pattern: str) -> list[str]:
        """Returns the groups that match a glob of paths, where ``*`` stands for one
        level and ``**`` for any number of them.
        """
        inner = pattern.strip("/")
        if pattern and not inner:
            return [""]
        if {"", ".", ".."} & set(inner.split("/")):
            return []
        if os.path.isdir(os.path.join(self.mount, inner)):
            return [inner]
        return sorted(
            {
                path.rstrip("/")
                for path in glob.glob(f"{inner}/", root_dir=self.mount, recursive=True)
            }
        )

    def units(self, name: str) -> list[str]:
        """Returns the groups of a systemd unit, or of all that match a glob."""
        wanted = _unit(name)
        return [path for path in self.groups() if fnmatchcase(os.path.basename(path), wanted)]

    def groups(self) -> list[str]:
        """Returns all groups but the root."""
        return sorted(
            os.path.relpath(os.path.join(directory, name), self.mount)
            for directory, names, _ in os.walk(self.mount)
            for name in names
        )


def _relative(path: str, root: str) -> str:
    """Returns a path from a root. Both may begin with "..", as the kernel shows groups
    outside of this process's cgroup namespace.
    """
    names, above = ([name for name in p.split("/") if name] for p in (path, root))
    common = 0
    while common < min(len(names), len(above)) and names[common] == above[common]:
        common += 1
    return "/".join([".."] * (len(above) - common) + names[common:])


def _unit(name: str) -> str:
    return name if name.endswith(_UNITS) else f"{name}.service"


class Group(NamedTuple):
    """A group, with those below it."""

    tree: Tree
    path: str  #: below the tree's mount; "" for the root

    @property
    def label(self) -> str:
        return self.path or "/"

    def holds(self, path: str) -> bool:
        """Returns whether the group of that path is this one, or below it."""
        if not self.path:
            return not path.startswith("..")  # outside the mount
        return path == self.path or path.startswith(f"{self.path}/")

    def facts(self) -> dict[str, int]:
        """Returns the bytes that the kernel charges to the group and those below it:
        anon, shmem, swap, zswap, zswapped. Has those that the kernel counts: version 1
        knows nothing of zswap, and swap's count can be off.

        Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
        """
        directory = os.path.join(self.tree.mount, self.path)
        names = _V1 if self.tree.name else _V2
        found = {}
        for line in _read(f"{directory}/memory.stat").splitlines():
            name, _, value = line.partition(" ")
            if name in names and value.isdecimal():
                found[names[name]] = int(value)
        swap = _read(f"{directory}/memory.swap.current").strip()
        if swap.isdecimal():
            found["swap"] = int(swap)
        order = ("anon", "shmem", "swap", "zswap", "zswapped")
        return {name: found[name] for name in order if name in found}


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            return f.read()
    except OSError:  # the group is gone, or this kernel has no such file
        return ""


def trees(mountinfo: str = MOUNTINFO) -> list[Tree]:
    """Returns the mounted hierarchies that name groups, the memory controller's first.
    Raises SourceError if there is none.
    """
    with open_names(mountinfo) as f:
        mounts = [_tree(line) for line in f]
    found: dict[str, Tree] = {}
    for tree in filter(None, mounts):
        # of several mounts of a hierarchy, the one that shows most
        if tree.name not in found or len(tree.root) < len(found[tree.name].root):
            found[tree.name] = tree
    if not found:
        raise SourceError(
            "no cgroup hierarchy is mounted here: mount -t cgroup2 none /sys/fs/cgroup, or give "
            "processes with --pid or --name"
        )
    return [found[name] for name in _HIERARCHIES if name in found]


def _tree(line: str) -> Tree | None:
    """Returns the hierarchy of a line of mountinfo; None if it is none with names."""
    mount, _, filesystem = line.rstrip("\n").partition(" - ")
    kind, _, options = filesystem.partition(" ")
    root, directory = map(_unescaped, mount.split(" ")[3:5])
    if kind == "cgroup2":
        return Tree("", directory, root)
    if kind == "cgroup":
        for name in filter(None, _HIERARCHIES):
            if name in options.rpartition(" ")[2].split(","):
                return Tree(name, directory, root)
    return None


def _unescaped(text: str) -> str:
    """Returns a path of mountinfo, where a blank is ``\\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def find_groups(pattern: str, among: Iterable[Tree]) -> list[Group]:
    """Returns the groups that match a glob of paths, of the first hierarchy that has
    any. Raises SourceError with the nearest names.
    """
    among = list(among)
    for tree in among:
        if paths := tree.matching(pattern):
            return [Group(tree, path) for path in paths]
    raise _unknown("cgroup", pattern, among, [path for tree in among for path in tree.groups()])


def find_units(name: str, among: Iterable[Tree]) -> list[Group]:
    """Does the same for the systemd unit of that name."""
    among = list(among)
    for tree in among:
        if paths := tree.units(name):
            return [Group(tree, path) for path in paths]
    units = [os.path.basename(path) for tree in among for path in tree.groups()]
    raise _unknown("unit", name, among, [unit for unit in units if unit.endswith(_UNITS)])


def _unknown(kind: str, name: str, among: list[Tree], known: Iterable[str]) -> SourceError:
    where = among[0].mount
    lister, wanted = (
        ("systemctl status", _unit(name)) if kind == "unit" else (f"find {where} -type d", name)
    )
    return SourceError(
        f"there is no {kind} {cut(name)} below {where}{nearest(wanted, known)}. List them: {lister}"
    )


def cut(text: str) -> str:
    """Quotes a name for a message, cut to 40 characters."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns the names that are most like one that does not exist, for a message."""
    known = list(dict.fromkeys(known))[:10_000]  # it takes a second for 100,000
    wanted = re.sub(r"[*?\[\]]+", "", name).strip("/")
    found = [k for k in known if wanted and wanted in k][:3] or get_close_matches(wanted, known)
    return f": near it {'is' if len(found) == 1 else 'are'} {', '.join(found)}" if found else ""
