"""The ledger of the scenario lifecycle (ledger.py, beside this file) for a real vLLM, which is slower and says nothing known.

Usage as there. A request has to bring its answer with as many tokens as were asked for, a stream those and its end.
"""

from __future__ import annotations

import json

import ledger

TOKENS = 16


class RealLedger(ledger.Ledger):
    """Asks a model that generates."""

    def asked(self, stream: bool) -> dict[str, object]:
        """Return the body of a request."""
        message = {"role": "user", "content": "Count from one to twenty."}
        more = {"stream_options": {"include_usage": True}} if stream else {}
        return {
            "model": "smollm2",
            "messages": [message],
            "max_tokens": TOKENS,
            "ignore_eos": True,
            "stream": stream,
            **more,
        }

    def told(self, body: bytes) -> str:
        """Return whose answer it is. Raises ValueError unless it is whole."""
        answer = json.loads(body)
        if answer["usage"]["completion_tokens"] != TOKENS or not answer["choices"][0]["message"]["content"]:
            raise ValueError(f"answer {body[:200]!r}")
        return "vllm"

    def streamed_whole(self, events: list[bytes]) -> str:
        """Return whose stream it is. Raises ValueError unless it has all tokens and its reason to end."""
        told = [json.loads(event) for event in events]
        ended = [choice["finish_reason"] for event in told for choice in event["choices"] if choice["finish_reason"]]
        if ended != ["length"] or told[-1]["usage"]["completion_tokens"] != TOKENS:
            raise ValueError(f"stream of {len(events)} events with ends {ended}")
        return "vllm"


if __name__ == "__main__":
    # It generates some ten tokens a second on a processor that everybody shares.
    ledger.REQUESTERS, ledger.STREAMERS, ledger.PAUSE_SECONDS, ledger.SECONDS = 2, 3, 0.5, 180
    ledger.main(RealLedger)
