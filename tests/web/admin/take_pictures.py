"""Makes the pictures of docs/images anew: `PYTHONPATH=tests .venv/bin/python tests/web/admin/take_pictures.py`
(needs chromium).

A rack of 24 machines by the example file, half of them in the middle of their first install.
"""

from __future__ import annotations

import base64
import tempfile
import time
from pathlib import Path

from adminplane import TOKEN
from chromium import Chromium
from pages_site import Site, describe_many, fill

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.load import load

IMAGES = Path(__file__).parents[3] / "docs" / "images"
S = MachineState
LIVES = {  # node6 to node24: (state, seconds ago, reason, the image's percent)
    **{number: (S.JOINED, 5 * 86400 - 61 * number, "its node is Ready", None) for number in range(6, 13)},
    13: (S.INSTALLED, 48, "everything is on its disk", None),
    **{number: (S.INSTALLING, 60 + 7 * number, "", percent)
       for number, percent in ((14, 91), (15, 78), (16, 78), (17, 52), (18, 12))},
    19: (S.BOOTING, 21, "its installer's boot script was served", None),
    20: (S.BOOTING, 17, "its installer's boot script was served", None),
}  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        site.plane.file.write_text(describe_many(site.plane.file.read_text(), 24))
        site.plane.cluster = load(site.plane.file.read_text(), "cluster-desc.yaml")
        now = time.time()
        fill(site.plane, now)
        site.plane.missing = {}
        for number, (state, ago, reason, percent) in LIVES.items():
            mac = f"52:54:00:00:00:{number:02x}"
            done = int(state in (S.JOINED, S.INSTALLED))
            site.store.save_history(mac, History(1, done, state, now - ago, reason=reason))
            if percent is not None:
                site.store.add_events([Event(now - 2, mac, "installer", "image", f"{percent} % written")])
        with site:
            browser = Chromium()
            try:
                take(browser, site)
            finally:
                browser.driver.quit()


def take(browser: Chromium, site: Site) -> None:
    browser.visit(site.url)
    browser.log_in(TOKEN)
    browser.command("Emulation.setScrollbarsHidden", hidden=True)
    for name, path, height in (("rack", "/", 980), ("machine", "/machines/node3", 980)):
        browser.look_like(1200, height)
        browser.open(path)
        browser.wait(lambda: browser.text("#link-state") == "Live")
        picture = browser.command("Page.captureScreenshot", format="png")["data"]
        IMAGES.mkdir(exist_ok=True)
        (IMAGES / f"{name}.png").write_bytes(base64.b64decode(picture))


if __name__ == "__main__":
    main()
