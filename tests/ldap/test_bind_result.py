"""What the result of a user's bind means."""

from __future__ import annotations

from authotron.ldap import decoding
from authotron.model.errors import Rejected, Unavailable
from tests.directories import GATE
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


class ServiceAccountTests(DirectoryCase):
    """The reasons for which a server refuses the service account."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = self.made(hosts=("one",))

    def refusal(self) -> str:
        """Return the reason of a new connection that the server refuses."""
        self.directory = self.made(hosts=("one",))
        return str(self.failureResultOf(self.using(), Unavailable).value)

    def test_locked_service_account_is_named(self) -> None:
        """
        A service account that is locked or expired is reported in the words that are used for
        users, and not as a wrong password.
        """
        bound = f"the server refused the bind as {GATE[0]}: "
        for code, word in (
            (0, "the password has expired"),
            (1, "the account is locked"),
            (2, "the password must be changed"),
            (8, "the password policy"),
        ):
            for result in (49, 53):
                value = b"\x30\x03\x81\x01" + bytes([code])
                self.one.controls = [(decoding.PASSWORD_POLICY, None, value)]
                self.one.refusals[GATE[0]] = (result, "")
                self.assertEqual(self.refusal(), f"one:389: {bound}{word}")
        self.one.controls = ()
        self.one.refusals[GATE[0]] = (49, "AcceptSecurityContext error, data 775, v4563")
        self.assertEqual(self.refusal(), f"one:389: {bound}the account is locked")
        self.one.refusals[GATE[0]] = (49, "")
        self.assertEqual(self.refusal(), f"one:389: {bound}invalid credentials")

    def test_locked_service_account_is_tried_rarely(self) -> None:
        """A refusal of the password policy pauses the server as long as a wrong password."""
        self.one.controls = [(decoding.PASSWORD_POLICY, None, b"\x30\x03\x81\x01\x01")]
        self.one.refusals[GATE[0]] = (53, "")
        self.failureResultOf(self.using(), Unavailable)
        self.clock.advance(5)
        self.failureResultOf(self.using(), Unavailable)
        self.assertEqual(len(self.one.binds), 1)

    def test_service_account_without_the_policy_control(self) -> None:
        """A server that refuses the password policy control gets the bind without the control."""
        self.one.plain = True
        self.found()
        self.assertEqual(self.one.binds, [GATE[0]] * 2)

    def test_malformed_policy_control_of_the_service_account(self) -> None:
        """A malformed policy control changes neither the success nor the reason of a bind."""
        self.one.controls = [(decoding.PASSWORD_POLICY, None, b"\x30\x05\x81")]
        self.found()
        self.one.refusals[GATE[0]] = (49, "")
        self.assertIn("invalid credentials", self.refusal())
