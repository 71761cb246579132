# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine gets media of the declared hosts, and through the same proxy nothing else of the world and nothing inside."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import runs
from lab.testing import Console

from .conftest import PROXY

CONVERGE = Path(__file__).parents[1] / "converge.yml"
RESET = Path(__file__).parents[3] / "playbooks/reset.yml"
CONNECTIONS = 64
# Holds as many tunnels as it is told, says the status of one more, then of one after it let one go.
HOLD = """
import socket, sys, time
def ask():
    one = socket.create_connection(("10.224.1.20", 3128), 5)
    one.settimeout(10)
    one.sendall(b"CONNECT images.example.org:443 HTTP/1.1\\r\\nHost: images.example.org:443\\r\\n\\r\\n")
    return one, one.recv(1000).split()[1].decode()
held = [ask() for _ in range(int(sys.argv[1]))]
more = ask()[1]
held.pop()[0].close()
time.sleep(0.5)
print(*{status for _one, status in held}, more, ask()[1])
"""
# Engine and gateway with IPv6 alone on the fabric.
SIX = {
    name: {
        "addresses": {
            "fabric": [f"fd77:681::{number}"],
            "management": [f"10.224.2.{number}"],
            **more,
        }
    }
    for name, number, more in (("engine1", 11, {}), ("gateway", 20, {"edge": ["198.51.100.20", "2001:db8:113::20"]}))
}
CLAIMED = ("169.254.169.254", "192.168.77.1", "100.100.100.200", "[fd00:ec2::254]", "[fd12::1]", "[64:ff9b::a9fe:a9fe]")
# Declared hosts, whose owners answer with an address that is not theirs; of two answers one is enough.
INWARD = (
    "metadata", "metadata6", "private", "shared", "unique-local", "link-local", "loopback", "loopback6", "mapped", "nat64",
    "sixtofour", "mixed", "mixed6", "engine", "engine6", "door", "nobody",
)  # fmt: skip
UNDECLARED = (
    "other.example.org", "sub.images.example.org", "images.example.org.evil.test", "images.example.org@169.254.169.254",
    "images.example.org%2eevil.test", "169.254.169.254", "0251.0376.0251.0376", "0xa9fea9fe", "2852039166", "127.1", "localhost",
    "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "198.51.100.50",
)  # fmt: skip
Seen = Callable[[], list[dict[str, Any]]]
Through = Callable[..., list[str]]


def get(host: str, path: str = "/", *headers: str, method: str = "GET") -> str:
    lines = [f"{method} http://{host}{path} HTTP/1.1", f"Host: {host}", *headers, "Connection: close"]
    return "\r\n".join(lines) + "\r\n\r\n"


def connect(host: str, port: int = 443) -> str:
    return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"


def statuses(answers: list[str]) -> list[str]:
    return [answer.partition("\r\n")[0].partition(" ")[2][:3] for answer in answers]


def refused_calls(gateway: Console) -> int:
    """Packets of the proxy's account that its chain has refused."""
    chain = gateway.run("nft", "list", "chain", "inet", "hardened_vllm", "media_egress")
    return sum(map(int, re.findall(r"counter packets (\d+) .*may not call there", chain)))


def call_as(gateway: Console, account: str, address: str) -> bool:
    """Whether a call of the account to port 80 of the address is answered."""
    argv = [
        "runuser",
        "-u",
        account,
        "--",
        "curl",
        "--silent",
        "--max-time",
        "4",
        "--noproxy",
        "*",
        f"http://{address}/",
    ]
    return gateway.start(*argv).returncode == 0


def test_media_of_a_declared_host_arrive(through: Through, seen: Seen) -> None:
    assert "an image" in through(get("images.example.org", "/a.png"))[0]
    assert "an image" in through(get("six.example.org", "/a.png"))[0]
    tunnel = through(connect("images.example.org"), then="GET /b.png HTTP/1.1\r\nHost: images.example.org\r\n\r\n")
    assert "an image" in tunnel[0]
    assert [request["line"] for request in seen()] == [
        "GET /a.png HTTP/1.1", "GET /a.png HTTP/1.1", "GET /b.png HTTP/1.1",
    ]  # fmt: skip


def test_other_spellings_of_a_declared_host_lead_to_it_and_nowhere_else(through: Through, seen: Seen) -> None:
    """squid makes them the declared name before it judges; where they lead is what was declared."""
    spellings = ("IMAGES.example.org", "images.example.org.", "metadata.example.org@images.example.org")
    assert statuses(through(*map(get, spellings))) == ["200"] * 3
    assert {request["address"] for request in seen()} <= {"198.51.100.50", "2001:db8:113::50"}


def test_without_the_wall_the_gateway_reaches_all_of_it(gateway: Console, left: Callable[[], int]) -> None:
    assert [address for address in CLAIMED if not call_as(gateway, "nobody", address)] == []
    assert left() > len(CLAIMED)


