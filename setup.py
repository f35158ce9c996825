# SPDX-License-Identifier: GPL-2.0-or-later
"""What pyproject.toml cannot say: the cffi build, and one abi3 wheel for Python 3.10
and later.
"""

import os
import sys
import sysconfig

from setuptools import setup

if not sys.platform.startswith("linux"):
    sys.exit(
        f"zswap_py runs on Linux only (it reads /proc and mmaps arenas), not on {sys.platform}"
    )
if sys.maxsize < 2**32:
    sys.exit("zswap_py is for 64-bit machines: a swap entry needs 64 bits")
if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
    sys.exit(
        "Python.h is missing: install the interpreter's headers first (Debian, Ubuntu: apt "
        "install python3-dev)"
    )

free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
setup(
    cffi_modules=["zswap_py/_build.py:ffibuilder"],
    options={} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp310"}},
)
