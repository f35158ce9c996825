# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives this machine's own zswap and zram, and restores every setting afterwards.

::

    host = Host()
    with (
        interruptions() as check,
        host.zswap("lzo", pages=100, directory="/var/tmp") as zswap,
    ):
        check()
        zswap.store(0, page)
        zswap.stats()["pool_total_size"]

Within `interruptions` a signal raises only in `check`. So no signal can come between a
change and the registration of its undoing, or cut the undoing short.

If another program writes to a setting while it is changed here, its value stays, and
`Host.meanwhile` names it. Devices, swap areas and settings that are not changed here
are not checked.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gzip
import mmap
import os
import platform
import re
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from zswap_py import kernels
from zswap_py._lib.names import shown

PAGE_SIZE = mmap.PAGESIZE
MADV_PAGEOUT = 21
BLKDISCARD = 0x1277
PAGEMAP_SWAPPED = 1 << 62
TRIES = 50  #: attempts to page a page out, and to remove a device that another program has open
CHAINS = (6, 3)  #: the first Linux whose zsmalloc has chains of a configured size
ZSMALLOC = (6, 4)  #: the first Linux with the zsmalloc rules known here

#: zswap's parameters that are changed here.
CHANGED = ("enabled", "zpool", "compressor", "max_pool_percent", "shrinker_enabled")

# If one of these changes, the pool is not made by the pages alone.
_MUST_NOT_MOVE = (
    "pool_limit_hit",
    "written_back_pages",
    "reject_alloc_fail",
    "reject_kmemcache_fail",
)


class HostError(OSError):
    """This machine's kernel cannot be asked, or not now. The message names the remedy;
    names in it are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


def _syscall(name: str, *args: Any) -> None:
    """Calls a function of libc, again after EINTR. Raises OSError with its errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    while getattr(libc, name)(*args):
        err = ctypes.get_errno()
        if err != errno.EINTR:
            raise OSError(err, f"{name}: {os.strerror(err)}")


