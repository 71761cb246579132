# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of this scenario's first engine: all of them, and those on the fabric."""

from __future__ import annotations

ENGINE1 = ("10.206.1.11", "fd77:61::11", "10.206.2.11", "fd77:62::11")
FABRIC1 = ENGINE1[:2]
