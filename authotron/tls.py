"""TLS towards servers, whose certificates are always checked."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from authotron.errors import Unavailable

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def checking(host: str, authorities: str | None) -> IOpenSSLClientConnectionCreator:
    """
    What makes a connection safe: the server must prove to be C{host}.

    @param authorities: a file of certificates (PEM) to trust instead of those of the system.

    @raise Unavailable: there are none in it.
    """
    if authorities is None:
        return optionsForClientTLS(host)
    try:
        trusted = [Certificate.loadPEM(pem) for pem in _PEM.findall(Path(authorities).read_bytes())]
    except OSError as error:
        raise Unavailable(f"{authorities}: {error.strerror}") from None
    if not trusted:
        raise Unavailable(f"{authorities} holds no certificate in PEM")
    return optionsForClientTLS(host, trustRootFromCertificates(trusted))
