"""What a machine is, once the file's own values, its profile's and its own are laid over each other."""

from __future__ import annotations

from bootstrapper.cluster.read import Values
from bootstrapper.cluster.versions import DEFAULT_PROVISION, DEFAULT_VERSIONS

JOINED = ("labels", "bmc", "hardware")
"Mappings whose keys are laid over one by one; a disk is one thing and is replaced whole."
WITH_FAMILY = ("channel", "version", "provision")
"Keys of `os` that mean nothing once the family is another one."


def merge_levels(*levels: Values | None) -> Values:
    """Later levels win."""
    merged: Values = {}
    for level in levels:
        if not level:
            continue
        for name, value in level.items():
            if name in JOINED and value and merged.get(name):
                merged[name] = {**merged[name], **value}
            elif name == "kernel_args":
                merged[name] = (merged.get(name) or ()) + (value or ())
            elif name == "os":
                merged[name] = merge_os(merged.get(name), value)
            else:
                merged[name] = value
    return merged


def merge_os(lower: Values | None, upper: Values | None) -> Values:
    """`upper` over `lower`; another family does not inherit what only the first one has."""
    if not lower or not upper:
        return dict(upper or lower or {})
    kept = lower
    if upper.get("family") not in (None, lower.get("family")):
        kept = {name: value for name, value in lower.items() if name not in WITH_FAMILY}
    merged = {**kept, **upper}
    merged["updates"] = {**(lower.get("updates") or {}), **(upper.get("updates") or {})}
    merged["kernel_args"] = (lower.get("kernel_args") or ()) + (upper.get("kernel_args") or ())
    return merged


def fill_os(values: Values) -> Values:
    """The family's own defaults, where no level says otherwise."""
    family = values.get("family")
    if family:
        values.setdefault("channel", "stable")
        values.setdefault("version", DEFAULT_VERSIONS[family])
        values.setdefault("provision", DEFAULT_PROVISION[family])
    return values
