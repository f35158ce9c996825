# SPDX-License-Identifier: GPL-2.0-or-later
"""The package's own helpers: attributes, parameters, names, interrupts."""
