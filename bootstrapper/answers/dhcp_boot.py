"""The boot part of a DHCP reply: next server, file, and the options that firmware wants with them.

66, 67, siaddr, `sname` and `file` always say the same, since each firmware and loader reads another of them: edk2
ignores 66 and prefers 67 over `file`, iPXE and shim read `file`, GRUB siaddr (reference A5, A7 rows 1, 18, 31).
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import NamedTuple

from bootstrapper.boot.decide import Action, Decision
from bootstrapper.boot.firmware import Firmware, Stage, find_boot_file
from bootstrapper.boot.links import Links
from bootstrapper.boot.local_disk import find_offered_file
from bootstrapper.wire.dhcp_options import Opt, build_option
from bootstrapper.wire.pxe import BOOT_THIS_FILE, IPXE_NO_PROXY, PXE_CLIENT


class BootPart(NamedTuple):
    name: str = ""
    "The file or URL; empty: nothing to boot."
    siaddr: int = 0
    sname: bytes = b""
    file: bytes = b""
    options: bytes = b""


NOTHING = BootPart()
IPXE_ONLY = BootPart(options=build_option(Opt.IPXE, IPXE_NO_PROXY))
"For an iPXE that boots nothing: it need not wait for a proxyDHCP server either."


def find_boot(
    decision: Decision,
    firmware: Firmware,
    mac: str,
    server: IPv4Address,
    http_port: int,
    pxe_client: bool,
    vendor_block: bytes = BOOT_THIS_FILE,
) -> BootPart:
    """What the firmware is told to boot. `pxe_client`: its option 60 says PXEClient; only then may the reply say so,
    and iPXE never hears it: it would take the reply for a proxy's (reference A6)."""
    if firmware.stage is Stage.SYSTEM:
        return NOTHING
    if firmware.stage is Stage.IPXE:
        if not decision.network_boots:
            return IPXE_ONLY
        return _build(Links(server, http_port).script(mac, firmware.code), server, IPXE_ONLY.options)
    name = _find_file(decision, firmware)
    if not name:
        return NOTHING
    vendor = build_option(Opt.VENDOR_CLASS, PXE_CLIENT) + build_option(Opt.VENDOR, vendor_block)
    return _build(name, server, vendor if pxe_client else b"")


def _find_file(decision: Decision, firmware: Firmware) -> str:
    if decision.action is Action.LOCAL_DISK:
        return find_offered_file(firmware, decision.local_boot)
    # UEFI HTTP boot takes URLs only, and loads no TFTP name.
    if not decision.network_boots or firmware.http:
        return ""
    return find_boot_file(firmware) or ""


def _build(name: str, server: IPv4Address, more: bytes) -> BootPart:
    host = str(server).encode() + b"\0"
    file = name.encode() + b"\0"
    options = build_option(Opt.TFTP_SERVER, host) + build_option(Opt.BOOT_FILE, file) + more
    return BootPart(name, int(server), host, file if len(file) <= 128 else b"", options)
