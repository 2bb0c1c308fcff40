"""
Check which questions about the policies a client may ask the gateway, such as whether an identity
may do something with a resource.

An asker, a client that has a role of C{policy.askers}, may ask about any identity, and may state
the address and the namespace of a request. All clients that are not askers may ask only about
themselves, and may not state an address or a namespace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

from authotron.gateway.authorization import Deny, authorize_stated
from authotron.gateway.policy import Enforcement, PolicyAccess
from authotron.model.authentication import Authentication
from authotron.model.errors import AmbiguousRequest, Flaw, MayNotAsk, UnusableFact
from authotron.model.hosts import split_host
from authotron.model.http_grammar import TOKEN
from authotron.model.paths import AmbiguousPath, canonical
from authotron.model.request import Facts, KnownFacts
from authotron.policy import namespaces
from authotron.policy.networks import parse_address
from authotron.policy.resources import ANY, MOST_SEGMENTS, flaw
from authotron.policy.rules import Request
from authotron.policy.subjects import in_normal_form
from authotron.policy.verbs import is_misspelt

_METHOD = re.compile(TOKEN.decode())

LONGEST_NAMESPACE = 1_024
"""Maximum number of characters of a namespace that a client states."""

_OTHERS = "only a client with a role of policy.askers may ask about others"


@frozen
class StatedRequest:
    """
    The request about which a client asks the gateway whether the policies allow it.

    @ivar address: the address of the client that makes the request, or C{None} if it is not known.
    @ivar stated_host: the requested host, or C{None} if it is not known.
    """

    resource: str
    verb: str
    namespace: str
    id: str | None = None
    address: str | None = None
    stated_host: str | None = None

    @property
    def host(self) -> str:
        """
        The requested host, without a port.

        @raise UnusableFact: a rule depends on the host, and the client does not state a host.
        """
        if self.stated_host is None:
            raise UnusableFact(
                "host", Flaw.MISSING, "a rule depends on the host, so state the host"
            )
        return self.stated_host

    @property
    def facts(self) -> Facts:
        """The facts of the request, for the conditions of a credential."""
        known: KnownFacts = {"method": self.verb, "namespace": self.namespace}
        if self.resource.startswith("/"):
            known["path"] = self.resource
        if self.stated_host is not None:
            known["host"] = self.stated_host
        if self.address is not None:
            known["address"] = self.address
        return Facts(**known)

    @property
    def known(self) -> Request:
        """The request to be explained; its host is empty if the host is not known."""
        return Request(
            self.resource,
            self.verb,
            self.id,
            self.namespace,
            self.stated_host or "",
            self.address,
        )


def is_restricted(found: Authentication, stated: StatedRequest) -> bool:
    """
    Return whether a condition of a credential refuses the request that a client asks about. A
    condition also refuses the request if it depends on a fact that the client does not state.
    """
    if not found.conditions:
        return False
    return isinstance(authorize_stated(found, stated, stated.facts), Deny)


@frozen
class Caller:
    """
    An authenticated client that asks the gateway about policies.

    @ivar address: the address from which the client asks, or C{None} if it is not known.
    """

    authentication: Authentication
    enforcement: Enforcement
    address: str | None = None

    @property
    def is_asker(self) -> bool:
        """Whether the client has a role that may ask about any identity."""
        return not self.enforcement.askers.isdisjoint(self.authentication.identity.roles)

    def access(self) -> PolicyAccess:
        """
        Return an access object, which states what the policies allow, for the client itself.

        @raise BadIdentity: an augmenter has set a claim that only the gateway may set.
        """
        return self.enforcement.access(self.authentication)

    def access_of(self, claims: Iterable[str]) -> PolicyAccess:
        """
        Return an access object, which states what the policies allow, for an identity with the
        given claims.

        A client that is not an asker may state only claims that it has. The result is then about
        all claims of the client, so that a client cannot evade a denial by leaving out a claim.

        @raise MayNotAsk: the client is not an asker, and does not have one of the claims that it
            states.
        @raise BadIdentity: an augmenter has set a claim that only the gateway may set.
        """
        stated = frozenset(map(in_normal_form, claims))
        if self.is_asker:
            return self.enforcement.access_by(stated)
        if not stated <= self.enforcement.claims(self.authentication):
            raise MayNotAsk(_OTHERS)
        return self.access()

    def is_restricted(self, stated: StatedRequest) -> bool:
        """
        Return whether the client asks about itself, with a credential of which a condition does not
        allow the request.
        """
        return not self.is_asker and is_restricted(self.authentication, stated)

    def check_may_explain(self) -> None:
        """
        Check that the client may ask for an explanation, which names rules of the policies.

        @raise MayNotAsk: the client is not an asker.
        """
        if not self.is_asker:
            raise MayNotAsk("only a client with a role of policy.askers may ask for an explanation")

    def check_user(self, realm: str, username: str) -> None:
        """
        Check that the client may ask about a user.

        @raise MayNotAsk: the client is not an asker, and the user is not the client itself.
        """
        own = self.authentication.identity
        if not self.is_asker and (realm, username) != (own.realm, own.username):
            raise MayNotAsk(_OTHERS)

    def request(
        self,
        resource: str,
        verb: str,
        namespace: str | None = None,
        id_: str | None = None,
        address: str | None = None,
        host: str | None = None,
    ) -> StatedRequest:
        """
        Return the request that the client states, with its path in canonical spelling.

        @param namespace: the namespace of the request; the value C{None} stands for the configured
            C{policy.namespace}.
        @param address: the address of the client that makes the request, which only an asker may
            state; the value C{None} means that an asker does not know the address, or that any
            other client makes the request itself.

        @raise AmbiguousRequest: the request is malformed, or proxies and backends could read the
            request in different ways.
        @raise MayNotAsk: the client is not an asker, and states an address or a namespace.
        """
        spelt = _resource(resource)
        _check_verb(verb, spelt)
        if not self.is_asker:
            self._check_context(namespace, address)
            address = self.address
        elif address is not None and parse_address(address) is None:
            raise AmbiguousRequest("ip", "is not an IP address")
        return StatedRequest(
            spelt,
            verb,
            self.namespace(namespace),
            id_,
            address,
            None if host is None else _host(host),
        )

    def namespace(self, stated: str | None) -> str:
        """
        Return the namespace that the client asks about; if the client states none, return the
        configured C{policy.namespace}.

        @raise AmbiguousRequest: the string is not a namespace.
        @raise MayNotAsk: the client is not an asker, and states another namespace.
        """
        if not self.is_asker:
            self._check_context(stated, None)
        return self.enforcement.namespace if stated is None else _namespace(stated)

    def _check_context(self, namespace: str | None, address: str | None) -> None:
        """
        Check that a client that is not an asker states no other address or namespace than the
        gateway knows of it.

        The gateway refuses to answer instead of ignoring what the client states: an answer about
        another address or namespace would mislead a service that asks with a user's credential.

        @raise MayNotAsk: the client states another namespace or address.
        """
        if namespace not in (None, self.enforcement.namespace):
            raise MayNotAsk("only a client with a role of policy.askers may state a namespace")
        if address is None:
            return
        stated = parse_address(address)
        if stated is None or stated != parse_address(self.address):
            raise MayNotAsk(
                "only a client with a role of policy.askers may state the address of a client"
            )


def _resource(text: str) -> str:
    """
    Return a resource in the spelling with which rules compare resources; for a path this is its
    canonical spelling.

    @raise AmbiguousRequest: the resource is empty or a wildcard, has blanks at its edges, or
        proxies and backends could read the path in different ways.
    """
    _check_word(text, "resource")
    if not text.startswith("/"):
        if text.count("/") > MOST_SEGMENTS:
            raise AmbiguousRequest("resource", f"has more than {MOST_SEGMENTS} segments")
        return text
    if "?" in text or "#" in text:
        raise AmbiguousRequest("resource", "has a query or a fragment; state the path alone")
    try:
        path = canonical(text.encode("utf-8"))
    except AmbiguousPath as ambiguous:
        why = f"is a path that proxies and backends read differently ({ambiguous})"
        raise AmbiguousRequest("resource", why) from None
    if why := flaw(path):
        raise AmbiguousRequest("resource", f"has {why}")
    return path


def _check_verb(text: str, resource: str) -> None:
    """
    Check the verb of a request about which a client asks.

    @raise AmbiguousRequest: the verb is empty, a wildcard, or has blanks at its edges; or the
        resource is a path, and the verb is not an HTTP method in upper case.
    """
    _check_word(text, "action")
    if not resource.startswith("/"):
        return
    if not _METHOD.fullmatch(text):
        raise AmbiguousRequest("action", "is not a method, such as GET")
    if is_misspelt(text):
        raise AmbiguousRequest(
            "action", f"is not a method, because case counts; write {text.upper()}"
        )


def _check_word(text: str, part: str) -> None:
    """
    Check a verb, an id or a name of a resource, which rules compare letter by letter.

    @raise AmbiguousRequest: no rule can name the word, so no rule could deny a request with this
        word.
    """
    if text in ("", ANY):
        raise AmbiguousRequest(part, "is empty" if not text else "is a wildcard")
    if text != text.strip():
        raise AmbiguousRequest(part, "begins or ends with a blank")


def _namespace(text: str) -> str:
    if len(text) > LONGEST_NAMESPACE:
        raise AmbiguousRequest("namespace", f"is longer than {LONGEST_NAMESPACE} characters")
    try:
        return namespaces.check(text)
    except ValueError:
        raise AmbiguousRequest("namespace", "is not a namespace, such as / or /data") from None


def _host(text: str) -> str:
    try:
        return split_host(text)[0]
    except ValueError:
        raise AmbiguousRequest("host", "is not a host") from None
