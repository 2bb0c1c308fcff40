"""YAML files are read strictly."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from authotron.config import yaml_core
from authotron.config.file import load
from authotron.model.errors import ConfigError
from tests.config.cases import BASE, ConfigCase, laid_over


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
            ("x: !!python/object/apply:os.system [ls]", "unknown tag"),
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
            ("jwt: {secret: *CANARY}\n", "in quotes"),
            ("jwt: {secret: !CANARY x}\n", "in quotes"),
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
            ('jwt: {secret: "CANARY\\ud83d"}\n', "escape of no character"),
            ('jwt: {secret: "CANARY\\ud83d\\ude00"}\n', "escape of no character"),
            ('jwt: {secret: "CANARY\\U00110000"}\n', "escape of no character"),
            ("server: {port: 80\n  foo: [", ""),
            ("a: {b: CANARY", "'}', but"),
            ("a: [CANARY, 2", "']', but"),
            ("a: [b, CANARY}}", "expected ',' or ']'"),
            ("{}\nCANARY\n", "'<document start>', but found '<scalar>'"),
        ):
            with self.subTest(text[:40]):
                problems = self.problems(text)
                self.assertIn(part, problems[0])
                self.assertNotIn("CANARY", str(problems))

    def test_anchor_defined_twice_O_YAML(self) -> None:
        """An alias refers to the last anchor of its name before it, also within another anchor."""
        for text, value in (
            ("jwt: {iss: &a x, aud: *a}\nservices: &a []\n", "x"),
            ("x: &a {y: &a z}\njwt: {aud: *a}\n", "z"),
            ("x: &a y\nz: &a w\njwt: {aud: *a}\n", "w"),
        ):
            root = yaml_core.compose(text)
            assert root is not None
            found = yaml_core.Values(str).value_of(root)
            assert isinstance(found, dict)
            self.assertEqual(found["jwt"]["aud"], value)

    def test_alias_cannot_refer_to_itself_O_YAML(self) -> None:
        """An alias inside its own anchor is a problem."""
        [problem] = self.problems("jwt: &a\n  x: [*a]\n")
        self.assertIn("an alias refers to itself", problem)

    def test_missing_file_is_a_problem(self) -> None:
        """A missing file is a problem with its path and a hint."""
        error = self.assertRaises(ConfigError, load, self.folder / "none.yaml", {})
        self.assertIn("AOT_CONFIG_PATH", str(error))

    def test_file_in_a_folder_above_is_named_O_VALUE(self) -> None:
        """If only a folder above has the file, which auth-o-tron would find, the error names it."""
        inner = self.folder / "a" / "b"
        inner.mkdir(parents=True)
        above = self.folder.resolve() / "config.yaml"
        above.write_text("x: y")
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(inner)
        error = self.assertRaises(ConfigError, load, Path("config.yaml"), {})
        self.assertIn(f"{above} exists, which auth-o-tron would use", str(error))

    def test_file_must_be_utf8(self) -> None:
        """A file that is not UTF-8 is rejected."""
        path = self.folder / "latin.yaml"
        path.write_bytes(b"version: \xe9")
        self.assertRaises(ConfigError, load, path, {})


class CoreSchemaTests(ConfigCase):
    """YAML is read as auth-o-tron reads it."""

    def value(self, text: str) -> object:
        """The value of a document."""
        node = yaml_core.compose(text)
        assert node is not None
        return yaml_core.Values(lambda _: "").value_of(node)

    def test_words_and_dates_are_strings_O_YAML(self) -> None:
        """What only YAML 1.1 takes for a switch, a number, a date or a merge is a string."""
        for text in (
            "no", "No", "OFF", "off", "yes", "on", "y", "n", "tRUE", "0755", "-07", "00", "1_000",
            "12:30", "12:30:45", "2026-01-01", "2026-01-01T00:00:00Z", "=", "<<", "1e", "0x", "0b2",
            "0o8", "nan", "inf", "NaN", ".Nan", "+-1", "--1", "nULL", "1e400", "1.2.3", "a:b",
            "a#b",
        ):  # fmt: skip
            self.assertEqual(self.value(f"a: {text}"), {"a": text}, text)
            self.assertEqual(self.value(f"[{text}]"), [text], text)

    def test_dumped_strings_are_strings_again_O_YAML(self) -> None:
        """A string that is written is read as it was, even if it looks like a number."""
        for text in ("1e3", "0o17", "0x1F", "1e400", "123e4567", "no", "0755", "12", "", "a: b"):
            self.assertEqual(self.value(yaml_core.dump({"a": text})), {"a": text})
            self.assertEqual(yaml.safe_load(yaml_core.dump({"a": text})), {"a": text})

    def test_core_types_O_YAML(self) -> None:
        """Null, switches and numbers of the core schema are read in all their spellings."""
        for text, meant in (
            ("", None), ("~", None), ("Null", None), ("NULL", None), ("True", True),
            ("FALSE", False), ("12", 12), ("+12", 12), ("-12", -12), ("0", 0), ("0x1F", 31),
            ("-0x1f", -31), ("0o17", 15), ("0b11", 3), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5),
            ("5.", 5.0), ("-.Inf", float("-inf")), ("+.inf", float("inf")),
        ):  # fmt: skip
            self.assertEqual(self.value(f"a: {text}"), {"a": meant}, text)

    def test_tags_decide_O_YAML(self) -> None:
        """A tag of the core schema decides the type; other tags of YAML 1.1 mean a string."""
        for text, meant in (
            ("!!str 5", "5"), ("!!str true", "true"), ("!!int '5'", 5), ("!!float 1", 1.0),
            ("!!bool true", True), ("!!timestamp 2026-01-01", "2026-01-01"), ("!!str", ""),
            ("!!binary aGk=", "aGk="), ("!!null ''", None),
        ):  # fmt: skip
            self.assertEqual(self.value(f"a: {text}"), {"a": meant}, text)

    def test_keys_are_strings_O_YAML(self) -> None:
        """Keys are strings, whatever they look like."""
        keys = ["1", "1.5", "true", "no", "~", "0755", "12:30", "2026-01-01", "0x1F", "=", "<<"]
        found = self.value("{" + ", ".join(f"{key}: a" for key in keys) + "}")
        self.assertEqual(found, dict.fromkeys(keys, "a"))

    def test_tabs_are_blanks_O_YAML(self) -> None:
        """A tab separates as a blank does; it cannot be part of an indentation."""
        for text, meant in (
            ("a:\tb\t# c\n", {"a": "b"}),
            ("a:\t\n  b:\t1\t\nc\t: 2\n", {"a": {"b": 1}, "c": 2}),
            ("{a:\t1,\tb: [\t2,\t3\t]\t}", {"a": 1, "b": [2, 3]}),
            ("a: b\tc\t\td\n", {"a": "b\tc\t\td"}),
            ("a: b\t\n  c\n", {"a": "b c"}),
            ("a: |-\t# c\n  b\tc\n", {"a": "b\tc"}),
            ("a: >\t\n  b\n  c\n", {"a": "b c\n"}),
            ("a: !!str\t5\nb: &x\ty\nc: *x\t\n", {"a": "5", "b": "y", "c": "y"}),
            ('a: "b\tc"\t\n', {"a": "b\tc"}),
        ):
            with self.subTest(text):
                self.assertEqual(self.value(text), meant)
        for text in ("a:\n\tb: 1\n", "a:\n  \tb: 1\n", "a: b\n\tc\n", "a: b\n\t\nc: d\n"):
            with self.subTest(text):
                self.assertRaises(yaml.MarkedYAMLError, self.value, text)

    def test_question_marks_in_flow_style_O_YAML(self) -> None:
        """A URL with a query may stand in a mapping in braces."""
        self.assertEqual(
            self.value("{a: http://h/p?q=1, b: c?}"), {"a": "http://h/p?q=1", "b": "c?"}
        )

    def test_plain_scalars_are_folded_O_YAML(self) -> None:
        """Line ends in a plain scalar are blanks; an empty line is a line end."""
        self.assertEqual(
            self.value("a: b\n  c\n\n  d\n\n\n  e\nf: g"), {"a": "b c\nd\n\ne", "f": "g"}
        )
        self.assertEqual(self.value("{a: b\nc, d: e}"), {"a": "b c", "d": "e"})
        self.assertRaises(yaml.MarkedYAMLError, self.value, "a: b\n  c: d\n")

    def test_aliases_are_bounded_by_what_they_repeat_O_YAML(self) -> None:
        """Thousands of aliases of a word are fine; aliases that multiply are refused."""
        found = self.value("a: &a x\nb: [" + "*a, " * 5_000 + "]\n")
        self.assertEqual(found, {"a": "x", "b": ["x"] * 5_000})
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [" + f"*a{n - 1}, " * 10 + "]" for n in range(1, 7)]
        self.assertRaises(yaml_core.YamlError, self.value, "\n".join(lines))

    def test_merge_keys_O_YAML(self) -> None:
        """C{<<} merges mappings, own keys win, and C{check} warns that auth-o-tron ignored it."""
        text = "x-a: &a {exp: 61, iss: one}\njwt:\n  <<: *a\n  iss: two\n"
        self.assertEqual(self.value(text), {
            "x-a": {"exp": 61, "iss": "one"}, "jwt": {"exp": 61, "iss": "two"},
        })  # fmt: skip
        self.assertEqual(self.value("<<: [{a: 1}, {a: 2, b: 3}]"), {"a": 1, "b": 3})
        self.assertEqual(self.value("'<<': {a: 1}"), {"<<": {"a": 1}})
        base = yaml.safe_dump(laid_over(BASE, {"jwt": {"iss": ..., "exp": ...}}))
        found = self.load("x-a: &a {iss: one}\n" + base.replace("jwt:\n", "jwt:\n  <<: *a\n"))
        self.assertEqual(found.file.jwt.iss, "one")
        self.assertIn("`<<` merges mappings", str(found.warnings))
