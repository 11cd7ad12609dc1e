"""Text to a typed value: one small function per kind of value, each doing one check.

Every function takes the text as the admin wrote it and raises `Expected`, which says what would have been right. What
depends on other keys is not checked here (checks.py).
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Callable, Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import NamedTuple

from bootstrapper.cluster.model import AddressRange


class Expected(ValueError):
    """What should have stood there; the caller adds what did, and where."""

    def __init__(self, expectation: str, hint: str = "") -> None:
        super().__init__(expectation)
        self.expectation = expectation
        self.hint = hint


def find_nearest(text: str, known: Iterable[str]) -> str:
    """A hint naming the nearest of the known words, or nothing when none is near."""
    found = difflib.get_close_matches(text[:64].lower(), [str(word) for word in known], n=1, cutoff=0.6)
    return f"did you mean `{found[0]}`?" if found else ""


def choice(*words: str) -> Callable[[str], str]:
    """A parser that accepts exactly these words."""

    def parse_choice(text: str) -> str:
        if text not in words:
            raise Expected(" or ".join(words) if len(words) < 3 else f"one of {', '.join(words)}", _near(text, words))
        return text

    return parse_choice


def _near(text: str, words: tuple[str, ...]) -> str:
    return find_nearest(SPELLINGS.get(text.lower(), text), words)


def matching(pattern: str, expectation: str) -> Callable[[str], str]:
    """A parser for text of one form."""
    compiled = re.compile(pattern)

    def parse_matching(text: str) -> str:
        if not compiled.fullmatch(text):
            raise Expected(expectation)
        return text

    return parse_matching


def number(least: int, most: int) -> Callable[[str], int]:
    def parse_number(text: str) -> int:
        # str.isdecimal alone lets other scripts' digits through, and int() takes underscores
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
            raise Expected(f"a whole number from {least} to {most}")
        return int(text)

    return parse_number


def parse_text(text: str) -> str:
    if not text.strip() or "\n" in text or not text.isprintable():
        raise Expected("one line of printable text")
    return text


def parse_word(text: str) -> str:
    """Text that becomes part of a kernel command line, which boot scripts hold: no blanks, no quotes."""
    if not _WORD.fullmatch(text):
        raise Expected("one word without blanks or quotes")
    return text


def join_kernel_args(args: tuple[str, ...]) -> tuple[str, ...]:
    """`[console=ttyS0,115200n8]` is a list of two in YAML. No kernel argument begins with a digit, so what does is the
    rest of the one before it."""
    joined: list[str] = []
    for arg in args:
        if joined and arg[0].isdigit() and "=" in joined[-1]:
            joined[-1] += f",{arg}"
        else:
            joined.append(arg)
    return tuple(joined)


def parse_flag_value(text: str) -> str:
    if "\n" in text or not text.isprintable():
        raise Expected("one line of printable text")
    return text


def parse_boolean(text: str) -> bool:
    found = _BOOLEANS.get(text.lower())
    if found is None:
        raise Expected("true or false")
    return found


def parse_mac(text: str) -> str:
    """Any usual spelling (colons, dashes, Cisco's dots, bare) to `00:25:90:c0:f7:80`."""
    if not _MAC.fullmatch(text):
        raise Expected("a MAC address such as 00:25:90:c0:f7:80")
    digits = text.lower().translate(_MAC_SEPARATORS)
    if digits == "000000000000":
        raise Expected("a card's own MAC address, not all zeros")
    if digits == "ffffffffffff":
        raise Expected("a card's own MAC address, not the broadcast address")
    if int(digits[1], 16) & 1:
        raise Expected("a card's own MAC address, not a multicast one (its first byte is odd)")
    return f"{digits[:2]}:{digits[2:4]}:{digits[4:6]}:{digits[6:8]}:{digits[8:10]}:{digits[10:]}"


def parse_address(text: str) -> IPv4Address:
    try:
        address = IPv4Address(text)
    except AddressValueError:
        raise Expected("an IPv4 address such as 10.10.14.11", _address_hint(text)) from None
    if address.is_multicast or address.is_loopback or address.is_unspecified or int(address) >= 0xF0000000:
        raise Expected("an IPv4 address that a host can have")
    return address


def parse_network(text: str) -> IPv4Network:
    if "/" not in text:
        raise Expected("a network such as 10.10.14.0/24", "add the prefix length")
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        raise Expected("a network such as 10.10.14.0/24") from None
    written, _, prefix = text.partition("/")
    if not prefix.isdecimal():
        raise Expected("a network with a prefix length", f"did you mean `{network}`?")
    if str(network.network_address) != written:
        raise Expected("a network's first address", f"did you mean `{network}`?")
    return network


def parse_range(text: str) -> AddressRange:
    first, dash, last = text.partition("-")
    if not dash:
        raise Expected("a range such as 10.10.14.100-10.10.14.199")
    found = AddressRange(parse_address(first.strip()), parse_address(last.strip()))
    if found.last < found.first:
        raise Expected("a range whose first address is the lower one", f"did you mean `{found.last}-{found.first}`?")
    return found


def parse_interface_address(text: str) -> str:
    """An address with its network's prefix length, `10.20.0.11/24`."""
    address, slash, prefix = text.partition("/")
    if not slash or not prefix.isdecimal() or not 1 <= int(prefix[:3]) <= 32:
        raise Expected("an address with its prefix length, such as 10.20.0.11/24")
    return f"{parse_address(address)}/{int(prefix)}"


def parse_host(text: str) -> str:
    """One label of RFC 1123, in lower case since Kubernetes' node names are."""
    if _LABEL.fullmatch(text):
        return text
    if "." in text and _DOMAIN.fullmatch(text.lower()):
        raise Expected("a host name without dots", f"the domain is added: write `{text.lower().partition('.')[0]}`")
    lower = text.lower().replace("_", "-")
    hint = f"did you mean `{lower}`?" if _LABEL.fullmatch(lower) else ""
    raise Expected("a host name: at most 63 of a-z, 0-9 and -, a letter or digit at both ends", hint)


def parse_domain(text: str) -> str:
    lower = text.lower().removesuffix(".")
    if not _DOMAIN.fullmatch(lower) or len(lower) > 253:
        raise Expected("a domain name such as prod.example.com")
    return lower


def parse_record(text: str) -> str:
    """A name in `dns.records`: relative to the cluster's domain, or absolute with its last dot."""
    lower = text.lower()
    if not _DOMAIN.fullmatch(lower.removesuffix(".")) or len(lower) > 253:
        raise Expected("a host name such as nas, or an absolute one such as nas.example.com.")
    return lower


def parse_server(text: str) -> str:
    """A host name or an address."""
    if _DOTTED.fullmatch(text):
        return str(parse_address(text))
    if not _DOMAIN.fullmatch(text.lower().removesuffix(".")):
        raise Expected("a host name or an IPv4 address")
    return text.lower().removesuffix(".")


def parse_registry(text: str) -> str:
    host, _, port = text.partition(":")
    if "/" in text:
        raise Expected("a registry's host name such as registry.k8s.io", "leave out the scheme and the path")
    if not _DOMAIN.fullmatch(host) or (":" in text and not (port.isdecimal() and 0 < int(port[:6]) < 65536)):
        raise Expected("a registry's host name such as registry.k8s.io")
    return text


def parse_duration(text: str) -> int:
    """`12h`, `30m`, `1d`, `3h30m` to seconds."""
    found = _DURATION.fullmatch(text)
    if not text or not found:
        raise Expected(
            "a duration such as 12h, 30m or 3h30m", "d, h, m and s are the units" if text.isdecimal() else ""
        )
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def parse_lease(text: str) -> int:
    """Under a minute no client keeps up; RFC 2131 section 3.3 has 0xffffffff for "infinite", which we do not give."""
    seconds = parse_duration(text)
    if not 60 <= seconds <= 366 * 86400:
        raise Expected("a lease time from 1m to 366d")
    return seconds


def parse_update_strategy(text: str) -> str:
    if text == "etcd-lock":
        raise Expected("off or reboot", "etcd-lock is gone: locksmith speaks only etcd v2, which no etcd here serves")
    return choice("off", "reboot")(text)


def parse_window_length(text: str) -> str:
    if not 60 <= parse_duration(text) <= 7 * 86400:
        raise Expected("a duration from 1m to 7d")
    return text


def parse_bytes_size(text: str) -> int:
    """`480G` (of 1000, as disks are sold), `32Gi` (of 1024) to bytes."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise Expected("a size such as 480G or 32Gi")
    return int(found[1]) * UNITS[found[2]]


class SizeRange(NamedTuple):
    min_bytes: int | None
    max_bytes: int | None


def parse_size_range(text: str) -> SizeRange:
    """`>=100G`, `<=2T`, `400G-500G`, or `480G`: within five in a hundred, since no two makers' disks are equal."""
    try:
        if text.startswith(">="):
            return SizeRange(parse_bytes_size(text[2:].strip()), None)
        if text.startswith("<="):
            return SizeRange(None, parse_bytes_size(text[2:].strip()))
        first, dash, last = text.partition("-")
        if not dash:
            size = parse_bytes_size(text)
            return SizeRange(size * 95 // 100, size * 105 // 100)
        found = SizeRange(parse_bytes_size(first.strip()), parse_bytes_size(last.strip()))
    except Expected:
        raise Expected("a size such as >=100G, <=2T, 400G-500G or 480G") from None
    if (found.max_bytes or 0) < (found.min_bytes or 0):
        raise Expected("a range of sizes whose first is the smaller one")
    return found


def parse_ssh_key(text: str) -> str:
    """One line of an OpenSSH public key file: type, base64 that begins with the same type, comment."""
    parts = text.split(None, 2)
    if len(parts) < 2 or parts[0] not in SSH_TYPES or not text.isprintable():
        raise Expected("an SSH public key such as `ssh-ed25519 AAAA... admin`", _ssh_hint(text))
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        raise Expected("an SSH public key whose second word is base64", "was it cut when it was copied?") from None
    name = parts[0].encode()
    if blob[: 4 + len(name)] != len(name).to_bytes(4, "big") + name or len(blob) < 4 + len(name) + 32:
        raise Expected("an SSH public key whose data is of the type it names", "was it cut when it was copied?")
    return text.strip()


def parse_label_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    if not _LABEL_NAME.fullmatch(name) or (slash and (not _DOMAIN.fullmatch(prefix) or len(prefix) > 253)):
        raise Expected("a label key such as rack or example.com/rack")
    return text


def parse_label_value(text: str) -> str:
    if text and not _LABEL_NAME.fullmatch(text):
        raise Expected("a label value: at most 63 of letters, digits, - _ . with a letter or digit at both ends")
    return text


def parse_taint(text: str) -> str:
    """`key=value:Effect` or `key:Effect` to `key=value:Effect`."""
    rest, colon, effect = text.rpartition(":")
    if not colon or effect not in EFFECTS:
        hint = find_nearest(effect, {name.lower() for name in EFFECTS}) and f"the effects are {', '.join(EFFECTS)}"
        raise Expected("a taint such as dedicated=storage:NoSchedule", hint)
    key, _, value = rest.partition("=")
    return f"{parse_label_key(key)}={parse_label_value(value)}:{effect}"


def parse_flag(text: str) -> str:
    if text.startswith("-"):
        raise Expected("a flag without its dashes", f"write `{text.lstrip('-')}`")
    if not _FLAG.fullmatch(text):
        raise Expected("a flag's name such as feature-gates")
    return text


def parse_uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise Expected("a UUID such as 4c4c4544-0042-3510-8052-b4c04f4e3232")
    return text.lower()


def parse_url(text: str) -> str:
    if not _URL.fullmatch(text):
        raise Expected("an http:// or https:// URL")
    return text


def parse_device(text: str) -> str:
    if not re.fullmatch(r"/dev/[\x21-\x7e]+", text) or "/../" in text or any(sign in text for sign in "\"'\\$`"):
        raise Expected("a device's path such as /dev/disk/by-id/...")
    return text


def _ssh_hint(text: str) -> str:
    if "PRIVATE KEY" in text:
        return "this is a private key: give the .pub file's line, and make a new pair"
    if text.startswith("ssh-dss"):
        return "OpenSSH no longer accepts DSA keys"
    return ""


def _address_hint(text: str) -> str:
    if ":" in text:
        return "IPv6 is not supported"
    address, slash, _ = text.partition("/")
    return f"write `{address}`, without the prefix length" if slash and _DOTTED.fullmatch(address) else ""


_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_DOTTED = re.compile(r"[0-9]+(\.[0-9]+){3}")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_FLAG = re.compile(r"[a-z][a-z0-9-]*")
_WORD = re.compile(r"[\x21\x23\x25\x26\x28-\x5b\x5d-\x5f\x61-\x7e]+")
"Printable, but no quotes, `$`, backquote or backslash: boot scripts and shells would make something else of them."
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~:/?#@!&()*+,;=%\[\]-]*)?")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_DURATION = re.compile(r"(?:([0-9]{1,5})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,9})s)?")
_SIZE = re.compile(r"([0-9]{1,12})([KMGTP]i?)?B?")
_MAC = re.compile(
    r"[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}|[0-9A-Fa-f]{12}"
)
_MAC_SEPARATORS = {ord(":"): None, ord("-"): None, ord("."): None}
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
UNITS = {
    None: 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip
SSH_TYPES = (
    "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip
SPELLINGS = {
    "x86_64": "amd64", "x64": "amd64", "aarch64": "arm64", "coreos": "flatcar", "fcos": "fedora-coreos",
    "control-plane": "master", "controlplane": "master", "node": "worker", "osd": "ceph-osd", "mon": "ceph-mon",
}  # fmt: skip
"Other words for ours, so that the hint names the right one."
