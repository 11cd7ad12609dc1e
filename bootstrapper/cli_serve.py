"""The verb `serve`. Part of `cli`."""

from __future__ import annotations

from pathlib import Path

import click

from bootstrapper.cli_options import BOOT_FILES, DESCRIPTION, SERVED_ASSETS, TEMPLATES
from bootstrapper.description import load_templates


@click.command()
@DESCRIPTION
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/var/lib/bootstrapper"),
    show_default=True,
    metavar="DIR",
    help="All that must survive a restart: leases, machines' history, keys.",
)
@SERVED_ASSETS
@TEMPLATES
@click.option(
    "--user", metavar="NAME", help="Run as this user once the sockets are open. Default: bootstrapper, if there is one."
)
@click.option("--log", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@BOOT_FILES
@click.option(
    "--require",
    type=click.Choice(["all", "boot"]),
    default="all",
    show_default=True,
    help="What must be here, and proven, before a machine is installed: all that it will ask for, or only what its "
    "installer boots and writes.",
)
@click.option(
    "--admin",
    default="127.0.0.1:8480",
    show_default=True,
    metavar="ADDR:PORT",
    help="Where the admin's pages and API listen, beside STATE/admin.sock; off: there alone. TLS beyond loopback.",
)
def serve(
    desc: Path,
    state: Path,
    assets: Path | None,
    templates: Path | None,
    user: str | None,
    style: str,
    boot_files: Path,
    require: str,
    admin: str,
) -> None:
    """Serve the rack that DESC describes: DHCP, TFTP, DNS, time, HTTP and HTTPS, until SIGTERM or Ctrl-C.

    Reads DESC again when it is saved, or on SIGHUP. A bad one is refused with its reasons, and the last good one stays
    in force. Needs root (or CAP_NET_BIND_SERVICE and CAP_NET_RAW) to open its sockets, and gives it up at once.

    \b
    Example:  bootstrapper serve /etc/bootstrapper/cluster-desc.yaml --state /var/lib/bootstrapper
    """
    from bootstrapper.assets.readiness import Need
    from bootstrapper.servers.admin_sockets import parse_place
    from bootstrapper.servers.logs import start_logging
    from bootstrapper.servers.privileges import default_account, find_account
    from bootstrapper.serving import Setup
    from bootstrapper.serving import serve as run_services

    start_logging(style)
    account = find_account(user) if user else default_account()
    run_services(
        Setup(
            desc,
            state,
            assets or state / "assets",
            lambda: load_templates(templates),
            account,
            boot_files,
            parse_place(admin),
            Need(require),
        )
    )
