# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles made and installed for real, then spoilt in every way that could reach a node."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import (
    commands,
    engine_bundle,
    engine_confined,
    engine_pip,
    engine_venv,
)
from ansible_collections.hardened.vllm.plugins.plugin_utils import lock

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))
from standin_wheel import write  # only found after the line above

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="installing asks the interpreter as another user"),
    pytest.mark.usefixtures("without_network"),
]


def order(wheels: Path, **more: object) -> engine_bundle.Order:
    source = engine_pip.Source(find_links=str(wheels))
    values: dict = {"package": "vllm", "version": "0.32.0", "base_python": sys.executable, **more}
    return engine_bundle.Order(source=source, **values)


@pytest.fixture(scope="module")
def made(public: Path) -> Path:
    wheels = public / "wheels"
    write(wheels, "0.32.0+cpu")
    write(wheels, "1.5", "other_thing")
    engine_bundle.make(order(wheels, requirements=["other-thing==1.5"]), str(public / "made"))
    return public / "made"


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A bundle that a test may spoil."""
    return shutil.copytree(made, tmp_path / "bundle")


def unpack(bundle: Path, base_python: str = sys.executable) -> list[str]:
    folder = bundle / "out"
    engine_bundle.unpack(str(bundle / "wheels.tar"), str(folder), base_python)
    return sorted(path.name for path in folder.iterdir())


@dataclass
class Archive:
    """An archive taken apart: its manifest, and the content of everything else by name."""

    manifest: dict
    content: dict[str, bytes]


def repack(bundle: Path, change: Callable[[Archive], None]) -> None:
    """Write the archive anew after ``change`` has had it."""
    path = bundle / "wheels.tar"
    with tarfile.open(path) as old:
        content = {name: old.extractfile(name).read() for name in old.getnames()}
    archive = Archive(json.loads(content.pop("manifest.json")), content)
    change(archive)
    with tarfile.open(path, "w") as new:
        for name, data in {"manifest.json": json.dumps(archive.manifest).encode(), **archive.content}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))


def test_a_bundle_holds_every_wheel_with_its_hash(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == ["manifest.json", "requirements.lock", "wheels.tar"]
    manifest = json.loads((made / "manifest.json").read_text())
    assert [wheel["name"] for wheel in manifest["wheels"]] == [
        "other_thing-1.5-py3-none-any.whl",
        "vllm-0.32.0+cpu-py3-none-any.whl",
    ]
    assert manifest["bytes"] == sum(wheel["bytes"] for wheel in manifest["wheels"])
    lines = lock.read((made / "requirements.lock").read_text(), "vllm", "0.32.0")
    assert [line.split(" ")[0] for line in lines] == ["other-thing==1.5", "vllm==0.32.0+cpu"]


def test_the_same_wheels_give_the_same_bytes(made: Path, public: Path) -> None:
    again = public / "again"
    engine_bundle.make(order(public / "wheels", requirements=["other-thing==1.5"]), str(again))
    for name in ("manifest.json", "requirements.lock", "wheels.tar"):
        assert (again / name).read_bytes() == (made / name).read_bytes()


def test_a_release_is_installed_from_a_bundle_alone(made: Path, public: Path) -> None:
    lines = lock.read((made / "requirements.lock").read_text(), "vllm", "0.32.0")
    wanted = engine_venv.Wanted(
        package="vllm",
        version="0.32.0",
        root=str(public / "engine"),
        base_python=sys.executable,
        user="nobody",
        archive=str(made / "wheels.tar"),
        requirements=lines,
    )
    engine_venv.build(wanted)
    assert engine_venv.why_build(wanted) is None
    assert sorted(path.name for path in (public / "engine").iterdir()) == ["0.32.0"]


def test_a_wheel_that_fits_its_manifest_but_not_the_lock_is_not_installed(bundle: Path, public: Path) -> None:
    """The manifest travels with the wheels, so whoever changed one can change both; the lock stays with the controller."""
    lines = lock.read((bundle / "requirements.lock").read_text(), "vllm", "0.32.0")
    write(public / "evil", "0.32.0+cpu", behaviour="evil")
    write(public / "evil", "1.5", "other_thing")
    engine_bundle.make(order(public / "evil", requirements=["other-thing==1.5"]), str(public / "spoilt"))
    wanted = engine_venv.Wanted(
        package="vllm",
        version="0.32.0",
        root=str(public / "victim"),
        base_python=sys.executable,
        user="nobody",
        archive=str(public / "spoilt" / "wheels.tar"),
        requirements=lines,
    )
    with pytest.raises(engine_pip.InstallError, match="DO NOT MATCH THE HASHES"):
        engine_venv.build(wanted)
    assert list((public / "victim").iterdir()) == []


def spoilt_wheel(archive: Archive) -> None:
    archive.content["vllm-0.32.0+cpu-py3-none-any.whl"] += b"!"


def lost_wheel(archive: Archive) -> None:
    del archive.content["vllm-0.32.0+cpu-py3-none-any.whl"]


def other_machine(archive: Archive) -> None:
    archive.manifest["machine"] = "riscv64"


def other_format(archive: Archive) -> None:
    archive.manifest["format"] = 99


def climbing(archive: Archive) -> None:
    archive.manifest["wheels"][0]["name"] = "../../climbing-1.0-py3-none-any.whl"


def shapeless(archive: Archive) -> None:
    archive.manifest["wheels"] = [17]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            spoilt_wheel,
            r"vllm-0\.32\.0\+cpu-py3-none-any\.whl in \S+ has the SHA-256 \w{64}, its manifest says \w{64};",
        ),
        (lost_wheel, r"lacks vllm-0\.32\.0\+cpu-py3-none-any\.whl, which its manifest lists$"),
        (
            other_machine,
            r"was made for Python 3\.\d+ on riscv64, but \S+ here is Python 3\.\d+ on \w+; make the bundle on",
        ),
        (other_format, "is no bundle of this collection: it does not begin with a manifest of format 1;"),
        (climbing, "is no bundle of this collection"),
        (shapeless, "is no bundle of this collection"),
    ],
)
def test_a_spoilt_bundle_is_refused(bundle: Path, change: Callable, message: str) -> None:
    repack(bundle, change)
    with pytest.raises(engine_pip.InstallError, match=message):
        unpack(bundle)


def test_what_the_manifest_does_not_list_is_left_in_the_archive(bundle: Path) -> None:
    repack(bundle, lambda archive: archive.content.update({"../../escaped": b"x", "unlisted-1-py3-none-any.whl": b"x"}))
    assert unpack(bundle) == ["other_thing-1.5-py3-none-any.whl", "vllm-0.32.0+cpu-py3-none-any.whl"]
    assert not list(bundle.parent.glob("escaped"))


@pytest.mark.parametrize("content", [b"", b"no archive", b"\0" * 10240])
def test_what_is_no_archive_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "wheels.tar").write_bytes(content)
    with pytest.raises(engine_pip.InstallError, match=r"wheels\.tar is (damaged|no bundle)"):
        unpack(bundle)


def test_a_shortened_archive_is_refused(bundle: Path) -> None:
    archive = bundle / "wheels.tar"
    archive.write_bytes(archive.read_bytes()[:-11_000])
    with pytest.raises(engine_pip.InstallError, match=r"is damaged: |has the SHA-256|lacks "):
        unpack(bundle)


def test_a_missing_archive_is_named(bundle: Path) -> None:
    (bundle / "wheels.tar").unlink()
    with pytest.raises(engine_pip.InstallError, match=r"unpacking \S+: \S+wheels\.tar: No such file"):
        unpack(bundle)


def test_a_release_that_cannot_be_fetched_leaves_nothing(public: Path) -> None:
    folder = public / "nothing"
    with pytest.raises(
        engine_pip.InstallError, match=r"fetching vllm 0\.99\.0 failed: (.|\n)*No matching distribution"
    ):
        engine_bundle.make(order(public / "wheels", version="0.99.0"), str(folder))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("source", "whom"),
    [
        ({"destinations": ["198.51.100.7/32"], "find_links": "/w"}, (["198.51.100.7/32"], [])),
        ({"find_links": "/w"}, ([], [])),
        ({"index_url": "https://user:hush@index.example.org/simple"}, (None, ["index.example.org"])),
        (
            {"index_url": "https://pypi.org/simple", "find_links": "/w", "index_hosts": ["cdn.example.org"]},
            (None, ["pypi.org", "files.pythonhosted.org", "cdn.example.org"]),
        ),
    ],
)
def test_pip_may_call_those_of_its_source_alone(
    public: Path, monkeypatch: pytest.MonkeyPatch, source: dict[str, Any], whom: tuple[Any, Any]
) -> None:
    held: list[tuple[Any, Any]] = []

    def confined(argv: list[str], destinations: Any, _timeout: float, _scratch: str, hosts: list[str]) -> str:
        held.append((destinations, hosts))
        raise commands.CommandError(f"{argv[0]}: this host does not hold the installer back")

    monkeypatch.setattr(engine_confined, "run", confined)
    folder = public / "held"
    with pytest.raises(engine_pip.InstallError, match="does not hold the installer back"):
        engine_bundle.make(replace(order(public), source=engine_pip.Source(**source)), str(folder))
    assert held == [whom]
    assert not folder.exists()


@pytest.mark.parametrize(
    ("configuration", "hosts"),
    [
        ("", ["pypi.org", "files.pythonhosted.org"]),
        (
            "[global]\nextra-index-url = https://two.example.org/simple\nproxy = proxy.example.org:3128\n",
            ["pypi.org", "files.pythonhosted.org", "two.example.org", "proxy.example.org"],
        ),
        (
            "[global]\nindex-url = https://user:hush@one.example.org/simple\nextra-index-url = http://two.example.org:8080/simple\n"
            "    http://10.0.0.7/simple\nproxy = http://proxy.example.org:3128\ntrusted-host = three.example.org\n",
            ["one.example.org", "two.example.org", "10.0.0.7", "proxy.example.org"],
        ),
    ],
)
def test_the_hosts_of_pip_conf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configuration: str, hosts: list[str]
) -> None:
    (tmp_path / "pip.conf").write_text(configuration)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    found = engine_pip.hosts_of(sys.executable, engine_pip.Source())
    # The machine that runs this may have a pip.conf of its own.
    assert sorted(set(hosts) - set(found)) == []


def test_a_quote_in_a_password_does_not_hide_the_host() -> None:
    source = engine_pip.Source(index_url="https://user:it's@one.example.org/simple")
    assert engine_pip.hosts_of(sys.executable, source) == ["one.example.org"]


def test_no_part_of_a_password_is_left_in_an_error(tmp_path: Path) -> None:
    """An @ in it is written as it is now and then, and pip takes that."""
    error = engine_pip.failure("pip", str(tmp_path), "https://user:hush@more@one.example.org/simple/x@y: not found")
    assert str(error) == "pip failed: https://one.example.org/simple/x@y: not found"


def test_a_directory_in_use_is_not_touched(public: Path) -> None:
    folder = public / "used"
    folder.mkdir()
    (folder / "kept").write_text("yes")
    with pytest.raises(engine_pip.InstallError, match=r"cannot make \S+/used: File exists"):
        engine_bundle.make(order(public / "wheels"), str(folder))
    assert (folder / "kept").read_text() == "yes"
