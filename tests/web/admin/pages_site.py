"""The admin plane with a believable rack in it, for the pages' tests: machines in several states, and one in trouble.

`fill` is all that happened to the rack; `Site` serves it to a browser on loopback, with the wall clock.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from adminplane import AdminPlane
from werkzeug.serving import make_server
from werkzeug.test import Client, TestResponse

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.state.store import Sighting
from bootstrapper.web.admin.app import create_admin_app
from bootstrapper.web.admin.parts import AdminParts

NODE1, NODE2, NODE3 = "00:25:90:c0:f7:80", "0c:c4:7a:82:c5:bc", "0c:c4:7a:82:c5:b8"
NODE4, NODE5 = "00:25:90:c0:f6:ee", "00:25:90:c0:f6:d6"
STRANGER = "52:54:00:12:34:56"
HOSTILE = '<script>window.bad=1</script><img src=x onerror="window.bad=1">"\'{{7*7}}'
FOREIGN = "/dev/sda holds data that is not ours (LVM2_member on /dev/sda2)"
S = MachineState

BOOT = (
    (0.0, "dhcp", "offer", "{address} to UEFI x64, boots snponly.efi"),
    (0.9, "dhcp", "ack", "{address} to UEFI x64, boots snponly.efi"),
    (1.0, "pxe", "ack", "snponly.efi"),
    (1.2, "tftp", "sending", "snponly.efi blksize 1468, windowsize 1"),
    (1.6, "tftp", "sent", "snponly.efi 233 kB in 0.4 s"),
    (5.1, "dhcp", "ack", "{address} to iPXE, boots http://10.10.14.253/boot.ipxe"),
    (5.4, "http", "script", "install for UEFI x64: generation 1 is wanted, 0 is done"),
    (5.6, "http", "loading", "/assets/flatcar/4593.2.5/amd64/flatcar_production_pxe.vmlinuz"),
    (6.9, "http", "loaded", "/assets/flatcar/4593.2.5/amd64/flatcar_production_pxe_image.cpio.gz 411 MB in 1.2 s"),
    (24.8, "http", "installer config", ""),
    (26.2, "installer", "clock", "0.4 s behind"),
    (26.9, "installer", "disk", "/dev/sda: the only non-removable disk, 480 GB SAMSUNG MZ7LH480"),
    (28.0, "http", "config claimed", "over TLS, from {address}"),
    (28.1, "installer", "config", "kept in memory"),
)
"What a machine does from its power-on to its installer: (seconds after it, service, step, detail)."


def fill(plane: AdminPlane, now: float) -> None:
    """node1 is in service, node2 installs, node3 failed, node4 is on hold, the fifth asked for no boot file."""
    store = plane.store
    lives = {
        NODE1: History(1, 1, S.JOINED, now - 6 * 86400, reason="its node is Ready"),
        NODE2: History(1, 0, S.INSTALLING, now - 70, reason="image: 43 %"),
        NODE3: History(1, 0, S.FAILED, now - 1500, reason=FOREIGN),
        NODE4: History(
            2, 1, S.HELD, now - 3 * 3600, held="memory is being replaced", reason="memory is being replaced"
        ),
    }
    for mac, history in lives.items():
        store.save_history(mac, history)
    store.add_events(
        [*tell_boot(NODE1, "10.10.14.11", now - 6 * 86400 - 300), *tell_done(NODE1, now - 6 * 86400 - 200)]
    )
    store.add_events(tell_boot(NODE3, "10.10.14.13", now - 1540))
    store.add_events(
        [
            Event(now - 1500, NODE3, "installer", "failed",
                  FOREIGN, "error"),
            Event(now - 95, NODE2, "state", "state", "armed -> booting"),
        ]
    )  # fmt: skip
    store.add_events(tell_boot(NODE2, "10.10.14.12", now - 98))
    report_image(plane, 43, now - 3)
    store.add_events(tell_boot(NODE5, "10.10.14.100", now - 200)[:3])
    plane.missing = {NODE5: ("/assets/flatcar/4593.2.5/amd64/flatcar_production_image.bin.bz2",)}
    store.save_sightings(
        [
            Sighting(STRANGER, now - 4000, now - 40, 12, "QEMU virtual NIC", "", "UEFI x64", "10.10.14.120"),
            Sighting("3c:ec:ef:00:00:01", now - 90000, now - 86000, 3, "Super Micro Computer, Inc.",
                     "00112233-4455-6677-8899-aabbccddeeff", "BIOS", ""),
        ]
    )  # fmt: skip


def tell_boot(mac: str, address: str, at: float) -> list[Event]:
    return [
        Event(at + after, mac, service, step, detail.format(address=address)) for after, service, step, detail in BOOT
    ]


def tell_done(mac: str, at: float) -> list[Event]:
    return [
        Event(at, mac, "installer", "image", "100 %"),
        Event(at + 5, mac, "installer", "installed", "generation 1"),
        Event(at + 90, mac, "system", "booted", "multi-user after 34 s"),
        Event(at + 95, mac, "system", "unit", "kubelet.service: active"),
        Event(at + 110, mac, "kube", "node ready", "v1.35.8"),
    ]


def report_image(plane: AdminPlane, percent: int, at: float) -> None:
    plane.store.add_events([Event(at, NODE2, "installer", "image", f"{percent} % written")])


def describe_many(text: str, count: int) -> str:
    """The example's text with `count` machines, for how fast the pages are."""
    for old, new in WIDER.items():
        text = text.replace(old, new)
    machines = "".join(
        f'  - {{mac: "52:54:00:00:{number >> 8:02x}:{number & 255:02x}", host: node{number}, roles: [worker]}}\n'
        for number in range(6, count + 1)
    )
    last = '  - {mac: "00:25:90:c0:f6:d6", profile: storage}\n'
    return text.replace(last, last + machines)


WIDER = {
    "subnet: 10.10.14.0/24": "subnet: 10.10.0.0/16",
    "range: 10.10.14.100-10.10.14.199 ": "range: 10.10.20.0-10.10.60.255 ",
    "pod_cidr: 10.244.0.0/16": "pod_cidr: 10.128.0.0/10",
}
"Room for thousands of machines."


class Visitor:
    """A browser without scripts, logged in: what forms and links do."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def log_in(self, token: str) -> TestResponse:
        return self.client.post("/login", data={"token": token})

    def get(self, path: str) -> str:
        reply = self.client.get(path, headers={"Accept": "text/html"})
        assert reply.status_code == 200, f"{path}: {reply.status_code}\n{reply.text}"
        return reply.text

    def csrf(self) -> str:
        found = re.search(r'data-csrf="([0-9a-f]+)"', self.get("/audit"))
        assert found is not None
        return found[1]

    def post(self, path: str, **fields: str) -> TestResponse:
        return self.client.post(path, data={"csrf": self.csrf(), **fields}, headers={"Accept": "text/html"})


class Site:
    """The plane behind a listener on loopback, on the wall clock."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.store = SqliteStore(folder / "state.db")
        self.plane = AdminPlane(self.store, folder, clock=time.time())

    def make_parts(self) -> AdminParts:
        return replace(self.plane.make_parts(), now=time.time)

    def __enter__(self) -> Site:
        self.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def start(self, port: int = 0) -> None:
        self._server = make_server("127.0.0.1", port, create_admin_app(self.make_parts()), threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Returns the port, for a server that starts again."""
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
        return int(self._server.server_port)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.store.close()
