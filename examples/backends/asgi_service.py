"""A service with nothing but ASGI: python asgi_service.py PORT."""

import json
import os
import sys
from typing import Any

import uvicorn

from authotron.client import User, Verifier
from authotron.client.asgi import AuthotronMiddleware, refuse
from authotron.client.errors import AuthotronError

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


async def service(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    try:
        body = json.dumps(answer(scope["path"], scope["user"])).encode()
    except AuthotronError as error:
        await refuse(error, scope, receive, send)
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app: Any = AuthotronMiddleware(service, verifier)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), lifespan="off", log_level="warning")
