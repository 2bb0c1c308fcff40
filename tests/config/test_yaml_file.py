"""YAML files are read strictly."""

from __future__ import annotations

from authotron.config.file import load
from authotron.model.errors import ConfigError
from tests.config.cases import ConfigCase


class FileTests(ConfigCase):
    """Files that are rejected."""

    def test_hostile_yaml_is_one_problem_T78(self) -> None:
        """Duplicate keys, alias bombs, Python objects and garbage are problems of one line."""
        bomb = "a: &a [x]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n"
            for n in range(20)
        )
        for text, part in (
            (
                "version: '2.0.0'\nversion: '1.0.0'\n",
                "duplicate key 'version' (first defined on line 1)",
            ),
            (bomb, "aliases"),
            ("x: !!python/object/apply:os.system [ls]", "constructor"),
            ("[1, 2]", "mapping"),
            ("", "empty"),
            ("a: [", ""),
            ("? [a]\n: b", ""),
            ("a: !!int ''", ""),
            ("a: !!bool zz", ""),
            ("a: !!timestamp foo", ""),
            ("a: b: c", ":1:"),
            ("version: 2.0", "version"),
            ("\x00", ""),
            ("CANARY: 1\nCANARY: 2\n", "duplicate key (first defined on line 1)"),
            ("jwt:\n  secret CANARY\n  iss: x\n", ":3:"),
            ("jwt: {secret: 'CANARY}\n", ""),
            ('jwt: {secret: "CANARY\\q"}\n', ""),
            ("jwt: {secret: *CANARY}\n", "quote what begins"),
            ("jwt: {secret: !CANARY x}\n", "quote what begins"),
            ("a: &CANARY 1\nb: &CANARY 2\nc: [", ""),
            ("secret: %CANARY\n", ""),
            ("secret: @CANARY\n", ""),
            ("secret: `CANARY`\n", ""),
            ("a: [CANARY CANARY: : ,\n", ""),
            ("<<: CANARY\n", ""),
            ("a: |CANARY\n x\n", ""),
            ("%CANARY x\n---\n", ""),
            ("a: \x07CANARY\n", ""),
            ("CANARY", "must be a mapping"),
        ):
            with self.subTest(text[:40]):
                [problem] = self.problems(text)
                self.assertIn(part, problem)
                self.assertNotIn("CANARY", problem)

    def test_missing_file_is_a_problem(self) -> None:
        """A missing file is a problem with its path and a hint."""
        error = self.assertRaises(ConfigError, load, self.folder / "none.yaml", {})
        self.assertIn("AOT_CONFIG_PATH", str(error))

    def test_file_must_be_utf8(self) -> None:
        """A file that is not UTF-8 is rejected."""
        path = self.folder / "latin.yaml"
        path.write_bytes(b"version: \xe9")
        self.assertRaises(ConfigError, load, path, {})
