"""A log that is not read does not hold up the process."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from authotron.config.schema import LoggingConfig
from authotron.telemetry.logs import Log


class OutputCase(SynchronousTestCase):
    """A log that writes to a pipe."""

    def setUp(self) -> None:
        reading, writing = os.pipe()
        self.reading = os.fdopen(reading, "rb", buffering=0)
        self.writing = os.fdopen(writing, "w")
        self.addCleanup(self.reading.close)
        self.addCleanup(self.writing.close)
        self.log = Log(LoggingConfig(), self.writing)

    def write(self, text: str) -> None:
        self.log(
            {
                "log_level": LogLevel.info,
                "log_namespace": "x",
                "log_format": "{text}",
                "text": text,
                "log_time": 0.0,
            }
        )

    def read(self) -> list[str]:
        """Return the lines that the pipe has now."""
        os.set_blocking(self.reading.fileno(), False)
        found = b""
        while piece := self.reading.read(65_536):
            found += piece
        return found.decode().splitlines()


class PipeTests(OutputCase):
    """Standard output is a pipe."""

    def test_lines_are_dropped_W_OUT(self) -> None:
        """While the pipe is full, lines are dropped and counted; none is cut."""
        for _ in range(3_000):
            self.write("x" * 100)
        dropped = self.log.dropped
        self.assertGreater(dropped, 1_000)
        lines = self.read()
        whole = len([each for each in lines if each.endswith("x: " + "x" * 100)])
        self.assertGreaterEqual(whole, len(lines) - 1)
        self.write("again")
        self.write("and again")
        lines = self.read()
        self.assertIn(f"{dropped} log lines were dropped", "\n".join(lines))
        self.assertTrue(lines[-2].endswith("x: again") and lines[-1].endswith("x: and again"))
        self.assertEqual(self.log.dropped, dropped)

    def test_cut_line_is_completed_W_OUT(self) -> None:
        """A line of which only a part fits is completed as soon as there is room."""
        for _ in range(100):
            self.write("y" * 1_900)
        lines = self.read()
        self.write("again")
        self.assertTrue(("".join(lines[-1:]) + self.read()[0]).endswith("y" * 1_900))

    def test_descriptor_stays_as_it_is_W_OUT(self) -> None:
        """The descriptor stays blocking: other processes may share it."""
        self.write("x")
        self.assertTrue(os.get_blocking(self.writing.fileno()))

    def test_reader_leaves_W_OUT(self) -> None:
        """If the reader has closed the pipe, lines are dropped, and nothing is raised."""
        self.reading.close()
        for _ in range(3):
            self.write("x")
        self.assertEqual(self.log.dropped, 2)


class OtherStreamTests(OutputCase):
    """Standard output is not a pipe."""

    def test_file_W_OUT(self) -> None:
        """A file takes every line."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log"
            with path.open("w") as stream:
                self.log = Log(LoggingConfig(), stream)
                for _ in range(2_000):
                    self.write("x" * 100)
            self.assertEqual(len(path.read_text().splitlines()), 2_000)
        self.assertEqual(self.log.dropped, 0)

    def test_other_stream_W_OUT(self) -> None:
        """A stream without a descriptor is written as any Python stream."""
        stream = io.StringIO()
        self.log = Log(LoggingConfig(), stream)
        self.write("x")
        self.assertTrue(stream.getvalue().endswith("x: x\n"))
