"""Serves DHCP alone: `python dhcp_runner.py DESCRIPTION STATE [--no-probes]`, run in the namespace it is to serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bootstrapper.cluster.load import load
from bootstrapper.errors import ClusterProblems, UserError
from bootstrapper.servers import sockets
from bootstrapper.servers.dhcp import DhcpSockets, serve_dhcp
from bootstrapper.servers.interfaces import find_link
from bootstrapper.servers.logs import start_logging
from bootstrapper.servers.recorder import Recorder
from bootstrapper.state.sqlite import SqliteStore


def main(description: str, state: str, *flags: str) -> None:
    start_logging("text")
    cluster = load(Path(description).read_text(), description)
    link = find_link(cluster.network)
    opened = DhcpSockets(
        link,
        sockets.open_dhcp(link, 67),
        sockets.open_dhcp(link, 4011),
        sockets.open_frames(link),
        sockets.open_echo(link),
        sockets.open_rivals(link),
    )
    store = SqliteStore(Path(state))
    recorder = Recorder(store, {machine.mac: machine.host for machine in cluster.machines})
    sys.stderr.write(f"serving, process {os.getpid()}\n")
    serve_dhcp(cluster, store, opened, recorder.record, probes="--no-probes" not in flags)
    recorder.stop()
    store.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ClusterProblems as error:
        sys.exit("\n".join(problem.text() for problem in error.problems))
    except UserError as error:
        sys.exit(f"{error.message}\n{error.hint}")
