# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of image URLs on vLLM without the collection: started as documented, and as its guide recommends.

Usage: attack.py PYTHON MODEL < {"environment": {...}, "urls": [...]}. Prints {name: {url: outcome}}: the picture was
"got", something was "called" for it, or it was "refused" before anything was called.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

STARTS = {"documented": (8101, []), "recommended": (8102, ["--allowed-media-domains", "images.example.org"])}
# Every connection that vLLM's account begins.
WATCH = """
table inet attack {
    chain leaves {
        type filter hook output priority 300;
        meta skuid "nobody" tcp flags & (syn | ack) == syn counter
    }
}
"""
PICTURE = "http://198.51.100.150/picture"
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


def calls():
    """Return how many connections vLLM has begun."""
    told = subprocess.run(["nft", "list", "table", "inet", "attack"], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"counter packets (\d+)", told)[1])


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
    given = json.load(sys.stdin)
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp/attack", "HF_HUB_OFFLINE": "1", **given["environment"]}  # noqa: S108 - as above
    small = ["--load-format", "dummy", "--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "512"]
    found, processes = {}, {}
    subprocess.run(["nft", "-f", "-"], input=WATCH, text=True, check=True)
    home, local = Path("/tmp/attack"), Path("/opt/attack-local")  # noqa: S108 - of a node of the lab
    for directory in (home, local):
        directory.mkdir(exist_ok=True)
    shutil.chown(home, "nobody", "nogroup")
    # What a host keeps to itself: it answers whoever is on it.
    with urllib.request.urlopen(PICTURE, timeout=60) as answer:
        (local / "metrics").write_bytes(answer.read())
    server = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "8000"]
    processes["local"] = subprocess.Popen(server, cwd=local, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for name, (port, more) in STARTS.items():
            argv = [python, "-m", "vllm.entrypoints.cli.main", "serve", model, "--port", str(port), *small, *more]
            with Path(f"/root/{port}.log").open("w") as log:
                processes[name] = subprocess.Popen(
                    argv, env=environment, stdout=log, stderr=log, cwd=home, user="nobody", group="nogroup"
                )
        for name, (port, _more) in STARTS.items():
            ready(processes[name], port)
            found[name] = {}
            for url in given["urls"]:
                content = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
                body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
                before = calls()
                status = ask(port, "/v1/chat/completions", body)
                found[name][url] = "got" if status == 200 else "called" if calls() > before else "refused"
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(60)
        subprocess.run(["nft", "delete", "table", "inet", "attack"], check=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
