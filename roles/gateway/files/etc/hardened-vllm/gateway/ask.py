"""Ask the gateway what its clients ask, and judge a change of its configuration by the answers.

Usage: ask.py          print "served" when a request gets through to an engine, else what came instead
       ask.py BEFORE   judge the configuration in force: each door must refuse a request without a key in the gateway's own
                       words, and where BEFORE is "served", a request must still get through to an engine
Reads door.json beside it: {"name": server name, "listen": [{"address", "port"}], "engines": path of a socket}.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import time
from pathlib import Path

SERVED = "served"
# nginx lets its old workers accept for a moment more; after that an answer is the new configuration's.
SETTLED = 0.5
PATIENCE = 6
ANSWER_SECONDS = 12


def ask(connection, name):
    """Send one request without a key; return (status, body)."""
    words = f"GET /v1/models HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    connection.sendall(words.encode("ascii"))
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


def through(door):
    """Return "served", or what a request to the engines got instead."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(door["engines"])
            status, _body = ask(connection, door["name"])
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({error})"
    return SERVED if status == 200 else f"status {status}"


def refusal(door, listen):
    """Return what is wrong with the answer of a door to a request without a key, empty when nothing is."""
    where = f"{listen['address']} port {listen['port']}"
    # The host need not trust the authority its clients trust.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        plain = socket.create_connection((listen["address"], listen["port"]), ANSWER_SECONDS)
        with context.wrap_socket(plain, server_hostname=door["name"]) as connection:
            status, body = ask(connection, door["name"])
        code = json.loads(body)["error"]["code"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        return f"{where}: no proper answer to a request without a key ({type(error).__name__}: {error})"
    # Requests without a key are limited, and this one comes from an address of the host's own.
    if (status, code) not in ((401, "invalid_api_key"), (429, "rate_limit_exceeded")):
        return f"{where}: status {status} for a request without a key, expected 401"
    return ""


def judge(door, before):
    """Return what is wrong with the configuration in force."""
    found = [problem for problem in (refusal(door, listen) for listen in door["listen"]) if problem]
    after = through(door) if before == SERVED else SERVED
    if after != SERVED:
        found.append(f"requests got through to an engine before the change, and do not after it: {after}")
    return found


def main():
    """Return 0 when all is well."""
    door = json.loads(Path(__file__).with_name("door.json").read_text(encoding="utf-8"))
    if len(sys.argv) == 1:
        print(through(door))
        return 0
    time.sleep(SETTLED)
    deadline = time.monotonic() + PATIENCE
    problems = judge(door, sys.argv[1])
    while problems and time.monotonic() < deadline:
        time.sleep(0.5)
        problems = judge(door, sys.argv[1])
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
