"""What the installed system reports of its first boot, and by what: a script and a unit that nothing waits for."""

from __future__ import annotations

from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import File, NodeConfig
from bootstrapper.nodeconfig.parts import is_node, render_text, render_unit
from bootstrapper.nodeconfig.roles.api_address import find_server
from bootstrapper.nodeconfig.roles.downloads import download_unit
from bootstrapper.nodeconfig.roles.kubeconfig import CA
from bootstrapper.nodeconfig.roles.kubelet import CERTIFICATES
from bootstrapper.templating import read

ENV = "/etc/bootstrapper/report.env"
UNIT = "bootstrapper-report.service"


def build_report(config: NodeConfig, cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    """For a machine that gets `config` beside it. Without a token there is nobody to report to."""
    script = read(context.environment, "nodes/base/report.sh").encode()
    files = [File("/opt/bootstrapper/report.sh", script, mode=0o755)]
    if context.token is not None:
        node = is_node(machine)
        text = render_text(
            "base/report.env.j2",
            machine,
            context,
            report_url=context.links.report(context.token),
            generation=context.generation,
            units=find_units(config),
            node_url=f"{find_server(cluster, machine)}/api/v1/nodes/{machine.host}" if node else "",
            node_ca=CA if node else "",
            node_certificate=f"{CERTIFICATES}/kubelet-client-current.pem" if node else "",
        )
        files.append(File(ENV, text.encode(), 0o600, secret=True))
    unit = render_unit(f"base/{UNIT}", machine, context)
    return NodeConfig(files=tuple(files), units=(unit,))


def find_units(config: NodeConfig) -> list[str]:
    """The services whose result is told, in the order in which they are needed."""
    downloads = list(dict.fromkeys(download_unit(file.component) for file in config.remote_files))
    named = [unit.name for unit in config.units if unit.name.endswith(".service")]
    return downloads + [name for name in named if name in ALWAYS or _is_started(config, name)]


def _is_started(config: NodeConfig, name: str) -> bool:
    return any(unit.name == name and unit.start for unit in config.units)


ALWAYS = frozenset({"containerd.service"})
"Started by the unit that prepares it."
