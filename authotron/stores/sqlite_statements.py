"""SQL of the SQLite token store: the schema, its migrations, and the longer statements."""

from __future__ import annotations

from authotron.model.records import FOLLOWED_KINDS
from authotron.model.token import COLUMNS

MIGRATIONS = (
    """
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY,
        hashed TEXT NOT NULL UNIQUE,
        realm TEXT NOT NULL,
        username TEXT NOT NULL,
        name TEXT NOT NULL,
        comment TEXT NOT NULL,
        created REAL NOT NULL,
        expires REAL,
        used REAL,
        fixed TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX tokens_of_owner ON tokens (realm, username, id);
    CREATE INDEX tokens_by_end ON tokens (expires) WHERE expires IS NOT NULL;
    """,
    """
    ALTER TABLE tokens ADD COLUMN parent TEXT NOT NULL DEFAULT '';
    ALTER TABLE tokens ADD COLUMN origin TEXT NOT NULL DEFAULT '';
    UPDATE tokens SET origin = 'import' WHERE instr(fixed, '"provider": "imported:');
    CREATE INDEX tokens_counted ON tokens (realm, username, origin, expires);
    CREATE INDEX tokens_by_parent ON tokens (parent) WHERE parent != '';
    CREATE TABLE revoked (
        id TEXT PRIMARY KEY,
        realm TEXT NOT NULL,
        username TEXT NOT NULL,
        mark TEXT NOT NULL,
        until REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX revoked_by_end ON revoked (until);
    CREATE INDEX revoked_of_owner ON revoked (realm, username, until);
    """,
    """
    CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE policies (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        state TEXT NOT NULL,
        content BLOB NOT NULL
    );
    """,
    """
    CREATE TABLE records (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        content TEXT NOT NULL,
        until REAL,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE INDEX records_by_end ON records (until) WHERE until IS NOT NULL;
    CREATE TABLE record_changes (
        number INTEGER PRIMARY KEY,
        mark TEXT NOT NULL,
        kind TEXT NOT NULL,
        id TEXT NOT NULL
    );
    """,
)
"""
Migrations of the database schema: the migration with index n upgrades a database from version n to
version n + 1.
"""

ADD = f"""
INSERT INTO tokens ({", ".join(COLUMNS)})
SELECT {", ".join(f":{column}" for column in COLUMNS)} WHERE :most IS NULL OR :most > (
    SELECT count(*) FROM tokens
    WHERE realm = :realm AND username = :username AND origin IN ('', 'http')
    AND (expires IS NULL OR expires > :created)
)
"""  # noqa: S608 - the format inserts names of columns only, and no values
"""
An SQL statement that adds an API token, unless its owner has C{:most} unexpired API tokens that
were created over HTTP or by an earlier version.
"""

WITH_TREE = """
WITH RECURSIVE tree (id) AS (
    SELECT id FROM tokens WHERE id = :id
    UNION SELECT tokens.id FROM tokens JOIN tree ON tokens.parent = tree.id WHERE parent != ''
)
"""
"""An SQL common table expression with the ids of an API token and of all its descendants."""

SELECT_TREE = f"""
{WITH_TREE} SELECT id, realm, username, hashed, origin FROM tree JOIN tokens USING (id)
"""  # noqa: S608 - the format inserts names of columns only, and no values
"""
An SQL statement that selects the columns needed to revoke an API token and
all its descendants.
"""

PURGE_REVOCATIONS_OF_OWNER = """
DELETE FROM revoked WHERE id IN (
    SELECT id FROM revoked WHERE realm = ? AND username = ? AND until <= ?
    ORDER BY until DESC LIMIT -1 OFFSET ?
)
"""
"""
An SQL statement that deletes the oldest records of revoked tokens of one owner, above the limit per
owner.
"""

PURGE_REVOCATIONS = """
DELETE FROM revoked WHERE until <= :now OR id IN (
    SELECT id FROM revoked WHERE until <= :usual ORDER BY until DESC LIMIT -1 OFFSET :most
)
"""
"""
An SQL statement that deletes expired records of revoked tokens, and the oldest records above the
limit.
"""

ADD_PEPPER_CHECK = """
INSERT INTO notes SELECT 'pepper', :value WHERE :earlier IS NULL ON CONFLICT (name) DO NOTHING
"""
"""An SQL statement that stores the first check value of the pepper."""

SET_PEPPER_CHECK = """
UPDATE notes SET value = :value WHERE name = 'pepper' AND value = :earlier
"""
"""
An SQL statement that replaces the check value of the pepper only if the stored check value equals
C{:earlier}.
"""

IS_USED = """
SELECT EXISTS (SELECT 1 FROM tokens) OR EXISTS (SELECT 1 FROM revoked)
OR EXISTS (SELECT 1 FROM notes WHERE name = 'pepper')
"""
"""
An SQL statement that finds out whether the database contains, or contained, API tokens, for which a
pepper must exist.
"""

IS_REPLACED = """
SELECT EXISTS (SELECT 1 FROM tokens) OR EXISTS (SELECT 1 FROM policies)
OR EXISTS (SELECT 1 FROM records)
"""
"""
An SQL statement that finds out whether restoring a backup would overwrite API tokens, policies or
records of the database.
"""

ADD_POLICIES = """
INSERT INTO policies SELECT 1, :state, :content WHERE :earlier IS NULL ON CONFLICT (id) DO NOTHING
"""
"""An SQL statement that stores the first policies, unless policies are stored already."""

REPLACE_POLICIES = """
UPDATE policies SET state = :state, content = :content WHERE state = :earlier
"""
"""An SQL statement that replaces the policies only if their state equals C{:earlier}."""

ADD_RECORD = """
INSERT INTO records VALUES (:kind, :id, :content, :until)
ON CONFLICT (kind, id) DO UPDATE SET content = excluded.content, until = excluded.until
WHERE until <= :now
"""
"""An SQL statement that stores a record, unless an unexpired record has the same kind and id."""

NOTE_CHANGE = "INSERT INTO record_changes (mark, kind, id) VALUES (?, ?, ?)"
"""An SQL statement that gives the next number to the change of a record."""

TRIM_CHANGES = """
DELETE FROM record_changes WHERE number <= (SELECT max(number) FROM record_changes) - ?
"""
"""An SQL statement that deletes all changes from the log of changes except the newest ones."""

LAST_CHANGE = "SELECT number, mark FROM record_changes ORDER BY number DESC LIMIT 1"
"""An SQL statement that selects number and mark of the newest change of a record."""

CHANGED_RECORDS = """
SELECT kind, id, content, until
FROM (SELECT DISTINCT kind, id FROM record_changes WHERE number > ?)
LEFT JOIN records USING (kind, id)
"""
"""
An SQL statement that selects the records which have changed since a change, and kind and id of
those that have been removed.
"""

EVERY_RECORD = f"""
SELECT kind, id, content, until FROM records
WHERE kind IN ({", ".join("?" * len(FOLLOWED_KINDS))})
"""  # noqa: S608 - the format inserts placeholders only, and no values
"""An SQL statement that selects all records of the kinds that every gateway follows."""
