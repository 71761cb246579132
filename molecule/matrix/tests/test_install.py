# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation calls the destinations declared for it and nobody else; before and after it nobody calls even them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import runs
from lab.testing import Console
from matrix.support import SCENARIO, planned
from support import standin_wheel

PLAY = SCENARIO / "install.yml"
INDEX, ELSEWHERE = "10.226.1.40", "10.226.1.32"
WHEEL, HELPER, LINKS = "vllm-0.32.0-py3-none-any.whl", "helper-1.0-py3-none-any.whl", "/opt/trial-wheels"
CALL = "import socket, sys; socket.create_connection((sys.argv[1], 8090), 3).close()"
UNIT = "systemctl list-units --all --plain --no-legend 'hardened-vllm-install-*'"


@pytest.fixture(scope="module")
def destinations() -> Any:
    """What the plan makes of a declared destination of purpose install."""
    index = {"name": "index", "to": [f"{INDEX}/32"], "port": 8090, "purpose": "install", "why": "wheels"}
    made = planned(more={"install": {}, "egress": [index]})
    return made["hosts"]["engine1"]["install"]["destinations"]


@pytest.fixture(scope="module")
def engine(console: Callable[[str], Console]) -> Iterator[Console]:
    found = console("engine1")
    # As the role left it, whatever other tests have loaded since.
    found.run("nft", "-f", "/etc/hardened-vllm/firewall.nft")
    yield found
    found.shell("rm -rf /etc/pip.conf /opt/trial /opt/trial-wheels")


@pytest.fixture(scope="module", autouse=True)
def servers(console: Callable[[str], Console], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two hosts with the wheel: the index, of whose two pages one names the wheel on the other host."""
    wheel = base64.b64encode(standin_wheel.write(tmp_path_factory.mktemp("wheel"), "0.32.0").read_bytes()).decode()
    folder = tmp_path_factory.mktemp("helper")
    helper = base64.b64encode(standin_wheel.write(folder, "1.0", name="helper").read_bytes()).decode()
    for name in ("stranger", "subscriber"):
        node = console(name)
        node.run("mkdir", "-p", "/srv/index/own/vllm", "/srv/index/other/vllm")
        node.run("sh", "-c", f"base64 -d > /srv/index/{WHEEL}", given=wheel)
        node.run("sh", "-c", f"base64 -d > /srv/index/{HELPER}", given=helper)
        for page, url in (("own", f"/{WHEEL}"), ("other", f"http://{ELSEWHERE}:8090/{WHEEL}")):
            link = f'<a href="{url}">{WHEEL}</a>'
            node.run("sh", "-c", f"cat > /srv/index/{page}/vllm/index.html", given=link)
        node.run("systemd-run", "--quiet", "--unit=index", "python3", "-m", "http.server", "8090", "-d", "/srv/index")
    yield
    for name in ("stranger", "subscriber"):
        console(name).run("systemctl", "stop", "index")


@pytest.fixture(scope="module")
def wheels(engine: Console, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory of wheels on the node, of which one names another at an address nobody declared."""
    needed = f"helper @ http://{ELSEWHERE}:8090/{HELPER}"
    folder = tmp_path_factory.mktemp("wheels")
    wheel = base64.b64encode(standin_wheel.write(folder, "0.32.0", requires=needed).read_bytes()).decode()
    engine.run("mkdir", "-p", LINKS)
    engine.run("sh", "-c", f"base64 -d > {LINKS}/{WHEEL}", given=wheel)
    return LINKS


@pytest.fixture
def elsewhere(console: Callable[[str], Console]) -> Callable[[], int]:
    """Requests that have come to the host nobody declared since the test began."""
    count = "journalctl --unit=index --no-pager | grep -c GET || true"
    before = int(console("subscriber").run("sh", "-c", count))
    return lambda: int(console("subscriber").run("sh", "-c", count)) - before


def install(engine: Console, lab_name: str, page: str, destinations: Any) -> runs.Run:
    engine.shell("rm -rf /opt/trial")
    text = f"[global]\nindex-url = http://{INDEX}:8090/{page}\ntrusted-host = {INDEX}\n  {ELSEWHERE}\nretries = 0\ntimeout = 5\n"
    engine.run("sh", "-c", "cat > /etc/pip.conf", given=text)
    return runs.play(lab_name, PLAY, trial_destinations=destinations)


def may_call(engine: Console, account: str, address: str) -> bool:
    return engine.start("runuser", "-u", account, "--", "python3", "-c", CALL, address).returncode == 0


def closed(engine: Console) -> bool:
    """Whether nothing is left of an installation, and the engine's account finds neither host."""
    return engine.run("sh", "-c", UNIT) == "" and not any(may_call(engine, "vllm", each) for each in (INDEX, ELSEWHERE))


def test_not_held_back_it_goes_where_an_index_sends_it(
    engine: Console, lab_name: str, elsewhere: Callable[[], int]
) -> None:
    done = install(engine, lab_name, "other", None)
    assert done.code == 0, done.text
    assert elsewhere() == 1


def test_it_installs_from_the_declared_destination_and_is_closed_before_and_after(
    engine: Console, lab_name: str, destinations: Any, elsewhere: Callable[[], int]
) -> None:
    assert may_call(engine, "root", INDEX)
    assert closed(engine)
    done = install(engine, lab_name, "own", destinations)
    assert done.code == 0, done.text
    assert engine.start("test", "-x", "/opt/trial/0.32.0/bin/vllm").returncode == 0
    assert closed(engine)
    assert elsewhere() == 0


def test_it_calls_nobody_else_and_is_closed_when_it_fails(
    engine: Console, lab_name: str, destinations: Any, elsewhere: Callable[[], int]
) -> None:
    done = install(engine, lab_name, "other", destinations)
    assert done.code != 0
    assert "installing vllm 0.32.0 failed" in done.text
    assert elsewhere() == 0
    assert engine.run("ls", "-A", "/opt/trial").strip() in ("", ".lock")
    assert closed(engine)


def test_from_wheels_on_the_node_it_goes_where_one_of_them_sends_it(
    engine: Console, lab_name: str, wheels: str, elsewhere: Callable[[], int]
) -> None:
    """Although it asks no index."""
    engine.shell("rm -rf /opt/trial /etc/pip.conf")
    done = runs.play(lab_name, PLAY, trial_links=wheels)
    assert done.code == 0, done.text
    assert elsewhere() == 1


def test_from_wheels_on_the_node_it_calls_nobody(
    engine: Console, lab_name: str, wheels: str, elsewhere: Callable[[], int], tmp_path: Path
) -> None:
    engine.shell("rm -rf /opt/trial /etc/pip.conf")
    made = planned(more={"install": {"find_links": wheels}})
    nobody = made["hosts"]["engine1"]["install"]["destinations"]
    assert nobody == []
    done = runs.play(lab_name, PLAY, trial_links=wheels, trial_destinations=nobody)
    assert done.code != 0
    assert "installing vllm 0.32.0 failed" in done.text
    assert elsewhere() == 0
    # A set of wheels that is whole needs nobody.
    plain = standin_wheel.write(tmp_path, "0.32.0").read_bytes()
    engine.run("sh", "-c", f"base64 -d > {wheels}/{WHEEL}", given=base64.b64encode(plain).decode())
    done = runs.play(lab_name, PLAY, trial_links=wheels, trial_destinations=nobody)
    assert done.code == 0, done.text
    assert engine.start("test", "-x", "/opt/trial/0.32.0/bin/vllm").returncode == 0
    assert closed(engine)
