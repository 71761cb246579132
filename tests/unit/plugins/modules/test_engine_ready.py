# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at an engine: a small server plays vLLM's API, the states of the unit are given."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_api, engine_unit
from ansible_collections.hardened.vllm.plugins.modules import engine_ready
from support import tls, unix

KEY = "abcdefghijklmnopqrstuvwxyz0123456789"
RUNNING = engine_unit.Unit("engine.service", "loaded", "active", "running", "success", 0, 0, True, False)


@dataclass
class Engine:
    """vLLM as far as it is asked: its model, its ranks' counters and how it misbehaves."""

    port: int = 0
    server: ThreadingHTTPServer | None = None
    model: str = "tiny"
    tokens: dict[int, int] = field(default_factory=lambda: {0: 0})
    status: int = 200
    generates: bool = True
    judgement: dict[int, list[float] | None] = field(default_factory=lambda: {0: [-1.0, -2.0], 1: [-1.0, -2.0]})
    stuck_rank: int | None = None
    requests: list[int] = field(default_factory=list)

    def complete(self, request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        asked = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        rank = int(request.headers.get("X-data-parallel-rank", 0))
        self.requests.append(rank)
        if request.headers["Authorization"] != f"Bearer {KEY}":
            return 401, b'{"error":"Unauthorized"}'
        if asked["model"] != self.model:
            return 404, b'{"error":"no such model"}'
        if self.status != 200:
            return self.status, b"not yet"
        assert asked["max_tokens"] == 1
        if rank != self.stuck_rank:
            self.tokens[rank] += 1
        usage = {"completion_tokens": int(self.generates)}
        choice: dict[str, object] = {"text": ""}
        told = self.judgement[rank] if "prompt_logprobs" in asked else None
        if told is not None:
            choice["prompt_logprobs"] = [None, *({"17": {"logprob": value, "rank": 1}} for value in told)]
        return 200, json.dumps({"choices": [choice], "usage": usage}).encode()

    def metrics(self) -> bytes:
        lines = ["# TYPE vllm:generation_tokens_total counter"]
        for rank, count in self.tokens.items():
            lines.append(f'vllm:generation_tokens_total{{engine="{rank}",model_name="tiny"}} {float(count)}')
        return "\n".join(lines).encode()


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer(*made.complete(self))

        def do_GET(self) -> None:
            self.answer(200, made.metrics())

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port, made.server = server.server_address[1], server
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> list[engine_unit.Unit]:
    """States of the unit, one per look; the last one stays."""
    states = [RUNNING]
    monkeypatch.setattr(engine_unit, "show", lambda _name: states.pop(0) if len(states) > 1 else states[0])
    monkeypatch.setattr(engine_unit, "age", lambda _name: 12.5)
    monkeypatch.setattr(engine_unit, "journal", lambda _name: ([f"last line with {KEY}"], ["RuntimeError: why"]))
    monkeypatch.setattr(engine_ready, "PAUSE", 0.01)
    monkeypatch.setattr(engine_ready, "METRICS_SECONDS", 0.1)
    return states


@pytest.fixture
def look(engine: Engine, units: list[engine_unit.Unit], tmp_path: Path):
    assert units
    key_file = tmp_path / "secrets.yaml"
    key_file.write_text(f'# comment\napi-key: "{KEY}"\n')

    def call(**more: object) -> dict:
        values = {"unit": "engine.service", "start": False, "fresh": False, "model": "tiny", "ranks": 1}
        values |= {"api": {"address": "127.0.0.1", "port": engine.port}, "key_file": str(key_file), "tls": None}
        return engine_ready.run(
            {
                **values,
                "wait_seconds": 0.5,
                "seconds_left": 600,
                "expected": [],
                "tolerance": 0.25,
                "measure": False,
                **more,
            }
        )

    return call


def test_one_token_is_enough(look, engine: Engine) -> None:
    result = look()
    assert (result["progress"], result["problem"], result["tokens"]) == ("ready", "", {0: 1})
    assert engine.requests == [0]


def test_an_api_on_a_socket_is_asked_there(look, engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    assert engine.server is not None
    with unix.serving(path, engine.server.RequestHandlerClass):
        result = look(api={"address": None, "port": None, "socket": str(path)}, measure=True)
    assert (result["progress"], result["tokens"], result["likelihood"]) == ("ready", {0: 1}, [-1.0, -2.0])
    assert "ConnectionRefusedError" in look(api={"socket": str(path)})["problem"]
    assert "FileNotFoundError" in look(api={"socket": f"{path}.none"})["problem"]


def test_every_rank_gives_a_token_of_its_own(look, engine: Engine) -> None:
    engine.tokens = {0: 5, 1: 7, 2: 0}
    assert look(ranks=3)["tokens"] == {0: 1, 1: 1, 2: 1}
    assert engine.requests == [0, 1, 2]


def test_an_answer_that_its_rank_did_not_give_is_no_proof(look, engine: Engine) -> None:
    engine.tokens = {0: 0, 1: 0}
    engine.stuck_rank = 1
    result = look(ranks=2)
    assert result["progress"] == "waiting"
    assert result["problem"] == "the API answered, but its metrics show no new token of rank 1"
    assert result["tokens"] == {0: 1}


def test_while_it_loads_it_is_waited_for(look, engine: Engine) -> None:
    engine.status = 503
    result = look()
    assert (result["progress"], result["problem"]) == (
        "waiting",
        "no token from rank 0: HTTP status 503, not yet",
    )
    assert len(engine.requests) > 3


def test_an_answer_without_a_token_is_no_proof(look, engine: Engine) -> None:
    engine.generates = False
    assert look()["problem"] == "no token from rank 0: HTTP status 200, an answer without a token"


def test_nobody_listens_yet(look) -> None:
    result = look(api={"address": "127.0.0.1", "port": 9})
    assert result["progress"] == "waiting"
    assert "no token from rank 0: ConnectionRefusedError" in result["problem"]


def test_the_time_it_has_is_bounded(look, engine: Engine) -> None:
    engine.status = 503
    result = look(seconds_left=0.5)
    assert result["progress"] == "failed"
    assert result["problem"].startswith("not ready in the time it has; no token from rank 0: HTTP status 503")


def test_a_refused_key_ends_the_wait_at_once(look, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "secrets.yaml").write_text('api-key: "another"\n')
    result = look()
    assert result["progress"] == "failed"
    assert "its API refuses the key in" in result["problem"]
    assert len(engine.requests) == 1


def test_an_unknown_model_ends_the_wait_at_once(look) -> None:
    assert "does not serve a model called other" in look(model="other")["problem"]


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (
            replace(RUNNING, active="failed", sub="failed", result="exit-code", status=2),
            "result exit-code, exit status 2",
        ),
        (replace(RUNNING, active="activating", sub="auto-restart", result="signal", status=9), "the process ended"),
        (replace(RUNNING, active="inactive", sub="dead"), "the unit does not run (inactive"),
        (replace(RUNNING, restarts=1), "was restarted by systemd (1 times)"),
        (replace(RUNNING, load="not-found"), "the unit cannot be loaded (not-found)"),
    ],
)
def test_a_unit_that_fails_ends_the_wait_at_once(look, units, engine: Engine, state, problem: str) -> None:
    engine.status = 503
    units[:] = [RUNNING, state]
    result = look(fresh=True)
    assert result["progress"] == "failed"
    assert problem in result["problem"]
    assert result["problem"].endswith(". More: journalctl --unit engine.service on this host")
    assert result["journal"] == ["RuntimeError: why", "...", "last line with <secret>"]


