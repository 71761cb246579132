"""The door of the monitors: health and metrics of each engine, the status of nginx, and nothing for anybody else."""

from __future__ import annotations

from gateway.support import MONITOR_DOOR, NAME, Answer, Seen, Send, request
from testinfra.host import Host

DOOR = 9443


def ask(send: Send, *lines: str, key: str | None = None, body: str = "") -> list[Answer]:
    return send([request(f"{line} HTTP/1.1", key, body=body) for line in lines], address=MONITOR_DOOR, port=DOOR)


def test_what_monitors_see(send_from_monitor: Send, seen: Seen, keys: dict[str, str]) -> None:
    health, status = ask(send_from_monitor, "GET /health", "GET /status")
    assert (health.status, health.body) == (200, '{"status":"ok"}')
    assert (status.status, "Active connections" in status.body) == (200, True)
    assert seen() == []
    paths = [f"/{engine}{path}" for engine in ("engine1", "engine2") for path in ("/health", "/metrics")]
    answers = ask(send_from_monitor, *(f"GET {path}" for path in paths), key=keys["acme"])
    assert [answer.status for answer in answers] == [200] * 4
    heads = [entry["head"] for entry in seen()]
    lines = sorted(head.split("\r\n")[0] for head in heads)
    assert lines == ["GET /health HTTP/1.1"] * 2 + ["GET /metrics HTTP/1.1"] * 2
    for head in heads:
        assert f"Host: {NAME}\r\n" in head
        assert "Authorization" not in head, "neither theirs nor ours"


def test_what_monitors_do_not_see(send_from_monitor: Send, seen: Seen, keys: dict[str, str]) -> None:
    lines = [
        f"{method} /engine1/{path}"
        for method in ("GET", "POST")
        for path in ("tokenize", "pause", "load", "v1/models", "metrics/x")
    ]
    lines += [
        "POST /engine1/metrics",
        "GET /engine1/metrics?name=x",
        "GET /engine3/metrics",
        "GET /metrics",
        "GET /v1/models",
    ]
    lines += [
        "GET /engine1/metrics/../v1/models",
        "GET /engine1/metrics%2f..%2fpause",
        "HEAD /engine1/metrics",
        "GET /",
    ]
    answers = ask(send_from_monitor, *lines, key=keys["acme"])
    assert {answer.status for answer in answers} <= {400, 404, 405}
    assert seen() == []


def test_a_body_goes_nowhere(send_from_monitor: Send, seen: Seen) -> None:
    ask(send_from_monitor, "GET /engine1/metrics", body="x")
    assert [entry["body_bytes"] for entry in seen()] in ([], [0])


def test_nobody_else_sees_anything(gateway: Host, engines: list[Host], seen: Seen) -> None:
    for host in (gateway, *engines):
        for path in ("/health", "/status", "/engine1/metrics"):
            curl = f"curl --silent --insecure --output /dev/null --write-out '%{{http_code}}' https://{MONITOR_DOOR}:{DOOR}{path}"
            assert host.run(curl).stdout == "401", (host, path)
    assert seen() == []


def test_clients_find_no_such_door(send: Send, keys: dict[str, str]) -> None:
    assert send([request("GET /health HTTP/1.1", keys["acme"])], port=DOOR)[0].status is None
    answers = send(
        [request(f"GET {path} HTTP/1.1", keys["acme"]) for path in ("/status", "/engine1/metrics", "/health")]
    )
    assert {answer.status for answer in answers} == {404}
