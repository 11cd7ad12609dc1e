"""Each cause from the events that show it; none while a boot goes on as it should."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from boot_stories import (
    DISK,
    FIRMWARE,
    FIRST_FILE,
    HEALTHY,
    INSTALLED,
    INSTALLER,
    IPXE,
    KERNEL,
    SYSTEM,
    TO_IMAGE,
    TO_KERNEL,
    TO_SCRIPT,
    story,
)
from hypothesis import given
from hypothesis import strategies as st
from rack import make_machine
from test_timeline import EVENTS

from bootstrapper.boot.breaker import OPENED, open_install
from bootstrapper.boot.causes import WORDS, Cause
from bootstrapper.boot.claim import ClaimRefusal
from bootstrapper.boot.decide import decide
from bootstrapper.boot.diagnosis import diagnose, diagnose_stranger
from bootstrapper.boot.diagnosis_rules import RULES
from bootstrapper.boot.events import Event
from bootstrapper.boot.firmware import Firmware, Kind, Stage
from bootstrapper.boot.history import History, MachineState
from bootstrapper.boot.minting import MintRefusal
from bootstrapper.boot.rules_install import FAILURES, classify, describe_offset, find_offset
from bootstrapper.boot.rules_network import find_block
from bootstrapper.boot.rules_system import Lookalikes
from bootstrapper.boot.steps import NO_BOOT_FILE
from bootstrapper.cluster.model import Role, UnknownPolicy

S = MachineState
ROOT = Path(__file__).parents[2]
MACHINE = make_machine(uuid="4c4c4544-0051-3610-8054-b4c04f595031", roles=frozenset({Role.WORKER}))
ARMED = History()
INSTALLING = History(state=S.INSTALLING, state_at=12)
DONE = History(done=1, state=S.INSTALLED, state_at=130)
BOOTED = replace(DONE, booted_at=270)
JOINED = replace(BOOTED, state=S.JOINED, state_at=320)
RIVAL = "0 dhcp rival! another DHCP server, 10.10.14.1 (52:54:00:00:00:99), answers on eth0"


@dataclass(frozen=True)
class Seen:
    mac: str
    uuid: str = ""
    last_at: float = 0.0


def name(
    text: str, now: float, history: History = ARMED, around: str = "", strangers: tuple[Seen, ...] = ()
) -> str | None:
    """The cause's name."""
    found = diagnose(MACHINE, history, story(text), now, story(around, mac=""), strangers)
    return None if found is None else str(found.cause)


OTHER_SERVER = "0 dhcp offer: a to BIOS, boots undionly.kpxe\n1 dhcp other server! it took 1.2.3.4 from 1.2.3.1"
TIMED_OUT = "22 tftp timed out! snponly.efi, timed out after block"
ABORTED = "3 tftp aborted! snponly.efi, aborted by the machine after block"
AUTOEXEC = "3.5 tftp sent: autoexec.ipxe, 200 bytes in 0.00 s (0.1 MB/s)"
FAILED = "75 installer failed!! "
TO_DISK = TO_KERNEL + INSTALLER[: INSTALLER.index("71 ")]

UNSERVED = TO_IMAGE + INSTALLED + SYSTEM[: SYSTEM.index("280 ")]
NO_FILE_OFFERED = """
9000 dhcp offer: 10.10.14.11 to UEFI x64, nothing to boot: install generation 1 is done
9004 dhcp offer: 10.10.14.11 to UEFI x64, nothing to boot: install generation 1 is done
"""
LOOP = "".join(
    f"{at} dhcp offer: 10.10.14.11 to UEFI x64, nothing to boot: install generation 1 is done\n"
    f"{at + 2} tftp local disk: refused as it should be\n"
    for at in range(9000, 9600, 150)
)
"Its disk is dead: every two and a half minutes it is sent there."
PAUSE = "registry.k8s.io/pause:3.10"

