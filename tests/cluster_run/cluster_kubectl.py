"""kubectl, with the kubeconfig of the site."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from cluster_programs import CNI, find_programs
from cluster_site import Site
from wires import wait_for


def kubectl(*command: str, check: bool = True, data: str = "", timeout: float = 60) -> str:
    """Its output; AssertionError with its errors."""
    done = subprocess.run(
        [str(find_programs() / "kubectl"), "--request-timeout=20s", *command],
        input=data, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"kubectl {' '.join(command)}: {done.returncode}\n{done.stderr}"
    return done.stdout + ("" if check else done.stderr)


def kubectl_json(*command: str) -> Any:
    return json.loads(kubectl(*command, "-o", "json"))


def conditions(value: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in value["status"].get("conditions", ())}


def put_network(site: Site, host: str) -> str:
    """The distribution's `bridge` in flannel's place, on the share that the controller manager gave the node."""
    share = str(wait_for(lambda: kubectl_json("get", "node", host)["spec"].get("podCIDR"), timeout=30, every=1))
    bridge = {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "ipMasq": True, "hairpinMode": True,
              "ipam": {"type": "host-local", "subnet": share}}  # fmt: skip
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    network = {"name": "cbr0", "cniVersion": "0.3.1", "plugins": plugins}
    site.machines[host].write({CNI: (json.dumps(network).encode(), 0o644)})
    return share
