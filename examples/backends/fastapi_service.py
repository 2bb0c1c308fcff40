"""A service with FastAPI: python fastapi_service.py PORT."""

import os
import sys
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI

from authotron.client import User, Verifier
from authotron.client.fastapi import Authotron

verifier = Verifier(
    os.environ["AUTHOTRON_ISSUER"],
    audience="archive",
    jwks_url=os.environ.get("AUTHOTRON_JWKS_URL"),
)
auth = Authotron(verifier)
CurrentUser = Annotated[User, Depends(auth.user)]
Reader = Annotated[User, Depends(auth.require_role("reader"))]

app = FastAPI(title="Archive")
auth.install(app)


@app.get("/")
async def hello(user: CurrentUser) -> dict[str, str]:
    return {"user": user.username, "realm": user.realm}


@app.get("/reports")
async def reports(user: Reader) -> dict[str, list[str]]:
    return {"reports": [f"report of {user.username}"]}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
