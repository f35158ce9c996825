# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds zswap_py._zswap: the C library and its cffi binding in one extension module.

setuptools executes this file without importing the package, so it imports nothing of
it. `python zswap_py/_build.py --stub` prints _zswap.pyi, the module's types as the
headers declare them.

ZSWAP_SANITIZE=address,undefined (or thread) builds with sanitizers. ZSWAP_CFLAGS adds
compiler flags.
"""

import glob
import os
import sys

from cffi import FFI, model

BEGIN, END = "/* cffi: begin */\n", "/* cffi: end */\n"
# The headers that declare what Python calls, each after those that it uses.
INTERFACE = [
    "lib/vclock.h",
    "lib/resample.h",
    "crypto/codecs.h",
    "iaa/idxd.h",
    "iaa/iaa.h",
    "zswap.h",
    "mm/zram.h",
]


def interface(header: str) -> str:
    """Returns the part of a header between the cffi markers."""
    with open(os.path.join("csrc", header)) as f:
        text = f.read()
    if BEGIN not in text or END not in text:
        raise SystemExit(
            f"{header}: has no {BEGIN.strip()} ... {END.strip()}; put them around its declarations"
        )
    return text.split(BEGIN)[1].split(END)[0]


sanitize = os.environ.get("ZSWAP_SANITIZE", "")
flags = ["-std=gnu11", "-fvisibility=hidden", "-pthread"]
flags += [f"-fsanitize={sanitize}", "-g", "-O1", "-fno-omit-frame-pointer"] if sanitize else ["-O2"]

ffibuilder = FFI()
for header in INTERFACE:
    ffibuilder.cdef(interface(header))
# The only callback from C into Python: a compressor that is written in Python.
ffibuilder.cdef("""
    extern "Python" int zswap_py_acomp(void *handle, bool compress, const void *src,
                                       unsigned int slen, void *dst, unsigned int *dlen);
""")
ffibuilder.set_source(
    "zswap_py._zswap",
    "".join(f'#include "{header}"\n' for header in INTERFACE),
    sources=sorted(glob.glob("csrc/**/*.c", recursive=True)),
    depends=sorted(glob.glob("csrc/**/*.h", recursive=True)),
    include_dirs=["csrc"],
    extra_compile_args=flags + os.environ.get("ZSWAP_CFLAGS", "").split(),
    extra_link_args=["-pthread", "-lm"] + ([f"-fsanitize={sanitize}"] if sanitize else []),
)


def python_type(c: model.BaseTypeByIdentity) -> str:
    """Returns the Python type that cffi converts a C type to and from.

    A pointer is Any, since cffi takes several types for it.
    """
    if isinstance(c, model.VoidType):
        return "None"
    if isinstance(c, model.EnumType):
        return "int"
    if isinstance(c, model.PrimitiveType):
        return {"_Bool": "bool", "float": "float", "double": "float"}.get(c.name, "int")
    return "Any"


def stub() -> str:
    """Returns the text of _zswap.pyi: each constant, and each function's signature.

    They come from cffi's parser, so that the module need not be built.
    """
    declarations = ffibuilder._parser._declarations
    constants, functions = set(), []
    for key, (c, _) in declarations.items():
        kind, name = key.split(" ", 1)
        if kind == "macro":
            constants.add(name)
        elif isinstance(c, model.EnumType):
            constants.update(c.enumerators)
        elif kind == "extern_python":
            functions.append(f"    {name}: Any\n")
        elif kind == "function":
            arguments = "".join(f"_{i}: {python_type(arg)}, " for i, arg in enumerate(c.args))
            arguments += "/" if arguments else ""
            result = python_type(c.result)
            functions.append(f"    @staticmethod\n    def {name}({arguments}) -> {result}: ...\n")
    return (
        "# SPDX-License-Identifier: GPL-2.0-or-later\n"
        "# Made from the headers: python zswap_py/_build.py --stub >zswap_py/_zswap.pyi\n"
        "from typing import Any\n\n"
        "ffi: Any\nlib: _Lib\n\nclass _Lib:\n"
        + "".join(f"    {name}: int\n" for name in sorted(constants))
        + "".join(sorted(functions))
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--stub"]:
        print(stub(), end="")
    else:
        ffibuilder.compile(verbose=True)
