# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model from a hub that answers, and from hubs that lie: over real TLS, by the program that does it on a node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import engine_hub_files, engine_model
from ansible_collections.hardened.vllm.plugins.modules import engine_model as module

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))
import standin_systemd  # only found after the line above
from standin_hub import Handler, Hub, entry

REPOSITORY, REVISION = "acme/tiny", "0123456789abcdef0123456789abcdef01234567"
HEADER = json.dumps({"__metadata__": {}}).encode()
WEIGHTS = len(HEADER).to_bytes(8, "little") + HEADER + bytes(range(256)) * 8000
FILES = {
    "config.json": b'{"architectures": []}',
    "model.safetensors": WEIGHTS,
    "tokenizer/vocab.txt": b"a\nb\n",
    "README.md": b"not wanted",
    ".gitattributes": b"not wanted",
    "modeling_tiny.py": b"raise SystemExit('code')",
    "pytorch_model.bin": b"\x80\x04pickle",
}
KEPT = ["config.json", "model.safetensors", "tokenizer/vocab.txt"]
TOKEN = "hf_example-token"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Certificate and key for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = str(folder / "hub.pem"), str(folder / "hub.key")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=hub", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", *words, *names, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def hub(
    pair: tuple[str, str], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    units = tmp_path_factory.mktemp("systemd")
    standin_systemd.write(units, standin_systemd.AS_IT_IS)
    monkeypatch.setenv("PATH", f"{units}:{os.environ['PATH']}")
    monkeypatch.setenv("SSL_CERT_FILE", pair[0])
    monkeypatch.setattr(engine_model, "PAUSE_SECONDS", 0)
    found = Hub(("127.0.0.1", 0), pair, REPOSITORY, REVISION).start()
    found.files = dict(FILES)
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def other(pair: tuple[str, str]) -> Iterator[Hub]:
    """Another host: what a redirect leads to."""
    found = Hub(("127.0.0.1", 0), pair, REPOSITORY, REVISION).start()
    found.files = dict(FILES)
    yield found
    found.shutdown()
    found.server_close()


def wanted(hub: Hub, tmp_path: Path, **more: Any) -> engine_model.Wanted:
    values: dict[str, Any] = {"endpoint": hub.url, "python": sys.executable, "stall": 5, "timeout": 60, **more}
    return engine_model.Wanted(REPOSITORY, REVISION, str(tmp_path / "models" / "acme--tiny" / REVISION), **values)


def elsewhere(other: Hub) -> str:
    """The address of another host than the hub's."""
    return other.url.replace("localhost", "127.0.0.1")


def refused(order: engine_model.Wanted, says: str) -> None:
    """The fetch fails, says why, and leaves nothing in place."""
    with pytest.raises(engine_model.ModelError, match=says):
        engine_model.fetch(order)
    assert not Path(order.path).exists()


def test_what_is_fetched_is_what_was_promised_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    order = wanted(hub, tmp_path)
    assert "does not exist" in str(engine_model.why_fetch(order))
    found = engine_model.fetch(order)
    assert sorted(found) == KEPT
    for name in KEPT:
        path = Path(order.path, name)
        assert path.read_bytes() == FILES[name]
        assert path.stat().st_mode & 0o777 == 0o444
    assert engine_model.why_fetch(order, thorough=True) is None
    assert sorted(path.name for path in Path(order.folder).iterdir()) == [engine_model.LOCK, REVISION]
    asked = [path for path, _token, _range in hub.asked]
    assert not [path for path in asked if path.endswith((".py", ".bin", ".md", ".gitattributes"))]


FETCH = """
import sys
from ansible_collections.hardened.vllm.plugins.module_utils import engine_model
engine_model.PAUSE_SECONDS = 0
revision, path, endpoint, timeout = sys.argv[1:]
wanted = engine_model.Wanted("acme/tiny", revision, path, endpoint, sys.executable, stall=60, timeout=float(timeout))
try:
    found = engine_model.fetch(wanted)
except engine_model.ModelError as problem:
    sys.exit(str(problem))
print("nothing" if found is None else sorted(found))
"""


def fetching(order: engine_model.Wanted, timeout: float = 60) -> subprocess.Popen[str]:
    """A process that fetches, as another node that shares the filesystem does."""
    argv = [sys.executable, "-c", FETCH, order.revision, order.path, order.endpoint, str(timeout)]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_who_shares_the_directory_waits_and_finds_the_model_in_place(hub: Hub, tmp_path: Path) -> None:
    order, begun, go = wanted(hub, tmp_path), threading.Event(), threading.Event()

    def slow(_handler: Handler, _content: bytes) -> bool:
        begun.set()
        go.wait(30)
        return False

    hub.spoil["model.safetensors"] = slow
    first = fetching(order)
    assert begun.wait(30)
    second, third = fetching(order), fetching(order, timeout=0.2)
    said = third.communicate(timeout=30)[1]
    assert third.returncode == 1
    assert (
        "another run has been fetching into" in said and "bytes of this revision have come so far. Wait for it" in said
    )
    time.sleep(6)
    assert second.poll() is None, "five seconds were what it had once"
    go.set()
    assert first.communicate(timeout=30)[0].strip() == str(KEPT)
    assert second.communicate(timeout=30)[0].strip() == "nothing"
    assert len(hub.asked) == 1 + len(KEPT), "one of them has fetched"
    assert engine_model.why_fetch(order, thorough=True) is None


def test_a_look_fetches_nothing(hub: Hub, tmp_path: Path) -> None:
    order = wanted(hub, tmp_path)
    assert sorted(engine_model.look(order)) == KEPT
    assert len(hub.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_wrong_checksum_is_refused_and_what_serves_stays(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.spoil[name] = lambda handler, content: handler.answer(content[:-1] + b"!") is None
    order = wanted(hub, tmp_path)
    refused(order, f"{name} has the (git|sha256) [0-9a-f]+, the hub promised")
    hub.spoil.clear()
    engine_model.fetch(order)
    assert engine_model.why_fetch(order) is None


@pytest.mark.parametrize(
    "name",
    ["../evil.json", "/etc/evil.json", "a/../../evil.json", "a//b.json", "a\\..\\evil.json", "a\nb.json", "./a.json"],
)
def test_names_that_lead_out_of_the_directory_are_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.files[name] = b"{}"
    refused(wanted(hub, tmp_path), "could lead out of the model's directory; nothing was fetched")
    assert len(hub.asked) == 1


def test_odd_names_are_left_out_and_refused_of_weights(hub: Hub, tmp_path: Path) -> None:
    hub.files["docs/my prompt.txt"] = b"hello"
    assert sorted(engine_model.look(wanted(hub, tmp_path))) == KEPT
    hub.files["a b.safetensors"] = b"{}"
    refused(wanted(hub, tmp_path), "expected letters, digits")
    del hub.files["a b.safetensors"]
    hub.files["config.json/x.json"] = b"{}"
    refused(wanted(hub, tmp_path), "as a file and as a directory")


def test_pickle_only_is_refused_and_explained(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    hub.files["pytorch_model.bin.index.json"] = b"{}"
    refused(wanted(hub, tmp_path), "no weights in safetensors, only pytorch_model.bin. Only that format is loaded")


def test_a_pickle_by_the_name_of_safetensors_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files["model.safetensors"] = b"\x80\x04" + WEIGHTS
    refused(wanted(hub, tmp_path), "model.safetensors is no safetensors file")


@pytest.mark.parametrize("shard", ["pytorch_model-1.bin", "missing.safetensors", "../../other/model.safetensors", 7])
def test_an_index_that_needs_what_is_not_there_ends_it_before_the_weights(hub: Hub, tmp_path: Path, shard: Any) -> None:
    hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": {"layer": shard}}).encode()
    refused(wanted(hub, tmp_path), "model.safetensors.index.json (needs|is no index)")
    assert not [path for path, _token, _range in hub.asked if path.endswith("/model.safetensors")]


def test_too_long_a_file_is_cut_off(hub: Hub, tmp_path: Path) -> None:
    hub.spoil["config.json"] = lambda handler, content: handler.answer(content + b"x" * 50_000_000) is None
    refused(wanted(hub, tmp_path), "longer than the 21 bytes the hub promised")


def half(handler: Handler, content: bytes) -> bool:
    """Give half of what is asked for and hang up."""
    if handler.headers.get("Range"):
        return False
    handler.answer(content[: len(content) // 2], len(content))
    handler.close_connection = True
    return True


def test_a_short_body_is_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    hub.spoil["model.safetensors"] = half
    order = wanted(hub, tmp_path)
    engine_model.fetch(order)
    assert Path(order.path, "model.safetensors").read_bytes() == WEIGHTS
    assert [asked[2] for asked in hub.asked if asked[0].endswith("model.safetensors")] == [
        None,
        f"bytes={len(WEIGHTS) // 2}-",
    ]


def test_a_run_that_failed_is_gone_on_with_by_the_next(hub: Hub, tmp_path: Path) -> None:
    hub.spoil["model.safetensors"] = lambda handler, content: half(handler, content) or handler.send_error(503) is None
    order = wanted(hub, tmp_path)
    refused(order, "model.safetensors did not come from .*: status 503. What came is kept")
    hub.spoil.clear()
    hub.asked.clear()
    engine_model.fetch(order)
    assert [path.rpartition("/")[2] for path, _token, _range in hub.asked[1:]] == ["model.safetensors"]
    assert hub.asked[1][2] == f"bytes={len(WEIGHTS) // 2}-"


def test_a_hub_that_hangs_is_given_up(hub: Hub, tmp_path: Path) -> None:
    hub.spoil["config.json"] = lambda _handler, _content: time.sleep(30) is None
    begun = time.monotonic()
    refused(wanted(hub, tmp_path, stall=0.3), "config.json did not come from .*: .*timed out")
    assert time.monotonic() - begun < 15


def test_a_hub_that_drips_is_given_up(hub: Hub, tmp_path: Path) -> None:
    def drip(handler: Handler, content: bytes) -> bool:
        handler.answer(b"", len(content))
        for _time in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.2)
        return True

    hub.spoil["model.safetensors"] = drip
    refused(wanted(hub, tmp_path, timeout=3), "still running after 8 seconds")


def test_a_redirect_to_a_declared_host_is_followed_without_the_token(hub: Hub, other: Hub, tmp_path: Path) -> None:
    hub.store, hub.token = elsewhere(other), TOKEN
    order = wanted(hub, tmp_path, token=TOKEN, hosts=["127.0.0.1"])
    engine_model.fetch(order)
    assert {token for _path, token, _range in hub.asked} == {f"Bearer {TOKEN}"}
    assert [token for _path, token, _range in other.asked] == [None]
    assert engine_model.why_fetch(order) is None


def test_python_itself_would_send_the_token_along(hub: Hub, other: Hub) -> None:
    hub.store = elsewhere(other)
    address = f"{hub.url}/{REPOSITORY}/resolve/{REVISION}/model.safetensors"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310 the test's own hub
    urllib.request.urlopen(request).read()  # noqa: S310
    assert [token for _path, token, _range in other.asked] == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_elsewhere_is_not_followed(hub: Hub, other: Hub, tmp_path: Path, status: int) -> None:
    target = elsewhere(other)
    hub.spoil["model.safetensors"] = lambda handler, _content: handler.redirect(target + handler.path, status) is None
    refused(wanted(hub, tmp_path, token=TOKEN), "leads to https://127.0.0.1, which is not declared")
    assert other.asked == []


@pytest.mark.parametrize(
    "target",
    [
        "http://localhost:1/x",
        "ftp://localhost/x",
        "file:///etc/passwd",
        "https://localhost:1/x",
        "https://localhost@127.0.0.1:1/x",
        "https://localhost:port/x",
        "https://[::1/x",
    ],
)
def test_a_redirect_off_https_or_in_disguise_is_not_followed(hub: Hub, tmp_path: Path, target: str) -> None:
    hub.spoil["config.json"] = lambda handler, _content: handler.redirect(target) is None
    hosts = [] if target.startswith("https") else ["localhost"]
    refused(wanted(hub, tmp_path, hosts=hosts), "which is not declared|status 302|address that is none")


def test_redirects_in_a_circle_end(hub: Hub, tmp_path: Path) -> None:
    hub.spoil["config.json"] = lambda handler, _content: handler.redirect(handler.path) is None
    refused(wanted(hub, tmp_path), "status 302")


def test_a_certificate_nobody_vouches_for_is_refused(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    refused(wanted(hub, tmp_path, token=TOKEN), "certificate is not trusted")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("listing", "says"),
    [
        (lambda told: {**told, "sha": "f" * 40}, "the hub answered with 'f+'"),
        (lambda told: {**told, "siblings": None}, "no list of a model's files"),
        (lambda _told: [[[]]], "no list of a model's files"),
        (lambda told: {**told, "siblings": told["siblings"] * 2}, "some twice"),
        (lambda told: {**told, "pad": "x" * (33 << 20)}, "longer than"),
        (lambda told: {**told, "siblings": [{"rfilename": "m.safetensors"}]}, "no size and checksum for m.safetensors"),
        (
            lambda told: {**told, "siblings": [{**entry("m.safetensors", b""), "lfs": {"sha256": "x", "size": 1}}]},
            "no size",
        ),
        (lambda told: {**told, "siblings": [{**entry("m.safetensors", b""), "lfs": None, "size": -1}]}, "no size"),
        (lambda told: {**told, "siblings": [{"rfilename": 7}]}, "could lead out"),
    ],
)
def test_lists_that_make_no_sense_are_refused(hub: Hub, tmp_path: Path, listing: Any, says: str) -> None:
    hub.listing = listing
    refused(wanted(hub, tmp_path), says)


def test_too_little_space_is_told_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    refused(wanted(hub, tmp_path, bytes_spare=10**18), "too little free space")
    assert len(hub.asked) == 1


def test_without_its_token_a_closed_repository_says_what_is_missing(hub: Hub, tmp_path: Path) -> None:
    hub.token = TOKEN
    refused(wanted(hub, tmp_path), "status 401. The repository is closed to this node: give a token")


def test_the_token_is_left_nowhere(hub: Hub, tmp_path: Path) -> None:
    hub.spoil["model.safetensors"] = lambda handler, _content: handler.send_error(404) is None
    refused(wanted(hub, tmp_path, token=TOKEN), "status 404")
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert holding == []


def test_another_digest_than_declared_is_refused(hub: Hub, tmp_path: Path) -> None:
    refused(wanted(hub, tmp_path, digest="0" * 64), "has the digest [0-9a-f]{64}, declared is 0{64}")
    right = engine_model.digest_of(engine_model.fetch(wanted(hub, tmp_path)))
    order = wanted(hub, tmp_path, digest=right)
    assert engine_model.why_fetch(order) is None
    said = subprocess.run(["sha256sum", *KEPT], cwd=order.path, check=True, capture_output=True).stdout
    assert engine_hub_files.hashlib.sha256(said).hexdigest() == right
    assert "declared is 1" in str(engine_model.why_fetch(wanted(hub, tmp_path, digest="1" * 64)))


def test_what_changed_later_is_noticed_and_alone_fetched_again(hub: Hub, tmp_path: Path) -> None:
    order = wanted(hub, tmp_path)
    engine_model.fetch(order)
    config, kept = Path(order.path, "config.json"), Path(order.path, "model.safetensors").stat().st_ino
    times = config.stat()
    config.write_bytes(FILES["config.json"].replace(b"[]", b"{}"))
    os.utime(config, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert str(engine_model.why_fetch(order)).endswith("changed after they were fetched: config.json")
    hub.asked.clear()
    engine_model.fetch(order)
    assert config.read_bytes() == FILES["config.json"]
    assert [path.rpartition("/")[2] for path, _token, _range in hub.asked[1:]] == ["config.json"]
    assert Path(order.path, "model.safetensors").stat().st_ino == kept


@pytest.mark.parametrize("harm", ["writable", "link", "missing"])
def test_harm_to_a_directory_is_noticed(hub: Hub, tmp_path: Path, harm: str) -> None:
    order = wanted(hub, tmp_path)
    engine_model.fetch(order)
    weights = Path(order.path, "model.safetensors")
    if harm == "writable":
        weights.chmod(0o646)
    elif harm == "link":
        weights.rename(tmp_path / "moved")
        weights.symlink_to(tmp_path / "moved")
    else:
        weights.unlink()
    assert engine_model.why_fetch(order)
    engine_model.fetch(order)
    assert engine_model.why_fetch(order, thorough=True) is None


def test_what_is_in_place_is_looked_at_without_the_hub_when_it_shall_not_be_asked(hub: Hub, tmp_path: Path) -> None:
    order = wanted(hub, tmp_path)
    engine_model.fetch(order)
    Path(order.path, "config.json").unlink()
    hub.asked.clear()
    params = {name: option.get("default") for name, option in module.argument_spec().items()}
    params |= {"repository": REPOSITORY, "revision": REVISION, "path": order.path, "endpoint": hub.url}
    result = module.have({**params, "ask": False}, check_mode=True)
    assert result["changed"] and result["reason"].endswith("changed after they were fetched: config.json")
    assert hub.asked == []
    assert not Path(order.path, "config.json").exists()


def test_another_time_with_the_same_content_is_no_reason(hub: Hub, tmp_path: Path) -> None:
    order = wanted(hub, tmp_path)
    engine_model.fetch(order)
    hub.asked.clear()
    for name in KEPT:
        os.utime(Path(order.path, name))
    assert engine_model.why_fetch(order) is None
    assert hub.asked == []


def test_what_somebody_else_put_there_is_never_removed(hub: Hub, tmp_path: Path) -> None:
    order = wanted(hub, tmp_path)
    engine_model.fetch(order)
    added = Path(order.path, "adapters", "lora.safetensors")
    added.parent.mkdir()
    added.write_text("mine")
    assert engine_model.why_fetch(order) is None
    assert engine_model.strangers(order.path) == ["adapters/lora.safetensors"]
    Path(order.path, "config.json").unlink()
    for step in (engine_model.look, engine_model.fetch):
        with pytest.raises(engine_model.ModelError, match=r"would remove adapters/lora\.safetensors"):
            step(order)
    assert added.read_text() == "mine"


@pytest.mark.parametrize("manifest", [None, "[]"])
def test_a_directory_without_a_manifest_is_left_alone(hub: Hub, tmp_path: Path, manifest: str | None) -> None:
    order = wanted(hub, tmp_path)
    mine = Path(order.path, "mine.safetensors")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    if manifest is not None:
        Path(order.path, engine_model.MANIFEST).write_text(manifest)
    assert engine_model.why_fetch(order)
    with pytest.raises(engine_model.ModelError, match="without a manifest of ours"):
        engine_model.fetch(order)
    assert mine.read_text() == "mine"
    mine.unlink()
    if manifest is None:
        engine_model.fetch(order)


def test_a_link_in_the_place_of_the_directory_is_refused(hub: Hub, tmp_path: Path) -> None:
    order = wanted(hub, tmp_path)
    engine_model.fetch(order)
    Path(order.path).rename(tmp_path / "larger")
    Path(order.path).symlink_to(tmp_path / "larger")
    (tmp_path / "larger/config.json").unlink()
    with pytest.raises(engine_model.ModelError, match="is a symbolic link"):
        engine_model.fetch(order)
    assert (tmp_path / "larger/model.safetensors").exists()


def test_weights_are_read_when_it_is_thorough(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_model, "SMALL", 1000)
    order = wanted(hub, tmp_path)
    engine_model.fetch(order)
    weights = Path(order.path, "model.safetensors")
    times = weights.stat()
    weights.chmod(0o644)
    with weights.open("r+b") as handle:
        handle.seek(1000)
        handle.write(b"!")
    weights.chmod(0o444)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert engine_model.why_fetch(order) is None
    assert "model.safetensors" in str(engine_model.why_fetch(order, thorough=True))


@pytest.mark.parametrize("destinations", [["10.20.9.8/32"], None])
def test_it_may_call_destinations_or_the_hubs_hosts(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, destinations: list[str] | None
) -> None:
    held: list[Any] = []

    def run(
        argv: list[str], blocks: Any, timeout: float, _scratch: str, purpose: str, properties: Any, hosts: list[str]
    ) -> str:
        held.append((blocks, purpose, hosts))
        assert "ProtectSystem=strict" in properties
        return str(engine_model.commands.run(argv, timeout))

    monkeypatch.setattr(engine_model.engine_confined, "run", run)
    order = wanted(hub, tmp_path, destinations=destinations, hosts=["files.example.org"])
    engine_model.look(order)
    engine_model.fetch(order)
    assert held == [(destinations, "model", ["localhost", "files.example.org"])] * 2
