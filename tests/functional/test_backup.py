"""API tokens that move to another machine, by the commands of the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from tests.functional import wire
from tests.functional.daemon import TWISTD, Daemon, environment
from tests.waiting import DEADLINE

DOCS = Path(__file__).resolve().parents[2] / "docs" / "tokens.md"
ALICE = {"Authorization": wire.basic("alice", "wonder")}


def documented(heading: str) -> list[str]:
    """The command lines under a heading of the page."""
    part = DOCS.read_text().split(f"\n**{heading}**")[1]
    [_, code] = re.split(r"```sh\n", part, maxsplit=1)
    return code.partition("```")[0].splitlines()


@define(eq=False)
class Machine:
    """A folder that stands for the disk of one machine, and its gateway."""

    gateway: Daemon

    @property
    def data(self) -> Path:
        return self.gateway.folder / "data"

    def configure(self) -> None:
        self.data.mkdir(parents=True)
        self.gateway.configure(store={"type": "sqlite", "path": str(self.data / "tokens.db")})

    def run(self, line: str, luggage: Path) -> subprocess.CompletedProcess[str]:
        """Run a command line of the page, with the places of this machine."""
        line = line.replace("/etc/authotron/authotron.yaml", str(self.gateway.file))
        line = line.replace("/var/lib/authotron", str(self.data))
        path = f"{TWISTD.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return subprocess.run(
            ["/bin/sh", "-ec", line],
            capture_output=True,
            check=False,
            cwd=luggage,
            env=environment({"PATH": path}),
            timeout=DEADLINE,
            text=True,
        )


class MoveTests(SynchronousTestCase):
    """A backup of a gateway that runs, and its restoration."""

    def machine(self) -> Machine:
        machine = Machine(Daemon(Path(self.mktemp())))
        machine.configure()
        return machine

    def started(self, machine: Machine) -> Daemon:
        self.addCleanup(machine.gateway.stop)
        return machine.gateway.start()

    def follow(self, machine: Machine, heading: str, luggage: Path) -> None:
        for line in documented(heading):
            done = machine.run(line, luggage)
            self.assertEqual(done.returncode, 0, f"{line}\n{done.stdout}{done.stderr}")

    def status(self, gateway: Daemon, token: str) -> int:
        bearer = {"Authorization": f"Bearer {token}"}
        return int(wire.ask(gateway.port, "/authenticate", headers=bearer).status)

    def made(self, gateway: Daemon) -> str:
        answer: Any = wire.ask(gateway.port, "/token", headers=ALICE)
        self.assertEqual(answer.status, 200, answer.body)
        found: str = answer.json()["token"]
        return found

    def test_move_Q_BACKUP(self) -> None:
        """All API tokens of a running gateway are valid on another machine after the move."""
        old, new = self.machine(), self.machine()
        luggage = Path(self.mktemp()).absolute()
        luggage.mkdir()
        gateway = self.started(old)
        tokens = [self.made(gateway) for _ in range(20)]
        self.follow(old, "Back up.", luggage)
        self.assertEqual({each.name for each in luggage.iterdir()}, {"backup.db", "backup.pepper"})
        self.follow(new, "Restore.", luggage)
        moved = self.started(new)
        self.assertEqual([self.status(moved, each) for each in tokens], [200] * len(tokens))
        self.assertEqual(self.status(moved, self.made(moved)), 200)

    def test_json_and_audit_Q_BACKUP(self) -> None:
        """With C{--json} each command prints one object; each writes one audit event."""
        old, new = self.machine(), self.machine()
        luggage = Path(self.mktemp()).absolute()
        luggage.mkdir()
        token = self.made(self.started(old))
        pepper = old.data / "tokens.db.pepper"
        end = "-c /etc/authotron/authotron.yaml --json"
        for machine, words, printed, event in (
            (old, "backup a.db", {"file": "a.db", "pepper_file": str(pepper)}, "copied to a.db"),
            (new, f"restore a.db --pepper {pepper}", {"restored": "a.db"}, "those of a.db"),
            (new, "new-pepper", {"accepted": True}, "of another pepper given up"),
        ):
            done = machine.run(f"authotron tokens {words} {end}", luggage)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout), printed)
            [line] = [each for each in done.stderr.splitlines() if event in each]
            self.assertIn("at a terminal", line)
        self.assertEqual(self.status(self.started(new), token), 200)
        refused = new.run(f"authotron tokens restore a.db {end}", luggage)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("error", json.loads(refused.stdout))

    def test_lost_pepper_Q_PEPPER(self) -> None:
        """Without its pepper a gateway does not start, and says why; it starts once given up."""
        machine = self.machine()
        token = self.made(self.started(machine))
        machine.gateway.stop()
        (machine.data / "tokens.db.pepper").unlink()
        machine.gateway.launch()
        self.assertEqual(machine.gateway.exit_status(), 78)
        self.assertIn("tokens.db.pepper from its backup", machine.gateway.log())
        line = "authotron tokens new-pepper -c /etc/authotron/authotron.yaml"
        done = machine.run(line, machine.data)
        self.assertEqual(done.returncode, 0, done.stderr)
        gateway = self.started(machine)
        self.assertEqual(self.status(gateway, token), 401)
        self.assertEqual(self.status(gateway, self.made(gateway)), 200)

    def test_backup_without_pepper_Q_BACKUP(self) -> None:
        """A backup that needs another pepper is not restored, and changes nothing."""
        old, new = self.machine(), self.machine()
        luggage = Path(self.mktemp()).absolute()
        luggage.mkdir()
        self.made(self.started(old))
        self.follow(old, "Back up.", luggage)
        kept = self.made(self.started(new))
        new.gateway.stop()
        shutil.copy(new.data / "tokens.db.pepper", luggage / "backup.pepper")
        [line] = documented("Restore.")
        done = new.run(f"{line} --replace", luggage)
        self.assertEqual(done.returncode, 78, done.stdout)
        self.assertIn("store.pepper: ", done.stderr)
        self.assertEqual(self.status(self.started(new), kept), 200)
