# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release comes to nodes by a bundle, a model from its hub, or not at all; what serves is not touched by one that is spoilt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import runs
from lab.hunt import hunt
from lab.paths import CHECKOUT
from lab.testing import Console

PLAY_SECONDS = 300
UNIT = "hardened-vllm-engine.service"
ENGINES = ("engine1", "engine2")
HERE = Path(__file__).parents[1]
TOKEN = "hf_a-token-of-the-lab"


@pytest.fixture
def play() -> Callable[..., tuple[int, str]]:
    """A function that runs one of the collection's playbooks; returns its exit code and output, each gap in it as one space."""

    def run(name: str, **variables: object) -> tuple[int, str]:
        done = runs.play("bundle", CHECKOUT / "playbooks" / f"{name}.yml", timeout=PLAY_SECONDS, **variables)
        return done.code, re.sub(r"\s+", " ", done.text)

    return run


@pytest.fixture
def serving(console: Callable[[str], Console]) -> Callable[[], list[str]]:
    """A function that returns, for both engines, the release that serves and the id of its process's run."""
    script = f"systemctl is-active {UNIT}; systemctl show -P ExecStart -P InvocationID {UNIT} | grep -o 'engine/[0-9.]*/\\|^[0-9a-f]*$'"
    return lambda: [console(name).shell(script) for name in ENGINES]


@pytest.fixture
def directory(lab_inventory: Path) -> Path:
    """The lab's directory on the controller."""
    return lab_inventory.parents[1]


def test_nodes_without_wheels_or_index_serve_from_the_bundle(
    serving: Callable[[], list[str]], console: Callable[[str], Console]
) -> None:
    assert all("engine/0.30.0/" in run for run in serving())
    assert console("engine2").shell("ls /opt/wheels 2>&1 || true").endswith("No such file or directory\n")
    for name in ENGINES:
        assert console(name).shell("ls -A /opt/hardened-vllm/engine") == "0.30.0\n", "the archive is not left behind"


def test_the_node_that_gathered_keeps_nothing(console: Callable[[str], Console], directory: Path) -> None:
    assert (
        console("engine1")
        .shell("ls -d /var/lib/hardened-vllm/bundle 2>&1 || true")
        .endswith("No such file or directory\n")
    )
    kept = sorted(path.name for path in (directory / "bundle-0.30.0").iterdir())
    assert kept == ["manifest.json", "requirements.lock", "wheels.tar"]


def test_a_second_rollout_changes_nothing(play: Callable, serving: Callable) -> None:
    before = serving()
    code, said = play("site")
    assert code == 0, said
    assert said.count("changed=0 ") == 3, said
    assert serving() == before


def test_without_a_bundle_the_next_release_reaches_no_other_node(play: Callable, serving: Callable) -> None:
    before = serving()
    code, said = play("upgrade", bundle_release="0.31.0")
    assert code != 0
    assert "installing vllm 0.31.0 failed" in said and "/opt/wheels" in said
    assert serving() == before


def test_a_bundle_that_is_not_there_is_named(play: Callable, serving: Callable) -> None:
    before = serving()
    code, said = play("upgrade", bundle_release="0.31.0", bundle_directory="/nowhere", bundle_in_use=True)
    assert code != 0
    assert "There is no file /nowhere/requirements.lock on the controller." in said
    assert serving() == before


def test_a_spoilt_bundle_touches_nothing_and_a_sound_one_serves(
    play: Callable, serving: Callable, directory: Path
) -> None:
    before = serving()
    code, said = play("bundle", bundle_release="0.31.0", bundle_in_use=False)
    assert code == 0, said
    assert re.search(r"1 wheels, 0\.0 MB, of vllm 0\.31\.0 are in \S+/bundle-0\.31\.0\.", said), said
    archive = directory / "bundle-0.31.0" / "wheels.tar"
    sound = archive.read_bytes()
    spoilt = bytearray(sound)
    spoilt[sound.index(b"PK\x03\x04") + 100] ^= 1
    archive.write_bytes(spoilt)
    code, said = play("upgrade", bundle_release="0.31.0")
    assert code != 0
    assert "vllm-0.31.0-py3-none-any.whl in /opt/hardened-vllm/engine/wheels.tar has the SHA-256" in said, said
    assert serving() == before
    archive.write_bytes(sound)
    code, said = play("upgrade", bundle_release="0.31.0")
    assert code == 0, said
    assert all("engine/0.31.0/" in run for run in serving())


