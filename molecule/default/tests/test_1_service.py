# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a tenant gets, through the official client."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import openai
import pytest
from lab.testing import Console

from .conftest import MODEL, Service, play

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def test_models_are_listed(service: Service) -> None:
    assert [model.id for model in service.client().models.list()] == [MODEL]


def test_chat_answers(service: Service) -> None:
    answer = service.client().chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8)
    assert answer.usage is not None
    assert answer.usage.completion_tokens >= 1
    assert answer.system_fingerprint is None


def test_chat_streams(service: Service) -> None:
    """Parts of a stream, to the last token; into how many parts vLLM puts them depends on how busy its front end is.

    That the gateway holds none of them back is shown where the upstream is ours, in the scenario gateway.
    """
    stream = service.client().chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=16, stream=True, logprobs=True, extra_body={"ignore_eos": True}
    )
    first, *rest = [part.choices[0] for part in stream]
    assert first.delta.role == "assistant"
    assert first.logprobs is None
    assert sum(len(choice.logprobs.content or []) for choice in rest if choice.logprobs) == 16
    assert [choice.finish_reason for choice in rest][-1] == "length"
    assert all(choice.finish_reason is None for choice in rest[:-1])


@pytest.mark.parametrize("key", ["wrong-key-wrong-key-wrong-key-wrong", "x"])
def test_a_wrong_key_is_refused(service: Service, key: str, journal: Callable[[], str]) -> None:
    with pytest.raises(openai.AuthenticationError) as error:
        service.client(key).chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=1)
    assert error.value.status_code == 401
    assert "POST" not in journal()


def test_no_key_is_refused(service: Service, journal: Callable[[], str]) -> None:
    with service.http() as http:
        assert http.get("/v1/models").status_code == 401
        assert http.post("/v1/chat/completions", json={"model": MODEL, "messages": QUESTION}).status_code == 401
    assert "/v1/" not in journal()


def successes(console: Console) -> dict[str, float]:
    text = console.run("curl", "--silent", "--fail", "http://10.220.1.11:8000/metrics")
    found: dict[str, float] = {}
    for rank, value in re.findall(r'(?m)^vllm:request_success_total\{engine="(\d+)".* ([0-9.e+]+)$', text):
        found[rank] = found.get(rank, 0.0) + float(value)
    return found


def test_both_ranks_work(service: Service, console: Callable[[str], Console]) -> None:
    gateway = console("gateway")
    before = successes(gateway)

    def ask() -> None:
        service.client().completions.create(
            model=MODEL, prompt="a b c", max_tokens=100, extra_body={"ignore_eos": True}
        )

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = successes(gateway)
    assert sorted(after) == ["0", "1"]
    assert all(after[rank] > before[rank] for rank in after), (before, after)


def test_a_second_run_changes_nothing() -> None:
    run = play("site")
    assert run.code == 0, run.text
    assert run.changed() == {"engine1": 0, "engine2": 0, "gateway": 0}
