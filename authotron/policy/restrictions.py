"""
Restrictions of a credential: each takes away a part of what the bearer of the credential may do.

If a credential has several restrictions, all must allow a request; so no restriction can give back
what another restriction, or the policies, do not allow.
"""

from __future__ import annotations

from attrs import field, frozen

from authotron.policy.containment import contains
from authotron.policy.namespaces import is_within
from authotron.policy.networks import Network, any_holds
from authotron.policy.permissions import Permission
from authotron.policy.rules import Asked, Rule
from authotron.policy.table import Table


class Widens(ValueError):
    """A new restriction would allow more than an earlier one."""


@frozen
class Restriction:
    """
    Limits of a credential, all of which a request must meet; an empty limit restricts
    nothing.
    """

    namespace: str = ""
    permissions: tuple[Permission, ...] = ()
    networks: tuple[Network, ...] = ()
    _table: Table = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_table", Table([Rule("", (), self.permissions)]))

    def allows(self, asked: Asked) -> bool:
        """Return whether a request meets all limits of the restriction."""
        if self.namespace and not is_within(asked.namespace, self.namespace):
            return False
        if self.permissions and not self._table.rule(asked, 0).allows:
            return False
        return not self.networks or any_holds(self.networks, asked.address)

    def narrowed(self, new: Restriction) -> Restriction:
        """
        Return the restriction that results if the bearer of a credential with this restriction
        requests another credential with the restriction C{new}.

        @raise Widens: the restriction C{new} allows more than this restriction.
        """
        if self.namespace and new.namespace and not is_within(new.namespace, self.namespace):
            raise Widens("the namespace is not that of the credential, and not below it")
        if self.networks and not all(
            any(each.is_within(own) for own in self.networks) for each in new.networks
        ):
            raise Widens("a network does not lie in one of those of the credential")
        if self.permissions and new.permissions and not contains(self.permissions, new.permissions):
            raise Widens("the permissions allow more than those of the credential")
        return Restriction(
            new.namespace or self.namespace,
            new.permissions or self.permissions,
            new.networks or self.networks,
        )
