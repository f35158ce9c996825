# SPDX-License-Identifier: GPL-2.0-or-later
"""The corpora that the tests' figures are of, and a walk over one page's copies."""

from __future__ import annotations

from zswap_py.corpus import PAGE_SIZE, Driver, churn, corpus, digest

__all__ = ["PAGE_SIZE", "SEEDS", "Driver", "churn", "corpus", "digest", "holes", "small_page"]

SEEDS = (1, 2, 3)


def holes(driver: Driver, page: bytes, objs: int) -> list[int]:
    """Where an object goes among zspages of one fullness group: pool_total_size, in
    bytes, after each of three steps.

    `page` is one whose zspages hold `objs` objects, 21 or more, so that one and two
    missing are the same group.

    0 two zspages, full; then one object is freed of the first, one of the second, one
    of the first 1 an object is stored: into the second, which came last to the group 2
    all others of the first are freed: it goes
    """
    sizes = []
    for slot in range(2 * objs):
        driver.store(slot, page)
    for slot in (0, objs, 1):
        driver.invalidate(slot)
    sizes.append(driver.stats()["pool_total_size"])
    driver.store(2 * objs, page)
    sizes.append(driver.stats()["pool_total_size"])
    for slot in range(2, objs):
        driver.invalidate(slot)
    sizes.append(driver.stats()["pool_total_size"])
    return sizes


def small_page(seed: int) -> bytes:
    """The first page of corpus `seed` that is zeros but for some 100 to 200 bytes."""
    return next(page for page in corpus(seed) if 100 < PAGE_SIZE - page.count(0) < 200)