def test_earlier_restarts_do_not_count_against_what_runs(look, units) -> None:
    units[:] = [replace(RUNNING, restarts=3)]
    assert look()["progress"] == "ready"
    assert look(fresh=True)["progress"] == "failed"


def test_a_queued_start_is_waited_for(look, units) -> None:
    units[:] = [replace(RUNNING, active="inactive", sub="dead", queued=True), RUNNING]
    assert look()["progress"] == "ready"


def test_a_headless_node_has_to_run(look, units, engine: Engine) -> None:
    assert look(api=None)["progress"] == "ready"
    units[:] = [replace(RUNNING, active="failed", sub="failed")]
    assert look(api=None)["progress"] == "failed"
    assert engine.requests == []


def test_a_change_is_measured_before_and_compared_after(look) -> None:
    assert look(measure=True)["likelihood"] == [-1.0, -2.0]
    assert look()["likelihood"] == []
    assert look(expected=[-1.2, -2.2])["progress"] == "ready"


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ([-1.4, -2.4], "rank 0 generates, but not as before: it judges a fixed text differently, by 0.40 nats a token"),
        ([float("nan"), -2.0], "by nan nats a token (0.25 are allowed)"),
        ([-1.0, -2.0, -3.0], "it reads a fixed text as 3 tokens, 2 were expected"),
    ],
)
def test_an_engine_that_judges_otherwise_has_failed(look, engine: Engine, told: list[float], problem: str) -> None:
    engine.judgement[0] = told
    assert look()["progress"] == "ready", "by its tokens alone it looks well"
    result = look(expected=[-1.0, -2.0])
    assert result["progress"] == "failed"
    assert problem in result["problem"]
    assert "upgrade_compare=false" in result["problem"]


def test_every_rank_is_compared(look, engine: Engine) -> None:
    engine.tokens = {0: 0, 1: 0}
    engine.judgement[1] = [-9.0, -9.0]
    result = look(ranks=2, expected=[-1.0, -2.0])
    assert result["progress"] == "failed"
    assert result["problem"].startswith("rank 1 generates, but not as before")


