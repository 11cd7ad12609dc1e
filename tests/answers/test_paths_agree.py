"""DHCP on 67, PXE on 4011 and HTTP give one machine one answer: `boot.decide`'s, whatever has happened to it.

In every relative of this project some path forgot a check, and machines were installed again from there.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from dhcp_world import FIXED, STRANGER, World
from hypothesis import given, settings
from hypothesis import strategies as st
from rack import LINKS, make_environment

from bootstrapper.boot.claim import Token
from bootstrapper.boot.decide import Action, decide
from bootstrapper.boot.firmware import BOOT_FILES, identify
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.scripts import render_script
from bootstrapper.cluster.model import UnknownPolicy
from bootstrapper.nodeconfig.context import Output
from bootstrapper.servers.tftp import ALSO_SERVED
from bootstrapper.web.booting import answer_boot, parse_asker
from bootstrapper.web.parts import Parts

ENVIRONMENT = make_environment()
histories = st.builds(
    History,
    wanted=st.integers(0, 3),
    done=st.integers(0, 3),
    state=st.sampled_from(list(MachineState)),
    held=st.sampled_from(["", "by the admin"]),
    begun=st.booleans(),
)


class OneHistory:
    """The part of a store that answering a boot script needs."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.minted: list[Token] = []

    def find_history(self, mac):
        return self.history if mac == FIXED else History()

    def change_history(self, mac, change):
        self.history = change(self.history)
        return self.history

    def find_lease(self, mac):
        return None

    def mint(self, token):
        self.minted.append(token)


def boot_file(packet) -> str:
    return "" if packet is None else packet.options.get(67, b"").rstrip(b"\0").decode()


@settings(max_examples=300, deadline=None)
@given(
    history=histories,
    policy=st.sampled_from(list(UnknownPolicy)),
    mac=st.sampled_from([FIXED, STRANGER]),
    code=st.sampled_from([0, 6, 7, 9, 11]),
)
def test_every_path_gives_what_decide_says(history, policy, mac, code):
    world = World(unknown=policy, history=history)
    vendor = f"PXEClient:Arch:{code:05d}:UNDI:003016".encode()
    rom = {60: vendor, 93: code.to_bytes(2, "big")}
    firmware = identify(vendor.decode(), (code,), "", False)
    expected = decide(world.cluster.by_mac.get(mac), policy, firmware, history if mac == FIXED else History())

    offered = {
        boot_file(world.discover(mac, options=rom)),
        boot_file(world.send(mac, 3, port=4011, ciaddr="10.10.14.11", source="10.10.14.11", options=rom)),
    }
    chained = boot_file(world.discover(mac, options=rom | {77: b"iPXE", 175: b"\x01\x01\x01"}))
    store = OneHistory(history)
    parts = Parts(
        lambda: world.cluster, store, ENVIRONMENT, LINKS, "", Path("/none"), lambda: world.now, lambda: "t" * 43,
        lambda name, context, machine: Output("", ""), lambda event: None,
    )  # fmt: skip
    asker = parse_asker({"mac": mac, "arch": str(code)}, IPv4Address("10.10.14.11"))
    boot = answer_boot(parts, asker, open_it=True)

    assert boot.decision.action is expected.action
    assert bool(boot.token) is bool(store.minted) is (expected.action is Action.INSTALL)
    if expected.network_boots:
        assert chained.startswith(f"http://10.10.14.253/boot.ipxe?mac={mac}")
    else:
        assert chained == ""
        uefi_to_disk = expected.action is Action.LOCAL_DISK and code != 0
        assert offered == {"local-disk" if uefi_to_disk else ""}
    if expected.action is Action.INSTALL:
        assert history.wanted > history.done
        assert not history.held
        assert offered <= {"undionly.kpxe", "snponly.efi", ""}
        assert offered != {""}
    text = render_script(ENVIRONMENT, boot.decision, asker.firmware, boot.machine, world.cluster, LINKS, boot.token)
    assert ("\nkernel " in text) is (expected.action is Action.INSTALL)


@pytest.mark.parametrize("mac", [FIXED, STRANGER])
def test_a_machine_that_is_done_is_offered_nothing_that_is_served(mac):
    world = World(unknown=UnknownPolicy.DISCOVER, history=History(wanted=1, done=1))
    for code in (0, 7):
        rom = {60: b"PXEClient", 93: code.to_bytes(2, "big")}
        name = boot_file(world.discover(mac, options=rom))
        assert name == ("local-disk" if (mac, code) == (FIXED, 7) else "")
        assert name not in {*BOOT_FILES.values(), *ALSO_SERVED, "autoexec.ipxe"}
        assert boot_file(world.discover(mac, options=rom | {77: b"iPXE"})) == ""
