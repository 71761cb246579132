# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service as it runs: it generates, with the key only, and the key is nowhere it should not be."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import systemd
from engine_lab import KEPT, SECRETS_FILE, UNIT, UNIT_FILE, Engine
from lab.testing import Console
from testinfra.host import Host


def test_it_generates_with_the_key(engine: Engine) -> None:
    assert engine.tokens() == 3


@pytest.mark.parametrize("key", [None, "wrong-" * 8])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/completions"])
def test_it_refuses_without_the_key(engine: Engine, path: str, key: str | None) -> None:
    assert engine.request(path, key)[0] == 401


def test_it_serves_its_model_with_the_key(engine: Engine) -> None:
    status, text = engine.request("/v1/models", engine.key)
    assert status == 200
    assert [model["id"] for model in json.loads(text)["data"]] == ["tiny"]


def test_it_runs_as_its_own_user_and_starts_at_boot(node: Callable[[str], Host]) -> None:
    host = node("engine1")
    assert host.service(UNIT).is_running
    assert host.service(UNIT).is_enabled
    user = host.user("vllm")
    assert (user.shell, user.home, user.group) == ("/usr/sbin/nologin", "/var/lib/vllm", "vllm")
    assert user.uid < 1000
    processes = host.check_output(f"cat /sys/fs/cgroup$(systemctl show -P ControlGroup {UNIT})/cgroup.procs").split()
    assert len(processes) > 2
    owners = {host.check_output("stat -c %%U /proc/%s", process) for process in processes}
    assert owners == {"vllm"}


@pytest.mark.parametrize(
    ("path", "owner", "group", "mode"),
    [
        (UNIT_FILE, "root", "root", 0o644),
        ("/etc/hardened-vllm/engine/engine.env", "root", "root", 0o644),
        (SECRETS_FILE, "root", "vllm", 0o640),
        ("/var/lib/vllm", "vllm", "vllm", 0o700),
        ("/var/cache/vllm", "vllm", "vllm", 0o700),
        ("/run/vllm", "vllm", "vllm", 0o700),
        ("/var/lib/hardened-vllm", "root", "root", 0o700),
    ],
)
def test_files_let_in_whom_they_should(
    node: Callable[[str], Host], path: str, owner: str, group: str, mode: int
) -> None:
    file = node("engine1").file(path)
    assert (file.user, file.group, file.mode) == (owner, group, mode)


def test_what_the_service_writes_is_its_own(node: Callable[[str], Host]) -> None:
    written = node("engine1").check_output("find /run/vllm /var/cache/vllm /var/lib/vllm -printf '%m %u\\n' | sort -u")
    assert all(line.split()[0].endswith("00") and line.split()[1] == "vllm" for line in written.splitlines())


HUNT = """
{ grep -rlaF -f $key /etc /var /run /opt/hardened-vllm /root /tmp /usr/lib/systemd
  grep -laF -f $key /proc/[0-9]*/cmdline /proc/[0-9]*/environ; } 2>/dev/null || true
"""
SAID = """
{ journalctl --no-pager --output=cat; systemctl show '*'; systemctl cat hardened-vllm-engine; } > $said
wc -c < $said
grep -cF -f $key $said || true
"""


def test_the_key_is_in_its_file_and_nowhere_else(engine: Engine, console: Callable[[str], Console]) -> None:
    """The searches read the key from a file outside of what they search, so that they do not find themselves."""
    where = console("engine1")
    where.run("sh", "-ec", "mkdir -m 0700 /srv/hunt; cat > /srv/hunt/key", given=engine.key)
    names = "key=/srv/hunt/key; said=/srv/hunt/said"
    try:
        assert where.shell(names + HUNT).split() == [SECRETS_FILE]
        size, found = where.shell(names + SAID).split()
        assert int(size) > 10_000
        assert found == "0"
    finally:
        where.run("rm", "-r", "/srv/hunt")


def test_nothing_of_an_earlier_state_is_kept(node: Callable[[str], Host]) -> None:
    assert not node("engine1").file(KEPT).exists


def test_exposure_is_low(engine: Engine) -> None:
    assert "Overall exposure level" in engine.shell(f"systemd-analyze security --no-pager --threshold=20 {UNIT}")


def test_no_engine_without_its_firewall(engine: Engine) -> None:
    assert "hardened-vllm-firewall.service" in engine.show("Requires").split()
    assert "hardened-vllm-firewall.service" in engine.show("After").split()


ARGUMENTS = [
    "", "two words", "100%", "%i %n %%", "$HOME", "${HOME}", "$$", '{"a": "b \\"c\\""}', "back\\slash\\", "it's", ";",
    "#", "a\tb", "line\nbreak", "tést", "-x=\\x41", "\\", '"', "@- :+!", "a;b",
]  # fmt: skip
ENVIRONMENT = {"EMPTY": "", "EQUALS": "=eth0", "SPECIAL": "a \"b\" 'c' `d` $HOME \\ %i # ;", "SPACES": "  x  "}
TELL = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


def test_systemd_reads_back_what_the_filters_write(console: Callable[[str], Console]) -> None:
    where = console("engine1")
    line = systemd.command_line(["/usr/bin/python3", "-c", TELL, *ARGUMENTS])
    unit = f"[Service]\nType=oneshot\nExecStart={line}\n"
    unit += "EnvironmentFile=/run/quoting.env\nStandardOutput=file:/run/quoting\n"
    where.run("sh", "-c", "cat > /run/quoting.env", given=systemd.environment_file(ENVIRONMENT))
    where.run("sh", "-c", "cat > /run/systemd/system/quoting.service", given=unit)
    where.shell("systemd-analyze verify --man=no --recursive-errors=no /run/systemd/system/quoting.service")
    where.shell("systemctl daemon-reload; systemctl start quoting.service")
    arguments, environment = json.loads(where.run("cat", "/run/quoting"))
    assert arguments == ARGUMENTS
    assert {name: environment[name] for name in ENVIRONMENT} == ENVIRONMENT


def test_the_process_has_the_arguments_of_the_plan(engine: Engine) -> None:
    words = engine.shell(
        "tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID hardened-vllm-engine)/cmdline"
    ).splitlines()
    assert words[:5] == ["/opt/vllm-lab/bin/python", "-m", "vllm.entrypoints.cli.main", "serve", "/opt/models/tiny"]
    assert words[-2:] == ["--config", SECRETS_FILE], shlex.join(words)