CAUSES = [
    # -- on hold
    (
        "held-by-breaker",
        TO_SCRIPT,
        100,
        replace(ARMED, state=S.HELD, state_at=90, held=f"3 {OPENED} within 30 minutes"),
    ),
    ("held", "", 100, replace(DONE, state=S.HELD, state_at=90, held="disk to be replaced")),
    # -- DHCP
    ("other-dhcp-server", OTHER_SERVER, 2, ARMED),
    ("other-dhcp-server", OTHER_SERVER + "\n5 dhcp offer: 10.10.14.11 to BIOS, boots undionly.kpxe", 6, ARMED),
    ("offer-not-taken", "0 dhcp offer: 10.10.14.11 to BIOS, boots undionly.kpxe", 60, ARMED),
    ("offer-not-taken", TO_SCRIPT[: TO_SCRIPT.index("11 dhcp ack: 10.10.14.11 to iPXE")], 70, ARMED),
    (
        "address-in-use",
        "0 dhcp offer: 10.10.14.11\n1 dhcp ack: 10.10.14.11\n2 dhcp decline!! 10.10.14.11 is in use",
        3,
        ARMED,
    ),
    ("address-in-use", "0 dhcp conflict! its address 10.10.14.11 is in use by 52:54:00:00:00:99", 3, ARMED),
    ("no-free-address", "0 dhcp no address!! no free address in the range of 10.10.14.0/24", 1, ARMED),
    ("relay-subnet", "0 dhcp no subnet! asks through the relay 10.9.0.1, which is in no subnet", 1, ARMED),
    ("http-boot", "0 dhcp offer: a to UEFI x64, nothing to boot: install generation 1 is open", 1, ARMED),
    ("wrong-subnet", "0 dhcp wrong subnet! asks on 10.20.0.0/16, but its `ip` 10.10.14.11 is outside of it", 1, ARMED),
    (
        "wrong-address-asked",
        "0 dhcp nak! asked for 192.168.7.7; its address is 10.10.14.11\n"
        "5 dhcp nak! asked for 192.168.7.7; its address is 10.10.14.11",
        6,
        ARMED,
    ),
    (
        "architecture",
        "0 dhcp ack: 10.10.14.11 to UEFI arm64, nothing to boot: no boot file for firmware UEFI arm64 "
        "(architecture 11)",
        1,
        ARMED,
    ),
    (
        "architecture",
        FIRMWARE + "12 http script refused! no boot file for firmware UEFI IA32 (architecture 6)",
        13,
        ARMED,
    ),
    (
        "uuid-differs",
        "0 dhcp offer! 10.10.14.11 to BIOS, boots undionly.kpxe; the description has another UUID than this, "
        "4c4c4544-0000-3610-8054-b4c04f595031",
        1,
        ARMED,
    ),
    (
        "uuid-differs",
        FIRMWARE
        + FIRST_FILE
        + IPXE
        + "12 http script refused! the description names another UUID for this MAC (from 10.10.14.11)",
        13,
        ARMED,
    ),
    # -- PXE and TFTP
    ("pxe-not-answered", FIRMWARE + "2 pxe nothing to boot: x", 20, ARMED),
    ("no-tftp-request", FIRMWARE, 61, ARMED),
    ("no-tftp-request", FIRMWARE + "2 pxe ack: snponly.efi", 62, ARMED),
    ("tftp-no-answer", FIRMWARE + f"{TIMED_OUT} 0 (20.0 s)", 22, ARMED),
    ("tftp-no-answer", FIRMWARE + "6 tftp not heard: snponly.efi: asked again", 21, ARMED),
    (
        "tftp-block-size",
        FIRMWARE + f"2 tftp sending: snponly.efi (270000 bytes, blocks of 1468)\n{TIMED_OUT} 0 (20.0 s)",
        22,
        ARMED,
    ),
    ("tftp-block-size", FIRMWARE + f"{ABORTED} 1: error 0: no text", 18, ARMED),
    ("tftp-stalled", FIRMWARE + f"2 tftp sending: snponly.efi (270000 bytes)\n{TIMED_OUT} 77 (20.0 s)", 22, ARMED),
    ("tftp-stalled", FIRMWARE + f"{ABORTED} 77: error 0: no text", 18, ARMED),
    ("tftp-no-file", FIRMWARE + "2 tftp refused: pxelinux.0: no such file", 17, ARMED),
    (
        "boot-file-refused",
        FIRMWARE + FIRST_FILE + "9 dhcp offer: 10.10.14.11 to UEFI x64, boots snponly.efi",
        10,
        ARMED,
    ),
    # -- iPXE
    ("ipxe-silent", FIRMWARE + FIRST_FILE, 63, ARMED),
    ("ipxe-silent", FIRMWARE + FIRST_FILE + AUTOEXEC, 64, ARMED),
    ("no-script-request", FIRMWARE + FIRST_FILE + IPXE, 71, ARMED),
    (
        "script-wrong-sender",
        FIRMWARE + FIRST_FILE + IPXE + "12 http script refused! this request does not come from the "
        "address leased to this MAC (from 192.168.7.7)",
        13,
        ARMED,
    ),
    (
        "script-failed",
        FIRMWARE + FIRST_FILE + IPXE + "12 http script failed!! templates/boot/x.j2:3: 'frob' is undefined",
        13,
        ARMED,
    ),
    ("kernel-not-fetched", TO_SCRIPT, 72, INSTALLING),
    ("file-missing", TO_SCRIPT + f"13 http no file! {KERNEL}", 28, INSTALLING),
    (
        "file-missing",
        FIRMWARE + FIRST_FILE + IPXE + "12 http script refused! waiting for files: a and 3 more (from 10.10.14.11)",
        13,
        ARMED,
    ),
    ("file-missing", HEALTHY + "400 http no file! kubernetes/v1.35.8/bin/linux/amd64/kubelet", 420, BOOTED),
    (
        "file-missing",
        UNSERVED + "275 http no file! cni-plugins/v1.9.0/amd64/x.tgz\n280 system unit: kubelet.service: active",
        420,
        BOOTED,
    ),
    (
        "download-cut-off",
        TO_SCRIPT + f"13 http loading: kernel {KERNEL}, 55 MB\n14 http cut off! kernel {KERNEL}, at 40 % after 1.0 s",
        74,
        INSTALLING,
    ),
    # -- the installer
    ("installer-silent", TO_KERNEL, 320, INSTALLING),
    (
        "clock-wrong",
        TO_DISK + "80 http tls failed! it takes our certificate for expired, or not valid yet (from x)",
        81,
        INSTALLING,
    ),
    ("clock-wrong", TO_KERNEL + "70 installer clock: the clock was 94670000 seconds off and was set", 190, INSTALLING),
    ("clock-wrong", TO_DISK + f"{FAILED} cannot set the clock, which is 94670000 seconds off", 76, INSTALLING),
    ("tls-authority", TO_DISK + "80 http tls failed! it does not know our authority (from x)", 81, INSTALLING),
    ("claimed-twice", TO_IMAGE + "110 http claim refused!! claimed before, from 10.10.14.66, token t", 111, INSTALLING),
    ("claimed-twice", HEALTHY + "400 http claim refused!! claimed before, from 10.10.14.66, token t", 500, BOOTED),
    ("claimed-again", TO_IMAGE + "110 http config claimed again!! by a newer boot", 111, INSTALLING),
    ("claimed-again", HEALTHY + "400 http config claimed again!! by a newer boot", 500, BOOTED),
    ("claim-sealed", HEALTHY + "400 http claim refused!! sealed, from 10.10.14.66, token t", 500, BOOTED),
    ("claim-address", TO_DISK + "80 http claim refused!! wrong address, from 192.168.7.7, token t", 81, INSTALLING),
    ("claim-other-board", TO_DISK + "80 http claim refused!! wrong UUID, from 10.10.14.11, token t", 81, INSTALLING),
    ("claim-expired", TO_DISK + "80 http claim refused! expired, from 10.10.14.11, token t", 81, INSTALLING),
    (
        "claim-refused",
        TO_DISK + "80 http claim refused! generation closed, from 10.10.14.11, token t\n"
        "81 installer failed!! the server refused this machine's configuration (HTTP 404): its log says why",
        82,
        INSTALLING,
    ),
    (
        "claim-refused",
        TO_DISK + "81 installer failed!! the server refused this machine's configuration (HTTP 404)",
        82,
        INSTALLING,
    ),
    ("config-failed", TO_DISK + "80 http cloud-config failed!! assets.lock has no hash of kubelet", 81, INSTALLING),
    (
        "waits-for-etcd",
        TO_DISK + "80 http config waits for etcd! 2 of 3 members are down\n390 http config waits for etcd! "
        "2 of 3 members are down",
        391,
        INSTALLING,
    ),
    (
        "no-disk",
        TO_DISK + f"{FAILED}the disk selector (serial X) matches 0 disks, and must match exactly one; this machine "
        "has: no disk at all",
        76,
        replace(INSTALLING, state=S.FAILED),
    ),
    (
        "several-disks",
        TO_DISK + f"{FAILED}the disk selector (none given) matches 2 disks, and must match exactly one",
        76,
        INSTALLING,
    ),
    (
        "foreign-data",
        TO_DISK + f"{FAILED}/dev/sda holds data that is not ours (LVM2_member on the whole disk)",
        76,
        INSTALLING,
    ),
    (
        "disk-unsuitable",
        TO_DISK + f"{FAILED}/dev/sda has sectors of 4096 bytes and the image needs 512",
        76,
        INSTALLING,
    ),
    (
        "image-not-verified",
        TO_IMAGE + '110 installer failed!! flatcar-install: gpg: BAD signature from "Flatcar"',
        111,
        INSTALLING,
    ),
    ("image-stalled", TO_IMAGE, 404, INSTALLING),
    ("install-failed", TO_DISK + f"{FAILED}the installer system has no jq", 76, INSTALLING),
    ("installer-stopped", TO_DISK + "71 installer disk: /dev/sda 480 GB: it is empty", 671, INSTALLING),
    ("installer-stopped", TO_KERNEL + "62 http installer config: install for 10.10.14.11, token t", 662, INSTALLING),
    # -- the installed system
    ("boots-network-again", TO_IMAGE + INSTALLED + DISK + DISK.replace("20", "30"), 422, DONE),
    ("boots-network-again", TO_IMAGE + INSTALLED + DISK + SYSTEM + LOOP, 9600, JOINED),
    ("boots-network-again", TO_IMAGE + INSTALLED + DISK + SYSTEM + LOOP, 9600, replace(JOINED, state=S.INSTALLED)),
    ("never-booted", TO_IMAGE + INSTALLED, 1030, DONE),
    (
        "system-failed",
        TO_IMAGE + INSTALLED + "270 system failed!! the data disk holds data that is not ours",
        271,
        DONE,
    ),
    ("image-not-mirrored", UNSERVED + f"280 registry not mirrored! {PAUSE}, manifest unknown", 281, BOOTED),
    (
        "image-not-mirrored",
        UNSERVED + f"279 registry pulled: registry.k8s.io/kube-proxy:1\n280 registry not mirrored! {PAUSE}, x\n"
        "281 system unit! etcd.service: failed (exit-code, status 125)",
        450,
        BOOTED,
    ),
    (
        "image-not-mirrored",
        HEALTHY + "400 kube node not ready! no CNI\n410 registry not mirrored! quay.io/flannel:1, x",
        500,
        JOINED,
    ),
    ("image-unreadable", UNSERVED + f"280 registry failed!! {PAUSE}, filesystem: permission denied", 281, BOOTED),
    ("system-failed", HEALTHY + "330 system unit! etcd: failed (exit-code, status 1)", 450, BOOTED),
    ("etcd-refused", HEALTHY + "330 kube etcd member refused!! the majority would be lost", 331, BOOTED),
    (
        "token-expired",
        TO_IMAGE + INSTALLED + "270 system booted: up\n5000 kube token expired! it did not join in time",
        5001,
        BOOTED,
    ),
    (
        "certificate-denied",
        TO_IMAGE + INSTALLED + "270 system booted: up\n280 kube certificate denied!! names node2",
        281,
        BOOTED,
    ),
    ("not-registered", TO_IMAGE + INSTALLED + "270 system booted: up", 870, BOOTED),
    ("node-not-ready", HEALTHY + "400 kube node not ready! network plugin is not ready", 520, BOOTED),
    # -- not here at all
    ("not-started", HEALTHY, 3000, History(wanted=2, done=1, state=S.ARMED, state_at=1000, reason="reinstall ordered")),
]


