# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook as an operator runs it: what it writes, what it leaves alone, what it finds on a host nobody declared."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit.support import ROOT
from lab import runs
from lab.testing import Console

# A login writes these; it is the operator's, not the audit's. Services with a private /tmp that a timer starts come and go
# below /var/tmp.
TRACES = (
    r"^/(?:proc|sys|dev|run|tmp)(?:/|$)|^/var/log/(?:journal|wtmp|lastlog|btmp)|^/var/lib/systemd/linger|^/var/tmp$"
)
MARK = "zq7xmark"
PROMPT = f"a prompt {MARK} that nobody else shall read"
# Twice: each engine has it once.
PROMPTS = """
import http.client, json, ssl, sys
body = json.dumps({"model": "stand-in", "prompt": sys.argv[1], "user": sys.argv[1]})
headers = {"Authorization": "Bearer " + sys.stdin.read().strip(), "Content-Type": "application/json"}
for _ in range(2):
    client = http.client.HTTPSConnection("10.231.3.20", context=ssl._create_unverified_context())
    client.request("POST", "/v1/completions", body, {**headers, "Host": "gateway.example.org"})
    answer = client.getresponse()
    answer.read()
    print(answer.status)
"""
SNAPSHOT = r"""
find / -xdev -printf '%p %y %m %U:%G %s %T@ %C@\n' | sort
systemctl list-unit-files --type=service,socket,timer,path,mount,target --no-pager --no-legend
systemctl list-units --type=service --all --no-pager --no-legend --plain 'llm*' 'dash*' 'hardened*' | grep -v watch | tr -s ' '
nft -s list ruleset
sysctl -a 2> /dev/null | grep -v -e random -e '^fs\.' -e nf_conntrack_count -e pty.nr -e perf_event -e ns_last_pid
getent passwd
"""


def snapshot(node: Console) -> list[str]:
    """The whole of a host, as lines."""
    return [line for line in node.shell(SNAPSHOT).splitlines() if not re.search(TRACES, line.split(" ")[0])]


@pytest.fixture(scope="module")
def run(console: Callable[[str], Console], request: pytest.FixtureRequest) -> dict[str, Any]:
    """A whole run, with every node's state before and after it."""
    names = ("foreign", "engine1", "gateway")
    key = (request.getfixturevalue("directory") / "secrets/tenants/acme/k1.key").read_text()
    prompted = console("observer").run("python3", "-c", PROMPTS, PROMPT, given=key)
    before = {name: snapshot(console(name)) for name in names}
    place, text = request.getfixturevalue("reports")
    after = {name: snapshot(console(name)) for name in names}
    return {
        "before": before,
        "prompted": prompted,
        "after": after,
        "place": place,
        "text": text,
        "result": json.loads((place / "report.json").read_text()),
    }


@pytest.mark.parametrize("name", ["foreign", "engine1", "gateway"])
def test_the_host_is_as_it_was(run: dict[str, Any], name: str) -> None:
    ours = "^/var/log/(hardened-vllm-gateway|nginx/)"  # servers log the requests the audit made
    before, after = ([line for line in run[when][name] if not re.search(ours, line)] for when in ("before", "after"))
    assert set(after) ^ set(before) == set()


def test_the_foreign_host_is_found_out(run: dict[str, Any]) -> None:
    found = {one["control"] for one in run["result"]["findings"] if one["host"] == "foreign"}
    # Dev mode, key in argv, remote code, Ray's dashboard, docker's port, old release, root, reached from outside.
    assert {
        "ENG-01",
        "ENG-05",
        "ENG-08",
        "ENG-14",
        "ENG-17",
        "NET-10",
        "VER-01",
        "OUT-01",
        "OUT-02",
        "OUT-03",
        "OUT-05",
    } <= found


def test_what_a_proxy_lets_through_in_disguise_is_found(run: dict[str, Any]) -> None:
    """It refuses /invocations, and passes //invocations on as what it means."""
    evidence = json.loads((run["place"] / "evidence.json").read_text())
    answers = [one for seen in evidence["routes"] for one in seen["answers"] if one["port"] == 8081]
    plain = [one["status"] for one in answers if (one["path"], one["form"]) == ("/invocations", "plain")]
    assert set(plain) == {403}
    found = {one["place"]: one["evidence"] for one in run["result"]["findings"] if one["control"] == "OUT-02"}
    for path in ("/invocations", "/tokenize"):
        assert "disguise doubled slash: status 200" in " ".join(found[f"POST {path} at 10.231.3.60 port 8081"])


def test_a_published_port_is_followed_into_its_namespace(run: dict[str, Any]) -> None:
    """Its number says nothing; the process behind it does."""
    found = {one["place"]: one["found"] for one in run["result"]["findings"] if one["host"] == "foreign"}
    assert found["tcp 9000 at 10.231.3.60, observer (observer)"] == "tcp 9000 open, a socket of vllm"
    assert "POST /invocations at 10.231.3.60 port 9000" in found
    units = {one["unit"] for host in run["result"]["hosts"] if host["name"] == "foreign" for one in host["servers"]}
    assert units >= {"llm.service", "llm-boxed.service"}


def test_the_cluster_beside_it_is_good(run: dict[str, Any]) -> None:
    left = [
        one for one in run["result"]["findings"] if one["host"] not in ("foreign", "stranger") and not one["waived"]
    ]
    assert left == []


