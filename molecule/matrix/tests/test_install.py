# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation calls its index, or what is declared for it, and nobody else; before and after it nobody calls even them."""

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
        node.run("mkdir", "-p", *(f"/srv/index/{page}/vllm" for page in ("own", "other", "named")))
        node.run("sh", "-c", f"base64 -d > /srv/index/{WHEEL}", given=wheel)
        node.run("sh", "-c", f"base64 -d > /srv/index/{HELPER}", given=helper)
        other = f":8090/{WHEEL}"
        pages = {"own": f"/{WHEEL}", "other": f"http://{ELSEWHERE}{other}", "named": f"http://other.test{other}"}
        for page, url in pages.items():
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


def configure(engine: Console, page: str, host: str = INDEX) -> None:
    trusted = "\n  ".join((INDEX, ELSEWHERE, "index.test", "other.test"))
    text = f"[global]\nindex-url = http://{host}:8090/{page}\ntrusted-host = {trusted}\nretries = 0\ntimeout = 5\n"
    engine.run("sh", "-c", "cat > /etc/pip.conf", given=text)


def install(engine: Console, lab_name: str, page: str, destinations: Any) -> runs.Run:
    engine.shell("rm -rf /opt/trial")
    configure(engine, page)
    return runs.play(lab_name, PLAY, trial_destinations=destinations)


def may_call(engine: Console, account: str, address: str) -> bool:
    return engine.start("runuser", "-u", account, "--", "python3", "-c", CALL, address).returncode == 0


def closed(engine: Console) -> bool:
    """Whether nothing is left of an installation, and the engine's account finds neither host."""
    return engine.run("sh", "-c", UNIT) == "" and not any(may_call(engine, "vllm", each) for each in (INDEX, ELSEWHERE))


def by_hand(engine: Console, *words: str) -> bool:
    """Whether pip installs the release as anybody would do it, with nothing around it."""
    engine.run("sh", "-c", "rm -rf /opt/trial && python3 -m venv /opt/trial")
    return engine.start("/opt/trial/bin/pip", "install", *words, "vllm==0.32.0").returncode == 0


def test_pip_alone_goes_where_an_index_sends_it(engine: Console, elsewhere: Callable[[], int]) -> None:
    configure(engine, "other")
    assert by_hand(engine)
    assert elsewhere() == 1


def test_without_a_declaration_it_calls_its_index_alone(
    engine: Console, lab_name: str, elsewhere: Callable[[], int]
) -> None:
    done = install(engine, lab_name, "own", None)
    assert done.code == 0, done.text
    assert engine.start("test", "-x", "/opt/trial/0.32.0/bin/vllm").returncode == 0
    done = install(engine, lab_name, "other", None)
    assert done.code != 0
    assert "installing vllm 0.32.0 failed" in done.text
    assert f"It may call {INDEX} ({INDEX}) and nobody else" in done.text
    assert elsewhere() == 0
    assert closed(engine)


def test_an_index_by_name_is_the_only_name_it_knows(
    engine: Console, lab_name: str, elsewhere: Callable[[], int]
) -> None:
    """The name of the other host is known to the node, and to nobody the installation asks."""
    engine.run(
        "sh",
        "-c",
        f"cp /etc/hosts /root/hosts.kept && printf '{INDEX} index.test\n{ELSEWHERE} other.test\n' >> /etc/hosts",
    )
    try:
        engine.shell("rm -rf /opt/trial")
        configure(engine, "named", "index.test")
        done = runs.play(lab_name, PLAY)
        assert done.code != 0
        assert elsewhere() == 0
        done = runs.play(lab_name, PLAY, trial_hosts=["other.test"])
        assert done.code == 0, done.text
        assert elsewhere() == 1
    finally:
        engine.run("sh", "-c", "cat /root/hosts.kept > /etc/hosts && rm /root/hosts.kept")
    assert closed(engine)


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


def test_pip_alone_goes_where_a_wheel_on_the_node_sends_it(
    engine: Console, wheels: str, elsewhere: Callable[[], int]
) -> None:
    """Although it asks no index."""
    engine.shell("rm -rf /etc/pip.conf")
    assert by_hand(engine, "--no-index", "--find-links", wheels)
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
