"""Sizes as people read them."""

from __future__ import annotations

from bootstrapper.assets.sizes import size_words


def test_sizes_as_disks_are_sold() -> None:
    sizes = (None, 0, 5, 5_000, 5_500_000, 1.5e9)
    assert [size_words(size) for size in sizes] == ["?", "0 B", "5 B", "5.0 kB", "5.5 MB", "1.5 GB"]