MODELS = "/srv/hardened-vllm/models/acme--tiny"
FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture
def hub(console: Callable[[str], Console]) -> Iterator[Callable[[str, str], None]]:
    """A function that has hub and store serve a folder as a revision; the first revision is served again afterwards."""
    shell = console("hub").shell

    def serve(folder: str, revision: str) -> None:
        for unit, more in (("hub", f"8443 https://store.example.org:8444 {TOKEN}"), ("store", "8444")):
            words = f"/opt/standin_hub.py {folder} acme/tiny {revision} /opt/hub.pem /opt/hub.key {more}"
            shell(f"systemctl stop {unit}; systemd-run --unit={unit} /usr/bin/python3 {words}")

    yield serve
    serve(f"/opt/hub/{FIRST}", FIRST)


def test_the_model_of_the_hub_is_what_is_served(console: Callable[[str], Console]) -> None:
    sums = console("hub").shell(f"cd /opt/hub/{FIRST} && sha256sum config.json model.safetensors")
    for name in ENGINES:
        shell = console(name).shell
        assert shell(f"cd {MODELS}/{FIRST} && sha256sum *") == sums, (
            "no code of the model, and nothing else, came along"
        )
        assert f"serve {MODELS}/{FIRST} " in shell(f"systemctl show -P ExecStart {UNIT}")
        kept = shell(f"stat -c '%U %a' {MODELS}/{FIRST} {MODELS}/{FIRST}/model.safetensors; ls -A {MODELS}")
        assert kept == f"root 755\nroot 444\n.lock\n{FIRST}\n"
        assert hunt(console(name), {"token": [TOKEN]}) == {}
    assert "cmdline of python3" in hunt(console("hub"), {"token": [TOKEN]}), (
        "where it is on a command line, it is found"
    )


CALL = "import socket; socket.create_connection(('hub.example.org', 8443), 2)"


def test_the_hub_is_open_to_what_fetches_and_to_no_engine(console: Callable[[str], Console]) -> None:
    shell = console("engine1").shell
    shell(f'/usr/bin/python3 -c "{CALL}"')
    assert "refused" in shell(f'runuser -u vllm -- /usr/bin/python3 -c "{CALL}" 2>&1 || echo refused')


def test_what_fetches_calls_declared_addresses_only(console: Callable[[str], Console]) -> None:
    address = console("engine1").shell("getent hosts hub.example.org").split()[0]
    outcomes = []
    for allowed in ("10.232.2.99/32", f"{address}/32"):
        done = runs.play("bundle", HERE / "elsewhere.yml", timeout=PLAY_SECONDS, elsewhere_destinations=[allowed])
        outcomes.append(
            (done.code == 0, "did not come from https://hub.example.org:8443" in re.sub(r"\s+", " ", done.text))
        )
    assert outcomes == [(False, True), (True, False)]


def test_a_model_that_is_spoilt_touches_nothing_and_the_sound_one_serves(
    play: Callable, serving: Callable, hub: Callable[[str, str], None], console: Callable[[str], Console]
) -> None:
    before = serving()
    release = before[0].split("/")[1]
    # The list is read when the hub begins, and a store of its own has something else.
    hub(f"/opt/hub/{SECOND}", SECOND)
    console("hub").shell(
        "systemctl stop store; systemd-run --unit=store /usr/bin/python3 /opt/standin_hub.py "
        f"/opt/hub/{FIRST} acme/tiny {SECOND} /opt/hub.pem /opt/hub.key 8444"
    )
    code, said = play("upgrade", bundle_release=release, hub_revision=SECOND)
    assert code != 0
    assert "model.safetensors has the sha256" in said, said
    assert TOKEN not in said
    assert serving() == before
    hub(f"/opt/hub/{SECOND}", SECOND)
    code, said = play("upgrade", bundle_release=release, hub_revision=SECOND)
    assert code == 0, said
    for name in ENGINES:
        shell = console(name).shell
        assert f"serve {MODELS}/{SECOND} " in shell(f"systemctl show -P ExecStart {UNIT}")
        assert shell(f"ls {MODELS}").split() == [FIRST, SECOND], "the former one stays for a way back"


