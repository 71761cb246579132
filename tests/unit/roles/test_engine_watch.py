# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watch of an engine takes for silence, and how often it restarts."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support import tls, unix

SCRIPT = Path(__file__).resolve().parents[3] / "roles/engine/files/etc/hardened-vllm/engine/watch.py"
SPEC = importlib.util.spec_from_file_location("engine_watch", SCRIPT)
assert SPEC and SPEC.loader
watch = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(watch)

LIMITS = {"failures": 2, "restarts": 2, "window_seconds": 1000}


class Engine(BaseHTTPRequestHandler):
    """An engine of two ranks; ``answers`` holds by rank a status and tokens, None for no answer in time."""

    answers: ClassVar[dict[int, tuple[int, int] | None]] = {}
    counted: ClassVar[dict[int, int]] = {}
    moving: ClassVar[set[int]] = set()
    keys: ClassVar[set[str]] = set()
    server: ClassVar[ThreadingHTTPServer]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.add(self.headers["Authorization"])
        answer = self.answers[int(self.headers.get("X-data-parallel-rank", 0))]
        if answer is None:
            threading.Event().wait(0.6)
            return
        self.send(answer[0], json.dumps({"usage": {"completion_tokens": answer[1]}}))

    def do_GET(self) -> None:
        for rank in self.moving:
            self.counted[rank] += 1
        lines = [f'vllm:generation_tokens_total{{engine="{rank}"}} {count}' for rank, count in self.counted.items()]
        self.send(200, "\n".join(lines))

    def send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def told(tmp_path: Path) -> Iterator[dict[str, Any]]:
    Engine.answers, Engine.counted, Engine.moving, Engine.keys = {0: (200, 1), 1: (200, 1)}, {0: 5, 1: 5}, set(), set()
    key_file = tmp_path / "secrets.yaml"
    key_file.write_text('# comment\napi-key: ["one", "two"]\n')
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Engine.server = server
    yield {
        "address": "127.0.0.1",
        "port": server.server_port,
        "model": "tiny",
        "key_file": str(key_file),
        "ranks": 2,
        "token_seconds": 0.3,
        **LIMITS,
    }
    server.shutdown()
    server.server_close()


def test_an_engine_on_a_socket_is_asked_there(told: dict[str, Any], tmp_path: Path) -> None:
    there = {**told, "address": None, "port": None, "socket": str(tmp_path / "api.sock")}
    with unix.serving(tmp_path / "api.sock", Engine):
        assert watch.silence(there) == ""
        Engine.answers[1] = (200, 0)
        assert "an answer without a token" in watch.silence(there)
    assert watch.silence(there).startswith("rank 0 generates nothing: ConnectionRefusedError")


def test_tokens_from_every_rank_are_no_silence(told: dict[str, Any]) -> None:
    assert watch.silence(told) == ""
    assert Engine.keys == {"Bearer one"}


@pytest.mark.parametrize(
    ("answer", "why"), [(None, "TimeoutError"), ((200, 0), "an answer without a token"), ((500, 0), "status 500")]
)
def test_one_silent_rank_is_enough(told: dict[str, Any], answer: Any, why: str) -> None:
    Engine.answers[1] = answer
    assert watch.silence(told).startswith("rank 1 generates nothing: ")
    assert why in watch.silence(told)


@pytest.mark.parametrize("answer", [None, (503, 0)])
def test_a_busy_rank_is_left_alone(told: dict[str, Any], answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    Engine.answers[1] = answer
    Engine.moving.add(1)
    assert watch.silence(told) == ""
    assert "rank 1 is busy" in capsys.readouterr().out


def test_a_refusal_is_no_reason_to_restart(told: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    Engine.answers[0] = (401, 0)
    assert watch.silence(told) == ""
    assert "rank 0 refuses the question: status 401" in capsys.readouterr().out


def test_nobody_listening_is_silence(told: dict[str, Any]) -> None:
    assert "ConnectionRefusedError" in watch.silence({**told, "port": 1})


def test_restarts_are_bounded_within_the_window() -> None:
    noted: dict[str, Any] = {}
    steps = [watch.decide(noted, "why", LIMITS, moment) for moment in range(7)]
    assert steps == ["nothing", "restart", "nothing", "restart", "nothing", "give up", "give up"]
    assert watch.decide(noted, "why", LIMITS, 2000.0) == "restart", "the earlier ones are long ago"


def test_a_token_in_between_starts_the_count_anew() -> None:
    noted: dict[str, Any] = {}
    steps = [watch.decide(noted, silent, LIMITS, 1.0) for silent in ("why", "", "why", "")]
    assert steps == ["nothing"] * 4


def test_what_has_not_settled_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {"unit": "x", "settle_seconds": 30, "state_file": str(tmp_path / "state")}
    (tmp_path / "watch.json").write_text(json.dumps(told))
    monkeypatch.setattr("sys.argv", ["watch.py", str(tmp_path / "watch.json")])
    monkeypatch.setattr(watch, "age", lambda _unit: 29.0)
    monkeypatch.setattr(watch, "silence", lambda _told: pytest.fail("it was asked"))
    assert watch.main() == 0


def test_a_silent_engine_is_restarted_then_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {"unit": "x", "settle_seconds": 30, "state_file": str(tmp_path / "state"), **LIMITS, "restarts": 1}
    (tmp_path / "watch.json").write_text(json.dumps(told))
    ran: list[list[str]] = []
    monkeypatch.setattr("sys.argv", ["watch.py", str(tmp_path / "watch.json")])
    monkeypatch.setattr(watch, "age", lambda _unit: 31.0)
    monkeypatch.setattr(watch, "silence", lambda _told: "rank 0 generates nothing")
    monkeypatch.setattr(watch.subprocess, "run", lambda argv, **_: ran.append(argv))
    assert [watch.main() for _turn in range(4)] == [0, 0, 0, 1]
    assert ran == [["systemctl", "try-restart", "--no-block", "x"]]


def test_over_tls_it_asks_the_true_engine_only(
    told: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority, pair = tls.made(tmp_path, "engines", "engines.internal")
    clients, client = tls.made(tmp_path, "gateways", "gateways.engines.internal", "client")
    tls.serve(Engine.server, pair, clients)
    told["tls"] = {"authority": str(authority), "name": "engines.internal", "client": str(client)}
    assert watch.silence(told) == ""
    Engine.keys.clear()
    assert watch.silence({**told, "tls": {**told["tls"], "client": None}})
    # A restart would not make the certificate another.
    for mistake in ({"authority": str(clients)}, {"name": "other.internal"}):
        assert watch.silence({**told, "tls": {**told["tls"], **mistake}}) == ""
        assert "a certificate that is not trusted" in capsys.readouterr().out
    assert Engine.keys == set()
