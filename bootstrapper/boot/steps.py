"""The words for the steps of a boot: services write events with them, the timeline and the diagnosis read them.

What the installer and the installed system report is `boot.report.Step`. Details are for people, save where a function
below both writes and reads one.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Service(StrEnum):
    """Who tells: `Event.service`."""

    DHCP = "dhcp"
    PXE = "pxe"
    TFTP = "tftp"
    HTTP = "http"
    REGISTRY = "registry"
    INSTALLER = "installer"
    SYSTEM = "system"
    KUBE = "kube"
    STATE = "state"
    SERVE = "serve"


class Server(StrEnum):
    """Of the server itself: an event of no machine."""

    EVENTS_LOST = "events lost"
    REFUSED = "description refused"
    "A saved file that is not taken up; detail is its first problem."
    IN_FORCE = "description in force"


class Dhcp(StrEnum):
    OFFER = "offer"
    ACK = "ack"
    NAK = "nak"
    DECLINE = "decline"
    "The machine found that something else uses the address it was offered."
    RELEASE = "release"
    INFORM = "inform"
    BOOTP = "bootp"
    OTHER_SERVER = "other server"
    "It took another DHCP server's offer; detail names that server."
    NO_ADDRESS = "no address"
    "The range has no free address."
    NO_SUBNET = "no subnet"
    "It asks through a relay that is in no subnet of the description."
    WRONG_SUBNET = "wrong subnet"
    "Its `ip` is of another subnet than the one it asks on."
    NO_OFFER = "no offer"
    "Not answered, as the description says: the firmware goes on to its disk."
    CONFLICT = "conflict"
    "Something else answers at its address."
    RIVAL = "rival"
    "Another DHCP server was heard on the link; of no machine."


class Pxe(StrEnum):
    """Port 4011."""

    ACK = "ack"
    NOTHING = "nothing to boot"
    "Asked, and not answered."


class Tftp(StrEnum):
    SENDING = "sending"
    "The machine took the terms or the first block."
    UNHEARD = "not heard"
    "The machine sent the same request again: nothing of our answer has reached it yet."
    SENT = "sent"
    ABORTED = "aborted"
    TIMED_OUT = "timed out"
    FAILED = "failed"
    ASKED_AGAIN = "asked again"
    STOPPED = "stopped"
    REFUSED = "refused"
    "No such file, or nothing to boot for this machine."
    LOCAL_DISK = "local disk"
    "Refused as it should be: the firmware goes on to its disk."


class Http(StrEnum):
    SCRIPT = "script"
    SCRIPT_REFUSED = "script refused"
    SCRIPT_FAILED = "script failed"
    UNKNOWN_MACHINE = "unknown machine"
    LOADING = "loading"
    "A boot file or an image is being fetched."
    PROGRESS = "progress"
    "How far a large one is."
    LOADED = "loaded"
    CUT_OFF = "cut off"
    "The machine went away, or took nothing for a minute, in the middle of a file."
    NO_FILE = "no file"
    "It asked for a file that is not there."
    TLS_FAILED = "tls failed"
    INSTALLER_CONFIG = "installer config"
    CONFIG_CLAIMED = "config claimed"
    CLAIMED_AGAIN = "config claimed again"
    "By a newer boot, for one install, while nobody said that the first one's failed."
    CONFIG_WAITS = "config waits for etcd"
    CLAIM_HELD = "config waits for release"
    CLAIM_REFUSED = "claim refused"
    REPORT_REFUSED = "report refused"
    UNHEEDED = "report unheeded"
    "Of an older boot, or after its failure: answered as any, and it moves nothing."


class Registry(StrEnum):
    PULLED = "pulled"
    "An image's manifest was fetched; detail names it."
    NOT_MIRRORED = "not mirrored"
    "It asked for an image that is not here."
    FAILED = "failed"
    "The registry could not read an image."


class Kube(StrEnum):
    TOKEN = "token"  # noqa: S105 - a word
    TOKEN_EXPIRED = "token expired"  # noqa: S105 - a word
    CERTIFICATE_APPROVED = "certificate approved"
    CERTIFICATE_DENIED = "certificate denied"
    NODE_READY = "node ready"
    NODE_NOT_READY = "node not ready"
    ETCD_REFUSED = "etcd member refused"


IPXE = "iPXE"


def describe_dhcp(address: str, asker: str, name: str, reason: str) -> str:
    """The detail of an OFFER or ACK. `asker` is the firmware's family or IPXE, empty for a running system; `name` is
    what it is told to boot, and where that is empty `reason` says why."""
    if not asker:
        return address
    return f"{address} to {asker}, " + (f"boots {name}" if name else f"nothing to boot: {reason}")


def find_asker(detail: str) -> str:
    """Who got the OFFER or ACK: a firmware family, IPXE, or empty for a running system."""
    found = ASKER.match(detail)
    return found[1] if found else ""


def boots_something(detail: str) -> bool:
    """Whether the OFFER or ACK named something to boot."""
    found = ASKER.match(detail)
    return bool(found and found[2] == "boots")


ASKER = re.compile(r"\S+ to ([^,]+), (boots|nothing to boot)")


OTHER_UUID = "; the description has another UUID than this, "


def describe_other_uuid(detail: str, told: str) -> str:
    """The detail of an OFFER to a machine that told a UUID which is not its own."""
    return f"{detail}{OTHER_UUID}{told}"


def describe_script(action: str, firmware: str, reason: str) -> str:
    """The detail of a SCRIPT: `action` is a `decide.Action`."""
    return f"{action} for {firmware}: {reason}"


def find_action(detail: str) -> str:
    return detail.partition(" ")[0]


def describe_file(use: str, name: str, more: str) -> str:
    """The detail of LOADING, PROGRESS, LOADED and CUT_OFF. `use`: `kernel`, `initrd`, `image`, ..."""
    return f"{use} {name}, {more}"


def find_use(detail: str) -> str:
    return detail.partition(" ")[0]


def find_percent(detail: str) -> int | None:
    """How far a PROGRESS or CUT_OFF says a file is, or an installer's report its image."""
    found = PERCENT.search(detail)
    return min(int(found[1]), 100) if found else None


PERCENT = re.compile(r"(?<![0-9.])([0-9]{1,3})(?:\.[0-9]+)? ?%")

UNMIRRORED = "unmirrored/"
"Where a machine asks for images of registries that the description does not mirror: nothing is there."


def describe_refused(image: str, why: str) -> str:
    """The detail of a NOT_MIRRORED or FAILED."""
    return f"{image}, {why}" if why else image


def find_image(detail: str) -> str:
    """Of a PULLED, NOT_MIRRORED or FAILED; no image's name has a comma."""
    return detail.partition(", ")[0]


TLS_NOT_VALID = "it takes our certificate for expired, or not valid yet"
TLS_UNKNOWN = "it does not know our authority"

OPEN = "is open"
NO_BOOT_FILE = "no boot file for firmware"
WAITING_FOR_FILES = "waiting for files"
"""Of `decide`'s reasons: how that for an install ends, and how those for refusing a firmware and for an install whose
files are not here begin."""
