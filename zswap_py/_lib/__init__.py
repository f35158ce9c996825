# SPDX-License-Identifier: GPL-2.0-or-later
"""What the whole package stands on: attributes, parameters, names, interrupts."""
