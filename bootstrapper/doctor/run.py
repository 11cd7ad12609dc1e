"""All checks, in the order in which an admin would look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime

from bootstrapper.cluster.model import Cluster
from bootstrapper.description import check_description, read_lock, read_text
from bootstrapper.doctor.content import check_content
from bootstrapper.doctor.finding import Described, Finding, Grade, Site
from bootstrapper.doctor.host import check_certificates, check_clock, check_programs, check_state
from bootstrapper.doctor.network import check_network
from bootstrapper.errors import ClusterProblems, UserError
from bootstrapper.mirroring import list_advice
from bootstrapper.nodeconfig.asset_lock import AssetLock

CHECKS: tuple[tuple[str, Callable[[Described], Iterator[Finding]]], ...] = (
    ("files", check_content),
    ("programs", check_programs),
    ("state", check_state),
    ("certificates", check_certificates),
    ("clock", check_clock),
    ("interface", check_network),
)


def examine(site: Site) -> Iterator[Finding]:
    """What each check finds, as it finds it. A fault within a check is a finding like any other."""
    try:
        cluster = check_description(read_text(site.description), str(site.description), site.templates)
        lock = read_lock(site.description)
    except ClusterProblems as error:
        for problem in error.problems:
            yield Finding("description", Grade.FAIL, problem.text(), "correct it; bootstrapper check says the same")
    except UserError as error:
        yield Finding("description", Grade.FAIL, error.message, error.hint or "correct it, or take it from a backup")
    else:
        yield _describe(site, cluster, lock)
        same = {each.name: getattr(site, each.name) for each in fields(site)}
        described = Described(**same, cluster=cluster, lock=lock)
        for name, check in CHECKS:
            try:
                yield from check(described)
            except UserError as error:
                yield Finding(name, Grade.FAIL, error.message, error.hint or "put it right, and run doctor again")
            except OSError as error:
                yield Finding(name, Grade.SKIP, f"could not be looked at: {error}", "run doctor as root (sudo)")
        return
    yield Finding("everything else", Grade.SKIP, "not looked at: there is no good description to compare with")


def _describe(site: Site, cluster: Cluster, lock: AssetLock) -> Finding:
    count = len(cluster.machines)
    words = f"{site.description}: {count} machine{'s' if count != 1 else ''}"
    advice = len(list_advice(cluster, site.templates, lock, datetime.fromtimestamp(site.now, UTC).date()))
    if advice:
        words += f"; {advice} piece{'s' if advice != 1 else ''} of advice (bootstrapper check)"
    return Finding("description", Grade.OK, words)
