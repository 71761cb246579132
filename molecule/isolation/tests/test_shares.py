# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who never ends a header holds nginx's connections, all of them or a share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from lab.testing import wait_for
from shared.firewalled import PLAN, RULES, TABLE, Node, converge

# As the plan of this scenario has it, and as many as nginx has connections.
SHARE, CONNECTIONS = 128, 256
EDGE4, EDGE6 = "10.206.3.20", "fd77:63::20"
OBSERVER4, OBSERVER6 = "10.206.3.30", "fd77:63::30"
OTHER4, OTHER6, FAR6 = "10.206.3.31", "fd77:63::31", "fd77:64::31"
COUNTED, REFUSED = "NET-14 https", "NET-14 more connections than one source may hold"
# Headers as they are read at the gateway's door, without TLS: an opened connection is held before either of them.
NGINX = f"""
worker_processes 1;
error_log /dev/null crit;
pid /run/shares.pid;
events {{ worker_connections {CONNECTIONS}; }}
http {{
    access_log off;
    client_header_timeout 60s;
    server {{ listen 443 backlog=64; listen [::]:443 backlog=64; return 200 served; }}
}}
"""
# Opens connections from the given sources in turn, begins a request on each, and then asks from others in the ordinary way.
ATTACK = """
import json, socket, sys
number, sources, others = json.load(sys.stdin)

def connection(source):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    one = socket.socket(family)
    one.settimeout(3)
    one.bind((source, 0))
    one.connect(("fd77:63::20" if ":" in source else "10.206.3.20", 443))
    return one

held, refused = [], 0
for count in range(number):
    try:
        held.append(connection(sources[count % len(sources)]))
        held[-1].sendall(b"GET / HTTP/1.1\\r\\nX-Slow: ")
    except ConnectionRefusedError:
        refused += 1
answers = {}
for source in others:
    try:
        with connection(source) as one:
            one.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
            answers[source] = one.makefile().read().endswith("served")
    except OSError:
        answers[source] = False
first = b""
for one in held[:1]:
    one.sendall(b"x\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    first = one.makefile().read()
print(json.dumps({"refused": refused, "answers": answers, "first": "served" in str(first)}))
"""


def about(number: int) -> range:
    """As many, or a few less: a pair of ports that happens to be one of a moment ago is known already and passes."""
    return range(number - 3, number + 1)


@pytest.fixture(scope="module")
def door(gateway: Node, observer: Node) -> Iterator[Node]:
    """The gateway with nginx in the stand-in's place, and an observer with several addresses."""
    gateway.run("systemctl", "stop", "standin")
    gateway.run("sh", "-c", "cat > /root/shares.conf", given=NGINX)
    gateway.run("systemd-run", "--unit=shares", "nginx", "-c", "/root/shares.conf", "-g", "daemon off;")
    for address in (f"{OTHER4}/24", f"{OTHER6}/64"):
        observer.run("ip", "addr", "add", address, "dev", "edge0")
    observer.run("ip", "-6", "addr", "add", f"{FAR6}/128", "dev", "edge0", "nodad")
    gateway.run("ip", "-6", "route", "add", f"{FAR6}/128", "dev", "edge0")
    wait_for(lambda: "tentative" not in observer.run("ip", "-6", "addr", "show", "dev", "edge0"), 10)
    wait_for(lambda: served(observer, OBSERVER4), 10)
    yield gateway
    gateway.run("systemctl", "stop", "shares")
    gateway.run("systemctl", "start", "standin")
    gateway.run("ip", "-6", "route", "del", f"{FAR6}/128", "dev", "edge0")
    for address in (f"{OTHER4}/24", f"{OTHER6}/64", f"{FAR6}/128"):
        observer.run("ip", "addr", "del", address, "dev", "edge0")


def attack(observer: Node, number: int, sources: list[str], others: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        observer.run("python3", "-c", ATTACK, given=json.dumps([number, sources, others]))
    )
    return found


def served(observer: Node, source: str) -> bool:
    return bool(attack(observer, 0, [], [source])["answers"][source])


@pytest.fixture
def unlimited(door: Node, observer: Node) -> Iterator[Node]:
    """The table without the rules that count."""
    door.run("nft", "insert", "rule", "inet", "hardened_vllm", "input_tcp_443", "iifname", "edge0", "accept")
    yield door
    door.run("nft", "-f", RULES)
    door.run("systemctl", "restart", "shares")  # or what it still holds is in the way of the next
    wait_for(lambda: served(observer, OBSERVER4), 10)