@pytest.mark.parametrize("ask", [get, connect])
def test_a_declared_name_that_leads_inward_is_refused(
    ask: Callable[[str], str], through: Through, seen: Seen, left: Callable[[], int]
) -> None:
    answers = through(*(ask(f"{name}.example.org") for name in INWARD))
    assert dict(zip(INWARD, statuses(answers), strict=True)) == dict.fromkeys(INWARD, "403")
    assert seen() == []
    assert left() == 0


@pytest.mark.parametrize("ask", [get, connect])
def test_what_is_not_declared_is_refused(
    ask: Callable[[str], str], through: Through, seen: Seen, left: Callable[[], int]
) -> None:
    found = dict(zip(UNDECLARED, statuses(through(*map(ask, UNDECLARED))), strict=True))
    assert {host: status for host, status in found.items() if status not in ("400", "403")} == {}
    assert seen() == []
    assert left() == 0


def test_other_ports_methods_and_protocols_are_refused(through: Through, seen: Seen) -> None:
    asked = [
        get("images.example.org:8080"),
        get("images.example.org:443"),
        connect("images.example.org", 80),
        connect("images.example.org", 22),
        get("images.example.org", method="DELETE"),
        get("images.example.org").replace("http:", "ftp:"),
    ]
    found = statuses(through(*asked))
    assert [status for status in found if status not in ("400", "403")] == []
    assert seen() == []


def test_a_redirect_is_not_followed_and_its_goal_refused(through: Through, seen: Seen, left: Callable[[], int]) -> None:
    first, second = through(get("images.example.org", "/redirect"), get("169.254.169.254", "/secret"))
    assert statuses([first, second]) == ["302", "403"]
    assert len(seen()) == 1
    assert left() == 0


def test_a_name_that_changes_its_answer_leads_nowhere_else(
    through: Through, seen: Seen, left: Callable[[], int]
) -> None:
    for name in ("changes", "fails-first"):
        through(*[get(f"{name}.example.org")] * 10, *[connect(f"{name}.example.org")] * 10)
    assert {request["address"] for request in seen()} == {"198.51.100.50"}
    assert left() == 0


@pytest.fixture
def open_for_the_account(gateway: Console) -> Iterator[None]:
    """The gateway without the chain that judges the proxy's calls."""
    gateway.run("nft", "flush", "chain", "inet", "hardened_vllm", "output")
    yield
    gateway.run("nft", "-f", "/etc/hardened-vllm/firewall.nft")


@pytest.mark.usefixtures("open_for_the_account")
def test_without_its_chain_the_account_of_the_proxy_reaches_everything(gateway: Console) -> None:
    assert [address for address in CLAIMED if not call_as(gateway, "hardened-vllm-media", address)] == []


def test_the_address_itself_is_judged_whatever_a_name_was_before(gateway: Console, left: Callable[[], int]) -> None:
    """A connection of squid's account, made as squid would make it after an answer that changed once it was judged."""
    before = refused_calls(gateway)
    assert [address for address in CLAIMED if call_as(gateway, "hardened-vllm-media", address)] == []
    assert left() == 0
    assert refused_calls(gateway) - before == len(CLAIMED)
    assert call_as(gateway, "hardened-vllm-media", "198.51.100.50")


@pytest.fixture
def layers(gateway: Console) -> Iterator[Callable[[str], None]]:
    """Take one layer away, "list", "chain" or "unit"; afterwards all are back."""
    conf, drop_in = "/etc/hardened-vllm/media/squid.conf", "/run/systemd/system/hardened-vllm-media.service.d"
    without = {
        "list": f"sed -i.kept '/^http_access deny nowhere/d' {conf}; systemctl restart hardened-vllm-media",
        "chain": "nft flush chain inet hardened_vllm output",
        "unit": f"mkdir {drop_in}; printf '[Service]\\nIPAddressDeny=\\n' > {drop_in}/open.conf; systemctl daemon-reload;"
        " systemctl restart hardened-vllm-media",
    }

    def take_away(layer: str) -> None:
        gateway.shell(without[layer])

    yield take_away
    gateway.shell(
        f"mv {conf}.kept {conf}; rm -rf {drop_in}; nft -f /etc/hardened-vllm/firewall.nft; systemctl daemon-reload;"
        " systemctl restart hardened-vllm-media"
    )


def test_each_layer_holds_alone_and_without_all_of_them_the_attack_succeeds(
    layers: Callable[[str], None], gateway: Console, through: Through, seen: Seen, left: Callable[[], int]
) -> None:
    attack = get("metadata.example.org", "/secret")
    layers("list")
    before = refused_calls(gateway)
    assert statuses(through(attack)) == ["503"]
    assert refused_calls(gateway) > before
    assert left() == 0
    layers("chain")
    assert statuses(through(attack)) == ["503"]
    assert seen() == []
    layers("unit")
    assert "an image" in through(attack)[0]
    assert [request["address"] for request in seen()] == ["169.254.169.254"]


def test_nothing_of_the_engine_is_told(through: Through, seen: Seen) -> None:
    private = ("Cookie: a=b", "Authorization: Bearer x", "X-Forwarded-For: 10.0.0.1", "Metadata: true")
    through(get("images.example.org", "/a.png", "Accept: image/png", *private))
    names = {header.partition(":")[0].lower() for header in seen()[0]["headers"]}
    assert names <= {"host", "accept", "user-agent", "connection"}
    assert "accept" in names