def test_an_engine_that_does_not_tell_is_not_taken_for_the_same(look, engine: Engine) -> None:
    engine.judgement[0] = None
    assert look(measure=True)["progress"] == "ready"
    result = look(expected=[-1.0, -2.0])
    assert result["progress"] == "waiting"
    assert "cannot be compared with what served before: an answer without prompt_logprobs" in result["problem"]


def test_it_starts_what_is_stopped(look, units, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(commands, "run", lambda argv, _timeout: ran.append(argv[1]))
    units[:] = [replace(RUNNING, active="failed"), RUNNING]
    assert look(start=True, fresh=True)["progress"] == "ready"
    assert ran == ["reset-failed", "start"]


@pytest.mark.parametrize("restarts", [0, 4])
def test_starts_of_what_ran_before_are_forgotten(look, units, monkeypatch: pytest.MonkeyPatch, restarts: int) -> None:
    """Planned ones too: systemd would refuse the fifth within a quarter of an hour."""
    ran = []
    monkeypatch.setattr(commands, "run", lambda argv, _timeout: ran.append(argv[1]))
    units[:] = [replace(RUNNING, active="inactive", restarts=restarts), RUNNING]
    assert look(start=True, fresh=True)["progress"] == "ready"
    assert ran == ["reset-failed", "start"]


def test_it_does_not_take_an_old_process_for_the_new_one(look) -> None:
    result = look(start=True, fresh=True)
    assert result["progress"] == "failed"
    assert "engine.service still runs and was to be stopped" in result["problem"]


@pytest.mark.parametrize("text", ["", "api-key: bare\n", 'api-key: "open\n', "api-key: []\n", "api-key: [1]\n"])
def test_a_key_file_without_a_key_is_named(look, tmp_path: Path, text: str) -> None:
    (tmp_path / "secrets.yaml").write_text(text)
    assert "secrets.yaml: no line of the form" in look()["problem"]


def test_a_missing_key_file_is_named() -> None:
    with pytest.raises(engine_api.KeyFileError, match="/no/such/file: the file with the API key cannot be read"):
        engine_api.read_keys("/no/such/file")


def test_two_keys_are_read_and_both_are_masked(look, units: list[engine_unit.Unit], tmp_path: Path) -> None:
    """One takes the other's place: the engine takes both."""
    (tmp_path / "secrets.yaml").write_text(f'api-key: ["{KEY}", "last line"]\n')
    assert engine_api.read_keys(str(tmp_path / "secrets.yaml")) == [KEY, "last line"]
    assert look()["progress"] == "ready"
    units[:] = [engine_unit.Unit("engine.service", "loaded", "failed", "failed", "exit-code", 3, 0, True, False)]
    result = look()
    assert result["progress"] == "failed"
    assert result["journal"][-1] == "<secret> with <secret>"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    place = tmp_path_factory.mktemp("tls")
    return {
        "engines": tls.made(place, "engines", "engines.internal"),
        "gateways": tls.made(place, "gateways", "gateways.engines.internal", "client"),
        "others": tls.made(place, "others", "engines.internal"),
    }


def spoken(pairs: dict[str, tuple[Path, Path]], authority: str = "engines", client: str = "", **more: str) -> dict:
    found = {"authority": str(pairs[authority][0]), "name": "engines.internal", "client": None, **more}
    return found | ({"client": str(pairs[client][1])} if client else {})


def test_over_tls_one_token_is_enough_too(look, engine: Engine, pairs) -> None:
    assert engine.server is not None
    tls.serve(engine.server, pairs["engines"][1])
    engine.tokens = {0: 0, 1: 0}
    assert look(tls=spoken(pairs), ranks=2)["tokens"] == {0: 1, 1: 1}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"authority": "others"}, "CERTIFICATE_VERIFY_FAILED"),
        ({"name": "other.internal"}, "Hostname mismatch"),
        (None, "no token from rank 0"),
    ],
)
def test_an_engine_with_another_certificate_is_not_ready_and_sees_no_key(
    look, engine: Engine, pairs, told, said
) -> None:
    assert engine.server is not None
    tls.serve(engine.server, pairs["engines"][1])
    result = look(tls=spoken(pairs, **told) if told else None, seconds_left=0)
    assert result["progress"] == "failed" and said in result["problem"]
    assert engine.requests == []


def test_an_engine_that_asks_for_a_certificate_gets_one(look, engine: Engine, pairs) -> None:
    assert engine.server is not None
    tls.serve(engine.server, pairs["engines"][1], pairs["gateways"][0])
    for client in ("", "others"):
        assert look(tls=spoken(pairs, client=client), seconds_left=0)["progress"] == "failed"
        assert engine.requests == []
    assert look(tls=spoken(pairs, client="gateways"))["progress"] == "ready"


def test_an_authority_that_is_not_there_is_said(look, tmp_path: Path) -> None:
    missing = {"authority": str(tmp_path / "none"), "name": "engines.internal", "client": None}
    assert "No such file" in look(tls=missing, seconds_left=0)["problem"]