@pytest.mark.parametrize(("cause", "text", "now", "history"), CAUSES)
def test_a_cause_is_named(cause: str, text: str, now: float, history: History) -> None:
    assert name(text, now, history) == cause


@pytest.mark.parametrize(("cause", "text", "now", "history"), CAUSES)
def test_a_cause_has_a_time_evidence_and_words(cause: str, text: str, now: float, history: History) -> None:
    found = diagnose(MACHINE, history, story(text), now)
    assert found is not None
    assert 0 <= found.since <= now
    assert found.evidence
    assert found.title and found.what_to_do
    assert found.page == f"docs/diagnosis.md#{cause}"


def test_a_rival_that_was_heard_is_the_likelier_reason_for_an_offer_not_taken() -> None:
    offer = "0 dhcp offer: 10.10.14.11 to BIOS, boots undionly.kpxe"
    assert name(offer, 60, around=RIVAL) == "rival-dhcp-server"
    assert name(offer, 59, around=RIVAL) is None
    late = story(offer, start=10_000)
    found = diagnose(MACHINE, ARMED, late, 10_060, story(RIVAL, mac=""))
    assert found is not None and found.cause == "offer-not-taken"  # hours ago


def test_the_api_being_down_is_the_likelier_reason_for_a_node_that_does_not_come() -> None:
    events = story(TO_IMAGE + INSTALLED + "270 system booted: up")
    down = Event(200, "", "kube", "the Kubernetes API: waiting", "connection refused")
    up = Event(300, "", "kube", "the Kubernetes API: up")
    for around, cause in (([down], "api-unreachable"), ([down, up], "not-registered"), ([], "not-registered")):
        found = diagnose(MACHINE, BOOTED, events, 900, around)
        assert found is not None and found.cause == cause
    no_node = replace(MACHINE, roles=frozenset({Role.ETCD}))
    assert diagnose(no_node, BOOTED, events, 900, [down]) is None


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (Seen("02:00:00:00:00:01", MACHINE.uuid or "", 50), "other-card"),
        (Seen("00:25:90:c0:f7:81", last_at=50), "other-card"),
        (Seen("00:25:90:c0:f7:a1", last_at=50), None),
        (Seen("02:00:00:00:00:01", "4c4c4544-0000-3610-8054-b4c04f595031", 50), None),
    ],
)
def test_a_stranger_that_looks_like_a_machine_that_is_waited_for(seen: Seen, cause: str | None) -> None:
    assert name("", 60, strangers=(seen,)) == cause
    assert name("55 dhcp offer: 10.10.14.11", 60, strangers=(seen,)) is None  # it came itself
    assert name("", 60, DONE, strangers=(seen,)) is None  # nobody waits
    assert name("", 50 + 3601, strangers=(seen,)) is None


