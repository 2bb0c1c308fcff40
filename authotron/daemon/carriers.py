"""
Find out from the key C{credentials} of each provider in which part of a request the provider looks
for credentials.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from authotron.config import credentials
from authotron.config.check import Config
from authotron.config.endpoint import GRPC, protocol_of
from authotron.gateway.carriers import Carriers, Judge
from authotron.gateway.contracts import Contracts
from authotron.gateway.credentials import Challenged
from authotron.model.carriers import CERTIFICATE, Carrier
from authotron.model.errors import ConfigError, Problem
from authotron.plugin.interfaces import IJudge, IProvider

_STORE = "store"


class Looking:
    """
    Says which providers look for credentials in which parts of a request.

    @ivar carriers: reads the parts of a request that carry credentials.
    @ivar by_judge: for each provider that does not look in the header C{Authorization} alone, by
        the C{id} of the provider, the parts of a request in which it looks.
    @ivar challenged: the schemes and realms for which a 401 asks in C{WWW-Authenticate}.
    """

    def __init__(self, config: Config, providers: Sequence[IProvider], own: IJudge) -> None:
        """
        @param own: the provider of API tokens.

        @raise ConfigError: the part of a request in which a provider looks cannot carry a
            credential that it judges.
        """
        judges = [*_judges(config, providers, own)]
        problems = [*_problems(judges)]
        if problems:
            raise ConfigError(problems)
        self._config = config
        self._judges = judges
        self.carriers = Carriers([judge for _, _, judge in judges])
        self.by_judge: Mapping[int, Sequence[Carrier | None]] = {
            id(judge): found.carriers for _, judge, found in judges if found.carriers != (None,)
        }
        self.challenged = [*_challenged(judges)]

    def check(self, contracts: Contracts) -> None:
        """
        Check that no header that carries a credential is also one in which a proxy states a fact of
        the request.

        @raise ConfigError: a header that carries a credential is also one in which a proxy states a
            fact.
        """
        taken = contracts.headers()
        problems = [
            Problem(at, f"header {carrier.name} states a fact in a contract of a proxy")
            for at, _, judge in self._judges
            for carrier in judge.carriers
            if carrier is not None and carrier.kind == "header" and carrier.name in taken
        ]
        problems += self._unstated_certificates(contracts)
        if problems:
            raise ConfigError(problems)

    def _unstated_certificates(self, contracts: Contracts) -> Iterator[Problem]:
        """
        Yield a problem for each provider that verifies certificates of clients, if no configured
        proxy contract can state a certificate.
        """
        listens = self._config.file.server.listen
        if contracts.state("certificate") or any(protocol_of(each) == GRPC for each in listens):
            return
        for at, _, judge in self._judges:
            if CERTIFICATE in judge.carriers:
                yield Problem(
                    at.removesuffix(".credentials"),
                    "no proxy states the certificates of clients; name the header in which the "
                    "proxy states them, such as server.contracts: [{type: nginx, headers: "
                    "{certificate: X-SSL-Client-Cert}}]",
                )


_Judges = Iterable[tuple[str, IJudge, Judge]]
"""
For each provider: the path of its key C{credentials}, the provider, and the parts of a request in
which it looks.
"""


def _judges(config: Config, providers: Sequence[IProvider], own: IJudge) -> _Judges:
    if config.store is not None:
        where = credentials.looked_at(config.store)
        yield f"{_STORE}.credentials", own, Judge(own.name, own.scheme, None, where)
    for place, (section, provider) in enumerate(zip(config.providers, providers, strict=True)):
        where = credentials.looked_at(section)
        judge = Judge(provider.name, provider.scheme, provider.realm, where)
        yield f"providers[{place}].credentials", provider, judge


def _problems(judges: _Judges) -> Iterator[Problem]:
    first: dict[Carrier, Judge] = {}
    for at, _, judge in judges:
        for carrier in judge.carriers:
            if carrier is None:
                continue
            if carrier.kind == "basic" and judge.scheme != "bearer":
                yield Problem(
                    at,
                    "one half of a Basic credential can only be a token, and the provider "
                    f"judges {judge.scheme.capitalize()} credentials",
                )
            other = first.setdefault(carrier, judge)
            if other.scheme != judge.scheme:
                yield Problem(
                    at,
                    f"{carrier} carries {other.scheme.capitalize()} credentials of "
                    f"{other.name!r}, so it cannot carry {judge.scheme.capitalize()} credentials",
                )


def _challenged(judges: _Judges) -> Iterator[Challenged]:
    """Yield the schemes and realms for which a 401 asks in C{WWW-Authenticate}."""
    asks_for_tokens = asks_for_basic = False
    for at, _, judge in judges:
        has_halves = any(each is not None and each.kind == "basic" for each in judge.carriers)
        if at.startswith(_STORE):
            asks_for_tokens = has_halves
            continue
        if None in judge.carriers:
            yield Challenged(judge.scheme, str(judge.realm))
        if has_halves:
            yield Challenged("basic", str(judge.realm))
        asks_for_basic |= has_halves or (None in judge.carriers and judge.scheme == "basic")
    if asks_for_tokens and not asks_for_basic:
        # git, for example, sends Basic credentials only after a 401 that asks for them
        yield Challenged("basic", "API tokens")
