"""Why a boot stopped: the causes there are, each with its words for the admin.

`diagnosis_rules` says how each is recognised, docs/diagnosis.md at more length what to do; a test holds the three
together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """A name is for programs and never changes its meaning."""

    # on purpose, or by the breaker
    HELD_BY_BREAKER = "held-by-breaker"
    HELD = "held"
    # DHCP
    OTHER_DHCP_SERVER = "other-dhcp-server"
    RIVAL_DHCP_SERVER = "rival-dhcp-server"
    OFFER_NOT_TAKEN = "offer-not-taken"
    ADDRESS_IN_USE = "address-in-use"
    NO_FREE_ADDRESS = "no-free-address"
    RELAY_SUBNET = "relay-subnet"
    WRONG_SUBNET = "wrong-subnet"
    WRONG_ADDRESS_ASKED = "wrong-address-asked"
    UUID_DIFFERS = "uuid-differs"
    ARCHITECTURE = "architecture"
    HTTP_BOOT = "http-boot"
    PXE_NOT_ANSWERED = "pxe-not-answered"
    # TFTP
    NO_TFTP_REQUEST = "no-tftp-request"
    TFTP_NO_ANSWER = "tftp-no-answer"
    TFTP_BLOCK_SIZE = "tftp-block-size"
    TFTP_STALLED = "tftp-stalled"
    TFTP_NO_FILE = "tftp-no-file"
    BOOT_FILE_REFUSED = "boot-file-refused"
    # iPXE
    IPXE_SILENT = "ipxe-silent"
    NO_SCRIPT_REQUEST = "no-script-request"
    SCRIPT_WRONG_SENDER = "script-wrong-sender"
    SCRIPT_FAILED = "script-failed"
    KERNEL_NOT_FETCHED = "kernel-not-fetched"
    FILE_MISSING = "file-missing"
    DOWNLOAD_CUT_OFF = "download-cut-off"
    # the installer
    INSTALLER_SILENT = "installer-silent"
    CLOCK_WRONG = "clock-wrong"
    TLS_AUTHORITY = "tls-authority"
    CLAIMED_TWICE = "claimed-twice"
    CLAIMED_AGAIN = "claimed-again"
    CLAIM_ADDRESS = "claim-address"
    CLAIM_OTHER_BOARD = "claim-other-board"
    CLAIM_EXPIRED = "claim-expired"
    CLAIM_SEALED = "claim-sealed"
    CLAIM_REFUSED = "claim-refused"
    CONFIG_FAILED = "config-failed"
    WAITS_FOR_ETCD = "waits-for-etcd"
    NO_DISK = "no-disk"
    SEVERAL_DISKS = "several-disks"
    FOREIGN_DATA = "foreign-data"
    DISK_UNSUITABLE = "disk-unsuitable"
    IMAGE_NOT_VERIFIED = "image-not-verified"
    IMAGE_STALLED = "image-stalled"
    INSTALL_FAILED = "install-failed"
    INSTALLER_STOPPED = "installer-stopped"
    # the installed system
    BOOTS_NETWORK_AGAIN = "boots-network-again"
    NEVER_BOOTED = "never-booted"
    IMAGE_NOT_MIRRORED = "image-not-mirrored"
    IMAGE_UNREADABLE = "image-unreadable"
    SYSTEM_FAILED = "system-failed"
    ETCD_REFUSED = "etcd-refused"
    TOKEN_EXPIRED = "token-expired"  # noqa: S105 - a name
    CERTIFICATE_DENIED = "certificate-denied"
    API_UNREACHABLE = "api-unreachable"
    NOT_REGISTERED = "not-registered"
    NODE_NOT_READY = "node-not-ready"
    # not here at all
    OTHER_CARD = "other-card"
    NOT_STARTED = "not-started"
    UNKNOWN_IGNORED = "unknown-ignored"


@dataclass(frozen=True, slots=True)
class Words:
    title: str
    "What happened, in one line."
    what_to_do: str
    "In plain words, the likeliest first."


WORDS: dict[Cause, Words] = {
    Cause.HELD_BY_BREAKER: Words(
        "on hold: it installed again and again",
        "see below why the last install did not end; once that is put right, `bootstrapper release` it",
    ),
    Cause.HELD: Words(
        "on hold by order",
        "it boots its disk, or waits, until you `bootstrapper release` it",
    ),
    Cause.OTHER_DHCP_SERVER: Words(
        "it took another DHCP server's answer",
        "turn that server off on this network, or keep it from this machine's MAC; two servers never agree",
    ),
    Cause.RIVAL_DHCP_SERVER: Words(
        "offer sent and not taken, and another DHCP server is on the network",
        "the machine most likely took the other server's offer: turn it off, or make it ignore this machine's MAC",
    ),
    Cause.OFFER_NOT_TAKEN: Words(
        "offer sent, no request came back",
        "our answer does not reach it, or it chose another server: look at its switch port (VLAN, DHCP snooping: this "
        "server's port must be trusted), at the relay's way back, and for another DHCP server in that segment",
    ),
    Cause.ADDRESS_IN_USE: Words(
        "its address is in use by something else",
        "find the other user (the MAC is below, or `arping` the address) and give it another, or change `ip`",
    ),
    Cause.NO_FREE_ADDRESS: Words(
        "no free address in the range",
        "widen `range` in the description, or shorten `network.dhcp.lease`",
    ),
    Cause.RELAY_SUBNET: Words(
        "its DHCP relay is in no subnet of the description",
        "add the subnet to `network.more_subnets`, or correct the relay's address (it is below)",
    ),
    Cause.WRONG_SUBNET: Words(
        "it asks on another subnet than its `ip` is of",
        "its cable, its switch port's VLAN or the relay is of another subnet: move it there, or change `ip`",
    ),
    Cause.WRONG_ADDRESS_ASKED: Words(
        "it keeps asking for an address that is not its own",
        "another DHCP server gave it that address: look for it; a static address in its firmware does the same",
    ),
    Cause.UUID_DIFFERS: Words(
        "its UUID is not the one in the description",
        "the card moved into another machine, or the board was replaced: check which machine this is, then correct "
        "`uuid`",
    ),
    Cause.ARCHITECTURE: Words(
        "its firmware's architecture is not supported",
        "switch the firmware to UEFI x64 or to legacy BIOS; others cannot be booted yet",
    ),
    Cause.HTTP_BOOT: Words(
        "its firmware asks for UEFI HTTP boot, which is not served",
        "choose IPv4 PXE instead of HTTP boot in the firmware's setup, or put it first in the boot order",
    ),
    Cause.PXE_NOT_ANSWERED: Words(
        "it asked on port 4011 and there is nothing to boot for it",
        "see the reason below; in UEFI's setup choose IPv4 PXE, not HTTP boot",
    ),
    Cause.NO_TFTP_REQUEST: Words(
        "it has an address and a file name, and never asked for the file",
        "something filters UDP 69 between it and this server, or another DHCP (or proxyDHCP) server named another "
        "file or next server: look at firewalls on this host and the path, then for the other server",
    ),
    Cause.TFTP_NO_ANSWER: Words(
        "it asks for its boot file and our answer does not reach it",
        "TFTP answers come from a fresh high UDP port: a firewall that lets only port 69 pass drops them; allow UDP "
        "from this server to that network, or load the TFTP helper (nf_conntrack_tftp)",
    ),
    Cause.TFTP_BLOCK_SIZE: Words(
        "TFTP ends at the first block: its datagrams do not fit",
        "large packets are lost on the way: make the MTU of this server, the switches and the relay's path equal "
        "(1500, or jumbo frames everywhere); a VPN or tunnel on the path is the usual reason",
    ),
    Cause.TFTP_STALLED: Words(
        "TFTP stopped in the middle of the file",
        "packets are lost: look at the cable, the switch port's error counters and its duplex setting",
    ),
    Cause.TFTP_NO_FILE: Words(
        "it asks by TFTP for a file that is not served",
        "another DHCP server, or a setting in the firmware, names that file: only the names in `simulate` exist here",
    ),
    Cause.BOOT_FILE_REFUSED: Words(
        "its UEFI fetched the boot file and does not run it",
        "Secure Boot refuses iPXE: switch it off in the firmware's setup (or the firmware cannot run the file)",
    ),
    Cause.IPXE_SILENT: Words(
        "iPXE was fetched and never asked for an address",
        "its switch port wakes up too slowly when the card restarts: set the port to edge (PortFast, `spanning-tree "
        "portfast`) and switch off LACP waiting; else its card needs another iPXE driver: see docs/hardware.md",
    ),
    Cause.NO_SCRIPT_REQUEST: Words(
        "iPXE has an address and never asked for its script",
        "it cannot reach this server by HTTP: look for a firewall on TCP 80, on this host first, and for a second "
        "answer of another DHCP server",
    ),
    Cause.SCRIPT_WRONG_SENDER: Words(
        "its script was asked for from an address that is not its own",
        "another DHCP server gave it that address, or somebody else asks in its name: look up the address below",
    ),
    Cause.SCRIPT_FAILED: Words(
        "its boot script could not be made",
        "a template or the description has a fault: `bootstrapper check` names it",
    ),
    Cause.KERNEL_NOT_FETCHED: Words(
        "the script was served and the kernel never fetched",
        "iPXE shows the error on the console: usually TCP 80 is cut in the middle, or the machine was switched off",
    ),
    Cause.FILE_MISSING: Words(
        "a file that it needs is not among the assets",
        "`bootstrapper fetch` it into the assets directory (the name is below)",
    ),
    Cause.DOWNLOAD_CUT_OFF: Words(
        "a download broke off",
        "the machine went away in the middle: look at its cable and power, and at its console; iPXE tries again by "
        "itself",
    ),
    Cause.INSTALLER_SILENT: Words(
        "the installer was loaded and never reported",
        "look at its console: a kernel panic, too little memory (the installer needs 3 GB), or a card that Linux has "
        "no driver for; without a console set `console` in the description",
    ),
    Cause.CLOCK_WRONG: Words(
        "its clock is wrong, so it cannot trust any certificate",
        "its battery is empty, most likely: set the clock in the firmware's setup, replace the battery, install again",
    ),
    Cause.TLS_AUTHORITY: Words(
        "it does not trust this server's certificate",
        "it was started with another authority: the state was made anew, or another bootstrapper served its script; "
        "restart it, so that it gets this server's authority",
    ),
    Cause.CLAIMED_TWICE: Words(
        "its configuration was claimed twice",
        "if the machine itself did not try again, somebody else read its token: treat its secrets as known to others, "
        "find the second claimant (the address is below), then `bootstrapper reinstall` it",
    ),
    Cause.CLAIMED_AGAIN: Words(
        "its configuration was handed out to two boots of one install",
        "if it was restarted in the middle of its install (power, watchdog, by hand), the second is its own next try; "
        "else something that has its address took one of them: treat its secrets as known to others, find it (the "
        "addresses are below; behind an old system's address, its pods), then `bootstrapper reinstall` it",
    ),
    Cause.CLAIM_ADDRESS: Words(
        "its configuration was claimed from an address that is not its own",
        "two DHCP servers, or NAT between it and this server; else somebody tried with its token: look up the address",
    ),
    Cause.CLAIM_OTHER_BOARD: Words(
        "its configuration was claimed by another board",
        "the claim told another UUID than the boot did: somebody else may have its token; look up the address below",
    ),
    Cause.CLAIM_EXPIRED: Words(
        "its installer came too late for its configuration",
        "from script to claim it has six hours: the download is too slow or it waited for somebody; it restarts by "
        "itself and asks for another token",
    ),
    Cause.CLAIM_SEALED: Words(
        "an old boot's token was used again after the install",
        "the machine never does that by itself: find who asks (the address is below)",
    ),
    Cause.CLAIM_REFUSED: Words(
        "its configuration was refused",
        "the order changed while it booted, or a newer boot took its place: it restarts by itself and asks for another "
        "token; where it did not, restart it",
    ),
    Cause.CONFIG_FAILED: Words(
        "its configuration could not be made",
        "the message below says what is missing: correct the description or the assets; the installer keeps asking",
    ),
    Cause.WAITS_FOR_ETCD: Words(
        "it waits for its place among the etcd members",
        "a majority of the present members must run before one is replaced: bring the others up first",
    ),
    Cause.NO_DISK: Words(
        "no disk matches",
        "compare `disk` in the description with what the machine has (below); none at all: controller mode (RAID, "
        "VMD) or a missing driver",
    ),
    Cause.SEVERAL_DISKS: Words(
        "several disks match, and it will not guess",
        "name one in the description, by `serial` or `wwn` from the list below, then restart the machine",
    ),
    Cause.FOREIGN_DATA: Words(
        "its disk holds data that is not ours",
        "if that data may be lost: `bootstrapper reinstall --wipe` it; if not, choose another disk",
    ),
    Cause.DISK_UNSUITABLE: Words(
        "its disk cannot take the image",
        "see below: too small, sectors of 4096 bytes, in use, or the install on it contradicts the order",
    ),
    Cause.IMAGE_NOT_VERIFIED: Words(
        "the image is not the one that was signed",
        "the file in the assets is damaged or another: `bootstrapper fetch` it again; a wrong clock does the same",
    ),
    Cause.IMAGE_STALLED: Words(
        "writing the image does not go on",
        "the disk or the network has stopped: look at its console (`dmesg`) and the disk's health",
    ),
    Cause.INSTALL_FAILED: Words(
        "the installer stopped",
        "its own words are below; it stays up, so that you can log in",
    ),
    Cause.INSTALLER_STOPPED: Words(
        "the installer has fallen silent",
        "it lost power or its network, or hangs: look at its console, then restart it",
    ),
    Cause.BOOTS_NETWORK_AGAIN: Words(
        "installed, sent to its disk, and back on the network",
        "its firmware does not boot that disk: put the disk behind the network in the boot order, check that the "
        "firmware's mode (UEFI or BIOS) is the one it was installed in, and that Secure Boot lets the system start; if "
        "it was in service before, its disk may be dead",
    ),
    Cause.NEVER_BOOTED: Words(
        "installed, and the system never reported",
        "look at its console: boot order, a disk that the firmware does not see, or no network in the system",
    ),
    Cause.IMAGE_NOT_MIRRORED: Words(
        "it needs an image that is not mirrored here",
        "`bootstrapper fetch` brings every image that the description needs (the name is below); if that one is not "
        "among them, name its registry in `registry.mirror`, or run a mirrored one in its place",
    ),
    Cause.IMAGE_UNREADABLE: Words(
        "this server's registry cannot read an image",
        "look at the registry's words below and in this server's log: a damaged file or the owner of the assets; "
        "`bootstrapper fetch` writes what is damaged again",
    ),
    Cause.SYSTEM_FAILED: Words(
        "the installed system reports a failure",
        "its own words are below; log in and read `journalctl -b`",
    ),
    Cause.ETCD_REFUSED: Words(
        "it may not replace its etcd member now",
        "the majority would be lost: bring the other members up first",
    ),
    Cause.TOKEN_EXPIRED: Words(
        "it did not join while its bootstrap token was valid",
        "it asks for a new one by itself when it can reach this server; else `bootstrapper reinstall` it",
    ),
    Cause.CERTIFICATE_DENIED: Words(
        "its kubelet's certificate was denied",
        "its request named another machine than the one its token is for: see below; host name changed by hand?",
    ),
    Cause.API_UNREACHABLE: Words(
        "it has booted, and the Kubernetes API does not answer",
        "the masters come first: see their diagnosis, then etcd's",
    ),
    Cause.NOT_REGISTERED: Words(
        "it has booted, and its kubelet does not register",
        "log in: `journalctl -u kubelet`; usually the API's name or address does not answer there, or a program could "
        "not be downloaded",
    ),
    Cause.NODE_NOT_READY: Words(
        "its node is not Ready",
        "the reason is the kubelet's own, below; right after a start the network add-on may still be missing",
    ),
    Cause.OTHER_CARD: Words(
        "it seems to boot from another network card",
        "an unknown MAC that looks like this machine asks: set the right card first in the firmware's boot order, or "
        "put that MAC into `mac` in the description",
    ),
    Cause.NOT_STARTED: Words(
        "an install is ordered and the machine has not been heard of since",
        "restart it; if it is on: boot order (network first), cable, VLAN, or its MAC in the description is wrong",
    ),
    Cause.UNKNOWN_IGNORED: Words(
        "not in the description, and ignored",
        "add it to the description, or set `unknown_machines: discover`",
    ),
}
