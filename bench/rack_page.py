"""The rack page of 1,000 machines in a real Chromium: `python bench/rack_page.py`. Needs root, chromium and selenium.

`bootstrapper serve` in a namespace of its own, and the browser beside it: from the click to the last row laid out
(the navigation's load event), the first time and after that, and what a browser then asks every two seconds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

from common import open_pair, print_table, running, save_result
from make_description import make_description

MACHINES = 1000
LIMIT_S = 1.0
TIMES = 10
URL = "http://127.0.0.1:8480"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update")  # fmt: skip


def measure(token: str) -> dict[str, Any]:
    """Inside the namespace; the driver listens on loopback."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    browser = webdriver.Chrome(service=Service(shutil.which("chromedriver") or ""), options=options)
    try:
        browser.get(f"{URL}/login")
        browser.find_element(By.ID, "token").send_keys(token)
        browser.find_element(By.CSS_SELECTOR, "button.main").click()
        loads = [look(browser)]
        for _ in range(TIMES):
            browser.get(f"{URL}/")
            loads.append(look(browser))
        return {"first": loads[0], "loads": loads[1:], "asked": [ask(token) for _ in range(TIMES)]}
    finally:
        browser.quit()


def look(browser: Any) -> dict[str, float]:
    """Seconds of the navigation just made."""
    until = time.monotonic() + 60
    script = """const n = performance.getEntriesByType("navigation")[0];
        return [n.loadEventEnd, n.responseStart, n.responseEnd, document.querySelectorAll("#rack tbody tr").length]"""
    while True:
        load, first, last, rows = browser.execute_script(script)
        if load and rows == MACHINES:
            return {"load": load / 1000, "first byte": first / 1000, "last byte": last / 1000}
        if time.monotonic() > until:
            raise SystemExit(f"the page has {rows} rows")
        time.sleep(0.05)


def ask(token: str) -> float:
    """Seconds of one question for what changed, the rows read anew."""
    time.sleep(1.1)
    request = urllib.request.Request(f"{URL}/live/rack", headers={"Authorization": f"Bearer {token}"})
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=30) as reply:
        reply.read()
    return time.monotonic() - began


def main() -> int:
    if len(sys.argv) == 3 and sys.argv[1] == "--inside":
        print(json.dumps(measure(sys.argv[2])))
        return 0
    with tempfile.TemporaryDirectory() as name, open_pair("rp", "10.0.0.1", "10.0.0.2", 16) as pair:
        folder = Path(name)
        description, token = folder / "cluster-desc.yaml", folder / "state" / "admin.token"
        description.write_text(make_description(MACHINES))
        serve = [sys.executable, "-m", "bootstrapper", "serve", str(description), "--state", str(folder / "state")]
        answers = pair.in_server("curl", "-sf", "-o", "/dev/null", f"{URL}/login")
        is_up = lambda: subprocess.run(answers, check=False).returncode == 0  # noqa: E731
        with running(pair.in_server(*serve), folder / "log", is_up, within=120):
            inside = pair.in_server(sys.executable, __file__, "--inside", token.read_text().strip())
            done = subprocess.run(inside, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    load = median(each["load"] for each in found["loads"])
    rows = [
        ("the first page after the start, loaded", found["first"]["load"]),
        ("a page, first byte", median(each["first byte"] for each in found["loads"])),
        ("a page, last byte", median(each["last byte"] for each in found["loads"])),
        ("a page, loaded", load),
        ("the slowest of them", max(each["load"] for each in found["loads"])),
        ("what changed since, asked every 2 s", median(found["asked"])),
    ]
    print_table(f"the rack page of {MACHINES} machines", ["what", "seconds"], rows)
    print(f"  loaded in {load:.2f} s of {LIMIT_S:.0f} s ({load / LIMIT_S:.2f} x)")
    save_result("rack_page", found)
    return 0 if load < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
