# SPDX-License-Identifier: GPL-2.0-or-later
"""Known pages and the sizes to which the kernel's compressors compress them: how a
backend proves that its sizes are the kernel's.

A backend's `kernel_sizes` is true only if it compressed these pages to `KERNEL_SIZES`
at registration. Libraries of one name differ between versions, builds and distributions
by a few bytes on a few pages, which can change the size class.

The seeds are chosen so that 12 of the 16 pages tell liblz4 1.8.2 and later from the
kernel's lz4, 15 liblz4 1.9.4 from its lz4hc, and most tell liblzo2 from its lzo. All
tell zlib at another level or window, and zlib-ng, from its deflate; nine tell even
another memLevel. No page compresses to 3,625 bytes or more, which zram would keep raw,
and none is a repeated word.

How the sizes were recorded, on Linux 6.18, x86-64:

- lz4, lzo, lzo-rle: each page was written alone to a zram device, and `compr_data_size`
  read back.
- zstd: by a kprobe on zs_malloc(), on Linux 6.12, 6.16, 6.17, 6.18, 7.2 and 7.3, in
  zswap and in zram (tests/record_lengths.py).
- lz4hc: as lz4, on Linux 7.3.4.
- deflate, which zram there did not have: zlib 1.2.13 (level -1, raw, window 11,
  memLevel 8). The size class of each page was the kernel's: copies were paged out to
  zswap one by one, and the pool grew by the class's pages at its count of objects. The
  recorded pools of whole corpora, which agree to the byte, check the sizes themselves.
"""

from __future__ import annotations

PAGE_SIZE = 4096

_SEEDS = (4, 18, 107, 115, 133, 253, 351, 372, 392, 466, 525, 614, 619, 728, 769, 1136)

KERNEL_SIZES: dict[str, tuple[int, ...]] = {
    "deflate": (
        674,
        2987,
        1067,
        1333,
        694,
        649,
        2495,
        2290,
        2169,
        2215,
        2190,
        524,
        1806,
        937,
        1087,
        1328,
    ),
    "lz4": (
        1069,
        3565,
        1612,
        2419,
        1438,
        1202,
        3241,
        3111,
        2813,
        3479,
        3025,
        736,
        2917,
        1528,
        2144,
        2026,
    ),
    "lz4hc": (
        917,
        3463,
        1220,
        1663,
        885,
        867,
        3055,
        2950,
        2462,
        3333,
        2915,
        580,
        2824,
        1175,
        1348,
        1425,
    ),
    "lzo": (
        1079,
        3604,
        1539,
        2041,
        1298,
        1171,
        3215,
        3161,
        2751,
        3421,
        3060,
        728,
        3002,
        1488,
        1811,
        1890,
    ),
    "lzo-rle": (
        1053,
        3592,
        1584,
        2159,
        1338,
        1153,
        3323,
        3195,
        2858,
        3480,
        3054,
        693,
        3018,
        1535,
        1903,
        1953,
    ),
    "zstd": (
        704,
        3019,
        1201,
        1457,
        813,
        768,
        2511,
        2299,
        2211,
        2241,
        2206,
        547,
        1772,
        1001,
        1201,
        1431,
    ),
    "zstd 6.12": (
        701,
        3010,
        1208,
        1452,
        826,
        766,
        2551,
        2302,
        2242,
        2229,
        2213,
        548,
        1769,
        1006,
        1207,
        1430,
    ),
    "zstd 6.16": (
        701,
        3010,
        1201,
        1447,
        826,
        761,
        2551,
        2299,
        2242,
        2230,
        2213,
        548,
        1767,
        1006,
        1203,
        1425,
    ),
    "zstd zram 6.12": (
        704,
        3019,
        1205,
        1457,
        817,
        769,
        2511,
        2301,
        2211,
        2241,
        2206,
        546,
        1772,
        1003,
        1202,
        1431,
    ),
}
"""Compressed bytes of each page, by the compressor's kernel name; of zstd also by the
kernel, where its sizes are others than those of zswap's since Linux 6.17.
"""


def sizes_hold(name: str, page_size: int) -> bool:
    """Tells whether a backend of `name` with the kernel's sizes of the known pages has
    them of pages of `page_size` bytes too.

    deflate's has not, above 4 KiB. There the kernel's zlib may end a block after each
    4,096 symbols: if fewer than half of them are matches, and an estimate of the output
    is below half of the input. A page of 4 KiB has no 4,096 symbols before its end.
    libz lacks the rule. It ends a block early only where the input given to it ends,
    and with no view of what follows it finds other matches there.
    """
    return name != "deflate" or page_size <= PAGE_SIZE


def _page(seed: int) -> bytes:
    """Zeros, fresh symbols and copies from anywhere before, in proportions and lengths
    that the seed sets.
    """
    state = seed

    def draw(n: int) -> int:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (state >> 33) % n

    symbols, stretch, literals = 4 + draw(240), 3 + draw(30), 1 + draw(7)
    page = bytearray()
    while len(page) < PAGE_SIZE:
        kind = draw(8)
        if kind == 0:
            page += bytes(draw(2 * stretch))
        elif kind <= literals:
            page += bytes(draw(symbols) for _ in range(1 + draw(stretch)))
        elif page:
            back = 1 + draw(len(page))
            for _ in range(3 + draw(2 * stretch)):
                page.append(page[-back])
    return bytes(page[:PAGE_SIZE])


def known_pages() -> list[bytes]:
    """Generate the 16 pages of 4,096 bytes, in some 15 ms."""
    return [_page(seed) for seed in _SEEDS]
