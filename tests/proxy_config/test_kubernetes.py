"""The manifests for proxies in Kubernetes."""

from __future__ import annotations

from typing import Any

import yaml
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from authotron.proxy_config import rendering, setting
from authotron.proxy_config.addresses import Address
from authotron.proxy_config.advice import advice
from authotron.proxy_config.setting import Deployment
from tests.proxy_examples import gateway

PODS = {
    "host": "::",
    "port": 8080,
    "listen": ["grpc:tcp:9191"],
    "trusted_proxies": ["10.0.0.0/8"],
}
ORIGINS = {"origins": ["https://app.example.org", "https://b.example"]}
CREDENTIALS = {"type": "memory", "credentials": [{"header": "X-API-Key"}, {"cookie": "__Host-s"}]}
METADATA = "/.well-known/oauth-protected-resource"
OAUTH = {
    "server": False,
    "resources": [
        {
            "resource": f"https://app.example.org{path}",
            "authorization_servers": ["https://login.example.org"],
        }
        for path in ("", "/v1")
    ],
}
SECTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"cors": ORIGINS},
    {"cors": {"pass_preflights": True}, "store": CREDENTIALS},
    {"server": {**PODS, "listen": []}, "store": CREDENTIALS, "cors": ORIGINS},
    {"oauth": OAUTH},
    {"oauth": OAUTH, "cors": ORIGINS},
    {"oauth": OAUTH, "cors": {"pass_preflights": True}},
)
PRODUCTS = [each for each in rendering.PROXIES if each.startswith(setting.KUBERNETES)]