def test_what_was_damaged_is_mended_without_a_restart_that_nobody_asked_for(
    play: Callable, serving: Callable, hub: Callable[[str, str], None], console: Callable[[str], Console]
) -> None:
    """A run that dies after the fetch leaves the restart owed."""
    before, shell = serving(), console("engine1").shell
    told = {"bundle_release": before[0].split("/")[1], "hub_revision": SECOND}
    hub(f"/opt/hub/{SECOND}", SECOND)
    shell(f"chmod u+w {MODELS}/{SECOND}/config.json; echo '{{}}' > {MODELS}/{SECOND}/config.json")
    code, said = play("site", **told)
    assert code != 0
    assert f"files in {MODELS}/{SECOND} changed after they were fetched: config.json" in said, said
    assert "Nothing was changed. Engine engine1 runs" in said and "Engine engine2 runs" not in said
    assert shell(f"cat {MODELS}/{SECOND}/config.json") == "{}\n"
    done = runs.play("bundle", CHECKOUT / "playbooks/site.yml", "--tags=engine_install", timeout=PLAY_SECONDS, **told)
    assert done.code == 0, done.text
    assert shell(f"cat {MODELS}/{SECOND}/config.json") != "{}\n"
    assert serving() == before
    code, said = play("site", **told)
    assert code != 0
    assert f"{MODELS}/{SECOND} was replaced after the engine had started" in said, said
    assert serving() == before
    code, said = play("upgrade", **told)
    assert code == 0, said
    assert [one == other for one, other in zip(serving(), before, strict=True)] == [False, True]
    code, said = play("site", **told)
    assert code == 0 and said.count("changed=0 ") == 3, said


def test_a_package_that_was_changed_restarts_nothing_unasked(
    play: Callable, serving: Callable, console: Callable[[str], Console]
) -> None:
    before = serving()
    release = before[0].split("/")[1]
    record = f"/opt/hardened-vllm/engine/{release}/lib/python3*/site-packages/vllm-*.dist-info/RECORD"
    console("engine1").shell(f"for file in {record}; do echo 'added,,' >> $file; done")
    code, said = play("site", bundle_release=release, hub_revision=SECOND)
    assert code != 0
    assert f"packages in /opt/hardened-vllm/engine/{release} changed after the installation: vllm" in said, said
    assert serving() == before
    code, said = play("site", bundle_release=release, hub_revision=SECOND, site_restart_ok=True)
    assert code == 0, said
    assert serving() != before


def test_what_nobody_plans_or_runs_can_be_removed(
    play: Callable, serving: Callable, console: Callable[[str], Console]
) -> None:
    before = serving()
    told = {"bundle_release": before[0].split("/")[1], "hub_revision": SECOND, "prune_models": True}
    there = f"ls /opt/hardened-vllm/engine {MODELS}"
    full = [console(name).shell(there) for name in ENGINES]
    assert all(FIRST in said and "0.30.0" in said for said in full)
    code, said = play("prune", **told)
    assert code == 0 and "Freed 0 bytes (nothing to remove)" in said and said.count("changed=0 ") == 3, said
    done = runs.play(
        "bundle", CHECKOUT / "playbooks/prune.yml", "--check", "--diff", timeout=PLAY_SECONDS, prune_keep=0, **told
    )
    assert done.code == 0, done.text
    assert re.search(rf"remove {MODELS}/{FIRST} \([1-9]\d{{6}} bytes\)", done.text), done.text
    assert f"keep {MODELS}/{SECOND}: planned" in done.text
    assert [console(name).shell(there) for name in ENGINES] == full
    code, said = play("prune", prune_keep=0, **told)
    assert code == 0, said
    for name in ENGINES:
        left = console(name).shell(there)
        assert FIRST not in left and "0.30.0" not in left
        assert SECOND in left and told["bundle_release"] in left
    assert serving() == before
    code, said = play("site", **told)
    assert code == 0 and said.count("changed=0 ") == 3, said


def test_a_reset_takes_the_fetched_model_only_when_asked_to(
    play: Callable, serving: Callable, console: Callable[[str], Console]
) -> None:
    told = {"bundle_release": serving()[0].split("/")[1], "hub_revision": SECOND, "reset_cluster": "bundle"}
    code, said = play("reset", reset_data=True, **told)
    assert code == 0, said
    for name in ENGINES:
        assert SECOND in console(name).shell(f"ls {MODELS}"), "without reset_models it survives"
    console(ENGINES[0]).shell(
        "mkdir -p /srv/hardened-vllm/models/acme--other && touch /srv/hardened-vllm/models/acme--other/weights"
    )
    code, said = play("reset", reset_models=True, **told)
    assert code == 0, said
    first, *others = ENGINES
    assert console(first).shell("find /srv/hardened-vllm -type f").split() == [
        "/srv/hardened-vllm/models/acme--other/weights"
    ]
    for name in others:
        assert console(name).start("test", "-e", "/srv/hardened-vllm").returncode == 1, "nothing of it is left"
    code, said = play("reset", reset_models=True, **told)
    assert code == 0 and said.count("changed=0 ") == 3, said