def test_a_stranger_of_its_own() -> None:
    lookalikes = Lookalikes([make_machine("02:00:00:00:00:99", "node2"), MACHINE])
    stranger, card = Seen("02:00:00:00:00:01", last_at=5), Seen("00:25:90:c0:f7:81", last_at=5)
    found = diagnose_stranger(stranger, lookalikes, UnknownPolicy.IGNORE)
    assert found is not None and (found.cause, found.since) == ("unknown-ignored", 5)
    assert diagnose_stranger(stranger, lookalikes, UnknownPolicy.DISCOVER) is None
    other = diagnose_stranger(card, lookalikes, UnknownPolicy.DISCOVER)
    assert other is not None and other.evidence == ("00:25:90:c0:f7:81 asked, and its MAC is next to that of node1",)


# -- no cause ----------------------------------------------------------------------------------------------------------


def history_at(text: str) -> History:
    """What the events up to here make of the machine."""
    if "system booted" in text:
        return BOOTED
    return DONE if "installer installed" in text else INSTALLING if "http script" in text else ARMED


def test_a_healthy_boot_has_no_cause_at_any_moment() -> None:
    lines = [line for line in HEALTHY.splitlines() if line]
    for count in range(len(lines) + 1):
        text = "\n".join(lines[:count])
        at = [float(line.split()[0]) for line in lines[:count]]
        following = float(lines[count].split()[0]) if count < len(lines) else 1e9
        for now in (at[-1] if at else 0.0, following - 0.001):
            assert name(text, now, history_at(text)) is None, (now, text)


