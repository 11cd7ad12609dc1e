"""Who made a network card, by the first half of its MAC."""

from __future__ import annotations

from functools import lru_cache

from netaddr import EUI, AddrFormatError, NotRegisteredError


def name_vendor(mac: str) -> str:
    """Empty when nobody has registered it, as for made-up (locally administered) MACs."""
    return _name(mac[:8])


@lru_cache(maxsize=1024)
def _name(prefix: str) -> str:
    try:
        return str(EUI(f"{prefix}:00:00:00").oui.registration().org)[:80]
    except (AddrFormatError, NotRegisteredError, ValueError):
        return ""
