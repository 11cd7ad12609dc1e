"""Every path of every protocol, for machines of every history, firmware and `local_boot`: nothing that could install a
machine leaves for one that is not to be installed, and no secret for one that is not in the description."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rack import make_cluster, make_machine

from bootstrapper.answers.dhcp import Arrival, DhcpAnswers
from bootstrapper.answers.leases import Lease, LeaseTable
from bootstrapper.answers.tftp import Visitors
from bootstrapper.boot.claim import Token
from bootstrapper.boot.firmware import BOOT_FILES
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.local_disk import ROUTES, Hand
from bootstrapper.cluster.model import AddressRange, Cluster, LocalBoot, UnknownPolicy
from bootstrapper.nodeconfig.context import Output
from bootstrapper.pki.tokens import digest_token
from bootstrapper.wire.dhcp import Packet, build_packet, parse_packet

FIXED, STRANGER, NOW = "00:25:90:c0:f7:80", "02:00:00:00:00:01", 1_800_000_000.0
ADDRESS = {FIXED: "10.10.14.11", STRANGER: "10.10.14.101"}
INSTALLS = ("\nkernel ", "\ninitrd ", "linux ", "KERNEL ", "menuentry", "ignition.config.url")
"Words of a script that boots an installer."
SECRET = "KEY-OF-THE-MACHINE"
IPXE_FILES = frozenset(BOOT_FILES.values())
numbers = itertools.count()

histories = st.builds(
    History,
    wanted=st.integers(0, 3),
    done=st.integers(0, 3),
    state=st.sampled_from(list(MachineState)),
    held=st.sampled_from(["", "by the admin"]),
    approved=st.booleans(),
    opened_at=st.sampled_from([(), (NOW - 100,), (NOW - 900, NOW - 600, NOW - 300)]),
    wipe=st.booleans(),
    booted_at=st.sampled_from([0.0, NOW]),
    forgotten=st.booleans(),
    begun=st.booleans(),
)


def make_rack(policy: UnknownPolicy, local_boot: LocalBoot) -> Cluster:
    cluster = make_cluster(make_machine(FIXED, "node1", ADDRESS[FIXED], local_boot=local_boot), unknown=policy)
    pool = AddressRange(IPv4Address("10.10.14.100"), IPv4Address("10.10.14.102"))
    return replace(cluster, network=replace(cluster.network, link=replace(cluster.network.link, range=pool)))


def render(name, context, machine):
    """As the real ones: secrets for the claim of the configuration only."""
    return Output(f"{name} {SECRET if context.token and name != 'install' else 'left out'}", "text/plain")


def build_asks(mac: str, code: int) -> list[tuple[Packet, Arrival]]:
    """What a card, its firmware and an iPXE may send on 67 and 4011."""
    address = int(IPv4Address(ADDRESS[mac]))
    vendors = [{60: b"PXEClient:Arch:%05d:UNDI:003016" % code, 93: code.to_bytes(2, "big")},
               {60: b"HTTPClient:Arch:%05d:UNDI:003016" % code, 93: code.to_bytes(2, "big")}]  # fmt: skip
    vendors += [vendors[0] | {77: b"iPXE", 175: b"\x01\x01\x01"}, {77: b"iPXE"}, {60: b"PXEClient"}]
    found = []
    for options, kind in itertools.product(vendors, (None, 1, 3, 8)):
        message = {} if kind is None else {53: bytes([kind])}
        wanted = {50: IPv4Address(address).packed} if kind == 3 else {}
        ciaddr = address if kind == 8 else 0
        packet = Packet(xid=7, ciaddr=ciaddr, chaddr=bytes.fromhex(mac.replace(":", "")).ljust(16, b"\0"),
                        options=message | wanted | options)  # fmt: skip
        local = IPv4Address("10.10.14.253")
        found.append((packet, Arrival(IPv4Address(ciaddr), 68, local, 67, not ciaddr)))
        if kind in (3, 8):
            asker = packet._replace(ciaddr=address)
            found.append((asker, Arrival(IPv4Address(address), 4011, local, 4011, False)))
    return found


def list_boot_files(cluster: Cluster, history: History, mac: str, code: int) -> set[str]:
    """All names and URLs that DHCP, PXE and BOOTP answers tell, in whichever field."""
    found = set()
    for packet, arrival in build_asks(mac, code):
        leases = LeaseTable([Lease(IPv4Address(ADDRESS[STRANGER]), STRANGER, NOW + 900)])
        answers = DhcpAnswers(cluster, leases, lambda asked: history if asked == FIXED else History())
        reply = answers.answer(build_packet(packet), arrival, NOW).reply
        if reply is not None:
            answer = parse_packet(reply.payload)
            found |= {answer.options.get(67, b"").rstrip(b"\0").decode(), answer.file.rstrip(b"\0").decode()}
    return found - {""}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=histories,
    policy=st.sampled_from(list(UnknownPolicy)),
    local_boot=st.sampled_from(list(LocalBoot)),
    mac=st.sampled_from([FIXED, FIXED, STRANGER]),
    code=st.sampled_from([0, 6, 7, 9, 11, 16]),
    generation=st.sampled_from([0, 0, 0, -1, 1]),
)
def test_nothing_installs_a_machine_that_is_not_to_be_installed(
    plane, history, policy, local_boot, mac, code, generation
):
    plane.cluster, plane.clock, plane.client, plane.render = make_rack(policy, local_boot), NOW, None, render
    plane.store.save_history(FIXED, history)
    source = ADDRESS[mac]
    plane.lease(ADDRESS[STRANGER], STRANGER)
    token = f"a{next(numbers):042d}"
    plane.store.mint(
        Token(digest_token(token), FIXED, IPv4Address(source), history.wanted + generation, NOW, NOW + 900)
    )
    minted = len(plane.tokens)
    known = mac == FIXED
    to_be_installed = known and history.wanted > history.done and not history.held

    # DHCP on 67 (and BOOTP), PXE on 4011
    named = list_boot_files(plane.cluster, history, mac, code)
    scripts = {name for name in named if name.startswith("http://10.10.14.253/boot.ipxe?mac=")}
    # On hold it boots its disk, unless nothing was ever installed there or an install has begun.
    held_whole = bool(history.held) and history.done > 0 and not history.begun
    to_disk = history.wanted <= history.done or held_whole
    ours = not to_disk or ROUTES[local_boot].hand is Hand.IPXE
    assert named <= {"local-disk", *IPXE_FILES, *scripts}
    if not known:
        assert named == set()
    elif not ours:
        assert named <= {"local-disk"}

    # TFTP: what may be read at all is iPXE, which asks for its script
    visitors = Visitors(plane.cluster, plane.store.find_holder, plane.store.find_history)
    visitor = visitors.find(source)
    assert (visitor is not None and visitor.served) is (known and ours)

    # HTTP: a claim with a token of this or another generation first, since a boot script mints a newer one
    install, config = plane.get(f"/m/{token}/install", source), plane.get(f"https:/m/{token}/config", source)
    texts = [
        plane.get(f"{path}?mac={mac}&arch={code}", source).text for path in ("/boot.ipxe", "/grub.cfg", "/pxelinux.cfg")
    ]
    texts.append(plane.get("/autoexec.ipxe", source).text)
    clear = [
        plane.get(f"/{each}", source).text for each in (f"cloud-config/{mac}", f"ignition/{mac}", f"m/{token}/config")
    ]
    assert SECRET not in "".join([*texts, *clear, install.text]), "a secret without TLS"
    if not to_be_installed:
        assert len(plane.tokens) == minted
        assert not [word for word in INSTALLS for text in texts if word in text]
    if not known:
        assert not [text for text in (*texts, *clear) if "node1" in text or "left out" in text]
    # Whoever has a token of this boot from node1's address is node1: its own generation only, while that is open.
    may_claim = history.wanted > history.done and not history.held and generation == 0
    assert (install.status_code == 200) is (config.status_code == 200) is may_claim
    assert (SECRET in config.text) is may_claim
    kept = plane.store.find_history(FIXED)
    assert (kept.wanted, kept.done) == (history.wanted, history.done)
