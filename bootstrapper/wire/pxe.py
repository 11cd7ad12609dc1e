"""What PXE firmware and iPXE put into DHCP options, and the two small option blocks they want back."""

from __future__ import annotations

from uuid import UUID

from bootstrapper.errors import MalformedPacket
from bootstrapper.wire.dhcp_options import parse_sub_options

PXE_CLIENT = b"PXEClient"
HTTP_CLIENT = b"HTTPClient"

BOOT_THIS_FILE = b"\x06\x01\x08\xff"
"""Option 43 for a PXEClient: discovery control (sub-option 6) = 8, "there is a boot file, take it". Without it edk2
goes to port 4011 and waits there even though it has a file. Sub-option 8 stays out: edk2 would take its TFTP server
from it (reference A5, A6)."""

IPXE_NO_PROXY = b"\xb0\x01\x01"
"Option 175 for iPXE: sub-option 176 = 1, do not wait two seconds for a proxyDHCP server."

BOOT_ITEM = 71
"Sub-option of 43: the item a client chose, in a request on port 4011, echoed in its answer."


def parse_architectures(data: bytes) -> tuple[int, ...]:
    """Option 93; an odd length counts as absent, since firmware that sends one has other ways to tell (option 60)."""
    if len(data) % 2:
        return ()
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def parse_user_class(data: bytes) -> str:
    """Option 77 as text; several classes are joined by a comma.

    iPXE sends the bare word; RFC 3004 wants each class behind its length. Both are read: a string that splits exactly
    into lengths is taken as RFC 3004's.
    """
    classes: list[bytes] = []
    at = 0
    while at < len(data):
        stop = at + 1 + data[at]
        if data[at] == 0 or stop > len(data):
            return data.decode("latin-1")
        classes.append(data[at + 1 : stop])
        at = stop
    return ",".join(each.decode("latin-1") for each in classes)


def find_uuid(data: bytes) -> str:
    """Option 97 in the spelling of SMBIOS tools; empty when it is missing or not one (it never proves an identity).

    The first three fields are little-endian on the wire, as SMBIOS keeps them.
    """
    if len(data) != 17 or data[0] != 0:
        return ""
    return str(UUID(bytes_le=data[1:]))


def build_uuid(text: str) -> bytes:
    return b"\0" + UUID(text).bytes_le


def find_boot_item(vendor: bytes) -> bytes:
    """The boot item in a request's option 43, or nothing when there is none or the block is broken."""
    try:
        item = parse_sub_options(vendor).get(BOOT_ITEM, b"")
    except MalformedPacket:
        return b""
    return item if len(item) == 4 else b""


def build_boot_block(item: bytes) -> bytes:
    """Option 43 of a reply, with the chosen item when the request named one."""
    return bytes((BOOT_ITEM, len(item))) + item + BOOT_THIS_FILE if item else BOOT_THIS_FILE
