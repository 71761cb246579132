# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runbooks as they stand, one after the other, on one cluster: what each of them does, and what it leaves alone."""

from __future__ import annotations

import json
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.testing import Console
from lifecycle.support import UNIT, nothing_lost
from operations import runbooks

GATEWAY = "hardened-vllm-gateway.service"
API = "10.230.1.11:8000"
# Connects, waits for the file $1, asks and shows the beginning of the answer.
STREAM = """exec 3<>/dev/tcp/10.230.1.11/8000
until [ -e "$1" ]; do sleep 0.2; done
printf 'GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3
timeout 5 head -c 12 <&3 || true
"""
HEALTH = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "3"]


def run_of(console: Console, unit: str) -> str:
    return console.shell(f"systemctl show -P InvocationID {unit}").strip()


def releases(standing: Callable) -> list[str]:
    return [one.release for one in standing()]


def test_first_rollout(follow: Callable, console: Callable[[str], Console]) -> None:
    assert not console("engine1").shell("ls -d /etc/hardened-vllm 2>/dev/null || true")
    follow("first-rollout")


def test_drain(follow: Callable, load: Callable, standing: Callable) -> None:
    before = standing()
    with load() as ledger:
        follow("drain")
    nothing_lost(ledger)
    assert standing() == before


def test_upgrade(follow: Callable, load: Callable, standing: Callable) -> None:
    with load() as ledger:
        follow("upgrade")
    nothing_lost(ledger)
    assert releases(standing) == ["0.31.0", "0.31.0"]


def test_rollback(follow: Callable, load: Callable, standing: Callable) -> None:
    with load() as ledger:
        follow("rollback")
    nothing_lost(ledger)
    assert releases(standing) == ["0.30.0", "0.30.0"]


def test_prune(follow: Callable, console: Callable[[str], Console], standing: Callable) -> None:
    before = standing()
    follow("prune")
    for name in ("engine1", "engine2"):
        assert console(name).shell("ls /opt/hardened-vllm/engine").split() == ["0.30.0"]
    assert standing() == before


def test_new_keys_of_a_tenant(follow: Callable, load: Callable, secrets: Path) -> None:
    key = secrets / "tenants/acme/k1.key"
    old = key.read_text()
    with load() as ledger:
        follow("rotate-tenant-keys")
    nothing_lost(ledger)
    assert key.read_text() != old


def test_a_new_upstream_key(follow: Callable, load: Callable, secrets: Path) -> None:
    old = (secrets / "upstream.key").read_text().strip()
    with load() as ledger:
        said = follow("rotate-upstream-key")
    nothing_lost(ledger)
    new = (secrets / "upstream.key").read_text().strip()
    assert new != old and old not in said and new not in said


def test_another_certificate(follow: Callable, load: Callable, console: Callable, inventory: Path) -> None:
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "30",
    ]
    argv += ["-subj", "/CN=the-new-one", "-addext", "subjectAltName=DNS:gateway.example.org"]
    argv += ["-out", str(inventory / "tls.certificate.pem"), "-keyout", str(inventory / "tls.key.pem")]
    subprocess.run(argv, check=True, capture_output=True)
    with load() as ledger:
        said = follow("certificate-expiring")
    nothing_lost(ledger)
    assert "the-new-one" not in said, "what was shown before the change was the old one"
    assert "the-new-one" in console("gateway1").shell(
        "openssl x509 -noout -subject -in /etc/hardened-vllm/gateway/tls.crt"
    )


def test_add_a_node(follow: Callable, load: Callable, standing: Callable, console: Callable, inventory: Path) -> None:
    before, gateway = standing(), run_of(console("gateway1"), GATEWAY)
    (inventory / "engine3.yml").write_text("all: {children: {vllm_nodes: {hosts: {engine3: }}}}\n")
    with load() as ledger:
        follow("add-node")
        deadline = time.monotonic() + 60
        while "generation_tokens_total" in (
            served := console("engine3").shell("curl -s http://10.230.1.13:8000/metrics")
        ):
            if int(served.split()[-1]) > 5:
                break
            assert time.monotonic() < deadline, "it gets no requests"
            time.sleep(1)
    nothing_lost(ledger)
    assert standing() == before, "neither changed nor restarted"
    assert run_of(console("gateway1"), GATEWAY) == gateway, "reloaded, not restarted"


def snapshot(console: Console) -> dict:
    return json.loads(console.run("python3", "/opt/snapshot.py"))


def differences(directory: Path, console: Callable[[str], Console], name: str) -> dict[str, object]:
    """Return what differs on a host from what it was before anything was installed."""
    before, after = json.loads((directory / f"before-{name}.json").read_text()), snapshot(console(name))
    found: dict[str, object] = {
        f"file {path}": (before["files"].get(path), after["files"].get(path))
        for path in before["files"].keys() | after["files"].keys()
        if before["files"].get(path) != after["files"].get(path)
    }
    for what in ("packages", "units", "sysctl", "tables"):
        if before[what] != after[what]:
            found[what] = (before[what], after[what])
    return found


