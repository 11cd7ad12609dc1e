"""`plan`: two descriptions compared, with their machines' configurations. Part of the wiring, like `description`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.cluster.plan import Changes, Compare, plan
from bootstrapper.description import build_context
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.asset_lock import AssetLock
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.templating import Templates

NAMED = 6
"Files and units that are named of one machine; of more, how many."


def plan_changes(old: Cluster, new: Cluster, templates: Templates, lock: AssetLock) -> Changes:
    return plan(old, new, compare_configs(old, new, templates, lock))


def compare_configs(old: Cluster, new: Cluster, templates: Templates, lock: AssetLock) -> Compare:
    before, after = build_context(old, templates, "", lock), build_context(new, templates, "", lock)

    def compare(was: Machine, is_now: Machine) -> Sequence[str]:
        first, second = _try_build(before, was), _try_build(after, is_now)
        if first is None or second is None or first == second:
            return ()
        found = list(list_differences(first, second))
        more = len(found) - NAMED
        return (*found[:NAMED], *((f"and {more} more of its files and units",) if more > 0 else ()))

    return compare


def list_differences(old: NodeConfig, new: NodeConfig) -> Iterator[str]:
    """Files, downloads and units of the installed system by name, and whether each comes, goes or changes."""
    for before, after in (
        ({each.path: each for each in old.files}, {each.path: each for each in new.files}),
        ({each.path: each for each in old.remote_files}, {each.path: each for each in new.remote_files}),
        ({each.name: each for each in old.units}, {each.name: each for each in new.units}),
    ):
        yield from _compare_named(before, after)
    for name in ("users", "kernel_args"):
        if getattr(old, name) != getattr(new, name):
            yield f"its {name.replace('_', ' ')} change"


def _compare_named(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield f"{name} {'is new' if name not in before else 'goes' if name not in after else 'changes'}"


def _try_build(context: Context, machine: Machine) -> NodeConfig | None:
    """None: it cannot be made, which `check` has said already."""
    try:
        return build(context.cluster, machine, context)
    except RenderProblem:
        return None
