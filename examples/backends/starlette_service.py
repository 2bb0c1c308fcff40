"""A service with Starlette: python starlette_service.py PORT."""

import os
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from authotron.client import Verifier
from authotron.client.starlette import authentication

verifier = Verifier(
    os.environ["AUTHOTRON_ISSUER"],
    audience="archive",
    jwks_url=os.environ.get("AUTHOTRON_JWKS_URL"),
)


async def hello(request: Request) -> JSONResponse:
    return JSONResponse({"user": request.user.username, "realm": request.user.realm})


@requires("reader")
async def reports(request: Request) -> JSONResponse:
    return JSONResponse({"reports": [f"report of {request.user.username}"]})


app = Starlette(
    routes=[Route("/", hello), Route("/reports", reports)],
    middleware=[authentication(verifier)],
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