def test_an_item_is_limited_in_size_and_time(through: Through) -> None:
    assert len(through(get("images.example.org", "/large"))[0]) < 1_000_000
    start = time.monotonic()
    through(get("images.example.org", "/endless"))
    assert time.monotonic() - start < 15


def test_only_engines_may_ask(stranger: Console, seen: Seen) -> None:
    given = json.dumps([[get("images.example.org"), None]])
    assert json.loads(stranger.run("python3", "/opt/through.py", "10.224.1.20", "3128", given=given)) == [
        "TimeoutError"
    ]
    assert seen() == []


def test_the_log_says_the_cause_and_never_a_path(through: Through, gateway: Console) -> None:
    through(get("images.example.org", "/a.png?token=hush"), get("metadata.example.org", "/hush"))
    log = gateway.run("cat", "/var/log/hardened-vllm-media/access.log")
    assert "hush" not in log
    last = json.loads(log.splitlines()[-1])
    assert (last["host"], last["cause"]) == ("metadata.example.org", "private_address")


def test_it_goes_on_after_a_reload_and_a_turn_of_the_log(through: Through, gateway: Console) -> None:
    gateway.run("systemctl", "reload", "hardened-vllm-media")
    gateway.run("logrotate", "--force", "/etc/logrotate.d/hardened-vllm-media")
    time.sleep(2)
    assert statuses(through(get("images.example.org"), get("metadata.example.org"))) == ["200", "403"]
    assert len(gateway.run("cat", "/var/log/hardened-vllm-media/access.log").splitlines()) == 2
    assert gateway.run("systemctl", "show", "--property=NRestarts", "--value", "hardened-vllm-media").strip() == "0"


def test_the_engine_is_given_the_proxy(engine: Console) -> None:
    environment = json.loads(engine.run("cat", "/opt/engine-environment.json"))
    assert environment["HTTPS_PROXY"] == environment["http_proxy"] == "http://10.224.1.20:3128"


def test_one_engine_has_a_limit_of_connections(engine: Console) -> None:
    found = engine.run("runuser", "-u", "vllm", "--", "python3", "-c", HOLD, str(CONNECTIONS)).split()
    assert found == ["200", "403", "200"]


def test_with_no_hosts_declared_there_is_no_proxy(lab_name: str, gateway: Console, through: Through) -> None:
    done = runs.play(lab_name, CONVERGE, media_scenario_declared=False)
    assert done.code == 0, done.text
    assert gateway.run("sh", "-c", "ss -Hltn | grep -c :3128 || true").strip() == "0"
    found = gateway.run("sh", "-c", "ls -d /etc/hardened-vllm/media /etc/systemd/system/*media* 2>/dev/null || true")
    assert found == ""
    assert through(get("images.example.org")) == ["ConnectionRefusedError"]
    again = runs.play(lab_name, CONVERGE, media_scenario_declared=False)
    assert set(again.changed().values()) == {0}


def test_a_proxy_on_an_ipv6_address(lab_name: str, engine: Console, seen: Seen) -> None:
    node = "{{ six_nodes[inventory_hostname] }}"
    done = runs.play(lab_name, CONVERGE, six_nodes=SIX, vllm_node=node)
    assert done.code == 0, done.text
    environment = json.loads(engine.run("cat", "/opt/engine-environment.json"))
    assert environment["HTTPS_PROXY"] == "http://[fd77:681::20]:3128"
    given = json.dumps([[get("images.example.org"), None], [get("metadata.example.org"), None]])
    argv = ["runuser", "-u", "vllm", "--", "python3", "/opt/through.py", "fd77:681::20", "3128"]
    assert statuses(json.loads(engine.run(*argv, given=given))) == ["200", "403"]
    assert [request["line"] for request in seen()] == ["GET / HTTP/1.1"]
    assert json.loads(engine.run(*argv[:-2], *PROXY, given=given)) == ["ConnectionRefusedError"] * 2


def test_reset_removes_the_proxy_with_everything_else(lab_name: str, gateway: Console) -> None:
    assert gateway.run("systemctl", "is-active", "hardened-vllm-media").strip() == "active"
    done = runs.play(lab_name, RESET, reset_cluster="media")
    assert done.code == 0, done.text
    find = "ls -d /etc/hardened-vllm/media /etc/systemd/system/hardened-vllm-* /etc/logrotate.d/hardened-vllm-* 2>/dev/null || true"
    assert gateway.run("sh", "-c", find) == ""
    assert gateway.run("sh", "-c", "ss -Hltn | grep -c :3128 || true").strip() == "0"
    assert gateway.run("sh", "-c", "cat /proc/[0-9]*/comm | grep -c squid || true").strip() == "0"
    assert gateway.start("nft", "list", "table", "inet", "hardened_vllm").returncode != 0
    again = runs.play(lab_name, RESET, reset_cluster="media")
    assert again.code == 0, again.text
    assert set(again.changed().values()) == {0}
