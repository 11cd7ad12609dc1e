"""The time service's configuration for chronyd, from the description.

Certificates and etcd need machines that agree on the time, with or without the internet: the machines ask this server,
and it answers in any case, by its own clock when nobody else's can be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address

from bootstrapper.cluster.model import Cluster

PORT = 123
LOCAL_STRATUM = 10
"Far from any real source, so that a machine that knows a better one takes that."


def render_chrony(cluster: Cluster, folder: str, port: int = PORT, set_clock: bool = False) -> str:
    """chrony.conf. `folder` holds the drift and the PID file. `set_clock`: also steer this host's clock; otherwise it
    is watched only (`chronyd -x`), as in a container or beside the host's own time service."""
    return "\n".join(_lines(cluster, folder, port, set_clock)) + "\n"


def _lines(cluster: Cluster, folder: str, port: int, set_clock: bool) -> Iterator[str]:
    network = cluster.network
    yield f"port {port}"
    yield f"bindaddress {network.bootstrapper}"
    yield from (f"allow {subnet.network}" for subnet in network.subnets)
    for name in network.ntp.upstream:
        if name != str(network.bootstrapper):
            yield f"{'server' if _is_address(name) else 'pool'} {name} iburst"
    # The fallback counts from the start as well: a power cut may take the way out and the whole rack with it
    yield f"local stratum {LOCAL_STRATUM}"
    yield "ratelimit interval 1 burst 16"
    yield "clientloglimit 4194304"  # octets: each machine of a large rack is counted by itself
    yield "cmdport 0"  # nobody on the LAN controls it
    yield "bindcmdaddress /"
    yield f"driftfile {folder}/drift"
    yield f"pidfile {folder}/chronyd.pid"
    if set_clock:
        yield "makestep 1.0 3"
        yield "rtcsync"


def _is_address(name: str) -> bool:
    try:
        IPv4Address(name)
    except AddressValueError:
        return False
    return True
