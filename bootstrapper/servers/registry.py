"""The image registry: the CNCF distribution registry as a watched child, with a configuration of its own in the state.

It only ever reads. Images come into its storage by `fetch` and `bundle import` (`assets.images`), never over the
network: every request that would write is answered 405, and with no `proxy` it asks nobody else for what it lacks.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import yaml

from bootstrapper.cluster.model import Cluster
from bootstrapper.errors import UserError
from bootstrapper.pki.authority import Identity
from bootstrapper.pki.files import make_directory, write_private
from bootstrapper.pki.pull_token import make_pull_token
from bootstrapper.servers.children import WatchedChild
from bootstrapper.servers.registry_log import FILE_NAME as REFUSED
from bootstrapper.servers.registry_log import RefusalFile, make_hearer
from bootstrapper.servers.sockets import open_tcp

PROGRAMS = ("docker-registry", "registry")
"Debian's name of it, and everybody else's."
INSTALL_HINT = "install it (apt install docker-registry), or set registry.serve: false"
DRAIN_S = 8
"Downloads under way may end for as long when it stops; below the supervisor's own patience."


def make_registry(cluster: Cluster, folder: Path, storage: Path, identity: Identity) -> WatchedChild:
    """A child that serves the images below `storage`; not started yet. Raises UserError without the program.

    Made after privileges are dropped, by the user it runs as. `folder` holds its configuration, which is for nobody
    else: it names what its notifications are known by.
    """
    program = find_registry()
    make_directory(folder)
    config = folder / "config.yml"
    text = render_registry(cluster, storage, identity, make_pull_token(folder))
    write_private(config, text.encode())
    # The certificate counts: made anew, it is read at the next start only
    settings = text + identity.certificate.read_text()
    hear = make_hearer(RefusalFile(folder / REFUSED).put, time.time)
    return WatchedChild("registry", [program, "serve", str(config)], hint=INSTALL_HINT, settings=settings, hear=hear)


def render_registry(cluster: Cluster, storage: Path, identity: Identity, pull_token: str) -> str:
    """Its configuration (distribution 2.8 and 3), on our address alone, by our own authority's certificate."""
    settings = {
        "version": 0.1,
        "log": {"level": "warn", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "maintenance": {"uploadpurging": {"enabled": False}, "readonly": {"enabled": True}},
            "delete": {"enabled": False},
            "redirect": {"disable": True},
        },
        "http": {
            "addr": f"{cluster.network.bootstrapper}:{cluster.registry.port}",
            "draintimeout": f"{DRAIN_S}s",
            # Signs the state of uploads, of which there are none; without one it makes a new one and says so each time
            "secret": "read-only",
            "tls": {
                "certificate": str(identity.certificate),
                "key": str(identity.key),
                "minimumtls": "tls1.2",
            },
            "headers": {"X-Content-Type-Options": ["nosniff"]},
        },
        # Who pulls what, for the machines' timelines (web.pulls).
        "notifications": {
            "endpoints": [
                {
                    "name": "bootstrapper",
                    "url": f"http://{cluster.network.bootstrapper}/registry-events",
                    # Not in the URL: it logs that when a notification fails
                    "headers": {"Authorization": [f"Bearer {pull_token}"]},
                    "timeout": "2s",
                    "threshold": 3,
                    "backoff": "30s",
                    "ignore": {"mediatypes": ["application/octet-stream"]},
                }
            ]
        },
    }
    return yaml.safe_dump(settings, sort_keys=False)


def find_registry() -> str:
    """The program. Raises UserError."""
    for name in PROGRAMS:
        found = shutil.which(name) or shutil.which(name, path="/usr/local/bin:/usr/bin")
        if found is not None:
            return found
    raise UserError("registry.serve: there is no docker-registry on this host", INSTALL_HINT)


def check_registry_port(cluster: Cluster) -> None:
    """Before the first start, as `check_time_port`. Raises UserError that names who has the port."""
    open_tcp(str(cluster.network.bootstrapper), cluster.registry.port, "the image registry").close()
