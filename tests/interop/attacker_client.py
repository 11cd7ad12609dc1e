"""Sends what it is told, byte for byte: JSON lines of [port, tls, base64] on standard input, base64 answers out.

ip netns exec NAME python attacker_client.py SERVER < requests > answers
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import sys

PATIENCE_S = 8.0
MOST = 1 << 20


def ask(server: str, port: int, tls: bool, data: bytes) -> bytes:
    """All that comes back until the other side closes, or says nothing more."""
    got = b""
    try:
        with socket.create_connection((server, port), PATIENCE_S) as plain:
            plain.settimeout(PATIENCE_S)
            with _wrap(plain) if tls else plain as connection:
                connection.sendall(data)
                while len(got) < MOST and not _is_whole(got, data):
                    chunk = connection.recv(65536)
                    if not chunk:
                        break
                    got += chunk
    except OSError as error:
        return got or f"{type(error).__name__}".encode()
    return got


def _wrap(plain: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain)


def _is_whole(got: bytes, request: bytes) -> bool:
    head, mark, body = got.partition(b"\r\n\r\n")
    if not mark:
        return False
    if request.startswith(b"HEAD "):
        return True
    lengths = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0])


def main(server: str) -> None:
    for line in sys.stdin:
        port, tls, data = json.loads(line)
        print(base64.b64encode(ask(server, port, tls, base64.b64decode(data))).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
