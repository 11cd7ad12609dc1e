"""The pages: the desk's values as HTML."""

from __future__ import annotations

from flask import Flask, redirect, request
from werkzeug.wrappers import Response

from bootstrapper.web.admin.auth import Auth, caller
from bootstrapper.web.admin.desk import AdminDesk

LOGIN = '<!doctype html><form method="post"><label>Admin token <input name="token" type="password"></label></form>\n'


def add_pages(app: Flask, desk: AdminDesk, auth: Auth) -> None:
    """`auth` opens and ends sessions; it has let through whoever gets to any page but `pages.login`."""

    def login() -> Response | str:
        if request.method == "GET":
            return LOGIN
        opened = auth.log_in(request.form.get("token", "").strip())
        if opened is None:
            return LOGIN
        reply = redirect("/", 303)
        auth.set_cookie(reply, opened[0])
        return reply

    def logout() -> Response:
        auth.log_out(caller())
        return auth.drop_cookie(redirect("/login", 303))

    app.add_url_rule("/login", "pages.login", login, methods=["GET", "POST"])
    app.add_url_rule("/logout", "pages.logout", logout, methods=["POST"])
