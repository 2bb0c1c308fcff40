"""Paths of routes: as metric labels, and on the fast path."""

from __future__ import annotations

from klein import Klein
from twisted.trial.unittest import SynchronousTestCase

from authotron.web.gateway_routes import GatewayRoutes
from authotron.web.routing import RouteLabels
from tests.web.conversations import InMemoryGateway


class RouteLabelsTests(SynchronousTestCase):
    """The metric labels of routes."""

    def labels(self, *paths: str) -> RouteLabels:
        app = Klein()
        for path in paths:
            app.route(path)(lambda *_: None)
        return RouteLabels(app)

    def test_path_of_a_route_is_its_label(self) -> None:
        """A path without parameters is its own label."""
        self.assertEqual(self.labels("/", "/tokens").of("/tokens"), "/tokens")

    def test_parameter_is_replaced_by_its_name(self) -> None:
        """The value of a parameter, which may be a secret, does not become a label."""
        labels = self.labels("/tokens/<id_>", "/tokens/revoke")
        self.assertEqual(labels.of("/tokens/aot_secret"), "/tokens/{id}")
        self.assertEqual(labels.of("/tokens/revoke"), "/tokens/revoke")

    def test_unknown_path_is_unmatched(self) -> None:
        """A path without a route has the one label C{unmatched}."""
        labels = self.labels("/tokens/<id_>")
        unknown = ("/made-up", "/tokens/", "/tokens", "/tokens/a/b", "/{id}")
        self.assertEqual({labels.of(path) for path in unknown}, {"unmatched"})

    def test_parameter_of_several_segments(self) -> None:
        """A parameter that takes the rest of the path does not become a label either."""
        labels = self.labels("/meta", "/meta/<path:rest>", "/tokens/<id_>")
        for path in ("/meta/a", "/meta/a/b/c"):
            self.assertEqual(labels.of(path), "/meta/{rest}")
        self.assertEqual(labels.of("/meta"), "/meta")
        for path in ("/meta/", "/metadata", "/tokens/a/b"):
            self.assertEqual(labels.of(path), "unmatched")

    def test_all_routes_of_the_gateway_are_labels(self) -> None:
        """The labels follow from the routes, so no list of paths has to be kept up to date."""
        labels = RouteLabels(GatewayRoutes.app).all
        self.assertLess({"/", "/authenticate", "/token/{token}", "/tokens/{id}"}, labels)
        self.assertEqual([each for each in labels if "<" in each], [])


class FastPathRoutesTests(SynchronousTestCase):
    """The paths that the fast path recognizes."""

    def test_fast_path_recognizes_every_path_of_authenticate(self) -> None:
        """The fast path recognizes exactly the paths of the route C{authenticate}."""
        rules = GatewayRoutes.app.url_map.iter_rules()
        paths = {rule.rule.encode() for rule in rules if rule.endpoint == "authenticate"}
        exact = InMemoryGateway().serving.gateway.contracts.exact
        limited = {path for path, asked in exact.items() if asked.endpoint.methods}
        self.assertEqual(limited, paths)
