# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way there and back of the engine's files. systemd is a recorder here; the scenario uses the real one."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import (
    batch,
    commands,
    engine_quadlet,
    engine_unit,
    files,
    placement,
)
from ansible_collections.hardened.vllm.plugins.module_utils.engine_generation import Kept
from ansible_collections.hardened.vllm.plugins.modules import engine_generation

UNIT = "hardened-vllm-engine.service"
ABSENT = engine_unit.Unit(UNIT, "not-found", "inactive", "dead", "success", 0, 0, False, False)
RUNNING = engine_unit.Unit(UNIT, "loaded", "active", "running", "success", 0, 0, True, False)
KEY = "abcdefghijklmnopqrstuvwxyz0123456789"
ME = {"owner": str(os.geteuid()), "group": str(os.getegid())}


@dataclass
class Node:
    """A directory with units, the state of the engine's unit and the commands that were run."""

    root: Path
    unit: engine_unit.Unit = ABSENT
    ran: list[str] = field(default_factory=list)
    refused: str = ""
    check_mode: bool = False
    _diff: bool = True
    params: dict = field(default_factory=dict)

    @property
    def kept(self) -> Kept:
        return Kept(str(self.root / "state" / "before.json"))

    def run(self, argv: list[str], timeout: float = 0) -> str:
        assert timeout > 0
        self.ran.append(" ".join(argv[:2]))
        if self.refused and self.refused in argv:
            raise commands.CommandError(f"{self.refused}: refused")
        return ""

    def stage(self, content: str = "new", key: str = KEY, restart: bool = False, manifests: tuple = ()) -> dict:
        unit = {"path": str(self.root / UNIT), "content": content, "mode": "0644", **ME}
        secrets = {"path": str(self.root / "secrets.yaml"), "content": 'api-key: "@secret:upstream@"\n'}
        entries = [unit, {**secrets, "mode": "0640", **ME}]
        self.params = {"state": "staged", "unit": UNIT, "kept": str(self.root / "state" / "before.json"), "stop": True}
        self.params |= {
            "quadlet": False,
            "directories": [],
            "files": entries,
            "secrets": {"upstream": key},
            "restart": restart,
            "manifests": list(manifests),
            "start_seconds": 0,
        }
        return engine_generation.staged(self, self.kept)

    def renew(self, pem: str, unit: str = "old", refused: str = "") -> dict:
        self.refused = refused
        served = {
            "path": str(self.root / "tls.pem"),
            "content": "@secret:tls_key@\ncertificate\n",
            "mode": "0640",
            **ME,
        }
        entry = {"path": str(self.root / UNIT), "content": unit, "mode": "0644", **ME}
        self.params = {"state": "staged", "unit": UNIT, "kept": str(self.root / "state" / "before.json"), "stop": True}
        self.params |= {
            "quadlet": False,
            "directories": [],
            "files": [entry, {**served, "live": True, "secret": True}],
            "secrets": {"tls_key": pem},
            "restart": False,
            "manifests": [],
            "start_seconds": 0,
        }
        return engine_generation.staged(self, self.kept)

    def restore(self, stop: bool = True) -> dict:
        self.params = {**self.params, "state": "restored", "stop": stop}
        return engine_generation.restored(self, self.kept)

    def works(self) -> None:
        """Bring the node to a first state that is proven and runs."""
        self.stage("old", KEY)
        engine_generation.proven(self, self.kept)
        self.unit = RUNNING
        self.ran.clear()

    def text(self, name: str) -> str:
        return (self.root / name).read_text()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    made = Node(tmp_path)
    monkeypatch.setattr(engine_generation, "UNITS", str(tmp_path))
    monkeypatch.setattr(commands, "run", made.run)
    monkeypatch.setattr(engine_unit, "show", lambda _name: made.unit)
    return made


def test_a_first_state_is_staged_and_can_be_taken_back(node: Node) -> None:
    result = node.stage()
    assert result["changed"]
    assert result["restart_needed"]
    assert node.ran == ["systemd-analyze verify", "systemctl daemon-reload", "systemctl enable"]
    node.unit = RUNNING
    assert node.restore() == {"changed": True, "startable": False, "progress": "ready"}
    assert sorted(path.name for path in node.root.iterdir()) == ["state"]
    assert not node.kept.exists()


def test_what_is_unchanged_and_runs_needs_nothing(node: Node) -> None:
    node.works()
    result = node.stage("old")
    assert (result["changed"], result["restart_needed"], result["diff"]) == (False, False, [])
    assert node.ran == []
    assert not node.kept.exists()


@pytest.mark.parametrize(
    ("unit", "restart"),
    [(replace(RUNNING, active="inactive", sub="dead"), False), (RUNNING, True)],
    ids=["it does not run", "something else is new"],
)
def test_unchanged_files_need_a_restart_too_when(node: Node, unit: engine_unit.Unit, restart: bool) -> None:
    node.works()
    node.unit = unit
    result = node.stage("old", restart=restart)
    assert (result["changed"], result["restart_needed"]) == (False, True)


