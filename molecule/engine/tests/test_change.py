# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that fail, are interrupted or succeed: what serves before must serve after, unless the new state does."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from engine_lab import KEPT, SECRETS_FILE, UNIT, UNIT_FILE, Engine, converge, fails, playbook
from lab.testing import Console

FILES = f"{UNIT_FILE} {SECRETS_FILE} /etc/hardened-vllm/engine/engine.env"
INDEX = {"method": "index", "package": "vllm", "version": "0.32.0", "root": "/opt/hardened-vllm/engine"}
INDEX |= {"python": "/opt/hardened-vllm/engine/0.32.0/bin/python", "base_python": "/usr/bin/python3"}
INDEX |= {"index_url": None, "find_links": "/opt/wheels", "requirements": [], "bytes_needed": 1_000_000}
STAND_IN = {"engine_install_part": INDEX}


@pytest.fixture
def state(engine: Engine) -> Callable[[], tuple[str, str]]:
    """A function that returns the digests of the engine's files and the id of the run of its process."""
    return lambda: (engine.shell(f"sha256sum {FILES}; stat -c '%a %U %G' {FILES}"), engine.show("InvocationID"))


def test_a_second_run_changes_nothing_and_restarts_nothing(engine: Engine, state: Callable) -> None:
    before = state()
    assert "changed=0" in converge()
    assert state() == before
    assert engine.tokens() == 3


def test_a_bad_flag_is_taken_back_and_the_old_state_serves(engine: Engine, state: Callable) -> None:
    before = state()
    said = fails(engine_argv_more=["--no-such-flag"])
    assert "Engine 0 does not serve as declared." in said
    assert "engine1: the process ended (result exit-code, exit status 2)" in said
    assert "unrecognized arguments: --no-such-flag" in said
    assert "The former state is back on all its nodes and generates again." in said
    files, invocation = state()
    assert files == before[0]
    assert invocation != before[1]
    assert engine.tokens() == 3
    assert engine.shell(f"ls {KEPT} 2>&1 || true").endswith("No such file or directory\n")


def test_a_unit_that_systemd_refuses_restarts_nothing(engine: Engine, state: Callable) -> None:
    before = state()
    said = fails(engine_memory_max="8G\nExecStart=relative/program")
    assert "All files are as they were before." in said
    assert "Nothing was restarted: what ran before still runs, unchanged." in said
    assert state() == before
    assert engine.tokens() == 3


def test_a_key_that_vllm_would_misread_touches_nothing(engine: Engine, state: Callable) -> None:
    before, good = state(), engine.key
    engine.key_file.write_text("-" + good)
    try:
        said = fails()
    finally:
        engine.key_file.write_text(good + "\n")
    assert "secret upstream: vLLM could not read it" in said
    assert good not in said
    assert state() == before


def test_a_rotation_survives_a_controller_that_dies(engine: Engine) -> None:
    """The controller is killed once the new key is on the node; the next run finishes the work."""
    old, new = engine.key, secrets.token_hex(32)
    engine.key_file.write_text(new + "\n")
    run = playbook("converge.yml", "--diff")
    while KEPT not in engine.shell(f"ls {KEPT} 2>&1 || true").splitlines():
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.2)
    run.kill()
    output = run.communicate()[0]
    said = converge("--diff")
    assert "changed=0" not in said
    for key in (old, new):
        assert key not in output + said
    assert engine.tokens(new) == 3
    assert engine.request("/v1/models", old)[0] == 401
    assert engine.shell(f"ls {KEPT} 2>&1 || true").endswith("No such file or directory\n")
    found = engine.shell(f"grep -rlaF {old} /etc /var/lib /var/log /run 2>/dev/null || true")
    assert found == ""


def test_a_killed_worker_comes_back_by_itself(engine: Engine) -> None:
    engine.shell("systemctl reset-failed hardened-vllm-engine || true")
    before = int(engine.show("NRestarts"))
    worker = "for p in $(cat /sys/fs/cgroup$(systemctl show -P ControlGroup hardened-vllm-engine)/cgroup.procs);"
    engine.shell(f"{worker} do grep -q VLLM::EngineCore /proc/$p/cmdline && kill -KILL $p; done; true")
    deadline = time.monotonic() + 60
    while int(engine.show("NRestarts")) == before:
        assert time.monotonic() < deadline, "the unit did not restart after its worker was killed"
        time.sleep(1)
    engine.wait()


