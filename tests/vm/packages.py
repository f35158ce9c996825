# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernels, by apt with lists of its own: nothing of this system's changes.

A kernel is fetched once and stays in the cache:

    CACHE/6.18/release      its release, as uname -r prints it
    CACHE/6.18/vmlinuz
    CACHE/6.18/config
    CACHE/6.18/modules/     its modules, for modprobe -d
    CACHE/6.18-arm64-16k/   one of another flavour
    CACHE/busybox           a static one, for the initramfs
    CACHE/apt/              apt's lists
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: Where Debian has its kernels: two stable releases, the newer one's backports, and the
#: development's.
SUITES = ("bookworm", "trixie", "trixie-backports", "sid")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ARCHITECTURE = "amd64"

#: The packages of one release. Some have all in the image.
PARTS = ("image", "binary", "modules", "base")


class MachineError(Exception):
    """There can be no machine here. The message names the remedy."""


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache."""

    directory: Path

    @property
    def release(self) -> str:
        """The release, as uname -r prints it."""
        return (self.directory / "release").read_text().strip()

    @property
    def image(self) -> Path:
        """What QEMU boots."""
        return self.directory / "vmlinuz"

    @property
    def modules(self) -> Path:
        """The directory that becomes /lib/modules/RELEASE."""
        return self.directory / "modules/lib/modules" / self.release


def default_cache() -> Path:
    """Returns the cache's directory: $ZSWAP_VM_CACHE, or one in the user's cache."""
    given = os.environ.get("ZSWAP_VM_CACHE")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else caches / "zswap-py-vm"


def tool(name: str) -> str | None:
    """Returns a program's path, also of those that only root has in PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def must_have(packages: dict[str, str]) -> None:
    """Installs the packages of each program that is missing, words of one string.
    Raises MachineError, with the command to type, if this user may not.
    """
    missing = [p for program, names in packages.items() if not tool(program) for p in names.split()]
    if not missing:
        return
    install = ["apt-get", "-qy", "--no-install-recommends", "install", *missing]
    if not tool("apt-get"):
        raise MachineError(f"install these first: {', '.join(missing)} (there is no apt here)")
    if os.geteuid():
        raise MachineError(f"{', '.join(missing)} must be installed: sudo {' '.join(install)}")
    _output(["apt-get", "-q", "update"])
    _output(install, DEBIAN_FRONTEND="noninteractive")


def _output(command: list[str], cwd: Path | None = None, **environment: str) -> str:
    """Returns a program's standard output. Raises MachineError with what it says if it
    fails.
    """
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"LC_ALL": "C.UTF-8"} | environment,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise MachineError(f"{' '.join(command)} fails: {said}")
    return done.stdout


# ---- apt ----


def mirrors(uris: str) -> Iterator[str]:
    """Yields the archives that `apt-get update --print-uris` names, but those of
    security updates, which have a tree of their own.
    """
    for address, suite in re.findall(r"^'(\S+)/dists/(\S+)/InRelease'", uris, re.MULTILINE):
        if not suite.endswith("-security"):
            yield address


