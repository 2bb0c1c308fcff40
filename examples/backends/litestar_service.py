"""A service with Litestar: python litestar_service.py PORT."""

import os
import sys
from typing import Any

import uvicorn
from litestar import Litestar, Request, get

from authotron.client import User, Verifier
from authotron.client.litestar import authentication, requires

verifier = Verifier(
    os.environ["AUTHOTRON_ISSUER"],
    audience="archive",
    jwks_url=os.environ.get("AUTHOTRON_JWKS_URL"),
)


@get("/")
async def hello(request: Request[User, Any, Any]) -> dict[str, str]:
    return {"user": request.user.username, "realm": request.user.realm}


@get("/reports", guards=[requires("reader")])
async def reports(request: Request[User, Any, Any]) -> dict[str, list[str]]:
    return {"reports": [f"report of {request.user.username}"]}


app = Litestar([hello, reports], **authentication(verifier, title="Archive"))

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
