"""
Fixtures for pytest, which pytest finds by itself where C{authotron-client} is installed.

The marker C{authotron_user} says who sends the requests of a test, the marker C{authotron_gateway}
which options the fake gateway has::

    @pytest.mark.authotron_user("alice", roles=["reader"])
    def test_reading(client, authotron_headers):
        assert client.get("/", headers=authotron_headers).status_code == 200
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from authotron.client.user import User

# The import is left to the first test that needs it, as pytest loads this module in every run.
if TYPE_CHECKING:
    from authotron.client.testing import FakeGateway


def pytest_configure(config: pytest.Config) -> None:
    """Register the pytest markers of this plugin."""
    for line in (
        "authotron_user(username, realm=, roles=, scopes=, attributes=): the user of the test",
        "authotron_gateway(**options): the options of the fake gateway",
    ):
        config.addinivalue_line("markers", line)


@pytest.fixture
def authotron_gateway(request: pytest.FixtureRequest) -> FakeGateway:
    """Return a fake gateway that is made for one test alone."""
    gateway: FakeGateway = _kit().FakeGateway(**_options(request, "authotron_gateway"))
    return gateway


@pytest.fixture
def authotron_user(request: pytest.FixtureRequest) -> User:
    """Return the user who sends the requests of the test."""
    marker = request.node.get_closest_marker("authotron_user")
    name = marker.args[0] if marker is not None and marker.args else "alice"
    options = {"realm": "test", **_options(request, "authotron_user")}
    return User(username=name, **{**options, "roles": tuple(options.get("roles", ()))})


@pytest.fixture
def authotron_headers(authotron_gateway: FakeGateway, authotron_user: User) -> dict[str, str]:
    """
    Return the headers of a request that the user sends, as a proxy passes them on to
    the service.
    """
    return {"Authorization": f"Bearer {authotron_gateway.mint(authotron_user)}"}


@pytest.fixture
def authotron_server(authotron_gateway: FakeGateway) -> Iterator[str]:
    """Serve the fake gateway at a port of the loopback, and give its URL."""
    with _kit().serve(authotron_gateway) as url:
        yield url


def _kit() -> Any:  # The module is imported only when it is first used.
    return import_module("authotron.client.testing")


def _options(request: pytest.FixtureRequest, marker: str) -> dict[str, Any]:
    found = request.node.get_closest_marker(marker)
    return dict(found.kwargs) if found is not None else {}
