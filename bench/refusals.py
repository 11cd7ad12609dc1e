"""Whether the time of a refused claim tells why it was refused: `python -m bench refusals`.

The machine plane is asked in this process, without a network's noise, each wrong claim in turn many times. All of them
must take the same within a few percent: an attacker across a switch sees differences only when they are larger than its
jitter of some tens of microseconds.
"""

from __future__ import annotations

import random
import secrets
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from common import print_table, save_result

from bootstrapper.boot.claim import Token
from bootstrapper.boot.history import History
from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.description import load_templates
from bootstrapper.nodeconfig.outputs import render_output
from bootstrapper.pki.tokens import digest_token, mint_token
from bootstrapper.servers.recorder import Recorder
from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.templating import build_environment
from bootstrapper.web.app import create_app
from bootstrapper.web.parts import Parts

ROOT = Path(__file__).parent.parent
ADDRESS, AIM_US = IPv4Address("10.10.14.11"), 200.0
BOARD = "4c4c4544-0042-3510-8048-b4c04f4e4232"


def main(rounds: int) -> None:
    cluster = load((ROOT / "cluster-desc.example.yaml").read_bytes())
    mac, other = cluster.machines[0].mac, cluster.machines[1].mac
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "state.db")
        store.save_history(mac, History())
        store.save_history(other, History(held="by the admin"))
        now = time.time()

        def mint(**changes: object) -> str:
            token = mint_token(secrets.token_bytes)
            kept = Token(digest_token(token), mac, ADDRESS, 1, now, now + 9e6, uuid=BOARD)
            store.mint(replace(kept, **changes))  # type: ignore[arg-type]
            return token

        claims = {
            "no such token": mint_token(secrets.token_bytes),
            "no token's form": "x",
            "sealed": mint(sealed=True),
            "superseded": mint(),
            "expired": mint(expires_at=now - 1),
            "claimed before": mint(redeemed_at=now - 900, claims=3),
            "another generation": mint(generation=7),
            "on hold": mint(mac=other),
            "wrong address": mint(address=IPv4Address("10.10.14.99")),
            "wrong UUID": mint(uuid="00000000-0000-0000-0000-000000000001"),
        }
        app = create_app(
            Parts(lambda: cluster, store, build_environment(load_templates(None)), Links(ADDRESS), "", Path(folder),
                  time.time, lambda: "", render_output, Recorder(store, {}).record)
        )  # fmt: skip
        client = app.test_client()
        times: dict[str, list[float]] = {name: [] for name in claims}
        order = list(claims)
        for _ in range(rounds):
            random.shuffle(order)
            for name in order:
                begun = time.perf_counter()
                reply = client.get(f"/m/{claims[name]}/config?uuid={BOARD}", base_url="https://s",
                                   environ_overrides={"REMOTE_ADDR": str(ADDRESS)})  # fmt: skip
                times[name].append((time.perf_counter() - begun) * 1e6)
                assert reply.status_code == 404, name
    middle = {name: statistics.median(found) for name, found in times.items()}
    spread = max(middle.values()) - min(middle.values())
    rows = [(name, middle[name], statistics.quantiles(found, n=20)[18]) for name, found in times.items()]
    print_table(f"refused claims, {rounds} of each (us)", ("why", "median", "p95"), rows)
    print(
        f"  medians differ by {spread:.0f} us at most; aim < {AIM_US:.0f}: {'reached' if spread < AIM_US else 'missed'}"
    )
    save_result("refusals", {"spread us": spread} | middle)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
