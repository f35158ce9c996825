# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine's own zswap and zram beside ours."""
