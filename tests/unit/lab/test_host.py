# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from lab import assets, kernel, labs, namespace, networks, paths, spec
from lab.commands import run, succeeds
from lab.errors import LabError
from lab.host import LABEL_CHECKOUT, LABEL_DIGEST, ulimit_flags
from lab.namespace import mount_type
from lab.progress import Progress

HYBRID = """\
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (HYBRID, "tmpfs"),
        (HYBRID + "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "cgroup2"),
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "cgroup2"),
        ("proc /proc proc rw 0 0\n", None),
    ],
)
def test_the_hierarchy_is_read_from_the_last_mount(mounts: str, expected: str | None) -> None:
    assert mount_type(mounts) == expected


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((20000, 96365, 32768), ["--ulimit=nofile=20000:20000", "--ulimit=nproc=32768:32768"]),
        ((-1, -1, 4194304), ["--ulimit=nofile=1048576:1048576", "--ulimit=nproc=1048576:1048576"]),
        ((524288, 5000, 32768), ["--ulimit=nofile=524288:524288", "--ulimit=nproc=5000:5000"]),
    ],
)
def test_no_limit_is_above_what_the_host_has(limits: tuple[int, int, int], expected: list[str]) -> None:
    assert ulimit_flags(*limits) == expected


def test_a_failed_command_says_what_ran_its_code_its_last_words_and_the_remedy() -> None:
    with pytest.raises(LabError) as error:
        run([sys.executable, "-c", "print('first'); raise SystemExit('last word')"], remedy="do that")
    for words in ("exit code 1", sys.executable, "| first", "| last word", "To mend it: do that"):
        assert words in str(error.value)


def test_a_missing_program_and_an_endless_one_are_errors_too() -> None:
    with pytest.raises(LabError, match="'no-such-program' was not found"):
        run(["no-such-program"], remedy="-")
    with pytest.raises(LabError, match="no end after 0 s"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], remedy="-", timeout=0.2)
    assert not succeeds(["no-such-program"])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kernel, "RUNTIME", tmp_path / "run")
    monkeypatch.setattr(kernel, "SYSCTL", tmp_path / "sys")
    for name in kernel.NAMES:
        paths.write_file(tmp_path / "sys" / name, "0\n")
    return tmp_path


def test_kernel_values_are_put_back_even_after_an_error(machine: Path) -> None:
    forwarding = machine / "sys" / kernel.NAMES[0]
    with pytest.raises(RuntimeError), kernel.values_kept():
        forwarding.write_text("1\n")
        raise RuntimeError
    assert forwarding.read_text().strip() == "0"
    assert not (machine / "run" / "kernel.json").exists()


def test_what_a_killed_run_changed_is_put_back_by_the_next(machine: Path) -> None:
    forwarding = machine / "sys" / kernel.NAMES[0]
    forwarding.write_text("1\n")
    paths.write_file(machine / "run" / "kernel.json", json.dumps({kernel.NAMES[0]: "0"}))
    kernel.put_back()
    assert forwarding.read_text().strip() == "0"


@pytest.mark.parametrize(("before", "meanwhile"), [("128", "4096"), ("8192", "8192")])
def test_the_limit_of_inotify_is_raised_while_there_are_labs(machine: Path, before: str, meanwhile: str) -> None:
    limit = machine / "sys" / kernel.LIMIT
    paths.write_file(limit, f"{before}\n")
    kernel.raise_limit()
    kernel.raise_limit()
    assert limit.read_text().strip() == meanwhile
    kernel.lower_limit()
    kernel.lower_limit()
    assert limit.read_text().strip() == before


def test_a_file_is_written_once_and_with_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "file"
    assert paths.write_file(file, "text", 0o600)
    assert not paths.write_file(file, "text", 0o600)
    assert paths.write_file(file, "other", 0o640)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("other", 0o640)
    assert list(file.parent.iterdir()) == [file]


class _Builder:
    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.calls = 0

    def __call__(self, directory: Path) -> None:
        self.calls += 1
        directory.mkdir()
        (directory / "content").write_text(str(self.calls))
        if self.fails:
            raise LabError("broken", "-")


def test_an_asset_is_built_once_and_again_when_its_recipe_changes(tmp_path: Path) -> None:
    build, target = _Builder(), tmp_path / "models" / "thing"
    progress = Progress()
    assert assets.ensure(target, "one", build, progress)
    assert not assets.ensure(target, "one", build, progress)
    assert assets.ensure(target, "two", build, progress)
    assert (target / "content").read_text() == "2"
    assert sorted(path.name for path in target.parent.iterdir()) == [".thing.lock", "thing"]


def test_a_broken_build_leaves_the_old_asset_and_is_done_again(tmp_path: Path) -> None:
    target = tmp_path / "thing"
    assets.ensure(target, "one", _Builder(), Progress())
    with pytest.raises(LabError):
        assets.ensure(target, "two", _Builder(fails=True), Progress())
    assert (target / "content").read_text() == "1"
    assert assets.is_current(target, "one")
    assets.ensure(target, "two", _Builder(), Progress())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".thing.lock", "thing"]


@pytest.mark.parametrize(("monitors", "kept"), [([], False), ([(7, False)], True), ([(7, True)], True)])
def test_podman_reads_anew_what_runs_only_where_nothing_runs(
    monitors: list[tuple[int, bool]], kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [tmp_path / name for name in ("alive", "leases")]
    for name, state in zip(("PODMAN_ALIVE", "LEASES"), states, strict=True):
        state.touch()
        monkeypatch.setattr(namespace, name, state)
    monkeypatch.setattr(namespace, "_monitors", lambda: iter(monitors))
    namespace.forget_lost_containers()
    assert [state.exists() for state in states] == [kept, kept]


@pytest.mark.parametrize(
    ("checkout", "state", "refused"),
    [("there", "running", True), ("there", "exited", False), ("deleted", "running", False)],
)
def test_only_a_lab_in_use_elsewhere_is_refused(
    checkout: str, state: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    found = labs.LabState("default", str(tmp_path / checkout), {"engine1": state})
    monkeypatch.setattr(labs, "listing", lambda _host: [found])
    if refused:
        with pytest.raises(LabError, match="of another checkout is up"):
            labs._refuse_foreign(None, "default")  # type: ignore[arg-type]  # the listing is replaced above
    else:
        labs._refuse_foreign(None, "default")  # type: ignore[arg-type]  # the listing is replaced above


@pytest.mark.parametrize(("checkout", "current"), [(str(paths.CHECKOUT), True), ("/srv/elsewhere", False)])
def test_networks_of_another_checkout_are_made_anew(
    checkout: str, current: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = spec.load(paths.CHECKOUT / "molecule/lab/specs/demo.yml")
    found = [
        {
            "name": networks.full_name("demo", name),
            "labels": {LABEL_DIGEST: networks._digest(network), LABEL_CHECKOUT: checkout},
        }
        for name, network in demo.networks.items()
    ]
    monkeypatch.setattr(networks, "existing", lambda _host, _lab: found)
    assert networks.is_current(None, demo) is current  # type: ignore[arg-type]  # the listing is replaced above


def test_the_namespace_stays_while_another_command_works_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(namespace, "USE", tmp_path / "lock")
    at_work = namespace._Use()
    at_work.hold()
    ending = namespace._Use()
    ending.hold()
    assert not ending.alone()
    del at_work
    assert ending.alone()
