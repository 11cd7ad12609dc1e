"""Our TFTP server alone, for measurements and for real clients: `serve_tftp.py ADDRESS PORT FILE...`.

Serves everybody. Prints a line per event; at SIGTERM its counters and its largest memory as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import sys
from collections import Counter
from pathlib import Path

import uvloop

from bootstrapper.answers.tftp import Visitor
from bootstrapper.boot.events import Event
from bootstrapper.servers.tftp import Caps, TftpServer, open_content, serve_tftp


def say(event: Event) -> None:
    print(f"{event.level} {event.step}: {event.detail}", flush=True)


async def main(address: str, port: int, paths: list[Path]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    counts: Counter[str] = Counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        server = TftpServer(
            sock,
            {path.name: open_content(path) for path in paths},
            find_visitor=lambda _address: Visitor("02:00:00:00:00:01", True),
            record=say,
            count=lambda name: counts.update((name,)),
            caps=Caps(per_address=1000, events=1000),
        )
        print("ready", sock.getsockname()[1], flush=True)
        await serve_tftp(server, stop, 0.0)
    print(json.dumps({"max_rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, **counts}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), [Path(each) for each in sys.argv[3:]]))