@pytest.mark.parametrize(
    ("text", "now", "history"),
    [
        ("", 1e9, ARMED),  # of a fresh description: nobody has switched it on yet
        # an edk2 that asks twice, an iPXE that breaks off to ask anew
        (FIRMWARE + f"{ABORTED} 0: error 8: no text\n4 tftp sent: snponly.efi, 270000 bytes in 0.2 s", 60, ARMED),
        # a machine that was moved hears one NAK, and takes its own address
        ("0 dhcp nak! asked for 192.168.7.7\n1 dhcp offer: 10.10.14.11\n2 dhcp ack: 10.10.14.11", 30, DONE),
        # it declined an address of the range, and took the next
        ("0 dhcp decline! 10.10.14.100 rests\n1 dhcp offer: 10.10.14.101\n2 dhcp ack: 10.10.14.101", 30, BOOTED),
        # iPXE fetched again what was cut off
        (
            TO_SCRIPT + f"13 http cut off! kernel {KERNEL}, at 1 %\n24 http loaded: kernel {KERNEL}, 55 MB\n"
            "30 installer clock: right",
            200,
            INSTALLING,
        ),
        # a file that is missing and that the machine could do without
        (TO_KERNEL + "55 http no file! flatcar/x.DIGESTS" + INSTALLER, 200, INSTALLING),
        # a clock that was set, and all went on
        (
            TO_KERNEL + INSTALLER.replace("the clock is right", "the clock was 94670000 seconds off and was set"),
            120,
            INSTALLING,
        ),
        # a claim within the grace
        (
            TO_IMAGE + "105 http config claimed: cloud-config for 10.10.14.11, token t, claim 2 within the grace",
            120,
            INSTALLING,
        ),
        # an old install's alarm is over with a new install
        ("0 http claim refused!! sealed, from x\n" + HEALTHY, 400, BOOTED),
        # an installed machine that boots from the network each time
        (HEALTHY + DISK.replace("20", "400") + DISK.replace("20", "500"), 9999, BOOTED),
        # what was before this install is over: boots to the old disk, a certificate that was denied, an expired token
        (
            DISK.replace("20", "1") + DISK.replace("20", "2") + "3 kube certificate denied!! names node2\n"
            "4 kube token expired! it did not join in time\n5 kube etcd member refused!! the majority would be lost"
            + TO_IMAGE.replace("\n0 ", "\n6 ").replace("\n1 dhcp", "\n7 dhcp")
            + INSTALLED
            + DISK,
            400,
            DONE,
        ),
        # what it asked for once, long ago, it does without; and what it asked for again is here by now
        (UNSERVED + f"280 registry not mirrored! {PAUSE}, manifest unknown", 1700, replace(BOOTED, booted_at=1200)),
        (UNSERVED + "280 http no file! etcd/v3/amd64/x.tgz", 1700, replace(BOOTED, booted_at=1200)),
        (UNSERVED + f"280 registry not mirrored! {PAUSE}, x\n290 registry pulled: {PAUSE}", 300, BOOTED),
        (
            UNSERVED + "275 http no file! etcd/v3/amd64/x.tgz\n"
            "280 system unit: bootstrapper-download@etcd.service: active",
            420,
            BOOTED,
        ),
        # a node in service: some pod's image, and somebody's curl
        (HEALTHY + "400 registry not mirrored! docker.io/a/b:1, x\n400 http no file! a/b", 500, JOINED),
        # firmware does not take an offer without a boot file: it goes on to its disk, where the system says no more
        (HEALTHY + NO_FILE_OFFERED, 9999, JOINED),
        # in service, network first in its boot order: restarted three times, heard each time; then twice only
        (HEALTHY + LOOP.replace("tftp local disk: refused as it should be", "dhcp ack: 10.10.14.11"), 9700, JOINED),
        (HEALTHY + "\n" + LOOP[LOOP.index("9300 ") :], 9650, JOINED),
        (HEALTHY + LOOP, 13000, JOINED),
        (HEALTHY + NO_FILE_OFFERED, 9999, replace(JOINED, state=S.INSTALLED)),
        # a unit that came up at its second start
        (HEALTHY + "330 system unit! etcd: failed (exit-code, status 1)\n340 system unit: etcd: active", 999, BOOTED),
        (HEALTHY + "400 kube node not ready! restarting\n410 kube node ready: x", 999, BOOTED),
        (DISK + SYSTEM, 9999, BOOTED),
        # offers to a system that renews elsewhere, long after
        (HEALTHY, 1e9, replace(BOOTED, state=S.JOINED)),
    ],
)
def test_what_ends_well_has_no_cause(text: str, now: float, history: History) -> None:
    assert name(text, now, history) is None


