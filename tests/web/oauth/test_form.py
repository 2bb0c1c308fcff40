"""Forms are read strictly: every reader of the same bytes sees the same parameters."""

from __future__ import annotations

from tests.web.conversations import Answer
from tests.web.oauth.cases import SERVICE, OAuthCase

FORM = "application/x-www-form-urlencoded"


class FormTests(OAuthCase):
    """Bodies of requests to the OAuth endpoints."""

    def send(self, body: bytes, content_type: str = FORM, **headers: str) -> Answer:
        return self.form(
            "/oauth/introspect", body, SERVICE, **{"Content_Type": content_type, **headers}
        )

    def test_accepted(self) -> None:
        """Usual forms: any order, unknown parameters, empty parts, and a charset."""
        for body, content_type in (
            (b"token=x", FORM),
            (b"a=b&token=x&c=d", FORM),
            (b"&token=x&&", FORM),
            (b"token=%78", f"{FORM}; charset=UTF-8"),
            (b"token=x", f'{FORM};charset="utf-8"'),
            (b"token=x&empty=&empty2", FORM.upper()),
            (b"token=x&note=caf%C3%A9+au+lait", FORM),
            (b"token=x&" + b"&".join(b"a%d=1" % number for number in range(99)), FORM),
        ):
            self.assertEqual(self.send(body, content_type).status, 200, body)

    def test_refused_S_FORM(self) -> None:
        """Whatever readers could read differently is refused."""
        for body, content_type in (
            (b"token=x&token=x", FORM),
            (b"token=x&%74oken=y", FORM),
            (b"token=", FORM),
            (b"", FORM),
            (b"token=x&a=%", FORM),
            (b"token=x&a=%zz", FORM),
            (b"token=x&a=%ff", FORM),
            (b"token=x&a=\xc3\xa9", FORM),
            (b"token=x&a=%00", FORM),
            (b"token=x%0d%0aX: y", FORM),
            (b"token=x;a=b c", FORM),
            (b"token=x&=b", FORM),
            (b"token=x&" + b"n" * 65 + b"=b", FORM),
            (b"token=x&" + b"&".join(b"a%d=1" % number for number in range(100)), FORM),
            (b'{"token": "x"}', FORM),
            (b"token=x", "application/json"),
            (b"token=x", "text/plain"),
            (b"token=x", f"{FORM}; charset=utf-7"),
            (b"token=x", f"{FORM}; charset=utf-8; boundary=x"),
            (b"token=x", "multipart/form-data; boundary=x"),
            (b"token=x", ""),
        ):
            answer = self.send(body, content_type)
            self.assertEqual(answer.status, 400, (body, content_type))
            self.assertEqual(answer.json()["error"], "invalid_request")
            self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_compressed_S_FORM(self) -> None:
        """A compressed body is refused, and not taken for a form."""
        self.assertEqual(self.send(b"token=x", Content_Encoding="gzip").status, 400)

    def test_large(self) -> None:
        """A body above 64 KiB is refused before it is read."""
        self.assertEqual(self.send(b"token=" + b"x" * 70_000).status, 413)

    def test_nothing_is_repeated_S_FORM(self) -> None:
        """No error repeats what the client sent, which may be a token."""
        secret = b"aot_canary_of_a_secret"
        for body in (b"token=x&token=" + secret, secret, b"token=%00" + secret, secret + b"=x"):
            self.assertNotIn(secret, self.send(body).body)
