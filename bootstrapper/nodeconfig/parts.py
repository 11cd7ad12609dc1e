"""What every role's part is made with: the type of a part, and files and units from templates."""

from __future__ import annotations

from collections.abc import Callable

from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import File, NodeConfig, Unit
from bootstrapper.templating import render

Part = Callable[[Cluster, Machine, Context], NodeConfig]
"What a machine gets for its roles. Raises RenderProblem, naming the machine."

NODES = frozenset({Role.MASTER, Role.WORKER, Role.INGRESS})
"Roles that come with a kubelet, and so make the machine a node of the cluster."


def is_node(machine: Machine) -> bool:
    return bool(machine.roles & NODES)


def render_text(template: str, machine: Machine, context: Context, **variables: object) -> str:
    """`nodes/<template>` with `cluster`, `machine` and `variables`."""
    values = {"cluster": context.cluster, "machine": machine, **variables}
    return render(context.environment, f"nodes/{template}", values, machine.host)


def render_file(
    path: str, template: str, machine: Machine, context: Context, mode: int = 0o644, **variables: object
) -> File:
    return File(path, render_text(template, machine, context, **variables).encode(), mode)


def render_unit(template: str, machine: Machine, context: Context, start: bool = True, **variables: object) -> Unit:
    """A unit named as its template is; one to be started is enabled as well."""
    name = template.rpartition("/")[2].removesuffix(".j2")
    return Unit(name, render_text(template, machine, context, **variables), enable=start, start=start)


def key_file(path: str, text: str, mode: int = 0o600) -> File:
    """A key, or a certificate that the machine renews: sent only through a claim, never written again (rule 9)."""
    return File(path, text.encode(), mode, secret=True, first_boot_only=True)
