"""A service with nothing but WSGI: python wsgi_service.py PORT."""

import json
import os
import sys
from collections.abc import Iterable
from typing import Any
from wsgiref.simple_server import make_server

from authotron.client import AuthotronError, User, Verifier
from authotron.client.wsgi import USER, AuthotronMiddleware, refuse

verifier = Verifier(
    os.environ["AUTHOTRON_ISSUER"],
    audience="archive",
    jwks_url=os.environ.get("AUTHOTRON_JWKS_URL"),
)


def answer(path: str, user: User) -> dict[str, Any]:
    if path == "/reports":
        user.require("reader")
        return {"reports": [f"report of {user.username}"]}
    return {"user": user.username, "realm": user.realm}


def service(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    try:
        body = json.dumps(answer(environ["PATH_INFO"], environ[USER])).encode()
    except AuthotronError as error:
        return refuse(error, start_response)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


app = AuthotronMiddleware(service, verifier)

if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
