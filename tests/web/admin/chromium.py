"""A real Chromium without a window, which can reach loopback and nothing else; what it logged and asked for is kept."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root, where its sandbox does not start
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def find_programs() -> tuple[str, str]:
    """(Chromium, its driver); skips the test where there is none."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs chromium and chromedriver (packaging/dependencies.sh interop)")
    return browser, driver


class Chromium:
    """One browser for a module's tests; `visit` begins each anew."""

    def __init__(self) -> None:
        browser, driver = find_programs()
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in FLAGS:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service(driver), options=options)
        self.url = ""

    def visit(self, url: str) -> None:
        """Another site, or the same one as a visitor whom it does not know yet."""
        self.url = url
        self.driver.get("about:blank")
        self.command("Network.clearBrowserCookies")
        self.look_like(1280, 900)
        self.command("Emulation.setScriptExecutionDisabled", value=False)
        self.driver.get_log("browser")
        self.driver.get_log("performance")

    def command(self, name: str, **values: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, values)

    def look_like(self, width: int, height: int, dark: bool = False) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = "dark" if dark else "light"
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def log_in(self, token: str) -> None:
        self.open("/login")
        self.find("#token").send_keys(token)
        self.find("button.main").click()
        self.wait(lambda: self.all("#rack") or self.all("[role=alert]"))

    # -- looking ----------------------------------------------------------------
    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What stands there, seen or not; empty where there is no such element."""
        return self.run("return document.querySelector(arguments[0])?.textContent.trim() ?? ''", selector)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, what: Callable[[], Any], timeout: float = 20) -> Any:
        """The first true value of `what`."""
        until = time.monotonic() + timeout
        while True:
            value = what()
            if value:
                return value
            assert time.monotonic() < until, f"nothing after {timeout} s at {self.driver.current_url}"
            time.sleep(0.05)

    def shot(self) -> str:
        """The whole page as PNG, in base64."""
        return str(self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"])

    # -- by keyboard ------------------------------------------------------------
    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> str:
        """What the focused element says."""
        return str(self.run("return document.activeElement.textContent.trim()"))

    # -- afterwards ---------------------------------------------------------------
    def complaints(self) -> list[str]:
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Every address that pages asked for since the last call; what their policy forbade was not sent."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent: dict[str, str] = {}
        for message in messages:
            values = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                sent[values["requestId"]] = values["request"]["url"]
            elif message["method"] == "Network.loadingFailed" and values.get("blockedReason") == "csp":
                sent.pop(values["requestId"], None)
        return [url for url in sent.values() if not url.startswith(("data:", "about:"))]
