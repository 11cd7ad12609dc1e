"""The time service: chronyd as a watched child, with a configuration of its own in the state directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bootstrapper.answers.ntp import PORT, render_chrony
from bootstrapper.cluster.model import Cluster, Network
from bootstrapper.errors import UserError
from bootstrapper.servers.children import WatchedChild
from bootstrapper.servers.sockets import open_udp

INSTALL_HINT = "install it (apt install chrony, dnf install chrony), or set network.ntp.serve: false"
_SEARCH = "/usr/sbin:/sbin:/usr/local/sbin"


def make_chrony(cluster: Cluster, folder: Path, port: int = PORT, set_clock: bool = False) -> WatchedChild:
    """A child that serves time to the described networks; not started yet. Raises UserError without chronyd.

    Made after privileges are dropped, by the user it runs as: `folder` and what is in it belong to that user. It needs
    CAP_NET_BIND_SERVICE in the ambient set for a port below 1024, and with `set_clock` CAP_SYS_TIME.
    """
    program = find_chronyd()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = folder / "chrony.conf"
    config.write_text(render_chrony(cluster, str(folder), port, set_clock))
    # -U: need not be root. -u root: and when it is, change to no other user, whose files these would not be
    command = [program, "-d", "-U", "-u", "root", *([] if set_clock else ["-x"]), "-f", str(config)]

    def forget_the_last() -> None:
        # After a kill its PID may be another process's by now, and chronyd would refuse to start
        (folder / "chronyd.pid").unlink(missing_ok=True)

    return WatchedChild("chronyd", command, forget_the_last, INSTALL_HINT)


def find_chronyd() -> str:
    """The program, also where the PATH of an ordinary user does not lead. Raises UserError."""
    found = shutil.which("chronyd") or shutil.which("chronyd", path=_SEARCH)
    if found is None:
        raise UserError("network.ntp.serve: there is no chronyd on this host", INSTALL_HINT)
    return found


def check_time_port(network: Network, port: int = PORT) -> None:
    """Before the first start: chronyd itself would only say so in the log, again and again. Raises UserError that
    names who has the port. Skipped without the right to open it (the kernel's limit is the admin's choice)."""
    if port >= 1024 or os.geteuid() == 0:
        open_udp(str(network.bootstrapper), port, "NTP").close()
