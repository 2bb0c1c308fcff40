"""Envoy with its shipped configuration, which asks by gRPC, or by HTTP as the page shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from attrs import define, field

from tests.functional.daemon import absolute, free_port
from tests.functional.proxies.shipped import ETC, Proxy

_SHOWN = re.compile(r"```yaml\n(- name:[^`]*http_service:[^`]*)```")
"""Matches the filter that asks by HTTP, on the page."""


@define(eq=False)
class Envoy(Proxy):
    """
    Envoy with C{ext_authz} over gRPC.

    @ivar gateway: the port of the gateway, or the path of its socket.
    @ivar more: further keys of the cluster of the gateway.
    """

    server = "envoy"
    variable = "ENVOY_CONFIG"
    files = ("envoy/authotron.yaml",)
    entrance = "grpc"
    impatient: ClassVar = {"timeout: 10s": "timeout: 1s"}

    folder: Path = field(converter=absolute)
    gateway: int | Path  # type: ignore[assignment] # Envoy alone asks at UNIX sockets
    backend: int
    changes: Mapping[str, str] = field(factory=dict)
    more: Mapping[str, Any] = field(factory=dict)
    port: int = field(factory=free_port)

    def texts(self) -> dict[str, str]:
        example = (ETC / self.files[0]).read_text()
        resources = yaml.safe_load(self.changed(example))["static_resources"]
        [listener], [gateway, service] = resources["listeners"], resources["clusters"]
        self.adapt(listener, gateway)
        gateway.update(self.more)
        listener["address"] = _address(self.port)
        for cluster, where in ((gateway, self.gateway), (service, self.backend)):
            [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
            endpoint["endpoint"]["address"] = _address(where)
        return {Path(self.files[0]).name: json.dumps({"static_resources": resources})}

    def changed(self, text: str) -> str:
        """Return a text with the changes."""
        for old, new in self.changes.items():
            assert text.count(old) == 1, f"{old!r} is not there once"
            text = text.replace(old, new)
        return text

    def adapt(self, listener: dict[str, Any], gateway: dict[str, Any]) -> None:
        """Change how Envoy asks."""


class EnvoyByHttp(Envoy):
    """Envoy with C{ext_authz} over HTTP."""

    entrance = "http"

    def adapt(self, listener: dict[str, Any], gateway: dict[str, Any]) -> None:
        [shown] = _SHOWN.findall((ETC.parent / "docs/envoy.md").read_text())
        chain = listener["filter_chains"][0]["filters"][0]["typed_config"]
        chain["http_filters"][:1] = yaml.safe_load(super().changed(shown))
        del gateway["typed_extension_protocol_options"]

    def changed(self, text: str) -> str:
        return text


def _address(where: int | Path) -> dict[str, Any]:
    """Return an address of Envoy: a port of this machine, or a UNIX socket."""
    if isinstance(where, Path):
        return {"pipe": {"path": str(where)}}
    return {"socket_address": {"address": "127.0.0.1", "port_value": where}}
