"""Restarts an engine that runs but generates nothing, a few times, and then leaves it to people.

Asks every data-parallel rank for one token. A rank that gives none is silent only when its own counter of tokens stood
still meanwhile: a busy one is left alone. Usage: watch.py CONFIGURATION, a JSON file (see the role's README).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COUNTER = re.compile(r"vllm:generation_tokens_total\{(?P<labels>[^}]*)\} (?P<value>\S+)")
ENGINE = re.compile(r'(?:^|,)engine="(\d+)"')
METRICS_SECONDS = 10
# More than one token for any tokenizer: the worker of vLLM 0.32.0 ends by SIGILL, on a processor with AMX, when the first request it gets is a single token.
PROMPT = "Hello, who is there?"


def wrapped(plain: socket.socket, tls: dict[str, Any]) -> ssl.SSLSocket:
    """Return TLS on a connection to the engine, which has to have the certificate the gateways ask for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(tls["authority"])
    if tls["client"]:
        context.load_cert_chain(tls["client"])
    return context.wrap_socket(plain, server_hostname=tls["name"])


def connected(told: dict[str, Any], timeout: float) -> socket.socket:
    """Return a connection to the engine, on its socket where it has one; OSError when nobody listens there."""
    if not told.get("socket"):
        return socket.create_connection((told["address"], told["port"]), timeout)
    connection = socket.socket(socket.AF_UNIX)
    with contextlib.ExitStack() as closing:
        closing.callback(connection.close)
        connection.settimeout(timeout)
        connection.connect(told["socket"])
        closing.pop_all()
    return connection


def exchange(told: dict[str, Any], method: str, path: str, body: Any, headers: dict[str, str], timeout: float) -> Any:
    """Return (status, body as text) of one request to the engine; OSError or HTTPException when there is no answer."""
    connection = http.client.HTTPConnection(told.get("address") or "localhost", told.get("port"))
    with contextlib.closing(connection):
        plain = connected(told, timeout)
        connection.sock = wrapped(plain, told["tls"]) if told.get("tls") else plain
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(8 * 1024 * 1024).decode("utf-8", "replace")


def counters(told: dict[str, Any]) -> dict[int, int]:
    """Return the tokens each rank has generated, empty when the engine does not tell."""
    try:
        status, text = exchange(told, "GET", "/metrics", None, {}, METRICS_SECONDS)
    except (OSError, http.client.HTTPException):
        return {}
    found: dict[int, int] = {}
    for match in COUNTER.finditer(text if status == 200 else ""):
        rank = ENGINE.search(match["labels"])
        if rank:
            found[int(rank[1])] = found.get(int(rank[1]), 0) + int(float(match["value"]))
    return found


def key_of(path: str) -> str:
    """Return a key the engine takes, from the file it reads itself."""
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith("api-key:"):
            value = json.loads(line.partition(":")[2])
            return str(value[0] if isinstance(value, list) else value)
    raise ValueError(f"{path}: no line of the form  api-key: ...")


def silence(told: dict[str, Any]) -> str:
    """Return why the engine counts as silent, empty when it does not."""
    headers = {"Authorization": f"Bearer {key_of(told['key_file'])}", "Content-Type": "application/json"}
    asked = {"model": told["model"], "prompt": PROMPT, "max_tokens": 1, "temperature": 0}
    for rank in range(told["ranks"]):
        before = counters(told)
        target = {"X-data-parallel-rank": str(rank)} if told["ranks"] > 1 else {}
        try:
            status, text = exchange(told, "POST", "/v1/completions", asked, headers | target, told["token_seconds"])
            problem = f"status {status}"
            if status == 200:
                problem = "" if json.loads(text)["usage"]["completion_tokens"] else "an answer without a token"
            elif status < 500:
                # It works, and refuses: a restart would change nothing.
                print(f"rank {rank} refuses the question: status {status}, {text[:200]}")
                problem = ""
        except ssl.SSLCertVerificationError as error:
            # It shows a certificate that ended or is another's: a restart would change nothing, and the gateways see it too.
            print(f"rank {rank} shows a certificate that is not trusted: {error.verify_message}")
            return ""
        except (OSError, http.client.HTTPException) as error:
            problem = f"{type(error).__name__}: {error}"
        except (ValueError, LookupError, TypeError):
            problem = "an answer that is no completion"
        if problem:
            after = counters(told)
            if after.get(rank, 0) <= before.get(rank, 0):
                return f"rank {rank} generates nothing: {problem}"
            print(f"rank {rank} is busy: {problem}, but it generates for others")
    return ""


def age(unit: str) -> float:
    """Return the seconds since the unit's process was started, 0 when it does not run."""
    argv = ["systemctl", "show", "--property", "ActiveState,ExecMainStartTimestampMonotonic", unit]
    said = dict(
        line.split("=", 1) for line in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    )
    begun = int(said.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    return time.monotonic() - begun if said.get("ActiveState") == "active" and begun else 0.0


def decide(noted: dict[str, Any], silent: str, told: dict[str, Any], now: float) -> str:
    """Return what to do: ``nothing``, ``restart`` or ``give up``; ``noted`` is brought up to date.

    ``noted`` holds ``silent`` (times in a row) and ``restarts`` (moments in seconds), ``now`` is such a moment.
    """
    noted["silent"] = noted.get("silent", 0) + 1 if silent else 0
    noted["restarts"] = [moment for moment in noted.get("restarts", []) if now - moment < told["window_seconds"]]
    if noted["silent"] < told["failures"]:
        return "nothing"
    if len(noted["restarts"]) >= told["restarts"]:
        return "give up"
    noted["silent"] = 0
    noted["restarts"].append(now)
    return "restart"


def main() -> int:
    """Look once; return 1 when the engine is silent and no restart is left."""
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    state = Path(told["state_file"])
    # What is stopped, or still loading, is the business of systemd and of whoever started it.
    if age(told["unit"]) < told["settle_seconds"]:
        return 0
    silent = silence(told)
    noted: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError, ValueError):
        noted = json.loads(state.read_text(encoding="utf-8"))
    step = decide(noted, silent, told, time.time())
    state.write_text(json.dumps(noted), encoding="utf-8")
    if step == "nothing":
        if silent:
            print(f"{silent} ({noted['silent']} of {told['failures']} times before a restart)")
        return 0
    if step == "give up":
        bound = f"it was restarted {told['restarts']} times in {told['window_seconds']} s and is left as it is"
        print(f"{silent}; {bound}. Look at it: journalctl --unit {told['unit']}")
        return 1
    print(f"{silent}, {told['failures']} times in a row: restarting {told['unit']}", flush=True)
    # Not "restart", which would start what somebody stopped a moment ago.
    subprocess.run(["systemctl", "try-restart", "--no-block", told["unit"]], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
