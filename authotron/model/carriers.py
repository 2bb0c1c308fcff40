"""The parts of a request that may carry a credential in place of the header C{Authorization}."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Kind = Literal["header", "query", "cookie", "certificate", "basic"]


@frozen
class Carrier:
    """
    A part of a request, other than the whole header C{Authorization}, that carries a credential.

    @ivar kind: a C{header}, a parameter of the C{query}, a C{cookie}, the TLS C{certificate} of the
        client, or one half of the user name and password of a C{basic} credential.
    @ivar name: the name of the header (in lower case), parameter or cookie; its value is
        C{username} or C{password} for one half of a Basic credential, and C{client} for the TLS
        certificate of the client.
    @ivar scheme: the word, in lower case, with which the value of the header must begin, or an
        empty string if the whole value is the credential.
    """

    kind: Kind
    name: str
    scheme: str = ""

    def __str__(self) -> str:
        if self.kind == "basic":
            return f"{self.name} of Basic"
        if self.kind == "certificate":
            return "TLS certificate of the client"
        return f"{self.kind} {self.name}" + (f" ({self.scheme})" if self.scheme else "")


CERTIFICATE = Carrier("certificate", "client")
"""The TLS certificate of the client, as a trusted proxy states it."""
