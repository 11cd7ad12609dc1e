"""autoexec.ipxe run by a real iPXE (its Linux image takes a script as its initrd): when it asks again and when not."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from rack import make_environment

from bootstrapper.boot.links import Links
from bootstrapper.boot.scripts import render_autoexec

IPXE = Path("/usr/lib/ipxe/ipxe.lkrn")
pytestmark = [
    pytest.mark.boots,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not IPXE.exists() or shutil.which("qemu-system-x86_64") is None, reason=f"needs {IPXE} and QEMU"
    ),
]
HOST = IPv4Address("10.0.2.2")
"Where QEMU's user network has the host's loopback."
ENDED = "Booting from Hard Disk"
"Of the BIOS, once iPXE has given up its turn."


@contextmanager
def serve(answers: list[tuple[int, str]], asked: list[str]) -> Iterator[int]:
    """Answers in turn; the last one stays."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            status, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def boot(directory: Path, port: int) -> str:
    """The console, up to the end of iPXE's turn."""
    script = directory / "autoexec.ipxe"
    script.write_text(render_autoexec(make_environment(), Links(HOST, port, 443)))
    console = directory / "console"
    command = ["qemu-system-x86_64", "-m", "256", "-nographic", "-nic", "user,model=virtio-net-pci",
               "-kernel", str(IPXE), "-initrd", str(script)]  # fmt: skip
    with console.open("wb") as out, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as qemu:
        try:
            deadline = time.monotonic() + 180
            while ENDED not in (text := console.read_text("utf-8", "replace")):
                assert time.monotonic() < deadline, text
                assert qemu.poll() is None, text
                time.sleep(0.2)
        finally:
            qemu.kill()
    return text


@pytest.mark.parametrize(
    ("answers", "asked", "words"),
    [
        ([(200, "#!ipxe\necho boots its own disk\nexit 1\n")], 1, "boots its own disk"),
        ([(200, "#!ipxe\necho all went well\nexit\n")], 1, "all went well"),
        ([(404, "not found\n")], 1, "No such file"),
        ([(503, ""), (200, "#!ipxe\necho here it is\nexit 1\n")], 2, "no answer from http://10.0.2.2"),
    ],
)
def test_how_a_script_ends_is_the_answer(
    answers: list[tuple[int, str]], asked: int, words: str, tmp_path: Path
) -> None:
    seen: list[str] = []
    with serve(answers, seen) as port:
        console = boot(tmp_path, port)
    assert len(seen) == asked, console
    assert words in console
    assert console.count("asking again") == asked - 1
    assert seen[0].startswith("/boot.ipxe?mac=52-54-00-12-34-56&uuid=")
