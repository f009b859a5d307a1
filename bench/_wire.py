"""HTTP read from the bare streams of an event loop: what stands beside a measurement does next to nothing."""

import asyncio


async def read_body(reader: asyncio.StreamReader) -> bytes:
    """Read one request and return its body. Raises: IncompleteReadError when the client has gone."""
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return await reader.readexactly(int(sizes[0].split(b":")[1]) if sizes else 0)
