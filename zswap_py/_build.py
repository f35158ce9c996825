# SPDX-License-Identifier: GPL-2.0-or-later
"""The cffi builder: the C library and its binding as one extension module, zswap_py._zswap.

setuptools executes this file without importing the package, so it imports nothing of it.
ZSWAP_SANITIZE=address,undefined (or thread) builds the same with sanitizers; ZSWAP_CFLAGS adds flags, as -Werror in CI.
"""
import glob
import os

from cffi import FFI

BEGIN, END = "/* cffi: begin */\n", "/* cffi: end */\n"
# What Python may call, in the order of use.
INTERFACE = ["csrc/vclock.h", "csrc/codecs.h", "csrc/idxd.h", "csrc/iaa.h", "csrc/zswap.h"]


def interface(header: str) -> str:
    """The part of a header that is declared to cffi."""
    with open(header) as f:
        text = f.read()
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{header}: no {BEGIN.strip()} ... {END.strip()}")
    return text.split(BEGIN)[1].split(END)[0]


sanitize = os.environ.get("ZSWAP_SANITIZE", "")
flags = ["-std=gnu11", "-fvisibility=hidden", "-pthread"]
flags += [f"-fsanitize={sanitize}", "-g", "-O1", "-fno-omit-frame-pointer"] if sanitize else ["-O2"]

ffibuilder = FFI()
for header in INTERFACE:
    ffibuilder.cdef(interface(header))
# The one way from C to Python: a compressor that is written in Python.
ffibuilder.cdef("""
    extern "Python" int zswap_py_acomp(void *handle, bool compress, const void *src, unsigned int slen,
                                       void *dst, unsigned int *dlen);
""")
ffibuilder.set_source(
    "zswap_py._zswap",
    "".join(f'#include "{os.path.basename(header)}"\n' for header in INTERFACE),
    sources=sorted(glob.glob("csrc/*.c")),
    depends=sorted(glob.glob("csrc/*.h")),
    include_dirs=["csrc"],
    extra_compile_args=flags + os.environ.get("ZSWAP_CFLAGS", "").split(),
    extra_link_args=["-pthread"] + ([f"-fsanitize={sanitize}"] if sanitize else []),
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
