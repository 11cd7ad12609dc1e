"""The machines of bench/storm.py, in one process: `storm_rack.py SERVER RELAY COUNT SPREAD_S FOLDER [KEEP]`.

Each does what firmware, iPXE and the installer do between power-on and the installed system, except that of an image it
takes a kilobyte, and that its processor and disk need no time. All stand behind one DHCP relay, RELAY; every address
of their subnet must be this computer's (a local route), since each connects from the one it was leased. FOLDER holds
`authority.pem`; what the server told each machine is written to KEEP, as the files of a static server. Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
import statistics
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import uvloop
from make_description import make_mac
from storm_clients import Failed, Fetcher, Relay, ask_http, read_boot_file

from bootstrapper.wire.pxe import build_uuid

LIMIT_S = 300.0
"For the whole storm: who has not finished by then has failed."
FIRMWARES = {
    0: (b"PXEClient:Arch:00000:UNDI:002001", 1456),
    7: (b"PXEClient:Arch:00007:UNDI:003016", 1468),
}
"Option 93 -> option 60, and the TFTP block size that such firmware asks for: a PXE ROM's and edk2's."
ROM_WAITS, IPXE_WAITS, SYSTEM_WAITS = (4, 8, 16, 32), (1, 2, 4, 8, 10), (2, 4, 8, 16, 32)
"Seconds until DHCP is asked again: PXE 2.1's, iPXE's, systemd-networkd's. After the last, firmware gives up."
RANGE = {"Range": "bytes=0-1023"}
REPORTS = {
    "clock": "the clock is right",
    "disk": "/dev/sda, chosen by size >=400G: empty",
    "config": "cloud-config of 40000 bytes, kept in memory",
    "image": "writing 4593.2.5 from http://10.98.0.1/assets/flatcar to /dev/sda",
    "image ": "100 % of the image, in 41 s",
    "installed": "4593.2.5 on /dev/sda",
}


@dataclass
class Storm:
    server: str
    relay: Relay
    fetcher: Fetcher
    tls: ssl.SSLContext
    repeats: Counter[str] = field(default_factory=Counter)
    "What had to be sent, or asked, again."
    phases: dict[str, list[float]] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str):
        began = time.perf_counter()
        yield
        self.phases.setdefault(name, []).append(time.perf_counter() - began)


@dataclass
class Machine:
    storm: Storm
    number: int
    address: str = ""

    async def live(self) -> None:
        """Raises Failed."""
        code = 7 if self.number % 2 else 0
        vendor, block = FIRMWARES[code]
        storm = self.storm
        rom = {60: vendor, 93: code.to_bytes(2, "big"), 94: b"\1\2\1", 97: self.uuid, 57: b"\5\xc0"}
        with storm.phase("DHCP, firmware"):
            name = await self.lease(rom, ROM_WAITS)
        with storm.phase("TFTP, iPXE's binary"):
            await self.fetch_loader(name, block)
        with storm.phase("DHCP, iPXE"):
            url = await self.lease(rom | {77: b"iPXE", 175: b"\xb1\5\1\x80\x86\x10\x0e\xeb\1\1"}, IPXE_WAITS)
        with storm.phase("boot script"):
            script, writer = await self.get_script(url)
        with storm.phase("kernel, initrd: 1 kB"):
            await self.get_images(script, writer)
        with storm.phase("DHCP, installer"):
            await self.lease({60: b"systemd"}, SYSTEM_WAITS)
        install = re.search(r"ignition\.config\.url=(\S+)", script)
        if install is None:
            raise Failed("a boot script without an install")
        with storm.phase("installer's config"):
            await self.get_install(install[1])
        path = urlsplit(install[1]).path.removesuffix("/install")
        with storm.phase("TLS: claim, 6 reports"):
            await self.install(path)

    # -- DHCP and TFTP ----------------------------------------------------------
    @property
    def uuid(self) -> bytes:
        return build_uuid(str(UUID(int=self.number + 1)))

    async def lease(self, options: dict[int, bytes], waits: tuple[int, ...]) -> str:
        """The boot file."""
        hardware = bytes.fromhex(make_mac(self.number).replace(":", ""))
        ack, again = await self.storm.relay.lease(hardware, options, waits)
        self.storm.repeats["DHCP"] += again
        self.address = ".".join(str(ack.yiaddr >> shift & 255) for shift in (24, 16, 8, 0))
        return ack.options.get(67, ack.file).rstrip(b"\0").decode()

    async def fetch_loader(self, name: str, block: int) -> None:
        for size_only in (True, False):
            content, again = await self.storm.fetcher.fetch(self.address, name, block, size_only)
            self.storm.repeats["TFTP"] += again
        if content != read_boot_file(name):
            raise Failed("TFTP: another file than was asked for")

    # -- iPXE -------------------------------------------------------------------
    async def get_script(self, url: str) -> tuple[str, object]:
        mac, uuid = make_mac(self.number).replace(":", "-"), str(UUID(int=self.number + 1))
        url = url.replace("${uuid}", uuid).replace("${mac:hexhyp}", mac)
        where = urlsplit(url)
        if not where.query:
            where = where._replace(query="")
        path = where.path + (f"?{where.query}" if where.query else "")
        status, body, streams = await ask_http(self.storm.server, self.address, path, within=60.0)
        if status != 200 or not body.startswith(b"#!ipxe"):
            raise Failed(f"boot script: {status}")
        self.storm.kept[f"boot/{mac}.ipxe"] = body
        return body.decode(), streams

    async def get_images(self, script: str, streams: object) -> None:
        """Kernel and initrd, on the connection that the script came by."""
        for url in re.findall(r"^(?:kernel|initrd) (\S+)", script, re.MULTILINE):
            status, _, streams = await ask_http(
                self.storm.server, self.address, urlsplit(url).path, headers=RANGE, within=60.0, streams=streams
            )
            if status != 206:
                raise Failed(f"kernel or initrd: {status}")
        streams[1].close()

    # -- the installer ------------------------------------------------------------
    async def get_install(self, url: str) -> None:
        path = urlsplit(url).path
        status, body = await self.persist("installer's config", path, 10, 10.0)
        if status != 200:
            raise Failed(f"installer's config: {status}")
        self.storm.kept[path[1:]] = body
        await self.persist("health", "/healthz", 10, 10.0)

    async def install(self, path: str) -> None:
        """As templates/nodes/install/install.sh: a new connection each time, three tries for a report (that of the end
        is repeated until it is taken), ten for the claim."""
        for step, detail in REPORTS.items():
            if step == "config":
                uuid = UUID(int=self.number + 1)
                status, body = await self.persist("claim", f"{path}/config?uuid={uuid}", 10, 30.0, tls=True)
                if status != 200:
                    raise Failed(f"claim: {status}")
                self.storm.kept[f"{path[1:]}/config"] = body
            report = json.dumps({"step": step.strip(), "detail": detail, "generation": 1}).encode()
            tries = 100 if step == "installed" else 3
            status, _ = await self.persist("report", f"{path}/report", tries, 20.0, tls=True, body=report)
            if status != 200:
                self.storm.repeats["report given up"] += 1

    async def persist(
        self, name: str, path: str, tries: int, within: float, *, tls: bool = False, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """(status, body), asked for again after 1, 2, 4 … seconds unless the answer is 200 or 4xx; 0: no answer."""
        status = 0
        for turn in range(tries):
            if turn:
                self.storm.repeats[name] += 1
                await asyncio.sleep(min(2 ** (turn - 1), 16))
            try:
                status, answer, (_, writer) = await ask_http(
                    self.storm.server, self.address, path, body=body, within=within,
                    tls=self.storm.tls if tls else None,
                )  # fmt: skip
            except Failed:
                status = 0
                continue
            writer.close()
            if status == 200:
                return status, answer
            if 400 <= status < 500:
                break
        return status, b""


async def storm(server: str, relay_address: str, count: int, spread: float, folder: Path, keep: Path | None) -> None:
    chance = random.Random(1)
    relay = await Relay.open(relay_address, server, chance)
    context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    state = Storm(server, relay, Fetcher(server), context)
    done: list[float] = []
    failures: Counter[str] = Counter()
    began, cpu = time.perf_counter() + 0.1, time.process_time()

    async def power_on(number: int) -> None:
        await asyncio.sleep(began + spread * number / count - time.perf_counter())
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + LIMIT_S):
                await Machine(state, number).live()
        except Failed as error:
            failures[str(error)] += 1
        except TimeoutError:
            failures[f"not finished in {LIMIT_S:.0f} s"] += 1
        else:
            done.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(power_on(number))
    cpu = time.process_time() - cpu
    for name, content in state.kept.items() if keep else ():
        path = keep / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    figures = {
        "machines": count, "finished": len(done), "failures": failures, "repeats": state.repeats,
        "median_s": statistics.median(done) if done else 0.0, "last_s": max(done, default=0.0), "rack_cpu_s": cpu,
        "phases": {name: [statistics.median(times), max(times)] for name, times in state.phases.items()},
    }  # fmt: skip
    print(json.dumps(figures))


if __name__ == "__main__":
    uvloop.install()
    server, relay_address, count, spread, folder, *rest = sys.argv[1:]
    asyncio.run(storm(server, relay_address, int(count), float(spread), Path(folder), Path(rest[0]) if rest else None))
