"""Exit status 0 when the server that DESC describes answers: `healthcheck.py DESC`.

It listens on the provisioning address alone, so the address is read from the description.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

from bootstrapper.cluster.load import load
from bootstrapper.errors import UserError

TIMEOUT_S = 5


def main(description: str) -> int:
    try:
        address = load(Path(description).read_bytes(), description).network.bootstrapper
        with urllib.request.urlopen(f"http://{address}/healthz", timeout=TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except (UserError, OSError, urllib.error.URLError) as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else 2)
