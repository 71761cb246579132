"""New keys, drained engines and dead ones, while 50 streams are open and requests keep coming."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from gateway.support import EDGE4, LAB, NAME, Answer, Send, chat, playbook, request
from testinfra.host import Host

MODELS = "GET /v1/models HTTP/1.1"
KEY = LAB / "secrets/tenants/acme/k1.key"


@contextmanager
def traffic(send: Send, key: str, streams: int, events: int) -> Iterator[None]:
    """Keep streams open and requests coming; at the end nothing may be broken, cut short or refused."""
    over = Event()

    def requests() -> set[int | None]:
        statuses: set[int | None] = set()
        while not over.is_set():
            statuses |= {answer.status for answer in send([request(MODELS, key)] * 10)}
        return statuses

    with ThreadPoolExecutor(2) as pool:
        opened: Future[list[Answer]] = pool.submit(send, [chat(key, {"stream": True, "events": events})] * streams)
        asked = pool.submit(requests)
        time.sleep(1)
        try:
            yield
            assert not opened.done(), "the streams were to be open all the time"
        finally:
            over.set()
        for answer in opened.result():
            whole = "".join(f'data: {{"number": {number}}}\n\n' for number in range(events))
            chunks = answer.body.split("\r\n")
            assert "".join(chunks[1::2]) == whole
            assert answer.text.endswith("0\r\n\r\n")
        assert asked.result() == {200}


def engine_of(send: Send, engines: list[Host], key: str) -> int:
    """Return the index of the engine that serves a key's tenant now."""
    for engine in engines:
        engine.check_output("truncate --size=0 /root/record.jsonl")
    assert send([request(MODELS, key)])[0].status == 200
    sizes = [int(engine.check_output("stat --format=%s /root/record.jsonl")) for engine in engines]
    assert sizes.count(0) == 1
    return max((0, 1), key=lambda index: sizes[index])


def seconds_until_good(key: str) -> float:
    """Return how long a key is refused from now on."""
    context = ssl.create_default_context(cafile=str(LAB / "tls" / "ca.pem"))
    context.check_hostname = False
    began = time.monotonic()
    while time.monotonic() - began < 10:
        connection = http.client.HTTPSConnection(EDGE4, timeout=10, context=context)
        connection.request("GET", "/v1/models", headers={"Host": NAME, "Authorization": f"Bearer {key}"})
        if connection.getresponse().status == 200:
            break
    return time.monotonic() - began


def test_new_keys(gateway: Host, send: Send, keys: dict[str, str], tmp_path: Path) -> None:
    old, handed = keys["acme"], tmp_path / "acme.yml"
    password = tmp_path / "password"
    password.write_text("a-password-of-the-vault\n")
    written = ["-e", f"rotate_keys_file={handed}", "-e", f"rotate_vault_password_file={password}"]
    asked = ["-e", "rotate_tenant=acme", "-e", "rotate_grace_hours=0.02"]
    with traffic(send, old, 50, 150):
        run = playbook(*asked, *written, name="playbooks/rotate_keys.yml")
        assert run.returncode == 0, run.stdout
        new = KEY.read_text().strip()
        assert seconds_until_good(new) < 2
        assert new != old
        assert [answer.status for answer in send([request(MODELS, key) for key in (new, old)])] == [200, 200]
        assert old not in run.stdout + run.stderr and new not in run.stdout + run.stderr
        retired = json.loads(KEY.with_name("k1.key.retired").read_text())
        assert time.time() < retired[-1]["expires"], "the run itself took longer than the grace"
        workers = gateway.check_output("pgrep --parent $(cat /run/hardened-vllm-gateway/nginx.pid) --newest")
    assert handed.stat().st_mode & 0o777 == 0o600 and handed.read_text().startswith("$ANSIBLE_VAULT;1.1;AES256")
    shown = subprocess.check_output(["ansible-vault", "view", "--vault-password-file", password, handed], text=True)
    assert shown == f"tenants/acme/k1: {new}\n"
    time.sleep(max(0.0, retired[-1]["expires"] - time.time() + 1))
    assert [answer.status for answer in send([request(MODELS, key) for key in (new, old)])] == [200, 401]
    assert workers in gateway.check_output("pgrep --parent $(cat /run/hardened-vllm-gateway/nginx.pid)"), (
        "without a reload"
    )
    log = gateway.file("/var/log/hardened-vllm-gateway/access.log").content_string
    assert '"key_id":"k1.old"' in log and '"cause":"expired_key"' in log
    again = playbook()
    assert "changed=0" in again.stdout.split("PLAY RECAP")[1], again.stdout


