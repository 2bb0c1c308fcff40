"""The configuration of the MongoDB store, and its errors in words."""

from __future__ import annotations

from functools import partial
from typing import Any

from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    NotPrimaryError,
    OperationFailure,
    WriteConcernError,
)
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import DNSLookupError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from txmongo import connection
from txmongo.errors import TimeExceeded

from authotron.config.section import read
from authotron.model.errors import ConfigError, Unavailable
from authotron.stores import mongo, mongo_errors
from authotron.stores.mongo_connections import MongoConnections
from authotron.stores.mongo_errors import NotAllowed, NotPrimary


class UriTests(SynchronousTestCase):
    """The value of C{store.uri}."""

    def read(self, uri: str, **keys: Any) -> mongo.Config:
        return read(mongo.Config, {"type": "mongo", "database": "d", "uri": uri, **keys}, "store")

    def problem(self, uri: str, **keys: Any) -> str:
        error = self.assertRaises(ConfigError, self.read, uri, **keys)
        return str(error)

    def test_good_M_URI(self) -> None:
        """Options that have an effect are accepted, and those that say what happens anyway."""
        for options in (
            "",
            "replicaSet=a",
            "authSource=a&authMechanism=SCRAM-SHA-1",
            "w=majority&wTimeoutMS=500&journal=true",
            "retryWrites=true&retryReads=true&readPreference=primary",
        ):
            self.read(f"mongodb://u:p@h1,h2:3/d?{options}")
        for uri in ("mongodb://h", "mongodb://[::1]:3/d", "mongodb://u:p@h/?authSource=admin"):
            self.read(uri)

    def test_without_effect_M_URI(self) -> None:
        """An option without effect is a mistake at C{store.uri}, which says what to do."""
        for option, words in (
            ("tlsCAFile=/missing", "store.tls_ca_file"),
            ("tlsCAFile=/etc/hostname", "store.tls_ca_file"),
            ("tlsCertificateKeyFile=/missing", "store.tls_certificate_file"),
            ("tlsAllowInvalidCertificates=true", "always verified"),
            ("tlsInsecure=true", "always verified"),
            ("tls=true", "store.tls instead"),
            ("SSL=true", "store.tls instead"),
            ("maxPoolSize=3", "store.connections"),
            ("connectTimeoutMS=x", "store.timeout"),
            ("appName=x", "remove it (options with an effect: authMechanism"),
            ("directConnection=true", "remove it"),
            ("foo=1", "foo has no effect"),
            ("authMechanism=MONGODB-X509", "must be DEFAULT or SCRAM-SHA-1"),
            ("authMechanism=SCRAM-SHA-256", "must be DEFAULT or SCRAM-SHA-1"),
            ("readPreference=secondary", "must be primary"),
            ("retryWrites=false", "must be true"),
            ("w=0", "must not be 0"),
        ):
            found = self.problem(f"mongodb://u:p@h/d?{option}")
            self.assertTrue(found.startswith("store.uri: "), found)
            self.assertIn(words, found)

    def test_other_uris_M_URI(self) -> None:
        """A URI with a part that has no effect is a mistake, without its secrets."""
        for uri, words in (
            ("mongodb+srv://u:canary@h/d", "mongodb+srv:// is not supported; list the hosts"),
            ("http://h", "must begin with mongodb://"),
            ("mongodb://u@h/d", "a user but no password"),
            ("mongodb://u:canary@h/d.c", "store.tokens_collection"),
            ("mongodb://%2Ftmp%2Fx.sock/d", "UNIX socket"),
            ("mongodb://u:canary@a b/d", "neither a name nor an address"),
            ("mongodb://u:can?ary@h/d", "an option"),
            ("mongodb://u:canary@h:99999", "not a valid"),
        ):
            found = self.problem(uri)
            self.assertIn(words, found)
            self.assertNotIn("canary", found)

    def test_certificates_M_URI(self) -> None:
        """Files of certificates that cannot be read, or have no effect, are mistakes."""
        self.assertIn("/missing", self.problem("mongodb://h", tls=True, tls_ca_file="/missing"))
        self.assertIn("tls: true", self.problem("mongodb://h", tls_ca_file="/missing"))


class WordsTests(SynchronousTestCase):
    """Errors of MongoDB and of its driver."""

    def test_codes_M_SAY(self) -> None:
        """Each usual error is described in words, with its code and without its text."""
        for code, words in (
            (18, "wrong user name or password"),
            (13, "not allowed: the user needs the role readWrite"),
            (10107, "not the primary"),
            (13435, "not the primary: the server is a secondary"),
            (91, "not the primary: the server is shutting down"),
            (14031, "no space left"),
            (4711, "bad answer"),
        ):
            said = str(mongo_errors.of_answer(OperationFailure("canary", code)))
            self.assertIn(words, said)
            self.assertIn(f"(code {code})", said)
            self.assertNotIn("canary", said)

    def test_kinds_M_SAY(self) -> None:
        """A server that is not the primary and a user without rights are distinct errors."""
        kinds = {
            code: type(mongo_errors.of_answer(OperationFailure("", code))) for code in (91, 13)
        }
        self.assertEqual(kinds, {91: NotPrimary, 13: NotAllowed})
        self.assertIsInstance(mongo_errors.of_connection(NotPrimaryError("canary")), NotPrimary)
        unconfirmed = mongo_errors.of_answer(WriteConcernError("canary", 91))
        self.assertNotIsInstance(unconfirmed, NotPrimary)
        self.assertIn("too few members confirmed", str(unconfirmed))

    def test_connections_M_SAY(self) -> None:
        """The reason why there is no connection is described in words."""
        for error, words in (
            (Refused(), "connection refused"),
            (DNSLookupError(), "host name not found"),
            (AutoReconnect("canary: host `x` is not master."), "not the primary"),
            (AutoReconnect("canary"), "connection lost"),
            (ConfigurationError("canary"), "not in the replica set"),
        ):
            said = str(mongo_errors.of_connection(error))
            self.assertTrue(said.startswith("MongoDB cannot be reached: "), said)
            self.assertIn(words, said)
            self.assertNotIn("canary", said)