class Apt:
    """apt over SUITES of this system's mirror, with its lists below `directory`, for
    one architecture.
    """

    def __init__(self, directory: Path, architecture: str = ARCHITECTURE) -> None:
        self.directory = directory
        for name in ("lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "status").touch()  # of what is installed: nothing
        self._options = [
            f"-oDir::Etc::SourceList={directory}/sources.list",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={directory}/lists",
            f"-oDir::State::Status={directory}/status",
            f"-oDir::Cache={directory}/cache",
            "-oAPT::Sandbox::User=root",
            f"-oAPT::Architecture={architecture}",
            f"-oAPT::Architectures={architecture}",
        ]

    def update(self) -> None:
        """Fetches the lists."""
        if not tool("apt-get") or not tool("dpkg-deb"):
            raise MachineError("there is no apt here: Debian's kernels come by apt alone")
        if not KEYRING.is_file():
            raise MachineError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
        uris = _output(["apt-get", "update", "--print-uris"])
        mirror = next(mirrors(uris), None)
        if mirror is None:
            raise MachineError("apt's sources name no mirror: see `man sources.list`")
        (self.directory / "sources.list").write_text(
            "".join(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n" for suite in SUITES)
        )
        _output(["apt-get", *self._options, "-q", "update"])

    def names(self, prefix: str) -> list[str]:
        """Returns the names of all packages that begin so."""
        return _output(["apt-cache", *self._options, "pkgnames", prefix]).split()

    def unpack(self, packages: Iterable[str], into: Path) -> None:
        """Downloads packages and unpacks them into a directory."""
        with tempfile.TemporaryDirectory(dir=self.directory) as made:
            _output(["apt-get", *self._options, "-q", "download", *packages], cwd=Path(made))
            into.mkdir(parents=True, exist_ok=True)
            for package in Path(made).glob("*.deb"):
                _output(["dpkg-deb", "-x", str(package), str(into)])


# ---- kernels ----


def parts_of(
    version: str, names: Iterable[str], flavour: str = ARCHITECTURE
) -> tuple[str, list[str]]:
    """Returns the newest release that begins with `version`, and its packages: of
    `names`, all those of it. Those without their modules, and of other flavours, are
    passed over.

    Raises MachineError if there is none.
    """
    there = set(names)
    release = rf"{re.escape(version)}(?:[.+-][^-]*)?(?:-\d+)?-{re.escape(flavour)}"
    found = []
    for name in there:
        if match := re.fullmatch(f"linux-image-({release})", name):
            parts = [n for part in PARTS if (n := f"linux-{part}-{match[1]}") in there]
            kinds = [n.split("-")[1] for n in parts]
            if "modules" in kinds or "binary" not in kinds:
                found.append((match[1], parts))
    if not found:
        raise MachineError(f"Debian has no Linux {version}-{flavour} with its modules")
    return max(found, key=lambda of: [int(n) for n in re.findall(r"\d+", of[0])])


def _only(found: Iterator[Path], what: str) -> Path:
    """Returns the first. Raises MachineError if there is none."""
    path = next(found, None)
    if path is None:
        raise MachineError(f"no {what} in Debian's packages: their layout has changed")
    return path


def _install_busybox(apt: Apt, to: Path) -> None:
    unpacked = to.parent / "unpacked"
    apt.unpack(["busybox-static"], unpacked)
    _only(unpacked.rglob("bin/busybox"), "busybox").rename(to)


def _install(apt: Apt, version: str, flavour: str, to: Path) -> None:
    """Makes a new directory with the files of a Kernel."""
    release, packages = parts_of(version, apt.names("linux-"), flavour)
    unpacked = to.parent / "unpacked"
    apt.unpack(packages, unpacked)
    (to / "modules/lib/modules").mkdir(parents=True)
    (to / "release").write_text(release + "\n")
    files = (path for path in unpacked.rglob("vmlinuz*") if path.is_file())
    _only(files, "vmlinuz").rename(to / "vmlinuz")
    # before the modules, which it may be among
    files = (
        path
        for name in (f"boot/config-{release}", f"{release}/config")
        for path in unpacked.rglob(name)
    )
    _only(files, "config").rename(to / "config")
    modules = _only(unpacked.rglob(f"modules/{release}"), "modules")
    modules.rename(to / "modules/lib/modules" / release)
    _output([tool("depmod") or "depmod", "-b", str(to / "modules"), release])


def _fetched(
    place: Path, make: Callable[[Apt, Path], None], architecture: str = ARCHITECTURE
) -> Path:
    """Returns `place`, in a cache. If it is not there, `make` makes it, as another path
    with nothing there.
    """
    if place.exists():
        return place
    cache = place.parent
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            print(f"fetching Debian's {place.name} into {cache}", file=sys.stderr, flush=True)
            own = architecture == ARCHITECTURE
            apt = Apt(cache / ("apt" if own else f"apt-{architecture}"), architecture)
            apt.update()
            with tempfile.TemporaryDirectory(prefix="new-", dir=cache) as made:
                make(apt, Path(made) / place.name)
                (Path(made) / place.name).rename(place)
    return place


def kernel(
    version: str, cache: Path, flavour: str = ARCHITECTURE, architecture: str = ARCHITECTURE
) -> Kernel:
    """Returns the kernel that the cache has as `version`, "6.18" or "6.18.15". Fetches
    the newest that begins so if it has none. `flavour` ends a release's name, as
    "arm64-16k" does.
    """
    if not re.fullmatch(r"\d+\.\d+[\w.+~-]*", version):
        raise MachineError(f"{version}: not a version of Linux, as 6.18 is")
    place = cache / (version if flavour == ARCHITECTURE else f"{version}-{flavour}")
    return Kernel(
        _fetched(place, lambda apt, to: _install(apt, version, flavour, to), architecture)
    )


def busybox(cache: Path) -> Path:
    """Returns a static busybox in the cache. Fetches it if there is none."""
    return _fetched(cache / "busybox", _install_busybox)