def test_keys_of_nobody_are_not_replaced(keys: dict[str, str]) -> None:
    run = playbook("-e", "rotate_tenant=acm", name="playbooks/rotate_keys.yml")
    assert run.returncode != 0
    assert "Nothing was changed" in run.stdout and "tenants/acme/k1" in run.stdout
    assert KEY.read_text().strip() == keys["acme"]


@pytest.mark.parametrize(
    ("file", "password"),
    [("relative.yml", "{there}/password"), ("{there}/none/x.yml", "{there}/password"), ("{there}/x.yml", "")],
)
def test_a_file_for_new_keys_that_cannot_be_written_changes_nothing(
    keys: dict[str, str], tmp_path: Path, file: str, password: str
) -> None:
    (tmp_path / "password").write_text("a-password-of-the-vault\n")
    words = [f"rotate_keys_file={file}", f"rotate_vault_password_file={password}", "rotate_tenant=acme"]
    told = [word for text in words for word in ("-e", text.format(there=tmp_path))]
    run = playbook(*told, name="playbooks/rotate_keys.yml")
    assert run.returncode != 0 and "Nothing was changed. Found rotate_keys_file=" in run.stdout
    assert KEY.read_text().strip() == keys["acme"]


def drain(node: str, state: str, *more: str) -> str:
    run = playbook("-e", f"drain_node={node}", "-e", f"drain_state={state}", *more, name="playbooks/drain.yml")
    return f"{run.returncode} {run.stdout}"


@pytest.fixture
def all_active() -> Iterator[None]:
    yield
    state = LAB / "secrets/drained"
    if list(state.glob("*")):
        shutil.rmtree(state)
        assert playbook().returncode == 0


@pytest.mark.usefixtures("all_active")
def test_an_engine_is_drained_and_comes_back(send: Send, engines: list[Host], keys: dict[str, str]) -> None:
    place = engine_of(send, engines, keys["acme"])
    busy, other = f"engine{place + 1}", f"engine{2 - place}"
    with traffic(send, keys["acme"], 50, 150):
        impatient = drain(busy, "drained", "-e", "drain_wait_seconds=1")
        assert impatient.startswith("2 ") and "is still busy with old ones" in impatient
        assert engine_of(send, engines, keys["acme"]) != place
    waited = drain(busy, "drained")
    assert waited.startswith("0 ") and "changed=0" in waited.split("PLAY RECAP")[1]
    last = drain(other, "drained")
    assert last.startswith("2 ") and "Nothing was changed" in last
    kept = playbook()
    assert "changed=0" in kept.stdout.split("PLAY RECAP")[1], "another run leaves it drained"
    assert engine_of(send, engines, keys["acme"]) != place
    assert drain(busy, "active").startswith("0 ")
    assert engine_of(send, engines, keys["acme"]) == place


def test_an_engine_that_dies(send: Send, engines: list[Host], keys: dict[str, str]) -> None:
    place = engine_of(send, engines, keys["acme"])
    busy, other = engines[place], engines[1 - place]
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(send, [chat(keys["acme"], {"behave": {"sleep": 2}})] * 5)
        time.sleep(1)
        busy.check_output("systemctl stop recorder")
        try:
            assert {answer.status for answer in under_way.result()} == {502}
            sent = other.check_output("grep --count sleep /root/record.jsonl || true")
            assert sent == "0", "what was sent is not sent again"
            answers = send([chat(keys["acme"], {"model": "x"})] * 40)
            assert {answer.status for answer in answers} == {200}, "what was not sent goes to the other one"
        finally:
            busy.check_output("systemctl start recorder")
