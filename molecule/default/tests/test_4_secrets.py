# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret is anywhere but in its file: not in arguments, environments, units, journals, differences, facts or dumps."""

from __future__ import annotations

import json
import re
import secrets as random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from lab import runs
from lab.hunt import hunt
from lab.testing import Console

from .conftest import LAB, UNIT, Service, play

NODES = ("engine1", "engine2", "gateway")
KEY, TENANT, TLS = "secrets/upstream.key", "secrets/tenants/acme/k1.key", "tls/server.key"
ENGINE_FILE = "/etc/hardened-vllm/engine/secrets.yaml"
# Where a secret has to be; the engine of the second node serves no API and needs no key.
BELONGS = {
    "engine1": {ENGINE_FILE: [KEY]},
    "engine2": {},
    "gateway": {
        "/etc/hardened-vllm/gateway/authorization.conf": [KEY],
        "/etc/hardened-vllm/gateway/tls.key": [TLS],
    },
}
DIRECTORIES = ("/root", "/run", "/dev/shm", "/tmp", "/var/cache")  # noqa: S108 - of a node of the lab
# The decoy comes by standard input, so that of the places below each is one somebody would have put it.
PLANT = """
read -r decoy
systemd-run --quiet --unit=planted --setenv="PLANTED=$decoy" python3 -c 'import time; time.sleep(300)'
systemd-run --quiet --unit=planted-argument python3 -c 'import time; time.sleep(300)' "$decoy"
logger --tag planted "$decoy"
for directory in DIRECTORIES; do printf 'core\\0%s\\0' "$decoy" > $directory/planted; done
""".replace("DIRECTORIES", " ".join(DIRECTORIES))


def test_every_secret_is_in_its_file_and_nowhere_else(
    console: Callable[[str], Console], secrets: dict[str, list[str]]
) -> None:
    """All files, processes, units and journals of all nodes; of a private key, each line of it."""
    assert {KEY, TENANT, TLS} <= set(secrets)
    assert {name: hunt(console(name), secrets) for name in NODES} == BELONGS


@pytest.fixture
def decoy(console: Callable[[str], Console]) -> Iterator[str]:
    """A string that lies in every kind of place."""
    value = random.token_hex(16)
    console("engine2").run("sh", "-ec", PLANT, given=value + "\n")
    yield value
    console("engine2").run("systemctl", "stop", "planted", "planted-argument")
    console("engine2").run("rm", *(f"{directory}/planted" for directory in DIRECTORIES))


def test_the_look_finds_what_lies_in_every_kind_of_place(console: Callable[[str], Console], decoy: str) -> None:
    found = hunt(console("engine2"), {"decoy": [decoy]})
    places = {"units", "journal", "environ of python3", "cmdline of python3"}
    assert places | {f"{directory}/planted" for directory in DIRECTORIES} <= set(found), found


def test_its_file_is_guarded(console: Callable[[str], Console]) -> None:
    engine = console("engine1")
    assert engine.shell(f"stat -c %a:%U:%G {ENGINE_FILE}").strip() == "640:root:vllm"
    with pytest.raises(pytest.fail.Exception):
        engine.run("runuser", "-u", "nobody", "--", "cat", ENGINE_FILE)


@pytest.fixture
def renewed(secrets: dict[str, list[str]]) -> Iterator[dict[str, list[str]]]:
    """New values in the files of all keys, so that a run has differences to show; the old ones and the new by name."""
    before = {name: (LAB / name).read_text() for name in (KEY, TENANT)}
    both = {name: list(lines) for name, lines in secrets.items()}
    for name in before:
        value = random.token_hex(32)
        (LAB / name).write_text(value + "\n")
        both[name].append(value)
    yield both
    for name, text in before.items():
        (LAB / name).write_text(text)


def test_check_mode_differences_and_facts_show_no_secret(
    renewed: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both keys would change, all that is known is told (-vvv), and facts are kept on the controller's disk."""
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN", "jsonfile")
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", str(tmp_path / "facts"))
    gather = tmp_path / "gather.yml"
    gather.write_text(yaml.safe_dump([{"hosts": "vllm_nodes:vllm_gateways", "gather_facts": True}]))
    gathered = runs.play("default", gather)
    assert gathered.code == 0, gathered.text
    again = play("site", "--check", "--diff", "-vvv", site_restart_ok=True)
    assert again.code == 0, again.text
    assert again.changed()["engine1"] > 0 and again.changed()["gateway"] > 0
    assert ENGINE_FILE in again.text and "authorization.conf" in again.text
    first = (LAB / "check.log").read_text()
    assert "failed=0" in first and "+++ after" in first
    kept = {path.name: path.read_text() for path in (tmp_path / "facts").iterdir()}
    assert {name.rpartition("_")[2] for name in kept} == set(NODES), (
        "the cache is in use; the collection itself keeps nothing there"
    )
    for where, text in {"first run": first, "this run": again.text, **kept}.items():
        told = {name for name, values in renewed.items() if any(value in text for value in values)}
        assert not told, where


def test_what_tenants_ask_and_get_is_written_nowhere(service: Service, console: Callable[[str], Console]) -> None:
    """Asked well, asked wrongly, and with nonsense in place of JSON; what an engine writes when asked to, the scenario engine shows.

    The one exception is no prompt: for which model a request asked that is not there.
    """
    canary, model = f"canary-{random.token_hex(12)}", f"model-{random.token_hex(12)}"
    client = service.client()
    said = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": f"{canary} in chat"}], max_tokens=4
    )
    done = client.completions.create(model="tiny", prompt=f"{canary} in completions", max_tokens=4)
    assert said.usage and said.usage.completion_tokens and done.usage and done.usage.completion_tokens
    message = {"role": "user", "content": canary}
    wrong = [
        json.dumps({"model": "tiny", "messages": [message], "max_tokens": 10**9}),
        json.dumps({"model": "tiny", "messages": [{"role": canary, "content": {canary: canary}}]}),
        json.dumps({"model": model, "messages": [message]}),
        json.dumps({"model": "tiny", "messages": [message], "response_format": {"type": canary}}),
        json.dumps({"model": "tiny", "messages": [{"role": "user", "content": f"{canary} " * 4000}]}),
        f'{{"model": "tiny", "messages": "{canary}',
    ]
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json", "User-Agent": "canaries"}
    with service.http() as http:
        answers = [http.post("/v1/chat/completions", content=body, headers=headers) for body in wrong]
    assert all(400 <= answer.status_code < 500 for answer in answers), [answer.text for answer in answers]
    log = console("gateway").shell("cat /var/log/hardened-vllm-gateway/*.log")
    assert len(re.findall("/v1/chat/completions", log)) > len(wrong), "the gateway logs that it was asked"
    found = {name: hunt(console(name), {"canary": [canary], "model": [model]}) for name in NODES}
    assert found == {"engine1": {"journal": ["model"]}, "engine2": {}, "gateway": {}}


def test_the_service_user_is_confined(head: Console) -> None:
    score = head.shell(f"systemd-analyze security {UNIT} | tail -n 1")
    assert float(score.split(":")[1].split()[0]) <= 2.0
