"""What the result of a user's bind means."""

from __future__ import annotations

from authotron.ldap import decoding
from authotron.model.errors import Rejected, Unavailable
from tests.ldap.cases import ALICE, DirectoryCase


class BindResultTests(DirectoryCase):
    """Rejections, and outages of the server."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = self.made(hosts=("one",))

    def test_reasons_of_a_rejection(self) -> None:
        """
        The codes of the password policy and of Active Directory are translated to plain
        reasons.
        """
        message = "80090308: LdapErr: DSID-0C090449, AcceptSecurityContext error, data 775, v4563"
        self.one.refusals[ALICE[0]] = (49, message)
        refusal = self.failureResultOf(self.verify(*ALICE), Rejected)
        self.assertIn("locked", str(refusal.value))
        for code, word in ((0, "expired"), (1, "locked"), (2, "changed"), (8, "policy")):
            for result in (0, 49):
                value = b"\x30\x03\x81\x01" + bytes([code])
                self.one.controls = [(decoding.PASSWORD_POLICY, None, value)]
                self.one.refusals[ALICE[0]] = (result, "")
                refusal = self.failureResultOf(self.verify(*ALICE), Rejected)
                self.assertIn(word, str(refusal.value))

    def test_server_errors_are_outages(self) -> None:
        """A result code that is not about the user is an outage."""
        for code in (1, 2, 8, 51, 52, 53, 80):
            self.directory = self.made(hosts=("one",))
            self.one.refusals[ALICE[0]] = (code, "")
            self.failureResultOf(self.verify(*ALICE), Unavailable)

    def test_unwilling_because_of_the_account(self) -> None:
        """A result unwillingToPerform with a message about the account is a rejection."""
        said = "Account inactivated. Contact system administrator."
        self.one.refusals[ALICE[0]] = (53, said)
        self.assertEqual(str(self.failureResultOf(self.verify(*ALICE), Rejected).value), said)

    def test_unwilling_with_a_policy_error(self) -> None:
        """A result unwillingToPerform with an error of the password policy is a rejection."""
        self.one.controls = [(decoding.PASSWORD_POLICY, None, b"\x30\x03\x81\x01\x01")]
        self.one.refusals[ALICE[0]] = (53, "")
        refusal = self.failureResultOf(self.verify(*ALICE), Rejected)
        self.assertIn("locked", str(refusal.value))

    def test_bind_is_repeated_without_the_policy_control(self) -> None:
        """
        If a server refuses the password policy control, the bind is repeated once without
        the control.
        """
        self.one.plain = True
        self.successResultOf(self.verify(*ALICE))
        self.failureResultOf(self.verify(ALICE[0], "guess"), Rejected)
        self.one.refusals[ALICE[0]] = (53, "")
        self.one.binds.clear()
        self.failureResultOf(self.verify(*ALICE), Unavailable)
        self.assertEqual(len(self.one.binds), 2)

    def test_malformed_policy_control_is_an_outage(self) -> None:
        """A malformed policy control is an outage, since the password may be right or wrong."""
        self.one.controls = [(decoding.PASSWORD_POLICY, None, b"\x30\x05\x81")]
        self.failureResultOf(self.verify(*ALICE), Unavailable)
