"""A small client of the Kubernetes API: what this server needs, over the standard library.

Objects are the API's own JSON. What is ours is *applied* (server-side apply, on by default since 1.16): the API keeps
which fields we set, gives back what we no longer set, and leaves other people's fields alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from bootstrapper.kube.connection import NO_HEADERS, ServerRefusal

MANAGER = "bootstrapper"
"Under this name the API keeps which fields are ours."
PAGE = 500

Object = dict[str, Any]
"A Kubernetes object, as JSON."


class Asks(Protocol):
    """`kube.connection.Connection`."""

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] = NO_HEADERS) -> Any: ...


class ApiClient:
    """Every method raises Unreachable when no API server answers, and ServerRefusal for what one refuses.

    `act_as` is a user whose rights are taken on for every request (user impersonation): our certificate has every right
    there is, and the daily work should not.
    """

    def __init__(self, connection: Asks, act_as: str = "") -> None:
        self._connection = connection
        self._headers = {"Impersonate-User": act_as} if act_as else {}
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    def is_ready(self) -> bool:
        """Whether an API server answers and says that it is ready; an Unreachable is the caller's to explain."""
        try:
            self._ask("GET", "/readyz")
        except ServerRefusal as refusal:
            if refusal.status in (401, 403):
                raise
            return False
        return True

    def list(self, path: str, **parameters: str) -> Iterator[Object]:
        """Every object of a collection (`/api/v1/nodes`), read in pages."""
        more = ""
        while True:
            query = urlencode({**parameters, "limit": PAGE, **({"continue": more} if more else {})})
            page = self._ask("GET", f"{path}?{query}")
            yield from page.get("items") or ()
            more = (page.get("metadata") or {}).get("continue", "")
            if not more:
                return

    def apply(self, value: Object) -> Object:
        """Make the API hold `value`, whatever it holds now. A kind nobody knows is a ServerRefusal (404)."""
        query = urlencode({"fieldManager": MANAGER, "force": "true"})
        return dict(self._ask("PATCH", f"{self.find_path(value)}?{query}", value, "application/apply-patch+yaml"))

    def replace(self, path: str, value: Object) -> Object:
        return dict(self._ask("PUT", path, value))

    def delete(self, path: str) -> bool:
        """False: there was none."""
        try:
            self._ask("DELETE", path)
        except ServerRefusal as refusal:
            if refusal.status == 404:
                return False
            raise
        return True

    def find_path(self, value: Mapping[str, Any]) -> str:
        """The URL of an object, by what the API says about its kind: so that an add-on may bring any kind."""
        version, kind = str(value["apiVersion"]), str(value["kind"])
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if kind not in self._resources.get(root, {}):
            self._resources[root] = self._discover(root)
        found = self._resources[root].get(kind)
        if found is None:
            raise ServerRefusal(404, f"{version} has no kind {kind}")
        plural, namespaced = found
        metadata = value["metadata"]
        space = f"/namespaces/{quote(metadata.get('namespace', 'default'), safe='')}" if namespaced else ""
        return f"{root}{space}/{plural}/{quote(metadata['name'], safe=':')}"

    def _discover(self, root: str) -> dict[str, tuple[str, bool]]:
        """Kind -> (plural, namespaced)."""
        found = self._ask("GET", root)
        return {
            str(each["kind"]): (str(each["name"]), bool(each["namespaced"]))
            for each in found.get("resources", ())
            if "/" not in each["name"]
        }

    def _ask(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Any:
        headers = self._headers if body is None else {**self._headers, "Content-Type": content_type}
        return self._connection.ask(method, path, body, headers)
