"""``python -m bench._model PORT DELAY_MS``: an OpenAI-compatible model that says two words, as a stream.

Written on the bare streams of an event loop: it shares the machine with what is measured.
"""

import asyncio
import json
import sys
from typing import Final

_BASE: Final = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1, "model": "bench"}


def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    body = {**_BASE, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


_USAGE: Final = {
    **_BASE,
    "choices": [],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}
_BODY: Final = b"".join(
    [
        _chunk({"role": "assistant", "content": "well"}),
        _chunk({"content": " noted"}),
        _chunk({}, "stop"),
        b"data: " + json.dumps(_USAGE).encode() + b"\n\n",
        b"data: [DONE]\n\n",
    ]
)
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: "
    + str(len(_BODY)).encode()
    + b"\r\n\r\n"
    + _BODY
)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(sizes[0].split(b":")[1]) if sizes else 0)
            await asyncio.sleep(delay)
            writer.write(_ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main(port: int, delay: float) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: _serve(reader, writer, delay), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