@pytest.mark.usefixtures("unlimited")
def test_without_the_limit_one_source_shuts_everybody_out(observer: Node) -> None:
    found = attack(observer, 2 * CONNECTIONS, [OBSERVER4], [OTHER4, OTHER6])
    assert found["refused"] == 0
    assert found["answers"] == {OTHER4: False, OTHER6: False}


def test_with_the_limit_others_are_served(door: Node, observer: Node) -> None:
    before = door.counters()
    # Another source than in the test before: nginx has reset that one's connections, and such a pair of ports, opened again
    # within ten seconds, is one that is known already.
    found = attack(observer, 2 * CONNECTIONS, [OTHER4], [OTHER4, OBSERVER4, OTHER6])
    refused = found.pop("refused")
    assert refused in about(2 * CONNECTIONS - SHARE)
    assert found == {
        "answers": {OTHER4: False, OBSERVER4: True, OTHER6: True},
        "first": True,  # what was open goes on, whatever its source opened later
    }
    after = door.counters()
    assert {name: after[name] - before[name] for name in (COUNTED, REFUSED)} == {
        COUNTED: refused + 1,
        REFUSED: refused + 1,
    }


@pytest.mark.usefixtures("door")
def test_a_source_of_ipv6_is_its_64(observer: Node) -> None:
    found = attack(observer, 2 * SHARE, [OBSERVER6, OTHER6], [OTHER6, FAR6, OBSERVER4])
    assert found["refused"] in about(SHARE)
    assert found["answers"] == {OTHER6: False, FAR6: True, OBSERVER4: True}


def test_what_has_ended_counts_no_more(door: Node, observer: Node) -> None:
    assert attack(observer, SHARE, [OBSERVER4], [])["refused"] == 0
    wait_for(lambda: attack(observer, SHARE, [OBSERVER4], [])["refused"] == 0, 30)
    wait_for(lambda: OBSERVER4 not in door.run("nft", "list", "set", *TABLE[3:], "held_https_ipv4"), 30)


@pytest.fixture
def holder(door: Node, observer: Node) -> Iterator[None]:
    """Somebody who holds connections as long as the test takes."""
    program = "import socket, time; held = [socket.create_connection(('10.206.3.20', 443)) for _ in range(9)]; time.sleep(300)"
    observer.run("systemd-run", "--unit=holder", "python3", "-c", program)
    wait_for(lambda: OBSERVER4 in door.run("nft", "list", "set", *TABLE[3:], "held_https_ipv4"), 10)
    yield
    observer.run("systemctl", "stop", "holder")


@pytest.mark.usefixtures("holder")
def test_counted_sources_are_no_change_by_another_hand_and_can_be_put_back(door: Node, observer: Node) -> None:
    assert converge("--limit", "gateway").changed()["gateway"] == 0
    # What a change that is not confirmed leads back to.
    as_it_is = "delete table inet hardened_vllm\n" + door.run("nft", "-s", "-p", *TABLE[1:])
    assert f"{OBSERVER4} ct count over {SHARE}" in as_it_is
    door.run("nft", "-f", "-", given=as_it_is)
    assert attack(observer, 2 * SHARE, [OTHER4], [])["refused"] in about(SHARE)


@pytest.mark.usefixtures("door")
def test_another_share_is_said_in_words_and_takes_hold(observer: Node) -> None:
    plan = {**PLAN["isolation_plans"]["gateway"]}
    plan["listeners"] = [{**one, "per_source": 32 if one["name"] == "https" else None} for one in plan["listeners"]]
    dry = converge("--limit", "gateway", "--check", "--diff", isolation_plans={"gateway": plan})
    words = "one source (IPv6: one /64) holds at most {} connections to tcp 443 (https; NET-14)"
    assert f"-{words.format(SHARE)}" in dry.text
    assert f"+{words.format(32)}" in dry.text
    try:
        converge("--limit", "gateway", isolation_plans={"gateway": plan})
        assert attack(observer, SHARE, [OTHER4], [])["refused"] == SHARE - 32
    finally:
        assert converge("--limit", "gateway").changed()["gateway"]
