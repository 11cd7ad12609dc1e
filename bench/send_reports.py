"""The machines of bench/reports.py, in one process: `send_reports.py SERVER PORT DIRECTORY SECONDS RATE`.

Every machine has an address of its own and one TLS connection that it keeps; RATE reports a second in all, evenly, for
SECONDS. Prints JSON: sent, failed, per second, ms.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import statistics
import sys
import time
from pathlib import Path

import uvloop

HANDSHAKES = 32
"At once, while everybody connects."


async def connect(server: str, port: int, source: str, context: ssl.SSLContext, few: asyncio.Semaphore):
    async with few:
        return await asyncio.open_connection(server, port, ssl=context, server_hostname=server, local_addr=(source, 0))


async def report(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, percent: int) -> bool:
    body = json.dumps({"step": "image", "detail": f"{percent} % of the image", "generation": 1}).encode()
    head = f"POST /m/{token}/report HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    await reader.readexactly(length)
    return answer.startswith(b"HTTP/1.1 200 ")


async def machine(
    number: int, token: str, streams, began: float, seconds: float, every: float, count: int, times: list[float]
) -> int:
    """Reports failed. The next is due `every` seconds after the last was, whether that has been answered or not: what
    waits for a slow server counts as its time."""
    reader, writer = streams
    failed, turn = 0, 0
    while True:
        due = began + number * every / count + turn * every
        if due >= began + seconds:
            return failed
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        turn += 1
        try:
            good = await asyncio.wait_for(report(reader, writer, token, min(99, turn)), 30)
        except (OSError, EOFError, TimeoutError):
            return failed + 1
        times.append((time.perf_counter() - due) * 1000)
        failed += not good


async def main(server: str, port: int, directory: str, seconds: float, rate: float) -> None:
    folder = Path(directory)
    lines = [line.split() for line in (folder / "tokens").read_text().splitlines()]
    context = ssl.create_default_context(cafile=str(folder / "pki/authority.pem"))
    few = asyncio.Semaphore(HANDSHAKES)
    begun = time.perf_counter()
    streams = await asyncio.gather(*(connect(server, port, source, context, few) for source, _ in lines))
    joined = time.perf_counter() - begun
    times: list[float] = []
    began = time.perf_counter() + 0.2
    every = len(lines) / rate
    failed = await asyncio.gather(
        *(
            machine(number, token, pair, began, seconds, every, len(lines), times)
            for number, ((_, token), pair) in enumerate(zip(lines, streams, strict=True))
        )
    )
    took = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100)
    figures = {"machines": len(lines), "handshakes": len(lines) / joined, "sent": len(times), "failed": sum(failed)}
    figures |= {"per_second": len(times) / took, "median": cuts[49], "p99": cuts[98], "most": max(times)}
    print(json.dumps(figures))


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), float(sys.argv[5])))
