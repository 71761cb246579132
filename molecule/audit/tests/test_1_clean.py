# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as it is meant to be: nothing is found, and what was looked at is said."""

from __future__ import annotations

from collections.abc import Callable

from audit.support import Audit, collect, told
from lab.testing import Console


def test_nothing_is_found_on_the_clean_cluster(clean: Audit) -> None:
    findings = clean.findings()
    assert findings == [], told(findings)


def test_every_port_is_tried(console: Callable[[str], Console]) -> None:
    foreign = [22, 5600, 5700, 8000, 8081, 8100, 8265, 9000]
    addresses = {"10.231.3.20": [443], "fd77:6f3::20": [443], "10.231.3.60": foreign}
    targets = [{"host": "x", "address": address, "tcp": "1-65535", "udp": "443"} for address in addresses]
    limits = {"rate": 20000, "at_once": 16000, "timeout": 1.5, "limit": 200}
    found = collect(
        console("observer"),
        "audit_reach",
        {"observer": "observer", "standing": "observer", "targets": targets, **limits},
    )
    rows = {(row["address"], row["protocol"]): row for row in found["reached"]}
    assert {address: rows[address, "tcp"]["open"] for address in addresses} == addresses
    assert rows["10.231.3.20", "tcp"]["filtered"] == "1-442,444-65535"
    assert (
        rows["10.231.3.60", "tcp"]["refused"]
        == "1-21,23-5599,5601-5699,5701-7999,8001-8080,8082-8099,8101-8264,8266-8999,9001-65535"
    )
    assert {row["untried"] for row in found["reached"]} == {""}
    assert rows["10.231.3.60", "udp"]["refused"] == "443"