class ManifestsTests(SynchronousTestCase):
    """What the manifests say."""

    def manifests(
        self, product: str, deployment: Deployment | None = None, **sections: Any
    ) -> dict[str, dict[str, Any]]:
        """Return the manifests of a product by kind and name."""
        built = gateway(**{"server": PODS, **sections})
        found = setting.make(built, product, deployment or Deployment())
        [text] = rendering.files(product, found).values()
        documents = [*yaml.safe_load_all(text)]
        return {f"{each['kind']} {each['metadata']['name']}": each for each in documents}

    def test_all_are_manifests(self) -> None:
        """Every document is a manifest, whatever the configuration of the gateway says."""
        for product in PRODUCTS:
            for sections in SECTIONS:
                with self.subTest(f"{product} {sections}"):
                    for each in self.manifests(product, **sections).values():
                        self.assertTrue(each["apiVersion"])
                        self.assertTrue({"spec", "data"} & {*each})

    def test_addresses(self) -> None:
        """The gateway is asked at its service, which an option names."""
        other = Deployment(gateway=Address("auth.security", 9000), backend=Address("shop", 80))
        found = self.manifests("kubernetes-nginx", other)
        ingress = found["Ingress service"]
        url = ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/auth-url"]
        self.assertEqual(url, "http://auth.security:9000/authenticate")
        [path] = ingress["spec"]["rules"][0]["http"]["paths"]
        self.assertEqual(path["backend"]["service"], {"name": "shop", "port": {"number": 80}})
        found = self.manifests("kubernetes-envoy-gateway", other)
        [reference] = found["SecurityPolicy authotron"]["spec"]["extAuth"]["grpc"]["backendRefs"]
        self.assertEqual(reference, {"name": "auth", "namespace": "security", "port": 9000})
        found = self.manifests("kubernetes-traefik")
        address = found["Middleware authotron"]["spec"]["forwardAuth"]["address"]
        self.assertEqual(address, "http://authotron.default.svc.cluster.local:8080/auth/traefik")

    def test_closed_T93c(self) -> None:
        """If the gateway cannot be asked, Envoy lets nothing through."""
        policy = self.manifests("kubernetes-envoy-gateway")["SecurityPolicy authotron"]["spec"]
        self.assertIs(policy["extAuth"]["failOpen"], False)
        self.assertEqual(policy["extAuth"]["statusOnError"], 503)

    def test_limits_of_envoy_gateway(self) -> None:
        """The patterns of headers stay within the limits of the manifest."""
        found = self.manifests("kubernetes-envoy-gateway")["ClientTrafficPolicy authotron"]
        patterns = found["spec"]["headers"]["earlyRequestHeaders"]["removeOnMatch"]
        self.assertLessEqual(len(patterns), 64)
        self.assertLessEqual(max(len(each["value"]) for each in patterns), 1024)

    def test_facts_once(self) -> None:
        """What the controller of nginx states itself is not stated again, which would double it."""
        found = self.manifests("kubernetes-nginx")["ConfigMap authotron-question"]["data"]
        self.assertEqual(found, {"X-Forwarded-Proto": "$scheme", "X-Forwarded-Host": "$host"})

    def test_middlewares(self) -> None:
        """Every middleware of Traefik that a route names is there."""
        for sections in SECTIONS:
            found = self.manifests("kubernetes-traefik", **sections)
            routes = found["IngressRoute service"]["spec"]["routes"]
            used = {each["name"] for route in routes for each in route["middlewares"]}
            self.assertEqual({f"Middleware {each}" for each in used} - {*found}, set())

    def test_preflights_of_istio(self) -> None:
        """Istio asks about everything but preflights, and only of the configured origins."""
        found = self.manifests("kubernetes-istio")
        self.assertEqual(found["AuthorizationPolicy authotron"]["spec"]["rules"], [{}])
        found = self.manifests("kubernetes-istio", cors=ORIGINS)
        rules = found["AuthorizationPolicy authotron"]["spec"]["rules"]
        self.assertEqual(len(rules), 3)
        self.assertEqual(rules[2]["when"][0]["notValues"], ORIGINS["origins"])
        first, _ = found["VirtualService service"]["spec"]["http"]
        self.assertIn("authorization", first["headers"]["request"]["remove"])

    def test_preflights_of_istio_have_no_identity_S_PREFLIGHT(self) -> None:
        """What Istio does not ask about has no identity, also if the header is empty."""
        for cors in ({"pass_preflights": True}, ORIGINS):
            found = self.manifests("kubernetes-istio", cors=cors)
            first, other = found["VirtualService service"]["spec"]["http"]
            wanted = first["match"][0]["headers"]["access-control-request-method"]
            self.assertEqual(wanted, {"regex": ".*"})
            removed = {*first["headers"]["request"]["remove"]}
            self.assertEqual({*other["headers"]["request"]["remove"]} - removed, set())
            self.assertLessEqual({"authorization", "x-auth-username"}, removed)

    def test_metadata(self) -> None:
        """Requests for metadata reach the gateway, at its HTTP port, whatever the product."""
        for product, kind, path in (
            ("kubernetes-nginx", "Ingress service-metadata", "rules"),
            ("kubernetes-envoy-gateway", "HTTPRoute service-metadata", "rules"),
            ("kubernetes-traefik", "IngressRoute service", "routes"),
            ("kubernetes-istio", "VirtualService service", "http"),
        ):
            found = self.manifests(product, oauth=OAUTH)[kind]["spec"][path]
            self.assertIn(f"{METADATA}/v1", str(found), product)
            self.assertIn("8080", str(found), product)
            self.assertIn("authotron", str(found), product)
            self.assertNotIn(METADATA, str(self.manifests(product)), product)

    def test_metadata_of_istio_S_METADATA(self) -> None:
        """Istio asks about the same paths of every other host, whose service they may be."""
        for cors in ({}, {"pass_preflights": True}, ORIGINS):
            found = self.manifests("kubernetes-istio", oauth=OAUTH, cors=cors)
            for rule in found["AuthorizationPolicy authotron"]["spec"]["rules"]:
                without, elsewhere = (each["operation"] for each in rule["to"])
                self.assertEqual(without["notPaths"], [f"{METADATA}/v1", METADATA])
                self.assertEqual(elsewhere["paths"], [f"{METADATA}/v1", METADATA])
                hosts = ["app.example.org", "app.example.org:*"]
                self.assertEqual(elsewhere["notHosts"], hosts)

    def test_advice(self) -> None:
        """A pod listens at every address; that its proxy is trusted still matters."""
        built = gateway(server=PODS)
        for product in PRODUCTS:
            found = setting.make(built, product, Deployment())
            self.assertEqual([*advice(product, built.config, found)], [], product)
        built = gateway(
            server={**PODS, "trusted_proxies": ["127.0.0.1"]}, cors={"pass_preflights": True}
        )
        found = evolve(setting.make(built, "kubernetes-nginx", Deployment()), decision=1)
        shown = "\n".join(advice("kubernetes-nginx", built.config, found))
        self.assertIn("does not contain the address of kubernetes-nginx", shown)
        self.assertIn("cors.pass_preflights: the configuration of kubernetes-nginx", shown)