class Host:
    """The kernel's files below `root`; tests give a tree of their own."""

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)
        self.parameters = self.root / "sys/module/zswap/parameters"
        self.debugfs = self.root / "sys/kernel/debug"
        self.zram_control = self.root / "sys/class/zram-control"
        self.page_cluster = self.root / "proc/sys/vm/page-cluster"
        self.meanwhile: list[str] = []  #: changes by other programs to the settings changed here

    # ---- description ----

    @property
    def release(self) -> str:
        """The release, as uname -r prints it."""
        return platform.release()

    @property
    def version(self) -> tuple[int, int]:
        """The release as two numbers, (6, 18); (0, 0) if it begins with none."""
        match = re.match(r"(\d+)\.(\d+)", self.release)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    def chain_size(self) -> int:
        """Returns CONFIG_ZSMALLOC_CHAIN_SIZE, or its default, 8, if the kernel's
        configuration cannot be read; 4 before Linux 6.3, which first has it.
        """
        if self.version < CHAINS:
            return 4
        for path in (
            self.root / "proc/config.gz",
            self.root / f"boot/config-{self.release}",
            self.root / f"lib/modules/{self.release}/config",
        ):
            try:
                data = path.read_bytes()
            except OSError:
                continue
            text = gzip.decompress(data) if path.suffix == ".gz" else data
            if match := re.search(rb"^CONFIG_ZSMALLOC_CHAIN_SIZE=(\d+)$", text, re.MULTILINE):
                return int(match[1])
        return 8

    def described(self) -> dict[str, str]:
        """Returns the release, the machine, and what reclaim is set to: `lru_gen` and
        `transparent_hugepage`, as the kernel shows them; "" if it has none.
        """
        found = {"kernel": self.release, "machine": platform.machine()}
        for name in ("lru_gen", "transparent_hugepage"):
            path = self.root / "sys/kernel/mm" / name / "enabled"
            found[name] = path.read_text().strip() if path.is_file() else ""
        return found

    def mem_available(self) -> int:
        """Returns MemAvailable, in bytes."""
        match = re.search(
            r"^MemAvailable: +(\d+) kB", (self.root / "proc/meminfo").read_text(), re.MULTILINE
        )
        return 1024 * int(match[1]) if match else 0

    def swaps(self) -> list[str]:
        """Returns the swap areas in use."""
        try:
            lines = (self.root / "proc/swaps").read_text().splitlines()[1:]
        except FileNotFoundError:  # no CONFIG_SWAP
            return []
        return [line.split()[0] for line in lines]

    def settings(self) -> dict[str, str]:
        """Returns all settings changed here, to compare before and after."""
        found = {
            "swap areas": " ".join(self.swaps()),
            "debugfs": str(os.path.ismount(self.debugfs)),
        }
        paths = [self.page_cluster, *(self.parameters / name for name in CHANGED)]
        found |= {str(path): path.read_text().strip() for path in paths if path.is_file()}
        return found

    def note_changes(self, before: dict[str, str]) -> None:
        """Adds to `meanwhile` the settings that differ from `before` and that it does
        not name yet.
        """
        after = self.settings()
        self.meanwhile += [
            f"{name} was {before.get(name)!r} and is {after.get(name)!r}"
            for name in sorted(before | after)
            if before.get(name) != after.get(name)
            and not any(said.startswith(f"{name} ") for said in self.meanwhile)
        ]

    # ---- requirements ----

    def no_zswap(self) -> str | None:
        """Returns the reason that zswap cannot be asked, or None if it can."""
        if not self.parameters.is_dir():
            return "this kernel has no zswap: boot one with CONFIG_ZSWAP=y"
        if self.version < kernels.parse(kernels.OLDEST):
            return (
                f"zswap of Linux {self.release} follows other rules: boot {kernels.OLDEST} or later"
            )
        return None

    def no_pool(self) -> str | None:
        """Returns the reason that zsmalloc's pool cannot be compared, or None."""
        if self.version < ZSMALLOC:
            return (
                f"zsmalloc of Linux {self.release} chains and groups its pages by other rules: "
                f"boot {'.'.join(map(str, ZSMALLOC))} or later"
            )
        return None

    def no_zram(self) -> str | None:
        """Returns the reason that zram cannot be asked, or None if it can."""
        if not (self.zram_control / "hot_add").exists():
            return "there is no zram: modprobe zram (a kernel with CONFIG_ZRAM)"
        return None

    def must_be_usable(self, euid: int | None = None) -> None:
        """Raises HostError unless this process is root's, no swap is in use, and zswap
        or zram can be asked.
        """
        if (os.geteuid() if euid is None else euid) != 0:
            raise HostError(
                "only root may change the settings of zswap and zram: sudo zswap-py verify"
            )
        if swaps := self.swaps():
            raise HostError(
                f"swap is in use ({', '.join(swaps)}), and its pages would count with ours: "
                "swapoff -a, and swapon -a afterwards"
            )
        zswap, zram = self.no_zswap(), self.no_zram()
        if zswap and zram:
            raise HostError(f"{zswap}; {zram}")

    # ---- changes ----

    @contextmanager
    def setting(self, path: Path, value: str) -> Iterator[None]:
        """Writes `value` to `path` for the block, then the old value. If another
        program wrote to `path` in the block, leaves its value.
        """
        old = path.read_text().strip()
        path.write_text(value)
        ours = path.read_text().strip()  # as the kernel writes it
        try:
            yield
        finally:
            now = path.read_text().strip()
            if now == ours:
                path.write_text(old)
            else:
                self.meanwhile.append(
                    f"{path} was {old!r}, then {ours!r} here; another program wrote {now!r}, "
                    "which stays"
                )

    @contextmanager
    def debugfs_mounted(self) -> Iterator[None]:
        """Mounts debugfs for the block, if it is not mounted."""
        if os.path.ismount(self.debugfs):
            yield
            return
        _syscall("mount", b"debugfs", os.fsencode(self.debugfs), b"debugfs", 0, None)
        try:
            yield
        finally:
            try:
                _syscall("umount2", os.fsencode(self.debugfs), 0)
            except OSError as e:
                if e.errno != errno.EBUSY:
                    raise
                self.meanwhile.append(f"{self.debugfs} stays mounted: another program uses it")

    @contextmanager
    def swap_area(self, directory: str | Path, size: int) -> Iterator[None]:
        """Swaps to a file of `size` bytes in a new directory of `directory`, for the
        block. Raises HostError if other swap is in use.
        """
        if swaps := self.swaps():
            raise HostError(f"swap is in use ({', '.join(swaps)}): swapoff -a")
        if not os.path.isdir(directory):
            raise HostError(f"{directory} is not a directory: name one with --dir")
        with tempfile.TemporaryDirectory(prefix="zswap-py-", dir=directory) as made:
            path = Path(made) / "swap"
            _write_swap_file(path, size)
            try:
                _syscall("swapon", os.fsencode(path), 0)
            except OSError as e:
                raise HostError(
                    f"{directory} cannot hold a swap file ({os.strerror(e.errno or 0)}): name a "
                    "directory on ext4 or xfs with --dir"
                ) from e
            try:
                yield
            finally:
                _syscall("swapoff", os.fsencode(path))

    @contextmanager
    def zswap(self, compressor: str, pages: int, directory: str | Path) -> Iterator[HostZswap]:
        """Yields the kernel's zswap with an empty pool of `compressor`, for `pages`
        slots; without read-ahead, limit and shrinker.

        Raises HostError if the kernel has no such compressor.
        """
        with ExitStack() as stack:
            change = stack.enter_context
            # twice: the kernel frees a slot some time after its page
            change(self.swap_area(directory, 2 * pages * PAGE_SIZE + (8 << 20)))
            change(_this_cpu_only())
            change(self.setting(self.page_cluster, "0"))
            change(self.setting(self.parameters / "max_pool_percent", "100"))
            if (self.parameters / "shrinker_enabled").is_file():
                change(self.setting(self.parameters / "shrinker_enabled", "N"))
            # before the others: until the first Y the kernel takes any name
            change(self.setting(self.parameters / "enabled", "Y"))
            if (self.parameters / "zpool").is_file():
                change(self.setting(self.parameters / "zpool", "zsmalloc"))
            try:
                change(self.setting(self.parameters / "compressor", compressor))
            except OSError as e:
                raise HostError(
                    f"this kernel's zswap rejects {compressor}: {os.strerror(e.errno or 0)}"
                ) from e
            change(self.debugfs_mounted())
            yield stack.enter_context(HostZswap(self, pages))

    def zswap_compressors(self, names: list[str]) -> list[str]:
        """Returns those of `names` that zswap takes."""
        found = []
        with self.setting(self.parameters / "enabled", "Y"):
            for name in names:
                try:
                    with self.setting(self.parameters / "compressor", name):
                        found.append(name)
                except OSError:
                    continue
        return found

    @contextmanager
    def zram_device(self) -> Iterator[Path]:
        """Adds a zram device for the block; yields its directory in /sys/block."""
        number = (self.zram_control / "hot_add").read_text().strip()
        try:
            yield self.root / "sys/block" / f"zram{number}"
        finally:
            try:
                _try_often(lambda: (self.zram_control / "hot_remove").write_text(number))
            except OSError as e:
                if e.errno != errno.EBUSY:
                    raise
                self.meanwhile.append(
                    f"zram{number} stays: another program has it open. Once it is closed: echo "
                    f"{number} > {self.zram_control / 'hot_remove'}"
                )

    def zram_algorithms(self) -> list[str]:
        """Returns the algorithms that a zram device offers."""
        with self.zram_device() as device:
            return (device / "comp_algorithm").read_text().replace("[", "").replace("]", "").split()

    @contextmanager
    def zram(self, algorithm: str, pages: int) -> Iterator[HostZram]:
        """Yields a new zram device with `algorithm` and room for `pages` pages."""
        with self.zram_device() as device:
            (device / "comp_algorithm").write_text(algorithm)
            (device / "disksize").write_text(str(pages * PAGE_SIZE))
            with HostZram(device, self.root / "dev" / device.name) as zram:
                yield zram


