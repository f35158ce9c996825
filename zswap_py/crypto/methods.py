# SPDX-License-Identifier: GPL-2.0-or-later
"""How each kernel runs a codec: parameters, errors, and the library with its sizes.

Most codecs are run in one way by all kernels. method() answers for the others.
"""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

from zswap_py._lib.params import whole

UNKNOWN_SIZE, ONE_PAGE = 1, 2  #: zstd's variants in the C library


class Method(NamedTuple):
    """One way to run a codec; the default one is that of the newest kernels.

    `variant` and `level` select the parameters, as codecs.h has them. `nospace` is the
    errno of an output that does not fit, 0 for the codec's own. `sizes` names the known
    sizes that prove a library's (testmgr.KERNEL_SIZES); "" if none are recorded.
    """

    variant: int = 0
    level: int = 0
    nospace: int = 0
    sizes: str | None = None  # None: the codec's name


NEWEST = Method()


def must_be_method(method: Method) -> None:
    """Raises TypeError for another type, ValueError for a variant that no codec has."""
    if not isinstance(method, Method):
        raise TypeError(f"method={method!r}: must be a Method")
    whole("variant", method.variant, 0, ONE_PAGE)
    whole("level", method.level, -131072, 22)
    whole("nospace", method.nospace, 0, 4095)


#: kernels.TABLE's "zstd" and "zstd_zram".
ZSTD = {
    "6.12": Method(UNKNOWN_SIZE, sizes="zstd 6.12"),
    "6.16": Method(UNKNOWN_SIZE, sizes="zstd 6.16"),
    "6.17": NEWEST,
    "zram 6.12": Method(ONE_PAGE, sizes="zstd zram 6.12"),
    "zram 6.16": Method(ONE_PAGE, sizes="zstd"),
}

#: The library whose sizes a kernel's zstd has, by the known sizes' name.
LIBRARIES = {
    "zstd 6.12": "libzstd 1.5.4, which is Debian 12's libzstd1",
    "zstd zram 6.12": "libzstd 1.5.4, which is Debian 12's libzstd1",
    "zstd 6.16": "libzstd 1.5.7: pip install zstandard",
    "zstd": "libzstd 1.5.7: pip install zstandard",
}

LEVELS = {"zstd": (-100, 22), "deflate": (1, 9)}
"""The levels that zram takes, by codec: its algorithm_params."""


def method(name: str, rules: dict[str, Any], *, zram: bool = False, level: int = 0) -> Method:
    """Returns the way in which a kernel's zswap, or its zram, runs a codec.

    `rules` are kernels.rules(). Raises ValueError for a level that the codec has not.
    """
    if level:
        if name not in LEVELS:
            raise ValueError(f"level={level}: {name} has none here; omit level")
        least, most = LEVELS[name]
        level = whole("level", level, least, most)
    found = NEWEST
    if name == "zstd":
        found = ZSTD[rules["zstd_zram" if zram else "zstd"]]
    elif name == "deflate" and rules["deflate_nospace"] == "EINVAL":
        found = Method(nospace=errno.EINVAL)
    return found._replace(level=level, sizes="") if level else found
