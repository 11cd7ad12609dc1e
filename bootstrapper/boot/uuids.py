"""SMBIOS UUIDs: what a firmware tells of its board, and whether two of them are the same board."""

from __future__ import annotations

from uuid import UUID

NOBODYS = frozenset({UUID(int=0), UUID(int=2**128 - 1)})
"Not set, and not present (SMBIOS 3.7, 7.2.1): boards that say so are told apart by nothing."


def parse_uuid(text: str) -> UUID | None:
    """None: no UUID, or one that says that there is none."""
    try:
        found = UUID(text) if len(text) <= 36 else None
    except ValueError:
        return None
    return None if found in NOBODYS else found


def same_uuid(written: str, told: UUID) -> bool:
    """SMBIOS before 2.6 left the byte order of the first three fields open, and firmware shows either."""
    try:
        return told in (UUID(written), UUID(bytes=UUID(written).bytes_le))
    except ValueError:
        return False
