"""The question that the gateway asks an authorizer: may an identity make a request?"""

from __future__ import annotations

from attrs import frozen

from authotron.model.identity import Identity


@frozen
class Evaluation:
    """
    A client's request, about which an authorizer is asked.

    @ivar provider: the name of the provider that verified the credential of the client.
    @ivar path: the path of the request in its canonical spelling, without the query.
    @ivar host: the requested host, without a port, or C{None} if the proxy states no host.
    @ivar address: the address of the client, or C{None} if it is not known.
    @ivar id: the id of the object that the request is about, or C{None}; requests of proxies have
        no id.
    """

    identity: Identity
    provider: str
    method: str
    path: str
    namespace: str
    host: str | None = None
    address: str | None = None
    id: str | None = None
