# SPDX-License-Identifier: GPL-2.0-or-later
"""A live process's memory, as reclaim sees it: which pages could be swapped out, and their contents.

``/proc/PID/smaps`` says what each mapping is, ``/proc/PID/pagemap`` which of its pages are there (by the PAGEMAP_SCAN
ioctl, Linux 6.7, or by reading it), and ``/proc/PID/mem`` holds the bytes. Swappable are private anonymous pages, the
written copies of file pages among them, and shmem. Clean file pages are dropped and not swapped, so they do not count
at all; whatever else is not read is counted by its cause in :class:`NotRead`.

What these files do not show: shmem that no process of the set has mapped and touched is not found; pages under SHM_LOCK
or MADV_FREE (which reclaim drops) are read like others; a page that fork() left shared is read in each process.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, final

from zswap_py.names import shown

PAGE_SIZE = mmap.PAGESIZE  #: bytes of a page of this machine's processes

#: What works in a virtual environment too, where a plain ``sudo zswap-py`` would not find the program.
SUDO = 'sudo env "PATH=$PATH" zswap-py report'


class SourceError(Exception):
    """A source cannot be read. The message is for the user: what, the cause, and what to type; it is shown."""

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


class ProcessGone(SourceError):
    """There is no such process, or it has no memory of its own (a kernel thread, a zombie)."""


class ProcessDenied(SourceError):
    """The process is there, but its memory may not be read."""


@dataclass
class NotRead:
    """Pages that are swapped or swappable memory and yet were not read, by cause."""

    swapped: int = 0  #: in swap (or zswap) already
    locked: int = 0  #: mlock()ed: reclaim leaves them
    hugetlb: int = 0  #: hugetlbfs pages are never swapped
    zero_mapped: int = 0  #: only ever read: they map the kernel's zero page (in a core: holes)
    vanished: int = 0  #: freed, swapped out or moved between the survey and the reading
    unreadable: int = 0  #: there, but reading failed

    def as_dict(self) -> dict[str, int]:
        """The counts by the names above, in pages."""
        return asdict(self)

    @property
    def total(self) -> int:
        """All of them, in pages."""
        return sum(self.as_dict().values())


class Runs(NamedTuple):
    """Runs of pages, ascending and apart: ``starts[i] <= address < ends[i]``, in bytes."""

    starts: array[int]
    ends: array[int]

    @property
    def pages(self) -> int:
        return (sum(self.ends) - sum(self.starts)) // PAGE_SIZE


# --- what a mapping is: smaps ---

# VmFlags of mappings that hold no pages for reclaim: device memory (io, pf, mm), the kernel's own, as the vDSO (de),
# and droppable pages (dp).
_NEVER_SWAPPED = frozenset((b"io", b"pf", b"mm", b"de", b"dp"))


class Mapping(NamedTuple):
    """One mapping, as /proc/PID/smaps shows it."""

    start: int
    end: int
    perms: bytes  #: as in maps: ``rw-p``
    offset: int  #: of its start in the file, in bytes
    device: bytes  #: ``major:minor`` of the file, as in maps
    inode: int  #: 0: no file
    path: bytes
    rss: int  #: pages mapped, the zero page left out
    anonymous: int  #: of these: anonymous
    swapped: int  #: pages in swap
    vm_flags: frozenset[bytes]

    @property
    def locked(self) -> bool:
        return b"lo" in self.vm_flags

    @property
    def hugetlb(self) -> bool:
        return b"ht" in self.vm_flags

    @property
    def private(self) -> bool:
        return self.perms.endswith(b"p")


def parse_smaps(smaps: bytes) -> Iterator[Mapping]:
    """The mappings in the text of /proc/PID/smaps, by address."""
    header: list[bytes] = []
    kb: dict[bytes, int] = {}
    for line in smaps.splitlines():
        key, _, value = line.partition(b":")
        if key in (b"Rss", b"Anonymous", b"Swap"):
            kb[key] = int(value.split()[0])
        elif key == b"VmFlags":  # a mapping's last line
            start, _, end = header[0].partition(b"-")
            rss, anonymous, swapped = (kb.get(k, 0) * 1024 // PAGE_SIZE for k in (b"Rss", b"Anonymous", b"Swap"))
            path = header[5].strip() if len(header) > 5 else b""
            yield Mapping(int(start, 16), int(end, 16), header[1], int(header[2], 16), header[3], int(header[4]), path,
                          rss, anonymous, swapped, frozenset(value.split()))
            kb = {}
        elif line[:1] in b"0123456789abcdef":  # the fields' names begin with a capital
            header = line.split(None, 5)


def _shmem_devices(mountinfo: str) -> frozenset[bytes]:
    """Devices, as in maps, whose files are swappable shmem: the tmpfs mounts, and the kernel's own mount, where memfd,
    SysV and MAP_SHARED|MAP_ANONYMOUS memory lives."""
    devices = {_internal_shmem()}
    for line in mountinfo.splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.partition(" ")
        if kind in ("tmpfs", "devtmpfs") and "noswap" not in options.rpartition(" ")[2].split(","):
            major, _, minor = mount.split()[2].partition(":")
            devices.add(b"%02x:%02x" % (int(major), int(minor)))
    return frozenset(devices)


def _internal_shmem() -> bytes:
    fd = os.memfd_create("zswap_py")
    try:
        device = os.fstat(fd).st_dev
    finally:
        os.close(fd)
    return b"%02x:%02x" % (os.major(device), os.minor(device))


# --- which pages are there: pagemap ---

# <linux/fs.h>: _IOWR('f', 16, struct pm_scan_arg), twelve 64-bit words.
_PAGEMAP_SCAN = 3 << 30 | 96 << 16 | ord("f") << 8 | 16
_FILE, _PRESENT, _PFNZERO = 1 << 2, 1 << 3, 1 << 5
_EXCLUSIVE = 1 << 63  # ours: pagemap's bit 56, which the ioctl does not know
_REGIONS = 4096  # struct page_region (three 64-bit words) an ioctl call


class Want(NamedTuple):
    """Pages whose categories, those in ``absent`` negated, include all of ``mask``."""

    mask: int
    absent: int


THERE = Want(_PRESENT, 0)
ANON = Want(_PRESENT | _FILE | _PFNZERO, _FILE | _PFNZERO)
SHMEM = Want(_PRESENT | _FILE, 0)
ZERO = Want(_PRESENT | _PFNZERO, 0)
ANON_EXCLUSIVE = Want(_PRESENT | _FILE | _EXCLUSIVE, _FILE)


class PageTable:
    """An open /proc/PID/pagemap."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._has_scan = True
        self._regions = array("Q", bytes(24 * _REGIONS))

    def runs(self, start: int, end: int, want: Want) -> Runs:
        """The wanted pages in ``start <= address < end``. A range with no mapping, or of a process that has exited,
        has none."""
        if self._has_scan and not want.mask & _EXCLUSIVE:
            try:
                return self._scan(start, end, want)
            except OSError as e:
                if e.errno != errno.ENOTTY:
                    raise
                self._has_scan = False  # before Linux 6.7
        return self._read(start, end, want)

    def _scan(self, start: int, end: int, want: Want) -> Runs:
        runs = Runs(array("Q"), array("Q"))
        regions = self._regions
        while start < end:
            arg = bytearray(struct.pack("12Q", 96, 0, start, end, 0, regions.buffer_info()[0], _REGIONS, 0,
                                        want.absent, want.mask, 0, _PRESENT))
            found = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, arg)
            runs.starts.extend(regions[0:3 * found:3])
            runs.ends.extend(regions[1:3 * found:3])
            start, = struct.unpack_from("Q", arg, 32)  # walk_end
        return runs

    def _read(self, start: int, end: int, want: Want) -> Runs:
        """The same from pagemap's 64-bit entries: their top bytes hold what is asked, so that translate() and a regular
        expression do the work a page. The zero page cannot be told: see ``_anonymous``."""
        wanted = bytes(_wanted(top, want) for top in range(256))
        runs = Runs(array("Q"), array("Q"))
        if not any(wanted):
            return runs
        step = 1 << 17  # entries: 1 MiB
        for base in range(start, end, step * PAGE_SIZE):
            count = min(step, (end - base) // PAGE_SIZE)
            entries = os.pread(self._fd, 8 * count, base // PAGE_SIZE * 8)
            top = entries[7::8] if struct.pack("=H", 1) == b"\1\0" else entries[0::8]
            for match in re.finditer(b"\1+", top.translate(wanted)):
                runs.starts.append(base + match.start() * PAGE_SIZE)
                runs.ends.append(base + match.end() * PAGE_SIZE)
        return runs


def _wanted(top: int, want: Want) -> bool:
    categories = (_PRESENT if top & 0x80 else 0) | (_FILE if top & 0x20 else 0) | (_EXCLUSIVE if top & 0x01 else 0)
    return (categories ^ want.absent) & want.mask == want.mask


# --- a process ---

_PF_KTHREAD = 0x00200000


@final
@dataclass
class Process:
    """A process whose memory may be read; ``open()`` it before, ``close()`` it after. While it is open, an exec() or a
    reuse of its number cannot put another memory in its place."""

    pid: int
    comm: str  #: shown: see names.py
    start_time: int  #: clock ticks after boot: tells it from a later process with the same number
    _mem: int = field(default=-1, repr=False)
    _pagemap: int = field(default=-1, repr=False)

    @classmethod
    def find(cls, pid: int) -> Process:
        """The process, open. Raises ProcessGone or ProcessDenied, both with the cause and the remedy."""
        comm, fields = _stat(pid)
        name = f"pid {pid} ({comm})"
        if int(fields[6]) & _PF_KTHREAD:
            raise ProcessGone(f"{name} is a kernel thread: it has no memory of its own. Give a process of user space")
        if fields[0] in "ZX":
            raise ProcessGone(f"{name} has exited and waits for its parent: its memory is gone")
        process = cls(pid, comm, int(fields[19]))
        try:
            process.open()
        except PermissionError as e:
            raise ProcessDenied(_denied(pid, comm, e)) from None
        except FileNotFoundError as e:
            if e.filename and e.filename.endswith("pagemap") and os.path.exists(f"/proc/{pid}"):
                raise SourceError(f"{e.filename} is missing: this kernel was built without CONFIG_PROC_PAGE_MONITOR. "
                                  f"Give a core file: {_core_command(pid)}") from None
            raise ProcessGone(_no_process(pid)) from None
        except ProcessLookupError:
            raise ProcessGone(_no_process(pid)) from None
        return process

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Does nothing if it is open. Raises what os.open() raises, and ProcessLookupError if the process has exited or
        the number is now another's."""
        if self._mem >= 0:
            return
        try:
            self._mem = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            self._pagemap = os.open(f"/proc/{self.pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            if int(_stat(self.pid)[1][19]) != self.start_time:
                raise ProcessLookupError(errno.ESRCH, "another process has its number")
            self.page_table = PageTable(self._pagemap)
        except ProcessGone:
            self.close()
            raise ProcessLookupError(errno.ESRCH, "it has exited") from None
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for fd in (self._mem, self._pagemap):
            if fd >= 0:
                os.close(fd)
        self._mem = self._pagemap = -1

    def mappings(self) -> list[Mapping]:
        """Raises OSError if the process has exited."""
        with open(f"/proc/{self.pid}/smaps", "rb", buffering=0) as f:
            return list(parse_smaps(f.read()))

    def mountinfo(self) -> str:
        with open(f"/proc/{self.pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
            return f.read()

    def read(self, start: int, pages: int, want: Want, out: memoryview, not_read: NotRead) -> int:
        """Reads those of the ``pages`` pages at ``start`` that are still wanted, one after the other, into ``out``
        (writable, ``pages`` pages or more). Returns how many; the others are counted in ``not_read``."""
        got = unreadable = 0
        runs = self.page_table.runs(start, start + pages * PAGE_SIZE, want)
        for at, end in zip(runs.starts, runs.ends, strict=True):
            while at < end:
                n = self._read(at, out[got * PAGE_SIZE:got * PAGE_SIZE + end - at])
                if not n:  # this page refuses
                    unreadable += self.page_table.runs(at, at + PAGE_SIZE, want).pages
                    n = 1
                else:
                    got += n
                at += n * PAGE_SIZE
        not_read.unreadable += unreadable
        not_read.vanished += pages - got - unreadable
        return got

    def _read(self, start: int, out: memoryview) -> int:
        """Pages read from ``start`` on, up to the first that cannot be."""
        try:
            return os.preadv(self._mem, [out], start) // PAGE_SIZE
        except OSError as e:
            if e.errno not in (errno.EIO, errno.EFAULT):
                raise
            return 0


def _stat(pid: int) -> tuple[str, list[str]]:
    """A process's name, and the fields of /proc/PID/stat from the state on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            stat = os.fsdecode(f.read())
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(_no_process(pid)) from None
    comm, _, fields = stat.partition("(")[2].rpartition(")")
    return shown(comm), fields.split()


def _no_process(pid: int) -> str:
    return f"there is no process {pid}: it has exited, or belongs to another pid namespace. List them: ps -e"


def all_pids() -> list[int]:
    """The processes that /proc shows, this one left out."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid())


# --- the survey ---


class Segment(NamedTuple):
    """What is to be read from one process: its anonymous pages, and the shmem that no earlier process has."""

    process: Process
    anonymous: list[Runs]
    shmem: list[Runs]


_Key = tuple[bytes, int, str]  # a shared object: device, inode, IPC namespace


class _Shared(NamedTuple):
    """Pages of a shared object in one process: at address ``a`` lies the object's byte ``a + shift``."""

    key: _Key
    shift: int
    runs: Runs


class _Once:
    """Ranges of objects, each range taken once."""

    def __init__(self) -> None:
        self._taken: dict[_Key, tuple[list[int], list[int]]] = {}

    def take(self, shared: _Shared) -> Runs:
        """The runs, in addresses, that were not taken before; they are now."""
        fresh = Runs(array("Q"), array("Q"))
        for start, end in zip(shared.runs.starts, shared.runs.ends, strict=True):
            for lo, hi in self._take(shared.key, start + shared.shift, end + shared.shift):
                fresh.starts.append(lo - shared.shift)
                fresh.ends.append(hi - shared.shift)
        return fresh

    def _take(self, key: _Key, lo: int, hi: int) -> list[tuple[int, int]]:
        starts, ends = self._taken.setdefault(key, ([], []))
        first, last = bisect_left(ends, lo), bisect_right(starts, hi)  # those that touch [lo, hi]
        fresh, at = [], lo
        for i in range(first, last):
            if starts[i] > at:
                fresh.append((at, starts[i]))
            at = max(at, ends[i])
        if at < hi:
            fresh.append((at, hi))
        if first < last:
            lo, hi = min(lo, starts[first]), max(hi, ends[last - 1])
        starts[first:last], ends[first:last] = [lo], [hi]
        return fresh


class Survey:
    """Collects over processes what is swappable, and counts what is not."""

    def __init__(self, not_read: NotRead) -> None:
        self.not_read = not_read
        self.anonymous: list[tuple[Process, list[Runs], list[_Shared]]] = []
        self._locked: list[_Shared] = []
        self._hugetlb: list[_Shared] = []
        self._swapped: set[tuple[_Key, int, int]] = set()
        self._shmem_devices: dict[str, frozenset[bytes]] = {}

    def add(self, process: Process) -> None:
        """Looks through an open process. Raises ProcessGone if it exits meanwhile, ProcessDenied if it changes so that
        it may no longer be read; what was seen until then stays in the survey."""
        try:
            self._add(process)
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessGone(_no_process(process.pid)) from None
        except PermissionError as e:
            raise ProcessDenied(_denied(process.pid, process.comm, e)) from None

    def _add(self, process: Process) -> None:
        mappings = process.mappings()
        devices = self._devices(process)
        ipc = os.readlink(f"/proc/{process.pid}/ns/ipc")
        anonymous: list[Runs] = []
        shmem: list[_Shared] = []
        self.anonymous.append((process, anonymous, shmem))
        for m in mappings:
            if m.hugetlb:
                self._hugetlb.append(self._shared(process, m, self._key(m, ipc), THERE))
                continue
            if m.vm_flags & _NEVER_SWAPPED or m.path == b"[vsyscall]":  # the latter is in the kernel's half
                continue
            if m.perms.startswith(b"---") and not m.rss + m.swapped:
                continue  # address space set aside, which may be terabytes
            key = self._key(m, ipc)
            is_shmem = m.device in devices
            if m.private:
                self._private(process, m, anonymous)
            if is_shmem:
                (self._locked if m.locked else shmem).append(self._shared(process, m, key, SHMEM))
            if not is_shmem or (key, m.offset, m.end - m.start) not in self._swapped:
                self.not_read.swapped += m.swapped
                self._swapped.add((key, m.offset, m.end - m.start))

    def _devices(self, process: Process) -> frozenset[bytes]:
        namespace = os.readlink(f"/proc/{process.pid}/ns/mnt")
        if namespace not in self._shmem_devices:
            self._shmem_devices[namespace] = _shmem_devices(process.mountinfo())
        return self._shmem_devices[namespace]

    def _private(self, process: Process, m: Mapping, anonymous: list[Runs]) -> None:
        if m.inode and not m.anonymous:
            return  # a file, never written to
        runs, zero = _anonymous(process.page_table, m)
        self.not_read.zero_mapped += zero
        if m.locked:
            self.not_read.locked += runs.pages
        elif runs.starts:
            anonymous.append(runs)

    @staticmethod
    def _key(m: Mapping, ipc: str) -> _Key:
        """A SysV segment's inode is its id, which a memfd or a segment of another namespace may have too."""
        return m.device, m.inode, ipc if m.path.startswith(b"/SYSV") else ""

    @staticmethod
    def _shared(process: Process, m: Mapping, key: _Key, want: Want) -> _Shared:
        return _Shared(key, m.offset - m.start, process.page_table.runs(m.start, m.end, want))

    def segments(self) -> list[Segment]:
        """Each shared page once; one that any process has locked is locked for all."""
        once = _Once()
        self.not_read.hugetlb += sum(once.take(shared).pages for shared in self._hugetlb)
        self.not_read.locked += sum(once.take(shared).pages for shared in self._locked)
        return [Segment(process, anonymous, [once.take(shared) for shared in shmem])
                for process, anonymous, shmem in self.anonymous]


def _anonymous(table: PageTable, m: Mapping) -> tuple[Runs, int]:
    """A mapping's anonymous pages, and how many of its pages only map the zero page.

    Neither pagemap's entries nor the ioctl before Linux 6.17 (for the huge zero page) tell the zero page from an
    anonymous page that fork() left shared. smaps does not count zero pages: if just as many pages are too many as are
    not mapped exclusively, these are zero pages; else all are read. The huge zero page passes for a file's in pagemap.
    """
    runs, zero = table.runs(m.start, m.end, ANON), table.runs(m.start, m.end, ZERO).pages
    if not m.inode:
        zero += table.runs(m.start, m.end, SHMEM).pages
    surplus = runs.pages - m.anonymous
    if surplus > 0:
        exclusive = table.runs(m.start, m.end, ANON_EXCLUSIVE)
        if runs.pages - exclusive.pages == surplus:
            return exclusive, zero + surplus
    return runs, zero


# --- why a process may not be read: looked into only after the failure ---

_CAP_SYS_PTRACE = 19


def _denied(pid: int, comm: str, e: OSError) -> str:
    return f"cannot read the memory of pid {pid} ({comm}): {errno.errorcode.get(e.errno or 0, e.errno)}, {denial(pid)}"


def denial(pid: int | None) -> str:
    """Why ``pid`` (None: any process) may not be read, and what to type."""
    again = f"{SUDO} --pid {pid}" if pid else f"{SUDO} --all"
    scope = _yama_scope()
    if scope == 3:
        return ("kernel.yama.ptrace_scope is 3, which forbids it to everybody until the next boot. "
                "Give a core file that the kernel wrote: zswap-py report FILE")
    if os.geteuid() == 0:
        if not int(_status("self").get("CapEff", "0"), 16) >> _CAP_SYS_PTRACE & 1:
            return ("root lacks CAP_SYS_PTRACE here, as in a container. Start it with the capability: "
                    "docker run --cap-add=SYS_PTRACE ...")
        return f"not even by root: a security module or a user namespace forbids it{_tracer(pid)}. " \
               f"Give a core file: {_core_command(pid)}"
    if pid is not None:
        status = _status(pid)
        uids, gids = set(status.get("Uid", "").split()), set(status.get("Gid", "").split())
        if uids and uids != {str(os.geteuid())}:
            return f"it belongs to another user (uid {', '.join(sorted(uids))}). Run it as root: {again}"
        if gids and gids != {str(os.getegid())}:
            return f"it runs under another group (gid {', '.join(sorted(gids))}). Run it as root: {again}"
        if _owner(pid) not in (os.geteuid(), None):
            return f"it has made itself undumpable (a setuid program, or PR_SET_DUMPABLE). Run it as root: {again}"
        if int(status.get("CapPrm", "0"), 16) & ~int(_status("self").get("CapPrm", "0"), 16):
            return f"it has capabilities that you lack. Run it as root: {again}"
    elif not any(_status(other).get("Uid", "").split()[:1] == [str(os.geteuid())] for other in all_pids()):
        return f"they belong to other users. Run it as root: {again}"
    if scope:
        who = "root" if scope == 2 else "a process's ancestors and root"
        them = "them" if pid is None else "it"
        return f"kernel.yama.ptrace_scope is {scope}: only {who} may read {them}. Run it as root: {again}"
    return f"a security module or a container forbids it{_tracer(pid)}. Run it as root: {again}"


def _yama_scope() -> int:
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as f:
            return int(f.read())
    except OSError:
        return 0


def _status(pid: int | str) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
            return {key: value.strip() for key, _, value in (line.partition(":") for line in f)}
    except OSError:
        return {}


def _owner(pid: int) -> int | None:
    """Whom /proc/PID/mem belongs to: root, if the process is not dumpable."""
    try:
        return os.stat(f"/proc/{pid}/mem").st_uid
    except OSError:
        return None


def _tracer(pid: int | None) -> str:
    tracer = _status(pid).get("TracerPid", "0") if pid else "0"
    return f" (it is traced by pid {tracer})" if tracer != "0" else ""


def _core_command(pid: int | None) -> str:
    return f"gcore -o core {pid} && zswap-py report core.{pid}" if pid else "zswap-py report FILE"