def _write_swap_file(path: Path, size: int) -> None:
    """Writes the header of mkswap: version 1, the last page's number, no bad pages. The
    magic ends the first page.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
        os.pwrite(fd, struct.pack("=III", 1, size // PAGE_SIZE - 1, 0), 1024)
        os.pwrite(fd, b"SWAPSPACE2", PAGE_SIZE - 10)
        os.fsync(fd)
    except OSError as e:
        raise HostError(
            f"cannot write a swap file of {size >> 20} MiB at {path}: {e.strerror}: name another "
            "directory with --dir, or give fewer pages"
        ) from e
    finally:
        os.close(fd)


@contextmanager
def _this_cpu_only() -> Iterator[None]:
    """Binds this thread to one CPU for the block. A page just written waits in the LRU
    batch of its CPU, which a page-out on that CPU drains.
    """
    old = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(old)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, old)


def _try_often(call: Callable[[], Any]) -> None:
    """Calls it again while it fails with EBUSY, up to TRIES times. A program that
    watches devices may have a new one open for a moment.
    """
    for left in reversed(range(TRIES)):
        try:
            call()
            return
        except OSError as e:
            if e.errno != errno.EBUSY or not left:
                raise
            time.sleep(0.05)


class HostZswap:
    """The kernel's zswap as a driver for `churn`. Slot i is page i of an anonymous
    mapping of this process.
    """

    def __init__(self, host: Host, pages: int) -> None:
        self._debugfs = host.debugfs / "zswap"
        if not self._debugfs.is_dir():
            raise HostError(f"{self._debugfs} is missing: boot a kernel with CONFIG_DEBUG_FS=y")
        self._memory = mmap.mmap(-1, pages * PAGE_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._first = ctypes.addressof(ctypes.c_char.from_buffer(self._memory)) // PAGE_SIZE
        self._pagemap = os.open("/proc/self/pagemap", os.O_RDONLY)
        self._before = self._counters()
        if self._before["stored_pages"]:
            raise HostError(
                f"zswap still holds {self._before['stored_pages']} other pages: swapoff -a"
            )

    def __enter__(self) -> HostZswap:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._pagemap)
        self._memory.close()

    def _counters(self) -> dict[str, int]:
        return {f.name: int(f.read_text()) for f in self._debugfs.iterdir()}

    def _at(self, entry: int) -> slice:
        return slice(entry * PAGE_SIZE, (entry + 1) * PAGE_SIZE)

    def _is_out(self, entry: int) -> bool:
        state = int.from_bytes(os.pread(self._pagemap, 8, 8 * (self._first + entry)), "little")
        return bool(state & PAGEMAP_SWAPPED)

    def store(self, entry: int, folio: bytes) -> None:
        """Pages a page out and waits for it. Raises HostError if it stays in memory."""
        self._memory[self._at(entry)] = folio
        for _ in range(TRIES):
            self._memory.madvise(MADV_PAGEOUT, entry * PAGE_SIZE, PAGE_SIZE)
            if self._is_out(entry):
                return
            time.sleep(0.001)
        raise HostError(
            f"page {entry} was not swapped out: check that this cgroup may swap "
            "(memory.swap.max, memory.zswap.max), and run again"
        )

    def load(self, entry: int, out: bytearray) -> None:
        """Pages a page in."""
        out[:] = self._memory[self._at(entry)]

    def invalidate(self, entry: int) -> None:
        """Frees a page and its slot."""
        self._memory.madvise(mmap.MADV_DONTNEED, entry * PAGE_SIZE, PAGE_SIZE)

    def stats(self) -> dict[str, int]:
        """Returns the counters in debugfs, rejects since this was made;
        `stored_incompressible_pages` is 0 if the kernel has none.
        """
        now = self._counters()
        for name in _MUST_NOT_MOVE:
            if now.get(name) != self._before.get(name):
                raise HostError(
                    f"{name} changed: memory is too short to measure these pages alone; give fewer"
                )
        since = {
            name: value - self._before[name] if name.startswith("reject_") else value
            for name, value in now.items()
        }
        return {"stored_incompressible_pages": 0, **since}


class HostZram:
    """A zram device as a driver for `churn`. Slot i is its page i. A load keeps the
    page.
    """

    def __init__(self, device: Path, node: Path) -> None:
        self._fd = os.open(node, os.O_RDWR | os.O_DIRECT)
        self._stat = os.open(device / "mm_stat", os.O_RDONLY)
        self._page = mmap.mmap(-1, PAGE_SIZE)  # aligned, as O_DIRECT requires

    def __enter__(self) -> HostZram:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stat)
        os.close(self._fd)
        self._page.close()

    def store(self, entry: int, folio: bytes) -> None:
        """Writes a page."""
        self._page[:] = folio
        os.pwrite(self._fd, self._page, entry * PAGE_SIZE)

    def load(self, entry: int, out: bytearray) -> None:
        """Reads a page."""
        os.preadv(self._fd, [self._page], entry * PAGE_SIZE)
        out[:] = self._page

    def invalidate(self, entry: int) -> None:
        """Discards a page."""
        fcntl.ioctl(self._fd, BLKDISCARD, struct.pack("=QQ", entry * PAGE_SIZE, PAGE_SIZE))

    def _mm_stat(self) -> list[int]:
        return [int(word) for word in os.pread(self._stat, 256, 0).split()]

    def compr_data_size(self) -> int:
        """Returns the compressed size of all pages, in bytes."""
        return self._mm_stat()[1]

    def stats(self) -> dict[str, int]:
        """Returns the fields of mm_stat that depend on the pages."""
        fields = self._mm_stat()
        return {
            "compr_data_size": fields[1],
            "mem_used_total": fields[2],
            "same_pages": fields[5],
            "huge_pages": fields[7],
        }
