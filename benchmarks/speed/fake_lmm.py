"""A server of OpenAI's protocol without a model: after a pause it answers with a position.

    python -m benchmarks.speed.fake_lmm --seconds 2

Prints its address. The position is a function of what was asked, so that two runs get the same answers.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json


class FakeLmm:
    """Counts requests, and how many were under way at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked = self.at_once = self.most_at_once = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection, as long as the client keeps it."""
        try:
            while body := await self._request(reader):
                self.asked += 1
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await asyncio.sleep(self.seconds)
                self.at_once -= 1
                writer.write(reply(body))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            return
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            return b"GET"
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return await reader.readexactly(int(length.partition(b":")[2]))


def reply(body: bytes) -> bytes:
    """The HTTP reply to a request's body: a position that depends on nothing else."""
    digest = hashlib.sha256(body).digest()
    position = {"latitude": round(digest[0] / 255 * 140 - 60, 2), "longitude": round(digest[1] / 255 * 340 - 170, 2)}
    text = json.dumps({**position, "name": "somewhere", "confidence": 0.5, "reason": "none"})
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    chat = {"id": "x", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice], "usage": usage}
    data = json.dumps(chat).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def run(seconds: float, port: int) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(FakeLmm(seconds).serve, "127.0.0.1", port, limit=1 << 26, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="before each answer")
    parser.add_argument("--port", type=int, default=0)
    chosen = parser.parse_args()
    asyncio.run(run(chosen.seconds, chosen.port))
