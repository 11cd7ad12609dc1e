"""Names that have a meaning of their own and are answered here, always (RFC 6303, 6761, 6762, 7686, 8375, 9462).

Asking the internet for them tells it about this site and never helps. Any of them may hold a cluster's domain (a rack
named `rack1.home.arpa`): the longer zone wins.
"""

from __future__ import annotations

from bootstrapper.answers.zone import Record, Zone

_EMPTY = (
    "invalid", "test", "local", "onion", "home.arpa", "resolver.arpa", "0.in-addr.arpa", "254.169.in-addr.arpa",
    "2.0.192.in-addr.arpa", "100.51.198.in-addr.arpa", "113.0.203.in-addr.arpa", "255.255.255.255.in-addr.arpa",
    "10.in-addr.arpa", "168.192.in-addr.arpa", "d.f.ip6.arpa", "8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa",
)  # fmt: skip
_LOOPBACK6 = "1." + "0." * 31 + "ip6.arpa"
_UNSPECIFIED6 = "0." * 32 + "ip6.arpa"


def special_zones() -> tuple[Zone, ...]:
    names = [
        *_EMPTY,
        *(f"{octet}.172.in-addr.arpa" for octet in range(16, 32)),
        *(f"{octet}.100.in-addr.arpa" for octet in range(64, 128)),
        _UNSPECIFIED6,
    ]
    localhost = (
        Record("localhost", "A", "127.0.0.1"),
        Record("localhost", "AAAA", "::1"),
        Record("*.localhost", "A", "127.0.0.1"),
        Record("*.localhost", "AAAA", "::1"),
    )
    return (
        Zone("localhost", localhost),
        Zone("127.in-addr.arpa", (Record("1.0.0.127.in-addr.arpa", "PTR", "localhost"),)),
        Zone(_LOOPBACK6, (Record(_LOOPBACK6, "PTR", "localhost"),)),
        *(Zone(name, ()) for name in names),
    )
