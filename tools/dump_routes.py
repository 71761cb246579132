# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the routes of the real API server as JSON; run by the interpreter of a vLLM environment.

No engine is started: the application is built as ``vllm serve`` builds it, and each route is asked once without a key.

Usage: PYTHON tools/dump_routes.py TASK[,TASK...] [options of vllm serve...]
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import sys
from typing import Any


def registered(app: Any) -> list[dict[str, Any]]:
    """Return ``{"method", "path", "guarded"}`` for every route, mount and WebSocket of ``app``."""
    found = []
    for route in app.routes:
        kind = type(route).__name__
        if kind == "Mount":
            methods = ["MOUNT"]
        elif "WebSocket" in kind:
            methods = ["WEBSOCKET"]
        else:
            methods = sorted(route.methods or ["GET"])
        for method in methods:
            guarded = asyncio.run(refused(app, method, route.path))
            found.append({"method": method, "path": route.path, "guarded": guarded})
    return found


async def refused(app: Any, method: str, path: str) -> bool:
    """Tell whether ``app`` answers a request without a key with 401."""
    statuses: list[int] = []
    asked = False
    kind = "websocket" if method == "WEBSOCKET" else "http"
    filled = re.sub(r"\{[^}]*\}", "x", path)
    scope = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET" if method in ("MOUNT", "WEBSOCKET") else method,
        "path": filled,
        "raw_path": filled.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "scheme": "ws" if kind == "websocket" else "http",
        "server": ("localhost", 8000),
        "client": ("127.0.0.1", 1),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        "app": app,
    }

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if kind == "websocket":
            return {"type": "websocket.disconnect", "code": 1000}
        if asked:
            # Who waits for the client to go would wait for ever, and let nobody else run.
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"].endswith("response.start"):
            statuses.append(message["status"])

    try:
        await asyncio.wait_for(app(scope, receive, send), timeout=5)
    except Exception as error:
        print(f"{method} {path}: {type(error).__name__}", file=sys.stderr)
    return statuses[:1] == [401]


def main() -> None:
    """Build the application for the given tasks and options and print its routes."""
    from types import SimpleNamespace

    from vllm.utils.argparse_utils import FlexibleArgumentParser  # type: ignore[import-not-found]  # it is in another environment

    try:
        from vllm.entrypoints.launchers.app import build_app  # type: ignore[import-not-found]  # likewise
        from vllm.entrypoints.launchers.cli_args import make_arg_parser  # type: ignore[import-not-found]  # likewise
    except ModuleNotFoundError as error:
        if error.name != "vllm.entrypoints.launchers":
            raise
        # Where older releases have it.
        from vllm.entrypoints.openai.api_server import build_app  # type: ignore[import-not-found]  # likewise
        from vllm.entrypoints.openai.cli_args import make_arg_parser  # type: ignore[import-not-found]  # likewise

    tasks = tuple(sys.argv[1].split(","))
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[2:])
    model = SimpleNamespace(
        get_pooling_task=lambda supported: next((task for task in supported if task != "generate"), None),
        hf_config=SimpleNamespace(num_labels=1),
    )
    # The oldest have every route whatever the tasks.
    given = (args, tasks, model)[: len(inspect.signature(build_app).parameters)]
    json.dump(registered(build_app(*given)), sys.stdout, indent=0)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
