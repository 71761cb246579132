# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks from within: Python code that runs with the very settings of the unit.

Each attack is shown first to succeed in a plain unit, where its failure in the sandbox then proves something.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from engine_lab import UNIT_FILE, Engine
from lab.testing import Console
from shared.attacks import ATTACKS, network

# The client's node holds these besides its own, so that the attacks reach the lab and nothing else.
WORLD = {"metadata": "169.254.169.254", "metadata6": "fd00:ec2::254", "outside": "198.51.100.60", "peer": "10.208.2.20"}
PORT, FABRIC_PEER = 5000, "10.208.1.20"
NETWORK = network(**WORLD, port=PORT)
ANSWERS = f"""
import socketserver
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        if isinstance(self.request, tuple):
            self.request[1].sendto(b"here", self.client_address)
class Both(socketserver.ThreadingTCPServer):
    address_family, allow_reuse_address = socketserver.socket.AF_INET6, True
import threading
threading.Thread(target=Both(("::", {PORT}), Answer).serve_forever).start()
socketserver.UDPServer(("{WORLD["outside"]}", {PORT}), Answer).serve_forever()
"""
BAIT = """
mkdir -p /etc/hardened-vllm/gateway /home/other /srv/public
echo secret > /etc/hardened-vllm/gateway/keys
echo secret > /var/lib/hardened-vllm/state
echo secret > /home/other/note
echo secret > /tmp/attack-note
echo secret > /dev/shm/attack-note
chmod 1777 /srv/public
chmod 0600 /etc/hardened-vllm/gateway/keys
chmod 0644 /home/other/note /tmp/attack-note /dev/shm/attack-note
test -e /etc/ssh/ssh_host_ed25519_key
"""
CLEAN = """
rm -rf /etc/hardened-vllm/gateway /var/lib/hardened-vllm/state /home/other /srv/public
rm -f /tmp/attack-note /dev/shm/attack-note
rm -f /run/attack.py /run/attack.out /run/systemd/system/attack-*.service
rm -f /usr/local/bin/attack /var/tmp/suid /var/cache/vllm/suid /var/tmp/core* /var/cache/vllm/core*
rm -rf /root/.local/lib/python3.11/site-packages/attack_module.py /var/lib/vllm/.local
umount /mnt || true
systemctl daemon-reload; systemctl reset-failed
"""


SAY = "StandardOutput=truncate:/run/attack.out\nStandardError=inherit"


def sandboxed(unit: str) -> str:
    """Return the engine's unit with another program in it, run once."""
    unit = re.sub(r"^StartLimitIntervalSec=.*$", "StartLimitIntervalSec=0", unit, flags=re.MULTILINE)
    text = re.sub(r"^ExecStart=.*$", "ExecStart=/usr/bin/python3 /run/attack.py", unit, flags=re.MULTILINE)
    text = re.sub(
        r"^(Restart|RuntimeDirectory|RuntimeDirectoryMode|StartLimitBurst)=.*\n", "", text, flags=re.MULTILINE
    )
    return re.sub(r"^Type=.*$", f"Type=oneshot\n{SAY}", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def attacker(console: Callable[[str], Console]) -> Iterator[Callable[[str, str], tuple[int, str]]]:
    """A function that runs code in the unit plain or boxed and returns exit code and output."""
    where = console("engine1")
    where.shell(BAIT)
    plain = f"[Service]\nType=oneshot\n{SAY}\nEnvironment=HOME=/root\nExecStart=/usr/bin/python3 /run/attack.py\n"
    plain = f"[Unit]\nStartLimitIntervalSec=0\n{plain}"
    for name, text in (("plain", plain), ("boxed", sandboxed(where.run("cat", UNIT_FILE)))):
        where.run("sh", "-c", f"cat > /run/systemd/system/attack-{name}.service", given=text)
    where.shell("systemctl daemon-reload")

    def attack(name: str, code: str) -> tuple[int, str]:
        where.run("sh", "-c", "cat > /run/attack.py", given=code)
        started = where.start("systemctl", "start", f"attack-{name}.service")
        return started.returncode, where.run("cat", "/run/attack.out")

    yield attack
    where.shell(CLEAN)


def test_the_sandbox_itself_lets_a_program_run(attacker: Callable[[str, str], tuple[int, str]]) -> None:
    code, said = attacker("boxed", "import os; print(os.listdir(os.environ['HOME']), open('/tmp/own', 'w').name)")
    assert code == 0, said


@pytest.fixture(scope="module")
def world(console: Callable[[str], Console]) -> Iterator[None]:
    """What an engine has no business with, all of it on the client's node, and the engine's ways to it."""
    engine, client = console("engine1"), console("client")
    ways = [(address, "-6" if ":" in address else "-4") for name, address in WORLD.items() if name != "peer"]
    for address, family in ways:
        client.shell(f"ip {family} address add {address} dev management0")
        via = "fd77:82::20" if family == "-6" else WORLD["peer"]
        engine.shell(f"ip {family} route add {address} via {via}")
        assert "dev management0" in engine.run("ip", "route", "get", address), "it would leave the lab"
    client.run("systemd-run", "--quiet", "--unit=world", "python3", "-c", ANSWERS)
    time.sleep(1)
    yield
    client.shell("systemctl stop world")
    for address, family in ways:
        engine.shell(f"ip {family} route del {address}")
        client.shell(f"ip {family} address del {address} dev management0")


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("name", NETWORK)
def test_the_unit_alone_keeps_the_network_away(
    attacker: Callable[[str, str], tuple[int, str]], engine: Engine, name: str
) -> None:
    """No packet filter is here (the firewall's unit is a stand-in): what holds is IPAddressDeny= of the unit."""
    assert engine.shell("nft list ruleset") == ""
    attack, stopped_by = NETWORK[name]
    code, said = attacker("plain", attack)
    assert code == 0, f"it fails already without the sandbox, so its failure within would prove nothing: {said}"
    code, said = attacker("boxed", attack)
    assert code != 0, f"the sandbox let it: {said}"
    assert re.search(stopped_by, said), said


@pytest.mark.usefixtures("world")
def test_a_peer_of_the_fabric_is_reached(attacker: Callable[[str, str], tuple[int, str]]) -> None:
    """The same call from the same unit, so that above it was the address that mattered."""
    code, said = attacker("boxed", NETWORK["fetch code from a registry"][0].replace(WORLD["outside"], FABRIC_PEER))
    assert code == 0, said


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_succeeds_without_the_sandbox_and_fails_within(
    attacker: Callable[[str, str], tuple[int, str]], name: str
) -> None:
    attack, stopped_by = ATTACKS[name]
    code, said = attacker("plain", attack)
    assert code == 0, f"it fails already without the sandbox, so its failure within would prove nothing: {said}"
    code, said = attacker("boxed", attack)
    assert code != 0, f"the sandbox let it: {said}"
    assert re.search(stopped_by, said), said


def test_the_engine_took_no_harm(engine: Engine) -> None:
    assert engine.tokens() == 3
