# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Spans of numbers, ports above all: pairs of a first and a last one, and the texts ``22,40000-44999`` that plans and evidence write them as."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def ports_of(text: str) -> list[tuple[int, int]]:
    """Return the ranges of ``1-21,23`` as pairs; empty for an empty text."""
    pairs = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        low, _dash, high = part.partition("-")
        pairs.append((int(low), int(high or low)))
    return pairs


def in_ports(port: int, text: str) -> bool:
    """Tell whether ``port`` is in the ranges of ``text``."""
    return any(low <= port <= high for low, high in ports_of(text))


def common_ports(one: str, other: str) -> bool:
    """Tell whether two texts of ranges share a port."""
    return any(low <= far and near <= high for low, high in ports_of(one) for near, far in ports_of(other))


def merged(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans of numbers sorted, those that touch or overlap as one."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def others(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans of all ports but ``pairs``."""
    found, place = [], 1
    for low, high in merged(pairs):
        if place < low:
            found.append((place, low - 1))
        place = high + 1
    return [*found, (place, 65535)] if place <= 65535 else found


def common(some: Iterable[tuple[int, int]], more: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans that are in both."""
    return merged(
        (max(low, near), min(high, far)) for low, high in some for near, far in more if max(low, near) <= min(high, far)
    )


def span_text(pair: tuple[int, int]) -> str:
    """Return a span as ``22`` or ``40000-44999``."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}-{pair[1]}"


def text(pairs: Iterable[tuple[int, int]]) -> str:
    """Return spans as ``22,40000-44999``, in the order they have."""
    return ",".join(map(span_text, pairs))
