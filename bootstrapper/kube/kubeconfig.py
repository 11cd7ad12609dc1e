"""The admin's kubeconfig: `bootstrapper kubeconfig`."""

from __future__ import annotations

import base64
import json

from bootstrapper.cluster.model import Cluster, Role
from bootstrapper.kube.loop import Pki
from bootstrapper.pki.leaves import Signer

USER = "admin"


def admin_kubeconfig(cluster: Cluster, pki: Pki) -> str:
    """A kubeconfig with the admin's own pair in it: a secret.

    It names the API by its virtual address or a master's own, not by `api.host`: the admin's computer may ask another
    DNS server than ours. JSON, which every reader of YAML reads.
    """
    pair = pki.own(USER)
    name = f"{USER}@{cluster.name}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster.name,
                "cluster": {
                    "server": find_server(cluster),
                    "certificate-authority-data": _encode(pki.bundle(Signer.CLUSTER)),
                },
            }
        ],
        "users": [
            {
                "name": name,
                "user": {"client-certificate-data": _encode(pair.certificate), "client-key-data": _encode(pair.key)},
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": cluster.name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(document, indent=2) + "\n"


def find_server(cluster: Cluster) -> str:
    api = cluster.kubernetes.api
    masters = [master.ip for master in cluster.with_role(Role.MASTER) if master.ip is not None]
    return f"https://{api.vip or masters[0]}:{api.port}"


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
