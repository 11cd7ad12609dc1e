"""Checks of the network: the interface and its address, our ports, and other DHCP servers on the link."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator

from bootstrapper.cluster.model import DhcpMode
from bootstrapper.doctor.finding import Described, Finding, Grade
from bootstrapper.errors import UserError
from bootstrapper.servers.interfaces import Link, find_link
from bootstrapper.servers.rivals import RivalWatch
from bootstrapper.servers.sockets import Ports, find_holder, open_dhcp, open_rivals, open_tcp, open_udp

_SIOCGIFFLAGS, _IFF_RUNNING = 0x8913, 0x40
AS_ROOT = "run doctor as root (sudo) to look at it"


def check_network(site: Described) -> Iterator[Finding]:
    """The interface, then what needs it."""
    try:
        link = find_link(site.cluster.network)
    except UserError as error:
        yield Finding("interface", Grade.FAIL, error.message, error.hint)
        for check in ("ports", "rivals"):
            yield Finding(check, Grade.SKIP, "not looked at: there is no interface to look on")
        return
    if has_carrier(link.name):
        yield Finding("interface", Grade.OK, f"{link.name} has {link.address}, and a link")
    else:
        message = f"{link.name} has {link.address}, and no link"
        yield Finding("interface", Grade.FAIL, message, "is the cable in, and the switch on?")
    yield from _check_ports(site, link)
    yield from _check_rivals(site, link)


def has_carrier(name: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16s24x", name.encode()))
    (flags,) = struct.unpack_from("h", answer, 16)
    return bool(flags & _IFF_RUNNING)


def _check_ports(site: Described, link: Link) -> Iterator[Finding]:
    """Each is opened as `serve` would, and closed again; a server of ours that has it is fine."""
    free, ours, forbidden = [], [], []
    bad = False
    for protocol, port, service, open_it in _list_ports(site, link):
        try:
            open_it().close()
            free.append(service)
        except UserError as error:
            holder = find_holder(protocol, port, site.proc)
            if "no permission" in error.message:
                forbidden.append(service)
            elif holder is not None and is_ours(site, holder[1]):
                ours.append(service)
            else:
                bad = True
                hint = error.hint if holder or os.geteuid() == 0 else AS_ROOT
                yield Finding("ports", Grade.FAIL, error.message, hint)
    if forbidden:
        yield Finding("ports", Grade.SKIP, f"may not be opened by this user: {', '.join(forbidden)}", AS_ROOT)
    if not bad and (free or ours):
        parts = [f"free: {', '.join(free)}"] if free else []
        parts += [f"held by our running server: {', '.join(ours)}"] if ours else []
        yield Finding("ports", Grade.OK, "; ".join(parts))


def _list_ports(site: Described, link: Link) -> Iterator[tuple[str, int, str, Callable[[], socket.socket]]]:
    ports, cluster, address = Ports(), site.cluster, str(link.address)
    if cluster.network.dhcp.mode is not DhcpMode.OFF:
        for port, service in ((ports.dhcp, "DHCP"), (ports.pxe, "PXE")):
            yield "UDP", port, service, lambda port=port: open_dhcp(link, port)  # type: ignore[misc]
    udp = [(ports.tftp, "TFTP"), (ports.dns, "DNS")]
    udp += [(123, "NTP")] if cluster.network.ntp.serve else []
    for port, service in udp:
        yield "UDP", port, service, lambda port=port, service=service: open_udp(address, port, service)  # type: ignore[misc]
    tcp = [(address, ports.dns, "DNS over TCP"), (address, ports.http, "HTTP"), (address, ports.https, "HTTPS")]
    tcp += [(address, cluster.registry.port, "the image registry")] if cluster.registry.serve else []
    tcp += [(*site.admin, "the admin's pages")] if site.admin else []
    for where, port, service in tcp:
        yield "TCP", port, service, lambda where=where, port=port, service=service: open_tcp(where, port, service)  # type: ignore[misc]


def is_ours(site: Described, pid: int) -> bool:
    """Whether the process is `bootstrapper serve`, or a program that it started with a configuration of its state."""
    try:
        words = (site.proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    server = "serve" in words and any("bootstrapper" in word for word in words[:3])
    return server or any(word.startswith(f"{site.state}/") for word in words)


def _check_rivals(site: Described, link: Link) -> Iterator[Finding]:
    """Asks for an address, as a machine would, and hears who offers one."""
    mode = site.cluster.network.dhcp.mode
    if mode in (DhcpMode.PROXY, DhcpMode.OFF):
        yield Finding("rivals", Grade.OK, f"network.dhcp.mode is {mode}: another DHCP server is expected")
        return
    try:
        sock = open_rivals(link)
    except UserError as error:
        yield Finding("rivals", Grade.SKIP, error.message, AS_ROOT)
        return
    with sock:
        found = find_rivals(RivalWatch(link, sock), site.now, site.rivals_wait_s)
    for rival in found:
        hint = "turn it off on this network, or set network.dhcp.mode: proxy"
        yield Finding("rivals", Grade.FAIL, rival, hint)
    if not found:
        yield Finding("rivals", Grade.OK, f"no other DHCP server answered within {site.rivals_wait_s:g} s")


def find_rivals(watch: RivalWatch, now: float, wait_s: float) -> list[str]:
    """Each rival in a sentence. Waits `wait_s` for the last one that answers."""
    watch.tick(now)
    poll = select.poll()
    poll.register(watch.sock, select.POLLIN)
    found = []
    left = max(1, int(wait_s * 10))
    for _ in range(left):
        if poll.poll(100):
            watch.read()
        found += [event.detail.partition(":")[0] for event in watch.tick(now)]
    return found
