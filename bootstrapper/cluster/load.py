"""The admin's file to a `Cluster`, or every problem in it at once."""

from __future__ import annotations

from collections.abc import Collection

from bootstrapper.cluster.build import build_cluster, machine_macs
from bootstrapper.cluster.checks import check
from bootstrapper.cluster.fields import find_nearest
from bootstrapper.cluster.merge import fill_os, merge_levels
from bootstrapper.cluster.model import Cluster, Role
from bootstrapper.cluster.read import Report, Values, fill_defaults, read_group
from bootstrapper.cluster.schema import DESCRIPTION, SHARED_KEYS
from bootstrapper.cluster.sextant import is_sextant
from bootstrapper.cluster.versions import DEFAULT_ETCD
from bootstrapper.cluster.yamltext import NotYaml, parse_bytes, parse_tree
from bootstrapper.errors import ClusterProblems, Problem


def load(text: str | bytes, file: str = "", approved: Collection[str] = ()) -> Cluster:
    """The cluster that `text` describes; raises ClusterProblems. `file` is only for the messages.

    `approved` are the MACs of unknown machines that an admin took as workers: members as if written in the file.
    """
    try:
        root = parse_tree(parse_bytes(text) if isinstance(text, bytes) else text)
    except NotYaml as error:
        found = error.problem
        raise ClusterProblems((Problem(found.line, found.path, found.message, found.hint, file),)) from None
    if is_sextant(root):
        message, hint = (
            "this is a cluster-desc of k8sp/sextant, expected one of ours",
            f"run `bootstrapper migrate {file}`",
        )
        raise ClusterProblems((Problem(0, "", message, hint, file),))
    report = Report(root, file)
    values = read_group(DESCRIPTION, root, (), report)
    values = derive(fill_defaults(DESCRIPTION, values))
    add_approved(values, approved)
    machines = merge_machines(values, report)
    check(values, machines, report)
    if problems := report.sorted():
        raise ClusterProblems(problems)
    return build_cluster(values, machines, root, file)


def add_approved(values: Values, approved: Collection[str]) -> None:
    """One line for each, as the admin would write it; those that the file has by now are its own."""
    written = values.get("machines") or ()
    known = {mac for machine in written if machine for mac in machine_macs(machine)}
    values["machines"] = (
        *written,
        *({"mac": mac, "roles": (Role.WORKER.value,)} for mac in sorted(set(approved) - known)),
    )


def derive(values: Values) -> Values:
    """Defaults that follow from other keys."""
    kubernetes, cluster = values["kubernetes"], values.get("cluster") or {}
    service = kubernetes.get("service_cidr")
    if "dns_ip" not in kubernetes and service is not None:
        kubernetes["dns_ip"] = service.network_address + 10
    if "host" not in kubernetes["api"] and cluster.get("domain"):
        kubernetes["api"]["host"] = f"k8s.{cluster['domain']}"
    etcd = values.get("etcd") or {}
    if "version" not in etcd and kubernetes.get("version"):
        minor = kubernetes["version"].rpartition(".")[0]
        values["etcd"] = {"version": DEFAULT_ETCD.get(minor)}
    fill_os(values["os"])
    return values


def merge_machines(values: Values, report: Report) -> list[Values]:
    """Every machine with its profile and the file's own values under it; `os` is complete."""
    top: Values = {key.name: values[key.name] for key in SHARED_KEYS if key.name in values}
    top["os"] = values["os"]
    profiles: Values = values.get("profiles") or {}
    bases: dict[str | None, Values] = {name: merge_levels(top, profile) for name, profile in profiles.items()}
    bases[None] = merge_levels(top)
    for base in bases.values():
        fill_os(base["os"])
    merged = []
    for index, machine in enumerate(values.get("machines") or ()):
        name = (machine or {}).get("profile")
        if name not in bases:
            hint = find_nearest(name or "", profiles) or "profiles are named under `profiles`"
            report.add(("machines", index, "profile"), f'expected the name of a profile, found "{name}"', hint)
            machine = {"roles": None, **machine}
            name = None
        base = bases[name]
        found = merge_levels(base, machine)
        if found["os"] == base["os"]:
            found["os"] = base["os"]
        else:
            fill_os(found["os"])
        merged.append(found)
    return merged