def test_monitors_look_and_find_their_door_only(run: dict[str, Any]) -> None:
    assert ("monitor", "monitor") in {(one["name"], one["standing"]) for one in run["result"]["places"]}
    rows = [row for row in run["result"]["matrix"] if row["host"] in ("engine1", "engine2", "gateway")]
    seen = {(row["host"], row["name"]) for row in rows if row["cells"].get("monitor", {}).get("is") == "open"}
    assert seen == {("gateway", "monitor")}
    passed = {(one["control"], one["host"]) for one in run["result"]["outcomes"] if one["outcome"] == "passed"}
    assert ("GW-02", "gateway") in passed


def test_a_gateway_looks_at_the_tls_of_its_engines(run: dict[str, Any]) -> None:
    passed = {(one["control"], one["host"]) for one in run["result"]["outcomes"] if one["outcome"] == "passed"}
    assert {("GW-11", "engine1"), ("GW-11", "engine2")} <= passed


def test_a_server_somebody_left_running_is_found_as_well(run: dict[str, Any]) -> None:
    """It has no unit of its own, only the session of the login that started it."""
    servers = [one for host in run["result"]["hosts"] if host["name"] == "foreign" for one in host["servers"]]
    assert any((one["unit"] or "").startswith("session-") for one in servers), servers
    places = {
        one["place"] for one in run["result"]["findings"] if one["host"] == "foreign" and one["control"] == "OUT-03"
    }
    for port in (5700, 8100):
        assert f"tcp {port} at 10.231.3.60, observer (observer)" in places


def test_no_prompt_is_in_what_is_written(run: dict[str, Any]) -> None:
    assert run["prompted"].split() == ["200"] * 2, "the engines did not get the prompt"
    texts = {path.name: path.read_text() for path in run["place"].iterdir()} | {"terminal": run["text"]}
    assert not [name for name, text in texts.items() if MARK in text]


def test_no_secret_is_in_what_is_written(run: dict[str, Any], directory: Path) -> None:
    secrets = [path.read_text().strip() for path in (directory / "secrets").rglob("*.key")]
    secrets += [
        "sk-foreign-0123456789abcdef",
        "hf_abcdefghijklmnopqrstuvwxyz",
        (directory / "tls/server.key").read_text().splitlines()[1],
    ]
    texts = {path.name: path.read_text() for path in run["place"].iterdir()} | {"terminal": run["text"]}
    assert len(texts) >= 7
    for name, text in texts.items():
        assert not [secret for secret in secrets if secret in text], name


def test_the_commands_of_the_page_hold_the_files_against_their_digests(run: dict[str, Any]) -> None:
    page = (ROOT / "docs/audit.md").read_text()
    check, verify = re.search(r"`(sha256sum [^`]+)`", page), re.search(r"^(ssh-keygen -Y verify .+)$", page, re.M)
    assert check is not None and verify is not None
    place = run["place"].parent
    (place / "reports").symlink_to(run["place"])
    assert subprocess.run(["sh", "-c", check[1]], cwd=run["place"], check=False).returncode == 0
    assert subprocess.run(["sh", "-c", verify[1]], cwd=place, check=False).returncode == 0


@pytest.mark.parametrize(("host", "threshold", "code"), [
    ("foreign", "error", 2),
    ("foreign", "never", 0),
    ("stranger", "warning", 0),
])  # fmt: skip
def test_the_threshold_decides_how_the_run_ends(lab_name: str, host: str, threshold: str, code: int) -> None:
    options = ("--tags=audit_look", f"--limit={host}")
    done = runs.play(lab_name, ROOT / "playbooks/audit.yml", *options, timeout=200, audit_fail_on=threshold)
    assert done.code == code, done.text
    assert ("finding(s) of severity error or worse" in done.text) is (code != 0)


def test_the_digests_are_those_of_the_files(run: dict[str, Any]) -> None:
    listed = dict(reversed(line.split("  ")) for line in (run["place"] / "SHA256SUMS").read_text().splitlines())
    assert listed == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run["place"].iterdir()
        if path.name not in ("SHA256SUMS", "SHA256SUMS.sig")
    }


def test_the_list_of_digests_is_signed(run: dict[str, Any]) -> None:
    place = run["place"]
    verify = ["ssh-keygen", "-Y", "verify", "-I", "auditor", "-n", "hardened.vllm.audit"]
    verify += ["-f", str(place.parent / "allowed_signers"), "-s", str(place / "SHA256SUMS.sig")]
    text = (place / "SHA256SUMS").read_bytes()
    assert subprocess.run(verify, input=text, check=False).returncode == 0
    assert subprocess.run(verify, input=text.replace(b"0", b"1", 1), check=False).returncode != 0


def test_a_host_that_cannot_be_reached_is_not_checked_and_stops_nothing(lab_name: str, tmp_path: Path) -> None:
    gone = {"ansible_host": "10.231.2.99", "ansible_ssh_common_args": "-o ConnectTimeout=3"}
    (tmp_path / "gone.json").write_text(json.dumps({"all": {"hosts": {"gone": gone}}}))
    options = ("--tags=audit_look", f"--inventory={tmp_path / 'gone.json'}", "--limit=gone,engine1")
    done = runs.play(
        lab_name, ROOT / "playbooks/audit.yml", *options, timeout=200, audit_report_dir=str(tmp_path / "out")
    )
    assert done.code == 0, done.text
    result = json.loads((tmp_path / "out/report.json").read_text())
    outcomes = {
        name: {one["outcome"] for one in result["outcomes"] if one["host"] == name} for name in ("gone", "engine1")
    }
    assert outcomes["gone"] <= {"not checked", "not applicable"}
    assert "passed" in outcomes["engine1"]
    assert [(one["host"], one["part"]) for one in result["missing"]] == [("gone", "host")]
