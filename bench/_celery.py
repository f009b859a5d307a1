"""Bare Celery making the same model call on the same broker: what a durable run is compared with.

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
def call(text: str, answer_to: str) -> None:
    """Ask the model and say that it is done."""
    body: dict[str, Any] = {"model": "bench", "messages": [{"role": "user", "content": text}], "stream": True}
    stream = _model().post(
        "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=openai.Stream[object]
    )
    for _ in stream:
        pass
    _answers().lpush(answer_to, 1)