def test_what_was_put_in_place_after_the_start_is_owed_a_restart_until_there_was_one(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever run put it there: one that died before its restart leaves nothing else behind."""
    node.works()
    (node.root / ".model.partial").mkdir()
    placement.place(str(node.root / ".model.partial"), str(node.root / "model"), "manifest.json", {"format": 1})
    manifests = (str(node.root / "model/manifest.json"), str(node.root / "none/manifest.json"))
    for seconds, replaced in ((60.0, [str(node.root / "model")]), (0.0, []), (0.001, [])):
        monkeypatch.setattr(engine_unit, "age", lambda _name, seconds=seconds: seconds)
        time.sleep(0.01)
        result = node.stage("old", manifests=manifests)
        assert (result["replaced"], result["restart_needed"]) == (replaced, bool(replaced))
    assert node.stage("old")["replaced"] == []


def test_a_change_keeps_the_former_state_private_until_it_is_proven(node: Node) -> None:
    node.works()
    node.stage("new", KEY.upper())
    kept = node.root / "state" / "before.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    engine_generation.proven(node, node.kept)
    assert not kept.exists()
    assert KEY.upper() in node.text("secrets.yaml")


def test_the_former_state_comes_back_with_its_key_and_modes(node: Node) -> None:
    node.works()
    node.stage("new", KEY.upper())
    assert node.restore()["startable"]
    assert node.text(UNIT) == "old"
    assert node.text("secrets.yaml") == f'api-key: "{KEY}"\n'
    assert stat.S_IMODE((node.root / "secrets.yaml").stat().st_mode) == 0o640
    assert node.ran[-2:] == ["systemctl stop", "systemctl daemon-reload"]


def test_going_back_before_any_restart_does_not_stop_what_runs(node: Node) -> None:
    node.works()
    node.stage("new")
    node.ran.clear()
    assert node.restore(stop=False)["startable"]
    assert node.ran == ["systemctl daemon-reload"]


def test_an_interrupted_run_goes_on_from_the_last_proven_state(node: Node) -> None:
    node.works()
    node.stage("never proven")
    result = node.stage("never proven")
    assert (result["changed"], result["restart_needed"]) == (True, True)
    node.stage("another one")
    node.restore()
    assert node.text(UNIT) == "old"


def test_a_unit_that_systemd_refuses_changes_nothing(node: Node) -> None:
    node.works()
    node.refused = "systemd-analyze"
    with pytest.raises(batch.Failed, match=r"systemd-analyze: refused\nAll files are as they were before\."):
        node.stage("new", KEY.upper())
    assert node.text(UNIT) == "old"
    assert KEY in node.text("secrets.yaml")
    assert not node.kept.exists()


def test_check_mode_touches_nothing(node: Node) -> None:
    node.check_mode = True
    assert node.stage()["changed"]
    assert list(node.root.iterdir()) == []
    assert node.ran == []


def test_the_diff_does_not_show_keys(node: Node) -> None:
    node.works()
    shown = str(node.stage("new", KEY.upper())["diff"])
    assert "<secret upstream changed>" in shown
    assert KEY not in shown
    assert KEY.upper() not in shown


@pytest.mark.parametrize("key", ["-begins-with-a-dash-0123456789", 'a"quote', "two\nlines", "a b", "back\\slash", "ü"])
def test_a_key_that_vllm_could_not_read_is_refused_unseen(node: Node, key: str) -> None:
    with pytest.raises(files.FileProblem, match="secret upstream: vLLM could not read it") as caught:
        node.stage("new", key)
    assert key not in str(caught.value)
    assert list(node.root.iterdir()) == []


def test_a_damaged_note_is_named(node: Node) -> None:
    (node.root / "state").mkdir()
    (node.root / "state" / "before.json").write_text("{")
    with pytest.raises(files.FileProblem, match=r"before\.json: the note of the former state is damaged"):
        node.kept.states()


@pytest.fixture
def certified(node: Node) -> Node:
    """A node whose engine has a file it reads again by itself."""
    node.renew("-----BEGIN\nfirst\n")
    engine_generation.proven(node, node.kept)
    node.unit = RUNNING
    return node


def test_what_the_engine_reads_again_itself_is_written_in_place_and_asks_for_no_restart(certified: Node) -> None:
    file = certified.root / "tls.pem"
    before = file.stat().st_ino
    for pem in ("-----BEGIN\na longer second\n", "-----BEGIN\n3\n"):
        result = certified.renew(pem)
        assert (result["changed"], result["restart_needed"]) == (True, False)
        assert "second" not in str(result["diff"]) and "secret content changed" in str(result["diff"])
        assert (file.read_text(), file.stat().st_ino) == (f"{pem}\ncertificate\n", before)
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        assert not certified.kept.exists()
    assert certified.renew("-----BEGIN\n3\n")["changed"] is False


def test_a_refused_unit_leaves_the_served_file_as_it_was_and_where_it_was(certified: Node) -> None:
    file = certified.root / "tls.pem"
    before = file.stat().st_ino
    with pytest.raises(batch.Failed):
        certified.renew("-----BEGIN\nnext\n", unit="new", refused="systemd-analyze")
    assert (file.read_text(), file.stat().st_ino) == ("-----BEGIN\nfirst\n\ncertificate\n", before)


def test_with_another_unit_both_come_back(certified: Node) -> None:
    assert certified.renew("-----BEGIN\nnext\n", unit="new")["restart_needed"]
    certified.restore()
    assert certified.text("tls.pem") == "-----BEGIN\nfirst\n\ncertificate\n"
    assert certified.text(UNIT) == "old"


def test_what_a_running_engine_reads_again_comes_back_in_place(certified: Node) -> None:
    """Another node failed to stage: this one's engine runs on, and would lose sight of a file that is renamed over."""
    file = certified.root / "tls.pem"
    before = file.stat().st_ino
    certified.renew("-----BEGIN\nnext\n", unit="new")
    certified.restore(stop=False)
    assert (file.read_text(), file.stat().st_ino) == ("-----BEGIN\nfirst\n\ncertificate\n", before)


def quadlet(node: Node, content: str) -> dict:
    """Stage the engine as a Quadlet."""
    entry = {
        "path": str(node.root / "quadlets" / "hardened-vllm-engine.container"),
        "content": content,
        "mode": "0644",
        **ME,
    }
    node.params = {"state": "staged", "unit": UNIT, "quadlet": True, "kept": str(node.root / "state" / "before.json")}
    node.params |= {
        "directories": [],
        "files": [entry],
        "secrets": {},
        "manifests": [],
        "restart": False,
        "start_seconds": 0,
        "stop": True,
    }
    return engine_generation.staged(node, node.kept)


@pytest.fixture
def quadlets(node: Node, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = node.root / "quadlets"
    place.mkdir()
    monkeypatch.setattr(engine_quadlet, "QUADLETS", str(place))
    return place


def test_a_quadlet_takes_the_place_of_a_unit_and_gives_it_back(node: Node, quadlets: Path) -> None:
    node.works()
    result = quadlet(node, "User=@uid:root@\nGroup=@gid:root@\n")
    assert result["restart_needed"]
    assert (quadlets / "hardened-vllm-engine.container").read_text() == "User=0\nGroup=0\n"
    assert not (node.root / UNIT).exists(), "systemd would take it before what the generator makes"
    assert node.ran == ["systemctl disable", " ".join(engine_quadlet.CHECK), "systemctl daemon-reload"]
    node.ran.clear()
    assert node.restore() == {"changed": True, "startable": True, "progress": "ready"}
    assert node.text(UNIT) == "old"
    assert list(quadlets.iterdir()) == []
    assert node.ran == ["systemctl stop", "systemctl daemon-reload", "systemctl enable"]


def test_a_unit_takes_the_place_of_a_quadlet_and_its_container_goes(
    node: Node, quadlets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_quadlet, "PODMAN", "/bin/true")
    node.unit = replace(RUNNING, enabled=False)
    quadlet(node, "[Container]\n")
    engine_generation.proven(node, node.kept)
    node.ran.clear()
    node.stage("new")
    assert list(quadlets.iterdir()) == []
    assert "systemctl enable" in node.ran
    engine_generation.proven(node, node.kept)
    assert node.ran[-1] == "/bin/true rm"


@pytest.mark.usefixtures("quadlets")
def test_a_quadlet_is_not_enabled_and_a_second_run_changes_nothing(node: Node) -> None:
    node.unit = replace(RUNNING, enabled=False)
    quadlet(node, "[Container]\n")
    engine_generation.proven(node, node.kept)
    node.ran.clear()
    assert quadlet(node, "[Container]\n")["changed"] is False
    assert node.ran == []


@pytest.mark.usefixtures("quadlets")
def test_a_quadlet_of_which_no_unit_is_made_is_said(node: Node) -> None:
    with pytest.raises(commands.CommandError, match="podman's generator made no unit of it"):
        quadlet(node, "[Container]\n")


@pytest.mark.usefixtures("quadlets")
def test_an_account_that_is_not_there_is_said_but_not_in_check_mode(node: Node) -> None:
    with pytest.raises(files.FileProblem, match="user nosuchuser does not exist"):
        quadlet(node, "User=@uid:nosuchuser@\n")
    node.check_mode = True
    assert quadlet(node, "User=@uid:nosuchuser@\n")["changed"]
