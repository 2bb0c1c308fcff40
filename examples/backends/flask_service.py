"""A service with Flask: python flask_service.py PORT."""

import os
import sys

from flask import Flask
from waitress import serve

from authotron.client import Verifier
from authotron.client.flask import Authotron, current_user

verifier = Verifier(
    os.environ["AUTHOTRON_ISSUER"],
    audience="archive",
    jwks_url=os.environ.get("AUTHOTRON_JWKS_URL"),
)
app = Flask(__name__)
auth = Authotron(app, verifier)


@app.get("/")
@auth.required()
def hello() -> dict[str, str]:
    return {"user": current_user.username, "realm": current_user.realm}


@app.get("/reports")
@auth.required("reader")
def reports() -> dict[str, list[str]]:
    return {"reports": [f"report of {current_user.username}"]}


if __name__ == "__main__":
    serve(app, host="127.0.0.1", port=int(sys.argv[1]))
