# SPDX-License-Identifier: GPL-2.0-or-later
"""Explains why a process may not be read. Looks for causes only after the failure."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from zswap_py.sources.procfs import all_pids, read_status

#: Works also in a virtual environment, where plain ``sudo zswap-py`` does not find the
#: program.
SUDO = 'sudo env "PATH=$PATH" zswap-py report'

_CAP_SYS_PTRACE = 19


def denied(pid: int, comm: str, e: OSError) -> str:
    """Returns the message for a process that may not be read."""
    return (
        f"cannot read the memory of pid {pid} ({comm}): "
        f"{errno.errorcode.get(e.errno or 0, e.errno)}, {denial(pid)}"
    )


def denial(pid: int | None, pids: Iterable[int] | None = None, options: str = "--all") -> str:
    """Returns why ``pid`` may not be read, and the remedy. With None, why ``pids``
    (default: all processes) may not, which ``options`` select.
    """
    again = f"{SUDO} --pid {pid}" if pid else f"{SUDO} {options}"
    scope = _yama_scope()
    if scope == 3:
        return (
            "kernel.yama.ptrace_scope is 3, which forbids it, even to root, until the next boot. "
            "Give a core file that the kernel wrote: zswap-py report FILE"
        )
    if os.geteuid() == 0:
        if not int(read_status("self").get("CapEff", "0"), 16) >> _CAP_SYS_PTRACE & 1:
            return (
                "root lacks CAP_SYS_PTRACE here, as in a container. Start the container with "
                "it: docker run --cap-add=SYS_PTRACE ..."
            )
        return (
            f"a security module or a user namespace forbids it even to root{_tracer(pid)}. "
            f"Give a core file: {core_command(pid)}"
        )
    if pid is not None:
        status = read_status(pid)
        uids, gids = set(status.get("Uid", "").split()), set(status.get("Gid", "").split())
        if uids and uids != {str(os.geteuid())}:
            return (
                f"it belongs to another user (uid {', '.join(sorted(uids))}). Run as root: {again}"
            )
        if gids and gids != {str(os.getegid())}:
            return (
                f"it runs under another group (gid {', '.join(sorted(gids))}). Run as root: {again}"
            )
        if _owner(pid) not in (os.geteuid(), None):
            return (
                f"it is not dumpable (a setuid program, or PR_SET_DUMPABLE). Run as root: {again}"
            )
        if int(status.get("CapPrm", "0"), 16) & ~int(read_status("self").get("CapPrm", "0"), 16):
            return f"it has capabilities that you lack. Run as root: {again}"
    elif not any(
        read_status(other).get("Uid", "").split()[:1] == [str(os.geteuid())]
        for other in (all_pids() if pids is None else pids)
    ):
        return f"they belong to other users. Run as root: {again}"
    if scope:
        readers = "root" if scope == 2 else "a process's ancestors and root"
        them = "them" if pid is None else "it"
        return (
            f"kernel.yama.ptrace_scope is {scope}: only {readers} may read {them}. Run as root: "
            f"{again}"
        )
    return f"a security module or a container forbids it{_tracer(pid)}. Run as root: {again}"


def _yama_scope() -> int:
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as f:
            return int(f.read())
    except OSError:
        return 0


def _owner(pid: int) -> int | None:
    """Returns the owner of /proc/PID/mem: root, if the process is not dumpable."""
    try:
        return os.stat(f"/proc/{pid}/mem").st_uid
    except OSError:
        return None


def _tracer(pid: int | None) -> str:
    tracer = read_status(pid).get("TracerPid", "0") if pid else "0"
    return f" (it is traced by pid {tracer})" if tracer != "0" else ""


def core_command(pid: int | None) -> str:
    """Returns a command that makes a core and reports on it."""
    return f"gcore -o core {pid} && zswap-py report core.{pid}" if pid else "zswap-py report FILE"
