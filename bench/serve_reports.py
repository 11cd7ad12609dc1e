"""Our machine plane over TLS, for bench/reports.py: `serve_reports.py ADDRESS PORT DIRECTORY DESCRIPTION`.

DIRECTORY gets the state, the authority and `tokens`: one line `ADDRESS TOKEN` for each machine of DESCRIPTION, whose
install is under way and whose configuration was claimed. Everything else is as `serve` runs it.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

from bootstrapper.boot.claim import Token
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster
from bootstrapper.description import load_templates
from bootstrapper.nodeconfig.outputs import render_output
from bootstrapper.pki.authority import load_identity
from bootstrapper.pki.tokens import digest_token, mint_token
from bootstrapper.servers.http import serve_http
from bootstrapper.servers.logs import start_logging
from bootstrapper.servers.recorder import Recorder
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.templating import build_environment
from bootstrapper.web.app import create_app
from bootstrapper.web.parts import Parts

FIRST = IPv4Address("10.98.4.1")


def prepare(store: SqliteStore, cluster: Cluster, path: Path) -> None:
    now, lines = time.time(), []
    for number, machine in enumerate(cluster.machines):
        token, address = mint_token(secrets.token_bytes), FIRST + number
        store.save_history(machine.mac, History(state=MachineState.INSTALLING, state_at=now, reason="config"))
        store.mint(Token(digest_token(token), machine.mac, address, 1, now, now + 900, now, 3))
        lines.append(f"{ipaddress.ip_address(address)} {token}\n")
    path.write_text("".join(lines))


def main(address: str, port: str, directory: str, description: str) -> None:
    folder = Path(directory)
    cluster = load(Path(description).read_bytes(), description)
    prepare(SqliteStore(folder / "state.db"), cluster, folder / "tokens")
    identity = load_identity(folder / "pki", "bootstrapper.bench", [IPv4Address(address)], time.time())
    start_logging("text", (folder / "log").open("w"))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, int(port)))
    texts = load_templates(None)
    hosts = {machine.mac: machine.host for machine in cluster.machines}

    def make_app() -> object:
        store = SqliteStore(folder / "state.db")
        return create_app(
            Parts(
                cluster=lambda: cluster,
                store=store,
                environment=build_environment(texts),
                links=Links(IPv4Address(address)),
                authority_pem=identity.authority_pem,
                assets=folder / "assets",
                now=time.time,
                new_token=lambda: mint_token(secrets.token_bytes),
                render=render_output,
                record=Recorder(store, hosts).record,
                process="https",
            )
        )

    serve_http(make_app, listener, tls=(identity.certificate, identity.key), workers=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