@given(
    st.lists(EVENTS, max_size=30),
    st.builds(
        History,
        wanted=st.integers(1, 3),
        done=st.integers(0, 2),
        state=st.sampled_from(MachineState),
        state_at=st.floats(0, 1e5),
        held=st.sampled_from(["", "x"]),
        booted_at=st.floats(0, 1e5),
    ),
    st.floats(0, 2e5),
    st.lists(EVENTS, max_size=5),
)
def test_it_never_raises_and_tells_no_future(
    events: list[Event], history: History, now: float, around: list[Event]
) -> None:
    found = diagnose(MACHINE, history, events, now, around, (Seen("x"), Seen("zz:zz", "?", now)))
    assert found is None or found.cause in WORDS


# -- the tables agree --------------------------------------------------------------------------------------------------


def test_every_cause_has_words_a_rule_and_a_test() -> None:
    assert set(WORDS) == set(Cause)
    assert {cause for cause, _ in RULES} == set(Cause) - {Cause.UNKNOWN_IGNORED}
    elsewhere = {"rival-dhcp-server", "api-unreachable", "other-card", "unknown-ignored"}
    assert {cause for cause, *_ in CAUSES} | elsewhere == {str(cause) for cause in Cause}


def test_the_phrases_that_are_recognised_are_those_that_are_said() -> None:
    said = "".join(path.read_text() for path in (ROOT / "templates/nodes/install").iterdir())
    for phrase in (
        "disks, and must match exactly one",
        "holds data that is not ours",
        "has sectors of",
        "bytes and the image needs",
        "already holds install",
        "still in use by",
        "wipefs failed",
        "cannot write to",
        "has no OEM partition",
        "cannot mount",
        "cannot set the clock",
        "seconds off",
        "flatcar-install: ",
        "refused this machine's configuration",
    ):
        assert phrase in said
    assert OPENED in open_install(History(opened_at=(1.0, 20.0, 40.0)), 60.0).held
    decision = decide(MACHINE, UnknownPolicy.IGNORE, Firmware(Kind.UEFI_ARM64, Stage.ROM, code=11), History())
    assert decision.reason.startswith(NO_BOOT_FILE)
    assert [refusal.value for refusal in (MintRefusal.UUID, MintRefusal.ADDRESS, ClaimRefusal.CLAIMED)] == [
        "the description names another UUID for this MAC",
        "this request does not come from the address leased to this MAC",
        "claimed before",
    ]


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("/dev/sda is still in use by dm-0", Cause.DISK_UNSUITABLE),
        ("/dev/sda has 4000000000 bytes and the image needs 10000000000", Cause.DISK_UNSUITABLE),
        ("the disk selector (serial X) matches 10 disks, and must match exactly one", Cause.SEVERAL_DISKS),
        ("flatcar-install: curl: (22) The requested URL returned error: 404", Cause.INSTALL_FAILED),
        ("flatcar-install: gpg: Can't check signature: No public key", Cause.IMAGE_NOT_VERIFIED),
        ("", Cause.INSTALL_FAILED),
    ],
)
def test_an_installers_last_words(words: str, cause: Cause) -> None:
    assert classify(words) is cause
    assert all(cause in WORDS for _, cause in FAILURES)


