# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernels of other architectures: fetched by apt, with lists of its own, and
kept in a cache. Nothing of this system's packages changes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

#: Two stable releases, the newer one's backports, and the development's.
SUITES = ("bookworm", "trixie", "trixie-backports", "sid")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class RecordError(Exception):
    """There are no figures. The message says why, and the remedy."""


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache: its release, and the directory of its packages' files."""

    release: str
    directory: Path

    @property
    def image(self) -> Path:
        """What QEMU boots."""
        return next(p for p in sorted(self.directory.rglob("vmlinu[xz]*")) if p.is_file())

    @property
    def modules_root(self) -> Path:
        """The directory of lib/modules."""
        return self.directory / "usr"


def cache_directory() -> Path:
    """Returns $ZSWAP_VM_CACHE, or a directory in the user's cache."""
    given = os.environ.get("ZSWAP_VM_CACHE")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else caches / "zswap-py-vm"


def _output(*command: str, cwd: Path | None = None) -> str:
    """Returns a program's output. Raises RecordError with what it says if it fails."""
    environment = os.environ | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=cwd, env=environment
    )
    if done.returncode:
        raise RecordError(f"{' '.join(command)} fails: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def must_have(programs: dict[str, list[str]]) -> None:
    """Installs the packages of each program that is missing. Raises RecordError with
    the command to type if this user may not.
    """
    missing = [p for program, packages in programs.items() if not which(program) for p in packages]
    if not missing:
        return
    install = ["apt-get", "-qy", "--no-install-recommends", "install", *missing]
    if not which("apt-get"):
        raise RecordError(f"install these first: {', '.join(missing)} (there is no apt here)")
    if os.geteuid():
        raise RecordError(f"{', '.join(missing)} are missing: sudo {' '.join(install)}")
    _output("apt-get", "-q", "update")
    _output(*install)


def which(program: str) -> str | None:
    """Returns a program's path, also of those that only root has in PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class _Apt:
    """apt over SUITES of this system's mirror, for another architecture."""

    def __init__(self, directory: Path, architecture: str) -> None:
        self.directory = directory
        for name in ("lists/partial", "cache/archives/partial"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "status").touch()
        self._options = [
            f"-oDir::Etc::SourceList={directory / 'sources.list'}",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={directory / 'lists'}",
            f"-oDir::State::status={directory / 'status'}",
            f"-oDir::Cache={directory / 'cache'}",
            "-oAPT::Sandbox::User=root",
            f"-oAPT::Architecture={architecture}",
            f"-oAPT::Architectures={architecture}",
        ]

    def update(self) -> None:
        """Fetches the lists."""
        if not which("apt-get"):
            raise RecordError("there is no apt here: Debian's kernels come by apt alone")
        here = _output("apt-get", "update", "--print-uris")
        mirror = re.search(r"^'(\S+)/dists/(?!\S*-security/)", here, re.MULTILINE)
        if mirror is None:
            raise RecordError("apt's sources name no mirror: see `man sources.list`")
        lines = (f"deb [signed-by={KEYRING}] {mirror[1]} {suite} main\n" for suite in SUITES)
        (self.directory / "sources.list").write_text("".join(lines))
        _output("apt-get", *self._options, "-q", "update")

    def names(self) -> set[str]:
        """Returns the names of all packages of kernels."""
        return set(_output("apt-cache", *self._options, "pkgnames", "linux-").split())

    def unpack(self, packages: list[str], to: Path) -> None:
        """Fetches packages, and unpacks them into a new directory."""
        with tempfile.TemporaryDirectory(dir=self.directory) as made:
            _output("apt-get", *self._options, "-q", "download", *packages, cwd=Path(made))
            to.mkdir()
            for package in Path(made).glob("*.deb"):
                _output("dpkg-deb", "-x", str(package), str(to))


def releases(version: str, flavour: str, names: set[str]) -> list[tuple[str, list[str]]]:
    """Returns the releases that begin with `version`, the newest first, each with its
    packages, of those that `names` has. A release without its modules is left out.
    """
    form = rf"linux-image-({re.escape(version)}(?![0-9])\S*?-{re.escape(flavour)})"
    found = []
    for name in names:
        if match := re.fullmatch(form, name):
            release = match[1]
            parts = [f"linux-{p}-{release}" for p in ("image", "binary", "modules", "base")]
            there = [p for p in parts if p in names]
            if f"linux-modules-{release}" in names or f"linux-binary-{release}" not in names:
                found.append((release, there))
    return sorted(found, key=lambda of: [int(n) for n in re.findall(r"\d+", of[0])], reverse=True)


def kernel(version: str, flavour: str, architecture: str) -> Kernel:
    """Returns the kernel that the cache has as `version` and `flavour`. Fetches the
    newest that can be had if it has none. Raises RecordError if there is none.
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    there = sorted(cache.glob(f"{version}[.+-]*-{flavour}"))
    if there:
        return Kernel(there[-1].name, there[-1])
    apt = _Apt(cache / f"apt-{architecture}", architecture)
    apt.update()
    errors = []
    for release, packages in releases(version, flavour, apt.names()):
        with tempfile.TemporaryDirectory(dir=cache) as made:
            to = Path(made) / release
            try:
                apt.unpack(packages, to)
            except RecordError as e:
                errors.append(str(e))  # the mirror no longer has what an older list names
                continue
            if not (to / "usr/lib/modules").is_dir():
                (to / "lib").rename(to / "usr/lib")
            _output(which("depmod") or "depmod", "-b", str(to / "usr"), release)
            to.rename(cache / release)
        return Kernel(release, cache / release)
    raise RecordError("\n".join([f"Debian has no Linux {version} {flavour} with modules", *errors]))
