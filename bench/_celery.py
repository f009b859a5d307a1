"""Bare Celery making the same model calls on the same broker: what a durable run is compared with.

Nothing is kept: no queue per session, no journal, no recovery. The caller waits at a list for the answer.
"""

import os
from functools import cache
from typing import Any

import openai
import redis
from celery import Celery

app = Celery("bare", broker=os.environ["BENCH_REDIS_URL"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, worker_hijack_root_logger=False)
app.conf.task_default_queue = "bare"


@cache
def _model() -> openai.OpenAI:
    return openai.OpenAI(base_url=os.environ["BENCH_MODEL_URL"], api_key="none", max_retries=0)


@cache
def _answers() -> "redis.Redis":
    return redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])


@app.task(name="bare.call")
def call(text: str, model: str, answer_to: str) -> None:
    """Ask the model, a second time with a result if it may want one, and say that it is done."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
    _ask(model, messages)
    if "tool=" in model:
        _ask(model, [*messages, {"role": "tool", "content": "[nothing found]", "tool_call_id": "call_1"}])
    _answers().lpush(answer_to, 1)


def _ask(model: str, messages: list[dict[str, Any]]) -> None:
    body: dict[str, Any] = {"model": model, "messages": messages, "stream": True}
    stream = _model().post(
        "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=openai.Stream[object]
    )
    for _ in stream:
        pass
