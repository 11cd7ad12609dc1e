"""How big a master should be, by the number of nodes."""

from __future__ import annotations

from typing import NamedTuple


class Size(NamedTuple):
    up_to: int
    nodes: str
    cpus: int
    memory_bytes: int

    @property
    def text(self) -> str:
        return f"{self.cpus} processors, {self.memory_bytes >> 30} GiB of memory"


def find_size(nodes: int) -> Size:
    """The row of the table for so many nodes; its last one beyond."""
    return next((size for size in SIZES if nodes <= size.up_to), SIZES[-1])


SIZES = (
    Size(5, "1-5", 4, 8 << 30),
    Size(20, "6-20", 4, 16 << 30),
    Size(100, "21-100", 8, 32 << 30),
    Size(200, "101-200", 16, 64 << 30),
    Size(5000, "more than 200", 16, 64 << 30),
)
ETCD_DISK = "50-100 GB on an SSD"
