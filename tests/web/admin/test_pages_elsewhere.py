"""Another site's page in the admin's browser, a real Chromium: it reads nothing, changes nothing, and costs no work; by
the admin's session, and through a forwarded Unix socket, where no cookie is needed to be the admin.

The other site is another port of the same host: to a browser the same site, which gets the cookie too.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from adminplane import NODE1, TOKEN, AdminPlane
from werkzeug.serving import WSGIRequestHandler, make_server

from bootstrapper.state.sqlite import SqliteStore
from bootstrapper.web.admin.app import create_admin_app
from bootstrapper.web.admin.auth import COOKIE

pytestmark = pytest.mark.interop
pytest.importorskip("selenium", reason="needs selenium (pip install -e '.[dev]')")
from chromium import Chromium  # noqa: E402

SIMPLE = """
const done = [];
const told = (name, promise) => done.push(promise.then(() => `${name}: done`, () => `${name}: refused`));
const tag = (name, attribute, url) => new Promise((good, bad) => {
  const element = document.createElement(name);
  element.onload = good; element.onerror = bad; element[attribute] = url;
  if (name === "link") element.rel = "stylesheet";
  document.body.append(element);
});
for (const path of ["/api/v1/machines", "/api/v1/description", "/", "/machines/node1", "/static/admin.css"]) {
  told(`read ${path}`, fetch(site + path, {credentials: "include"}).then((reply) => reply.text()));
  fetch(site + path, {credentials: "include", mode: "no-cors"});
  told(`image ${path}`, tag("img", "src", site + path));
  told(`script ${path}`, tag("script", "src", site + path));
  told(`style ${path}`, tag("link", "href", site + path));
}
tag("iframe", "src", site + "/");
new EventSource(site + "/api/v1/events/stream", {withCredentials: true});
const order = JSON.stringify({order: "hold", reason: "evil"});
for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json"]) {
  const body = type === "application/x-www-form-urlencoded" ? "order=hold&reason=evil" : order;
  for (const mode of ["no-cors", "cors"]) {
    for (const path of ["/api/v1/machines/node1/orders", "/machines/node1/orders"]) {
      fetch(site + path, {method: "POST", credentials: "include", mode, body, headers: {"Content-Type": type}})
        .catch(() => null);
    }
  }
}
navigator.sendBeacon(site + "/api/v1/machines/node1/orders", order);
return Promise.all(done);
"""
FORM = """
const form = document.createElement("form");
form.method = "post"; form.action = site + "/machines/node1/orders";
for (const [name, value] of [["order", "hold"], ["reason", "evil"], ["csrf", "0".repeat(64)]]) {
  const input = document.createElement("input");
  input.name = name; input.value = value; form.append(input);
}
document.body.append(form);
form.submit();
"""


@dataclass
class Scene:
    plane: AdminPlane
    url: str = ""
    evil: str = ""
    answers: list[tuple[str, str, int, str]] = field(default_factory=list)
    "(method, path, status, Sec-Fetch-Site)."
    worked: list[str] = field(default_factory=list)
    "Endpoints of the API and the pages that were run."
    cookies: list[str] = field(default_factory=list)
    "What the other site's server was sent."


class Quiet(WSGIRequestHandler):
    def log(self, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    made = Chromium()
    yield made
    made.driver.quit()


@pytest.fixture(params=["session", "socket"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, browser: Chromium) -> Iterator[Scene]:
    store = SqliteStore(tmp_path / "state.db")
    made = Scene(AdminPlane(store, tmp_path))
    app = create_admin_app(made.plane.make_parts())
    for endpoint, view in app.view_functions.items():
        app.view_functions[endpoint] = watch(made, endpoint, view)
    ours, theirs = socket.socketpair(socket.AF_UNIX)

    def front(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if request.param == "socket":
            environ["gunicorn.socket"] = ours

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            told = (environ["REQUEST_METHOD"], environ["PATH_INFO"], int(status[:3]))
            made.answers.append((*told, environ.get("HTTP_SEC_FETCH_SITE", "")))
            return start_response(status, headers, *more)

        return app(environ, start)

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.cookies.append(self.headers.get("Cookie", ""))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>evil</title><body></body>")

        def log_message(self, *args: Any) -> None: ...

    site = make_server("127.0.0.1", 0, front, threaded=True, request_handler=Quiet)
    evil = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threads = [threading.Thread(target=each.serve_forever) for each in (site, evil)]
    for thread in threads:
        thread.start()
    made.url, made.evil = f"http://127.0.0.1:{site.port}", f"http://127.0.0.1:{evil.server_port}"
    browser.visit(made.url)
    if request.param == "session":
        browser.log_in(TOKEN)
    yield made
    browser.driver.get("about:blank")
    for server in (site, evil):
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join(10)
    ours.close()
    theirs.close()
    store.close()


def watch(scene: Scene, endpoint: str, view: Callable[..., Any]) -> Callable[..., Any]:
    def run(**values: Any) -> Any:
        if endpoint != "static":  # the refusal's own style
            scene.worked.append(endpoint)
        return view(**values)

    return run


def attack(browser: Chromium, scene: Scene, script: str) -> Any:
    browser.driver.get(scene.evil)
    scene.worked.clear()
    scene.answers.clear()
    return browser.run(f"const site = {scene.url!r};{script}")


def check_unchanged(scene: Scene) -> None:
    assert scene.plane.store.find_history(NODE1).held == ""
    assert [each for _number, each in scene.plane.store.audit() if "order" in each.action] == []


def test_it_reads_and_orders_nothing(browser: Chromium, scene: Scene) -> None:
    told = attack(browser, scene, SIMPLE)
    assert len(told) == 20
    assert {each.rpartition(": ")[2] for each in told} == {"refused"}, told
    browser.wait(lambda: len([path for _method, path, *_ in scene.answers if path.endswith("/orders")]) > 8)
    browser.wait(lambda: ("GET", "/api/v1/events/stream", 403, "same-site") in scene.answers)
    browser.wait(lambda: ("GET", "/", 403, "same-site") in scene.answers)
    assert {(status, said) for _method, _path, status, said in scene.answers} == {(403, "same-site")}
    assert scene.worked == []
    check_unchanged(scene)


def test_its_form_is_refused_and_its_link_waits_for_the_person(browser: Chromium, scene: Scene) -> None:
    attack(browser, scene, FORM)
    browser.wait(lambda: "another site's page" in browser.text("h1"))
    assert scene.worked == []
    check_unchanged(scene)
    attack(browser, scene, "location = site + '/machines/node1';")
    browser.wait(lambda: browser.all("main a"))
    assert scene.worked == []
    browser.find("main a").click()
    browser.wait(lambda: "node1" in browser.text("h1"))
    assert "pages.machine" in scene.worked


def test_the_other_site_gets_the_cookie(browser: Chromium, scene: Scene) -> None:
    """Why a session is bound to more than its cookie: no attribute of a cookie keeps it from another port."""
    browser.driver.get(scene.evil)
    kept = browser.driver.get_cookie(COOKIE)
    assert any(cookie.startswith(f"{COOKIE}=") for cookie in scene.cookies) == (kept is not None)