def test_an_engine_that_somebody_stopped_ends_what_it_runs_and_is_started_again(engine: Engine) -> None:
    """Of itself (--shutdown-timeout 0) vLLM 0.32.0 leaves such streams without an end, as test_plain.py shows."""

    def stream() -> tuple[float, int, str]:
        body = {"model": "tiny", "prompt": "Hello", "max_tokens": 480, "ignore_eos": True, "stream": True}
        status, text = engine.request("/v1/completions", engine.key, body)
        return time.monotonic(), status, text

    with ThreadPoolExecutor(8) as pool:
        streams = [pool.submit(stream) for _number in range(8)]
        while not engine.running():
            assert not all(one.done() for one in streams), "they were over before they were seen"
        begun = time.monotonic()
        engine.shell("systemctl stop hardened-vllm-firewall")
        assert time.monotonic() - begun < 60
    assert engine.show("ActiveState") == "inactive", "the engine must not outlive its firewall"
    answers = [one.result() for one in streams]
    assert any(ended > begun for ended, status, _text in answers if status == 200)
    # What came too late was refused; what was begun has its end.
    assert all(text.rstrip().endswith("data: [DONE]") for _ended, status, text in answers if status == 200)
    assert "changed=1 " in converge()
    assert engine.shell("systemctl is-active hardened-vllm-firewall").strip() == "active"
    assert engine.tokens() == 3


@pytest.fixture
def small_disk(engine: Engine) -> Iterator[None]:
    engine.shell("mkdir -p /opt/hardened-vllm/engine; mount -t tmpfs -o size=6m none /opt/hardened-vllm/engine")
    yield
    engine.shell("umount /opt/hardened-vllm/engine")


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize(
    ("needed", "message"),
    [
        (12_000_000_000, "too little free space for vllm 0.32.0: it needs 12.0 GB (12000000000 bytes)"),
        (0, "The filesystem of /opt/hardened-vllm/engine ran full; free some space there"),
    ],
)
def test_a_full_disk_leaves_what_serves(engine: Engine, state: Callable, needed: int, message: str) -> None:
    before = state()
    said = fails(engine_install_part={**INDEX, "bytes_needed": needed})
    assert message in said
    assert state() == before
    assert engine.shell("ls -A /opt/hardened-vllm/engine") == ""
    assert engine.tokens() == 3


def test_the_release_is_installed_from_wheels_without_an_index(console: Callable[[str], Console]) -> None:
    """The wheel is a stand-in of a few bytes: what is tested is the installation, not vLLM."""
    where = console("engine1")
    assert "changed=1 " in converge("--tags", "engine_install", **STAND_IN)
    manifest = json.loads(where.run("cat", "/opt/hardened-vllm/engine/0.32.0/manifest.json"))
    assert manifest["packages"]["vllm"]["version"] == "0.32.0"
    assert "changed=0 " in converge("--tags", "engine_install", **STAND_IN)
    owners = where.shell(
        "find /opt/hardened-vllm -printf '%u %g\\n' | sort -u; find /opt/hardened-vllm -perm /022 ! -type l"
    )
    assert owners == "root root\n"


def test_a_release_that_crashes_at_start_is_taken_back(engine: Engine, state: Callable) -> None:
    before = state()
    said = fails(**STAND_IN)
    assert "RuntimeError: this is no vLLM, only its stand-in" in said
    assert "The former state is back on all its nodes and generates again." in said
    assert state()[0] == before[0]
    assert engine.tokens() == 3


def test_it_comes_back_after_a_reboot(engine: Engine, reboot: Callable[[str], None]) -> None:
    reboot("engine1")
    engine.wait()
    assert "changed=0" in converge()


def test_the_unit_was_enabled_by_the_role_alone(engine: Engine) -> None:
    engine.shell(f"systemctl disable {UNIT} 2>/dev/null")
    assert "changed=1 " in converge()
    assert engine.show("UnitFileState") == "enabled"