def test_a_clock_is_told_in_the_largest_unit() -> None:
    assert describe_offset(94_670_000) == "its clock is 3.0 years back"
    assert describe_offset(-7_200) == "its clock is 2.0 hours ahead"
    assert describe_offset(30) == "its clock is 30 seconds back"
    assert find_offset("the clock was -5 seconds off and was set") == -5
    assert find_offset("the clock is right") is None
    assert find_block("snponly.efi, timed out after block 12 (3.0 s)") == 12


def test_a_repeated_offer_is_stuck_since_the_first_and_counted() -> None:
    text = "\n".join(f"{at} dhcp offer: 10.10.14.11 to BIOS, boots undionly.kpxe" for at in (0, 4, 12, 28))
    found = diagnose(MACHINE, ARMED, story(text), 100)
    assert found is not None
    assert (found.since, found.evidence) == (
        0,
        ("dhcp offer: 10.10.14.11 to BIOS, boots undionly.kpxe", "4 offers, none taken"),
    )


def test_steps_follow_in_time() -> None:
    at = [event.at for event in story(HEALTHY)]
    assert all(before <= after for before, after in pairwise(at))


def test_the_documentation_has_every_cause_in_the_same_words() -> None:
    page = " ".join((ROOT / "docs/diagnosis.md").read_text().split())
    for cause, words in WORDS.items():
        title, what_to_do = (text[0].upper() + text[1:] for text in (words.title, words.what_to_do))
        section = page.partition(f" ### {cause} ")[2].partition(" ## ")[0].partition(" ### ")[0]
        assert section.startswith(f"**{title}.** *Seen by:* "), cause
        assert section.endswith(f" *What to do:* {what_to_do}."), cause
