# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The installer's unit: what it is given, and that it runs nothing on a host that would not hold it back."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_confined

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))
import standin_systemd  # only found after the line above

ANSWERS = {
    "index.example.org": ["10.0.0.5", "fd00::5"],
    "files.example.org": ["10.0.0.6"],
    "metadata.example.org": ["169.254.169.254", "fe80::1%eth0"],
    "proxy.example.org": ["10.0.0.9"],
    "10.0.0.7": ["10.0.0.7"],
}


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return standin_systemd.write(tmp_path, standin_systemd.NO_NETWORK)


@pytest.fixture
def unfiltered(notes: Path) -> Path:
    """A host that drops nothing."""
    return standin_systemd.write(notes.parent, standin_systemd.UNFILTERED)


def python(code: str) -> list[str]:
    return ["/usr/bin/python3", "-c", code]


@pytest.mark.parametrize(("purpose", "held"), [("install", "the installer"), ("model", "what fetches the model")])
@pytest.mark.usefixtures("unfiltered")
def test_where_packets_are_not_dropped_nothing_runs(tmp_path: Path, purpose: str, held: str) -> None:
    made = tmp_path / "made"
    with pytest.raises(commands.CommandError, match=f"does not hold {held} back to what purpose {purpose} may call"):
        engine_confined.run(python(f"open({str(made)!r}, 'w')"), ["10.0.0.0/8"], 30, str(tmp_path), purpose)
    assert not made.exists()


def test_where_they_are_it_runs_with_the_declared_destinations_only(notes: Path, tmp_path: Path) -> None:
    found = engine_confined.run(python("print('installed')"), ["10.0.0.5/32", "fd00::/64"], 30, str(tmp_path))
    assert found == "installed\n"
    words = notes.read_text().splitlines()
    assert "--property=IPAddressDeny=any" in words
    allowed = [word.rpartition("=")[2] for word in words if "IPAddressAllow" in word]
    assert allowed == ["10.0.0.5/32", "fd00::/64", "127.0.0.53/32"]


def test_who_may_call_nobody_has_no_network(notes: Path, tmp_path: Path) -> None:
    assert engine_confined.run(python("print('installed')"), [], 30, str(tmp_path)) == "installed\n"
    words = notes.read_text().splitlines()
    assert "--property=PrivateNetwork=yes" in words
    assert [word for word in words if "IPAddress" in word] == []


@pytest.mark.usefixtures("unfiltered")
def test_where_there_is_no_other_network_nothing_runs(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(commands.CommandError, match=r"PrivateNetwork= has no effect. Nothing was fetched"):
        engine_confined.run(python(f"open({str(made)!r}, 'w')"), [], 30, str(tmp_path))
    assert not made.exists()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server's answers, and no proxy."""

    def answer(host: str, _port: None, **_more: Any) -> list[tuple[Any, ...]]:
        if host not in ANSWERS:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (address, 0)) for address in ANSWERS[host]]

    monkeypatch.setattr(engine_confined.socket, "getaddrinfo", answer)
    for kind in ("http", "https", "all"):
        monkeypatch.delenv(f"{kind}_proxy", raising=False)
        monkeypatch.delenv(f"{kind.upper()}_PROXY", raising=False)


@pytest.mark.usefixtures("names")
def test_named_hosts_are_looked_up_before_and_are_all_it_knows(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://user:hush@proxy.example.org:3128")
    monkeypatch.setenv("no_proxy", "index.example.org")
    hosts = ["index.example.org", "files.example.org", "10.0.0.7", "unknown.example.org", "metadata.example.org"]
    code = python("print('installed')")
    assert engine_confined.run(code, None, 30, str(tmp_path), hosts=hosts) == "installed\n"
    words = notes.read_text().splitlines()
    assert "--property=IPAddressDeny=any" in words
    allowed = [word.rpartition("=")[2] for word in words if "IPAddressAllow" in word]
    assert allowed == ["10.0.0.5", "fd00::5", "10.0.0.6", "10.0.0.7", "10.0.0.9"]
    for name in ("hosts", "nsswitch.conf"):
        assert f"--property=BindReadOnlyPaths={tmp_path}/{name}:/etc/{name}" in words
    assert (tmp_path / "hosts").read_text().splitlines()[2:] == [
        "10.0.0.5 index.example.org",
        "fd00::5 index.example.org",
        "10.0.0.6 files.example.org",
        "10.0.0.9 proxy.example.org",
    ]
    assert "hosts: files\n" in (tmp_path / "nsswitch.conf").read_text()


@pytest.mark.usefixtures("names", "notes")
def test_who_fails_is_told_whom_it_may_call(tmp_path: Path) -> None:
    hosts = ["index.example.org", "unknown.example.org"]
    may = r"index.example.org \(10.0.0.5, fd00::5\), unknown.example.org \(unknown here\) and nobody else"
    with pytest.raises(commands.CommandError, match=f"no such package\n.*{may}.*install.index_hosts"):
        engine_confined.run(python("raise SystemExit('no such package')"), None, 30, str(tmp_path), hosts=hosts)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("hosts", [["unknown.example.org"], ["metadata.example.org"], []])
def test_without_an_address_nothing_runs(notes: Path, tmp_path: Path, hosts: list[str]) -> None:
    with pytest.raises(commands.CommandError, match=r"finds no address for .*Nothing was fetched"):
        engine_confined.run(python(""), None, 30, str(tmp_path), hosts=hosts)
    assert not notes.exists()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://user:hush@Index.example.org:8443/simple", "index.example.org"),
        ("proxy.example.org:3128", "proxy.example.org"),
        ("http://[fd00::5]:8080/", "fd00::5"),
        ("http://[fd00::5/", ""),
        ("", ""),
    ],
)
def test_hosts_of_addresses(url: str, host: str) -> None:
    assert engine_confined.host_of(url) == host


@pytest.mark.usefixtures("notes")
def test_what_it_says_when_it_fails_is_kept(tmp_path: Path) -> None:
    with pytest.raises(commands.CommandError, match=r"^/usr/bin/python3 -c (.|\n)*no such package"):
        engine_confined.run(python("raise SystemExit('no such package')"), ["10.0.0.0/8"], 30, str(tmp_path))


def test_credentials_go_by_the_file_and_not_by_the_command_line(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:hush@10.0.0.5/simple")
    engine_confined.run(python(""), ["10.0.0.5/32"], 30, str(tmp_path))
    assert "hush" not in notes.read_text()
    assert "hush" in (tmp_path / "confined.env").read_text()


def test_values_of_the_environment_are_quoted() -> None:
    hostile = {"PIP_INDEX_URL": 'a"b\\c$d`e f', "SECRET": "no", "https_proxy": "http://p:1"}
    text = engine_confined.environment(hostile)
    assert text.splitlines()[1:] == ['https_proxy="http://p:1"']
    # What systemd.exec(5) unquotes in double quotes, a shell does too.
    script = f'{text.splitlines()[0]}; printf %s "$PIP_INDEX_URL"'
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout == hostile["PIP_INDEX_URL"]