class LostConnectionTests(SynchronousTestCase):
    """An operation whose connection is lost."""

    def test_kept_connection_is_lost_H_10(self) -> None:
        """An operation that changes nothing is run once more; another one is an outage."""
        clock = MemoryReactorClock()
        self.patch(connection, "reactor", clock)
        keys = {"type": "mongo", "database": "d", "uri": "mongodb://a"}
        connections = MongoConnections.of(read(mongo.Config, keys), clock)
        self.addCleanup(connections.pool.disconnect)
        for run, losses, good in (
            (connections.read, 1, True),
            (connections.read, 2, False),
            (connections.call, 1, False),
        ):
            answers = [fail(AutoReconnect("canary")) for _ in range(losses)] + [succeed("found")]
            asking = Deferred.fromCoroutine(run(partial(answers.pop, 0)))
            if good:
                self.assertEqual(self.successResultOf(asking), "found")
            else:
                error = self.failureResultOf(asking, Unavailable).value
                self.assertEqual(str(error), "MongoDB cannot be reached: connection lost")

    def test_two_former_primaries_R_FAIL(self) -> None:
        """An operation is repeated twice if the server is not the primary, and then an outage."""
        clock = MemoryReactorClock()
        self.patch(connection, "reactor", clock)
        keys = {"type": "mongo", "database": "d", "uri": "mongodb://a"}
        connections = MongoConnections.of(read(mongo.Config, keys), clock)
        self.addCleanup(connections.pool.disconnect)
        for refusals in (1, 2, 3):
            answers = [fail(NotPrimaryError("canary")) for _ in range(refusals)]
            answers.append(succeed("found"))
            asking = Deferred.fromCoroutine(connections.call(partial(answers.pop, 0)))
            if refusals <= 2:
                self.assertEqual(self.successResultOf(asking), "found")
            else:
                self.failureResultOf(asking, NotPrimary)


class Attempts:
    """A connector whose attempts to connect all fail, and are counted."""

    host, port = "a", 27017

    def __init__(self, factory: Any) -> None:
        self.count = 0
        self._factory = factory

    def connect(self) -> None:
        self.count += 1
        self._factory.clientConnectionFailed(self, Failure(Refused()))

    def disconnect(self) -> None:
        """There is nothing to stop: every attempt has failed."""

    stopConnecting = disconnect


class ReconnectTests(SynchronousTestCase):
    """A MongoDB that is away."""

    def test_servers_are_named_M_SAY(self) -> None:
        """The reason why no server can be used comes with the addresses of the servers."""
        clock = MemoryReactorClock()
        self.patch(connection, "reactor", clock)
        for hosts, name, problem, words in (
            ("a", "a:27017", Refused(), "connection refused"),
            ("a", "a:27017", TimeExceeded("canary"), "timed out"),
            ("a,b:1,c,d", "a:27017, b:1, c:27017, 1 more", Refused(), "connection refused"),
        ):
            keys = {"type": "mongo", "database": "d", "uri": f"mongodb://me:canary@{hosts}"}
            connections = MongoConnections.of(read(mongo.Config, keys), clock)
            self.addCleanup(connections.pool.disconnect)
            waiting = Deferred.fromCoroutine(connections.wait())
            [first, *_] = connections.pool.getprotocols()
            first.clock, attempts = clock, Attempts(first)
            for node in hosts.split(","):
                attempts.host = node
                connections._say(problem)
                attempts.connect()
            error = self.failureResultOf(waiting, Unavailable).value
            self.assertEqual(str(error), f"MongoDB at {name} cannot be reached: {words}")

    def test_prompt_R_FAIL(self) -> None:
        """
        From the first failure on, and however long no server can be reached, each connection is
        attempted anew every 0.9 s at least, so that the store works again soon after the server is
        back.
        """
        clock = MemoryReactorClock()
        self.patch(connection, "reactor", clock)
        config = read(mongo.Config, {"type": "mongo", "database": "d", "uri": "mongodb://a"})
        pool = MongoConnections.of(config, clock).pool
        self.addCleanup(pool.disconnect)
        [first, *_] = pool.getprotocols()
        first.clock = clock
        attempts = Attempts(first)
        attempts.connect()
        for _ in range(100):
            before = attempts.count
            clock.advance(0.9)
            self.assertGreater(attempts.count, before)
