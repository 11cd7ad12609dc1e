"""Our machine plane on plain HTTP, for bench/http_images.py: `serve_http.py ADDRESS PORT DIRECTORY`.

DIRECTORY holds `assets/` and gets the state. Everything is as `serve` runs it, but the bound on one address, since
wrk's hundred connections come from one.
"""

from __future__ import annotations

import secrets
import socket
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.description import load_templates
from bootstrapper.nodeconfig.outputs import render_output
from bootstrapper.pki.tokens import mint_token
from bootstrapper.servers.http import serve_http
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.templating import build_environment
from bootstrapper.web.app import create_app
from bootstrapper.web.parts import Parts

ROOT = Path(__file__).parent.parent


def main(address: str, port: str, directory: str) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, int(port)))
    cluster = load((ROOT / "cluster-desc.example.yaml").read_bytes())
    texts = load_templates(None)

    def make_app() -> object:
        return create_app(
            Parts(
                cluster=lambda: cluster,
                store=SqliteStore(Path(directory) / "state.db"),
                environment=build_environment(texts),
                links=Links(IPv4Address(address)),
                authority_pem="",
                assets=Path(directory) / "assets",
                now=time.time,
                new_token=lambda: mint_token(secrets.token_bytes),
                render=render_output,
                record=lambda event: None,
            )
        )

    serve_http(make_app, listener, per_client=1000)


if __name__ == "__main__":
    main(*sys.argv[1:])