def test_remove_a_node(
    follow: Callable,
    load: Callable,
    standing: Callable,
    console: Callable,
    inventory: Path,
    secrets: Path,
    directory: Path,
) -> None:
    before, gateway = standing(), run_of(console("gateway1"), GATEWAY)
    assert differences(directory, console, "engine3"), "else the comparison sees nothing"
    check, action = runbooks.blocks("remove-node")["Check"], runbooks.blocks("remove-node")["Action"]
    assert len(check) == 1 and len(action) == 2, "the inventory changes between the two blocks"
    with load() as ledger:
        runbooks.run(action[0], inventory, secrets)
        (inventory / "engine3.yml").unlink()
        runbooks.run(action[1], inventory, secrets)
        follow("remove-node", "Check", "Verify")
    nothing_lost(ledger)
    assert standing() == before, "neither changed nor restarted"
    assert run_of(console("gateway1"), GATEWAY) == gateway, "reloaded, not restarted"
    assert differences(directory, console, "engine3") == {}


def test_engine_dead(follow: Callable, console: Callable, standing: Callable) -> None:
    before = standing()
    console("engine1").shell(f"systemctl stop {UNIT}")
    follow("engine-dead")
    after = standing()
    assert after[1] == before[1] and after[0].files == before[0].files


def test_gateway_lost(follow: Callable, console: Callable, standing: Callable, load: Callable) -> None:
    before, gateway = standing(), console("gateway1")
    gateway.shell(
        f"systemctl disable --now {GATEWAY} hardened-vllm-firewall; nft delete table inet hardened_vllm || true"
    )
    gateway.shell(
        "rm -rf /etc/hardened-vllm /var/lib/hardened-vllm /etc/systemd/system/hardened-vllm-*; systemctl daemon-reload"
    )
    follow("gateway-lost")
    with load() as ledger:
        time.sleep(5)
    nothing_lost(ledger)
    assert standing() == before, "the engines were not touched"


def reach(console: Console, address: str) -> str:
    return console.start(*HEALTH, f"http://{address}/health").stdout


def knocks(engine: Console, peer: Console) -> int:
    """Return how many packets of a call from the engine the peer's firewall drops."""

    def dropped() -> int:
        rules = peer.shell("nft list chain inet hardened_vllm refused")
        return int(rules.split("counter packets ")[1].split()[0])

    before = dropped()
    engine.start(*HEALTH, "http://10.230.1.12:8000/health")
    return dropped() - before


def test_quarantine(
    follow: Callable, console: Callable, node: Callable, reboot: Callable, standing: Callable, secrets: Path
) -> None:
    engine, gateway = console("engine1"), console("gateway1")
    key = (secrets / "upstream.key").read_text().strip()
    before = standing()
    assert reach(gateway, API) == "200", "open before"
    assert knocks(engine, console("engine2")) > 0, "its own calls get as far as the peer's firewall"
    gateway.run("sh", "-c", "cat > /root/stream.sh", given=STREAM)
    assert "200" in gateway.shell("bash /root/stream.sh /root/stream.sh"), "else the next one proves nothing"
    # Opened before, used after: "established" must not carry it through.
    gateway.shell("rm -f /root/go; nohup bash /root/stream.sh /root/go > /root/stream 2>&1 &")
    follow("quarantine", "Check", "Action", "Verify")
    for where in (gateway, console("engine2")):
        assert reach(where, API) == "000"
    gateway.shell("touch /root/go; sleep 7")
    assert gateway.shell("cat /root/stream") == "", "an open stream ended"
    assert knocks(engine, console("engine2")) == 0, "and out is closed as in"
    assert standing() == before, "what ran goes on running"
    archives = list((secrets / "evidence/engine1").glob("*.tar.gz"))
    assert len(archives) == 1
    with tarfile.open(archives[0]) as archive:
        texts = {name: archive.extractfile(name).read().decode() for name in archive.getnames()}
    assert "10.230.1.11:8000" in texts["sockets.txt"] and "vllm" in texts["processes.txt"]
    assert (
        "table inet hardened_vllm" in texts["rules.txt"]
        and "/etc/hardened-vllm/engine/secrets.yaml" in texts["files.txt"]
    )
    assert not [name for name, text in texts.items() if key in text], "secrets are digests"
    reboot("engine1")
    assert node("engine1").run("true").rc == 0, "the administrator still comes in"
    assert reach(gateway, API) == "000"
    runbooks.run('ansible-playbook -i "$INVENTORY" hardened.vllm.site', *own(secrets))
    assert reach(gateway, API) == "000", "another run keeps it in quarantine"
    follow("quarantine", "Undo")
    assert reach(gateway, API) == "200"
    assert not list((secrets / "drained").glob("*")) and not list((secrets / "quarantined").glob("*"))


def own(secrets: Path) -> tuple[Path, Path]:
    return secrets.parent / "runbooks", secrets


def test_reset(follow: Callable, console: Callable, directory: Path) -> None:
    hosts = ("engine1", "engine2", "gateway1")
    assert all(differences(directory, console, name) for name in hosts), "else the comparison sees nothing"
    follow("reset")
    assert {name: differences(directory, console, name) for name in hosts} == {name: {} for name in hosts}


def test_every_command_of_every_page_was_run(followed: set[tuple[str, str]], request: pytest.FixtureRequest) -> None:
    if len(request.session.items) < 14:
        pytest.skip("only some of the pages were asked for")
    wanted = {
        (page, section)
        for page in runbooks.pages()
        if page not in runbooks.NOT_RUN
        for section, scripts in runbooks.blocks(page).items()
        if scripts
    }
    assert wanted - followed - runbooks.ELSEWHERE.keys() == {("remove-node", "Action")}, "which is run block by block"
