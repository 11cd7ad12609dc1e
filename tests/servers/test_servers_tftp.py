"""The TFTP server on loopback, asked by raw sockets: what a client library would hide is what is tested."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bootstrapper.answers.tftp import Settings, Visitor
from bootstrapper.answers.transfer import Content, content_of
from bootstrapper.boot.events import Event
from bootstrapper.errors import UserError
from bootstrapper.servers.tftp import Caps, TftpServer, load_boot_files, open_content, serve_tftp

pytestmark = pytest.mark.loopback

MAC = "02:00:00:00:00:01"
RRQ = b"\0\1boot.bin\0octet\0"
BODY = bytes(range(256)) * 5  # 1,280 bytes: two blocks of 512 and one of 256


def udp(address: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.setblocking(False)
    return sock


class Bench:
    """A running server with what it said."""

    def __init__(self, visitor: Visitor | None, caps: Caps | None) -> None:
        self.sock = udp()
        self.address: tuple[str, int] = self.sock.getsockname()
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()
        self.clients: list[socket.socket] = []
        self.server = TftpServer(
            self.sock,
            {"boot.bin": content_of(BODY), "big.bin": content_of(bytes(40_000))},
            find_visitor=lambda _address: visitor,
            record=self.events.append,
            count=lambda name: self.counts.update((name,)),
            settings=Settings(),
            caps=caps,
        )
        self.server.start()

    def client(self) -> socket.socket:
        self.clients.append(udp())
        return self.clients[-1]

    async def ask(self, client: socket.socket, request: bytes) -> tuple[bytes, tuple[str, int]]:
        client.sendto(request, self.address)
        return await self.receive(client)

    async def receive(self, client: socket.socket, wait_s: float = 5.0) -> tuple[bytes, tuple[str, int]]:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(client, 70_000), wait_s)

    async def silent(self, client: socket.socket, wait_s: float = 0.15) -> bool:
        try:
            await self.receive(client, wait_s)
        except TimeoutError:
            return True
        return False

    def steps(self) -> list[str]:
        return [event.step for event in self.events]


def run(
    test: Callable[[Bench], Awaitable[None]],
    visitor: Visitor | None = Visitor(MAC, True),  # noqa: B008
    caps: Caps | None = None,
) -> Bench:
    async def main() -> Bench:
        bench = Bench(visitor, caps)
        try:
            await test(bench)
        finally:
            bench.server.close()
            for sock in (bench.sock, *bench.clients):
                sock.close()
        return bench

    return asyncio.run(main())


def test_a_download_from_a_port_of_its_own() -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        got = b""
        datagram, peer = await bench.ask(client, RRQ)
        assert peer[1] != bench.address[1]
        for block in (1, 2, 3):
            assert datagram[:4] == b"\0\3\0" + bytes([block])
            got += datagram[4:]
            client.sendto(b"\0\4" + datagram[2:4], peer)
            if block < 3:
                datagram, again = await bench.receive(client)
                assert again == peer
        assert got == BODY
        await asyncio.sleep(0.05)
        assert bench.server.running == 0

    bench = run(test)
    assert bench.steps() == ["sending", "sent"]
    assert bench.events[0].mac == MAC
    assert bench.events[0].service == "tftp"
    assert bench.events[1].detail.startswith("boot.bin, 1280 bytes in ")
    assert bench.counts == {"tftp-transfer": 1, "tftp-sent": 1}


def test_options_and_a_window() -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        datagram, peer = await bench.ask(client, b"\0\1boot.bin\0octet\0blksize\x00300\0windowsize\x004\0tsize\x000\0")
        assert datagram == b"\0\6blksize\x00300\0windowsize\x004\0tsize\x001280\0"
        client.sendto(b"\0\4\0\0", peer)
        blocks = [(await bench.receive(client))[0] for _ in range(4)]
        assert blocks == [b"\0\3\0" + bytes([n + 1]) + BODY[300 * n : 300 * n + 300] for n in range(4)]
        client.sendto(b"\0\4\0\4", peer)
        assert (await bench.receive(client))[0] == b"\0\3\0\5" + BODY[1200:]
        client.sendto(b"\0\4\0\5", peer)
        await asyncio.sleep(0.05)

    assert run(test).steps() == ["sending", "sent"]


def test_a_foreign_port_gets_error_5_and_the_transfer_goes_on() -> None:
    async def test(bench: Bench) -> None:
        client, stranger = bench.client(), bench.client()
        _, peer = await bench.ask(client, RRQ)
        stranger.sendto(b"\0\4\0\1", peer)
        assert await bench.receive(stranger) == (b"\0\5\0\5unknown transfer ID\0", peer)
        stranger.sendto(b"\0\5\0\0go away\0", peer)
        assert await bench.silent(stranger)
        client.sendto(b"\0\4\0\1", peer)
        assert (await bench.receive(client))[0][:4] == b"\0\3\0\2"

    assert run(test).counts["tftp-wrong-id"] == 2


def test_the_request_twice_is_one_transfer() -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        first = await bench.ask(client, RRQ)
        assert await bench.ask(client, RRQ) == first
        client.sendto(b"\0\4\0\1", first[1])
        second = await bench.receive(client)
        client.sendto(RRQ, bench.address)  # a copy that came late
        assert await bench.silent(client)
        client.sendto(b"\0\4\0\2", second[1])
        assert (await bench.receive(client))[0][:4] == b"\0\3\0\3"
        assert bench.server.running == 1

    assert run(test).counts["tftp-request-again"] == 2


def test_a_machine_that_began_again_from_the_same_port() -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        _, peer = await bench.ask(client, RRQ)
        client.sendto(b"\0\4\0\1", peer)
        await bench.receive(client)
        await asyncio.sleep(0.05)
        datagram, other = await bench.ask(client, RRQ)
        assert datagram[:4] == b"\0\3\0\1"
        assert other != peer
        assert bench.server.running == 1

    assert run(test, caps=Caps(restart_s=0.01)).steps() == ["sending", "asked again", "stopped"]


def test_another_file_from_the_same_port() -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        await bench.ask(client, RRQ)
        datagram, _ = await bench.ask(client, b"\0\1big.bin\0octet\0tsize\x000\0")
        assert datagram == b"\0\6tsize\x0040000\0"
        assert bench.server.running == 1

    run(test)


def test_edk2_probes_then_fetches() -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        datagram, peer = await bench.ask(client, b"\0\1boot.bin\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0")
        assert datagram == b"\0\6tsize\x001280\0blksize\x001468\0windowsize\x004\0"
        client.sendto(b"\0\5\0\x08User aborted the transfer\0", peer)
        await asyncio.sleep(0.05)
        assert bench.server.running == 0
        datagram, peer = await bench.ask(client, b"\0\1boot.bin\0octet\0blksize\x001468\0windowsize\x004\0")
        client.sendto(b"\0\4\0\0", peer)
        assert (await bench.receive(client))[0] == b"\0\3\0\1" + BODY
        client.sendto(b"\0\4\0\1", peer)
        await asyncio.sleep(0.05)

    bench = run(test)
    assert bench.steps() == ["sending", "sent"]
    assert bench.counts["tftp-probed"] == 1


def test_an_abort_is_told_with_the_machines_words() -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        _, peer = await bench.ask(client, b"\0\1big.bin\0octet\0")
        client.sendto(b"\0\4\0\1", peer)
        await bench.receive(client)
        client.sendto(b"\0\5\0\3out of \x1bmemory\0", peer)
        await asyncio.sleep(0.05)

    event = run(test).events[-1]
    assert (event.step, event.level) == ("aborted", "warning")
    assert event.detail == "big.bin, aborted by the machine after block 1: error 3: out of ?memory"


@pytest.mark.parametrize(
    ("request_", "error", "count"),
    [
        (b"\0\1../boot.bin\0octet\0", b"\0\5\0\1no such file\0", "tftp-not-found"),
        (b"\0\1autoexec.ipxe\0octet\0blksize\x001432\0", b"\0\5\0\1no such file\0", "tftp-not-found"),
        (b"\0\2boot.bin\0octet\0", b"\0\5\0\2this server is only read from\0", "tftp-write"),
        (b"\0\1boot.bin\0mail\0", b"\0\5\0\4mode is not octet or netascii\0", "tftp-mode"),
    ],
)
def test_refusals_come_at_once(request_: bytes, error: bytes, count: str) -> None:
    async def test(bench: Bench) -> None:
        assert (await bench.ask(bench.client(), request_))[0] == error
        assert bench.server.running == 0

    assert run(test).counts == {count: 1}


def test_a_machine_that_should_not_boot_is_told_so() -> None:
    async def test(bench: Bench) -> None:
        assert (await bench.ask(bench.client(), RRQ))[0] == b"\0\5\0\2nothing to boot for this machine\0"

    assert run(test, visitor=Visitor(MAC, False)).steps() == ["refused"]


def test_the_way_to_the_disk_is_refused_at_once_and_is_no_fault() -> None:
    async def test(bench: Bench) -> None:
        asked = b"\0\1local-disk\0octet\0tsize\x000\0"
        assert (await bench.ask(bench.client(), asked))[0] == b"\0\5\0\1boot the local disk\0"

    bench = run(test, visitor=Visitor(MAC, False))
    assert [(each.step, each.detail, each.level) for each in bench.events] == [
        ("local disk", "refused as it should be", "info")
    ]


def test_the_way_to_the_disk_is_refused_to_a_machine_armed_meanwhile() -> None:
    async def test(bench: Bench) -> None:
        assert (await bench.ask(bench.client(), b"\0\1local-disk\0octet\0"))[0] == b"\0\5\0\1no such file\0"

    run(test)


def test_a_flood_of_requests_is_not_a_flood_of_events() -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        for _ in range(10):
            await bench.ask(client, b"\0\1nothing\0octet\0")

    bench = run(test, caps=Caps(events=4))
    assert bench.steps() == ["refused"] * 4
    assert bench.counts == {"tftp-not-found": 10, "tftp-events-untold": 6}


def test_strangers_get_no_answer() -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        client.sendto(RRQ, bench.address)
        assert await bench.silent(client)

    bench = run(test, visitor=None)
    assert bench.counts == {"tftp-stranger": 1}
    assert bench.events == []


@pytest.mark.parametrize(
    ("datagram", "count"),
    [
        (b"", "tftp-short"),
        (b"\0\1boot.bin\0octet", "tftp-unterminated"),
        (b"\0\x09boot", "tftp-opcode"),
        (b"\0\4\0\1", "tftp-not-a-request"),
        (b"\0\5\0\1no\0", "tftp-not-a-request"),
    ],
)
def test_malformed_requests_are_counted_and_dropped(datagram: bytes, count: str) -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        client.sendto(datagram, bench.address)
        assert await bench.silent(client, 0.05)
        assert (await bench.ask(client, RRQ))[0][:4] == b"\0\3\0\1"

    assert run(test).counts[count] == 1


def test_lost_data_is_sent_again_by_the_timer() -> None:
    async def test(bench: Bench) -> None:
        client = bench.client()
        first = await bench.ask(client, RRQ)
        began = asyncio.get_running_loop().time()
        assert await bench.receive(client) == first
        assert 0.7 < asyncio.get_running_loop().time() - began < 1.6

    run(test)


def test_caps_in_silence() -> None:
    async def test(bench: Bench) -> None:
        clients = [bench.client() for _ in range(4)]
        for client in clients[:3]:
            await bench.ask(client, b"\0\1big.bin\0octet\0")
        clients[3].sendto(RRQ, bench.address)
        assert await bench.silent(clients[3])
        bench.server.close()
        bench.server.start()
        assert (await bench.ask(clients[3], RRQ))[0][:4] == b"\0\3\0\1"

    assert run(test, caps=Caps(per_address=3)).counts["tftp-busy"] == 1
    assert run(test, caps=Caps(transfers=3)).counts["tftp-busy"] == 1


def test_a_transfer_that_lacks_only_its_last_ack_leaves_room() -> None:
    async def test(bench: Bench) -> None:
        for _ in range(5):
            client = bench.client()
            datagram, peer = await bench.ask(client, b"\0\1boot.bin\0octet\0blksize\x001400\0")
            client.sendto(b"\0\4\0\0", peer)
            datagram, _ = await bench.receive(client)
            assert datagram == b"\0\3\0\1" + BODY
        assert bench.server.running == 5

    run(test, caps=Caps(per_address=1))


def test_the_longest_time() -> None:
    async def test(bench: Bench) -> None:
        await bench.ask(bench.client(), RRQ)
        await asyncio.sleep(0.6)
        assert bench.server.running == 0

    assert run(test, caps=Caps(seconds=0.2)).steps() == ["timed out"]


def test_stopping_lets_a_transfer_end() -> None:
    async def test(bench: Bench) -> None:
        bench.server.close()
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_tftp(bench.server, stop, 5.0))
        await asyncio.sleep(0)
        client, late = bench.client(), bench.client()
        _, peer = await bench.ask(client, RRQ)
        stop.set()
        await asyncio.sleep(0.01)
        late.sendto(RRQ, bench.address)
        for block in (1, 2, 3):
            client.sendto(b"\0\4\0" + bytes([block]), peer)
            if block < 3:
                await bench.receive(client)
        await asyncio.wait_for(serving, 2)
        assert await bench.silent(late)

    assert run(test).steps() == ["sending", "sent"]


def test_three_hundred_at_once() -> None:
    async def fetch(bench: Bench) -> bytes:
        client = bench.client()
        datagram, peer = await bench.ask(client, b"\0\1big.bin\0octet\0blksize\x001024\0")
        client.sendto(b"\0\4\0\0", peer)
        got = b""
        while True:
            datagram, _ = await bench.receive(client)
            got += datagram[4:]
            client.sendto(b"\0\4" + datagram[2:4], peer)
            if len(datagram) < 1028:
                return got

    async def test(bench: Bench) -> None:
        bodies = await asyncio.gather(*(fetch(bench) for _ in range(300)))
        assert set(bodies) == {bytes(40_000)}

    bench = run(test, caps=Caps(per_address=300, events=600))
    assert bench.counts["tftp-sent"] == 300
    assert bench.steps().count("sent") == 300


def test_a_broadcast_request_is_ignored() -> None:
    """RFC 1123 section 4.2.3.5. Loopback's broadcast address reaches a socket bound to all addresses."""

    async def test() -> Counter[str]:
        counts: Counter[str] = Counter()
        with udp("0.0.0.0") as sock, udp() as client:
            server = TftpServer(
                sock,
                {"boot.bin": content_of(BODY)},
                find_visitor=lambda _address: Visitor(MAC, True),
                record=lambda _event: None,
                count=lambda name: counts.update((name,)),
            )
            server.start()
            port = sock.getsockname()[1]
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.sendto(RRQ, ("127.255.255.255", port))
            client.sendto(RRQ, ("127.0.0.2", port))
            _, peer = await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(client, 2000), 2)
            assert peer[0] == "127.0.0.2"  # answered from the address that was asked
            server.close()
        return counts

    assert asyncio.run(test()) == {"tftp-broadcast": 1, "tftp-transfer": 1, "tftp-stopped": 1}


def test_contents_of_files(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"0123456789")
    large.write_bytes(bytes(5 << 20))
    content = open_content(small)
    assert (content.size, bytes(content.read(2, 3))) == (10, b"234")
    content = open_content(large)
    assert (content.size, content.read((5 << 20) - 2, 2)) == (5 << 20, b"\0\0")
    large.write_bytes(b"short")
    with pytest.raises(OSError, match="became shorter"):
        content.read(4096, 512)


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_only_regular_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    with pytest.raises(UserError, match="not a regular file"):
        open_content(path)


def test_boot_files(tmp_path: Path) -> None:
    for name in ("undionly.kpxe", "snponly.efi", "ipxe.efi", "other.iso"):
        (tmp_path / name).write_bytes(name.encode())
    files: dict[str, Content] = load_boot_files(tmp_path)
    assert sorted(files) == ["ipxe.efi", "snponly.efi", "undionly.kpxe"]
    (tmp_path / "snponly.efi").unlink()
    with pytest.raises(UserError) as caught:
        load_boot_files(tmp_path)
    assert "snponly.efi: boot file is missing" in caught.value.message
    assert "ipxe" in caught.value.hint
