# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the linter takes for many artefacts, and how much memory: a row of a table for each number.

Usage: PYTHONPATH=.cache python tests/benchmarks/bench_lint.py [NUMBER ...]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import lint_paths

HEADER = "| what | number | seconds of CPU | per piece, ms | findings | peak memory, MiB |\n|---|---|---|---|---|---|"

COMPOSE = """\
services:
  vllm-{n}:
    image: vllm/vllm-openai:${{TAG:-v0.32.0}}
    command: >
      --model /models/example --host 0.0.0.0 --port 8000
      --max-model-len 8192 --gpu-memory-utilization 0.9
    environment:
      VLLM_HOST_IP: 10.20.{high}.{low}
      VLLM_LOGGING_LEVEL: DEBUG
    ports: ["127.0.0.1:{port}:8000"]
    volumes: ["/srv/models:/models:ro"]
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: chat-{n}, namespace: llm}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: chat-{n}}}}}
  template:
    metadata: {{labels: {{app: chat-{n}}}}}
    spec:
      containers:
        - name: server
          image: vllm/vllm-openai:v0.32.0
          command: ["/bin/sh", "-c"]
          args:
            - |
              exec vllm serve example/model \\
                --host $(POD_IP) --tensor-parallel-size 4 \\
                --kv-transfer-config '{{"kv_connector": "NixlConnector", "kv_role": "kv_both"}}'
          env:
            - {{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
            - {{name: VLLM_API_KEY, valueFrom: {{secretKeyRef: {{name: keys, key: chat}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: chat-{n}, namespace: llm}}
spec: {{type: ClusterIP, selector: {{app: chat-{n}}}, ports: [{{port: 8000}}]}}
"""
UNIT = """\
[Unit]
Description=engine {n}

[Service]
User=vllm
Environment=VLLM_HOST_IP=10.20.{high}.{low} VLLM_PLUGINS=
ExecStart=/opt/vllm/bin/vllm serve /srv/models/example \\
  --host 10.20.{high}.{low} --port 8000 \\
  --max-num-queued-reqs 64
"""
SCRIPT = """\
#!/bin/bash
set -euo pipefail
MODEL=${{MODEL:-/srv/models/example}}
ARGS=(--host 0.0.0.0 --port {port})
export VLLM_NO_USAGE_STATS=1
exec vllm serve "$MODEL" "${{ARGS[@]}}" --load-format safetensors
"""
KINDS = (
    ("compose-{n}.yml", COMPOSE),
    ("chat-{n}.yaml", DEPLOYMENT),
    ("engine-{n}.service", UNIT),
    ("run-{n}.sh", SCRIPT),
)


def artefacts(folder: Path, number: int) -> None:
    """Write ``number`` artefacts of four kinds below ``folder``, fifty to a folder."""
    for n in range(number):
        name, text = KINDS[n % len(KINDS)]
        place = folder / f"{n // 50:04}" / name.format(n=n)
        place.parent.mkdir(exist_ok=True)
        place.write_text(text.format(n=n, high=n // 250 % 250, low=n % 250 + 1, port=20000 + n), encoding="utf-8")


def row(number: int) -> str:
    """Return the row of the table for ``number`` artefacts."""
    with tempfile.TemporaryDirectory() as place:
        artefacts(Path(place), number)
        started = time.process_time()
        result = lint_paths([place])
        seconds = time.process_time() - started
    assert len(result.read) == number
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    each = seconds / number * 1000
    return f"| lint, artefacts | {number} | {seconds:.2f} | {each:.2f} | {len(result.findings)} | {memory} |"


def main() -> None:
    """Print the table for the numbers given, 100 and 1,000 when there are none."""
    print(HEADER)
    for number in [int(word) for word in sys.argv[1:]] or [100, 1000]:
        print(row(number), flush=True)


if __name__ == "__main__":
    main()
