"""The schema, version by version: the statements that lead from one to the next."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["VERSIONS", "Version"]

Version: TypeAlias = tuple[str, ...]
"""The statements that lead from one version to the next, run in one transaction."""

_FIRST: Version = (
    # The keys are long and repeat in every point; an integer in their place makes the points a third as large.
    """
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        product_key TEXT NOT NULL,
        device_key TEXT NOT NULL,
        measurepoint TEXT NOT NULL,
        UNIQUE (product_key, device_key, measurepoint)
    ) STRICT
    """,
    # `value` is the JSON text: a number column would turn 3.0 into 3 and 9223372036854775807 into 9.2e18.
    # `origin`: 0 post, 1 resume, 2 integration.
    """
    CREATE TABLE points (
        series INTEGER NOT NULL,
        time INTEGER NOT NULL,
        value TEXT NOT NULL,
        quality INTEGER,
        origin INTEGER NOT NULL,
        PRIMARY KEY (series, time)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE VIEW measurepoints AS
    SELECT
        series.product_key,
        series.device_key,
        series.measurepoint,
        strftime('%Y-%m-%d %H:%M:%f', points.time / 1000.0, 'unixepoch') AS utc,
        points.time,
        points.value,
        points.quality,
        CASE points.origin WHEN 0 THEN 'post' WHEN 1 THEN 'resume' WHEN 2 THEN 'integration' END AS origin
    FROM points JOIN series ON series.id = points.series
    """,
    # `size` is the payload's length as received, `bytes` what the entry counts against the bound. The payload
    # comes last: SQLite can then read the other columns without touching its overflow pages.
    """
    CREATE TABLE quarantine (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time INTEGER NOT NULL,
        topic TEXT NOT NULL,
        publisher TEXT NOT NULL,
        code INTEGER NOT NULL,
        reason TEXT NOT NULL,
        size INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        payload BLOB NOT NULL
    ) STRICT
    """,
    # Kept by triggers, so that the sums are right whoever deletes entries, and need no scan.
    "CREATE TABLE quarantine_usage (entries INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT",
    "INSERT INTO quarantine_usage VALUES (0, 0)",
    """
    CREATE TRIGGER quarantine_added AFTER INSERT ON quarantine BEGIN
        UPDATE quarantine_usage SET entries = entries + 1, bytes = bytes + new.bytes;
    END
    """,
    """
    CREATE TRIGGER quarantine_removed AFTER DELETE ON quarantine BEGIN
        UPDATE quarantine_usage SET entries = entries - 1, bytes = bytes - old.bytes;
    END
    """,
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "INSERT INTO meta VALUES ('registry_revision', 0)",
    """
    CREATE TABLE products (
        key TEXT PRIMARY KEY,
        secret TEXT NOT NULL,
        model TEXT NOT NULL,
        dynamic_activation INTEGER NOT NULL,
        allow_reactivation INTEGER NOT NULL,
        register INTEGER NOT NULL,
        require_tls INTEGER NOT NULL,
        codec TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    # Deferred: a change of the registry is checked as a whole, at its commit.
    """
    CREATE TABLE devices (
        product_key TEXT NOT NULL REFERENCES products (key) DEFERRABLE INITIALLY DEFERRED,
        device_key TEXT NOT NULL,
        secret TEXT NOT NULL,
        asset_id TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        activated INTEGER,
        PRIMARY KEY (product_key, device_key)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX devices_asset_id ON devices (asset_id) WHERE asset_id != ''",
    """
    CREATE TABLE topology (
        gateway_product_key TEXT NOT NULL,
        gateway_device_key TEXT NOT NULL,
        product_key TEXT NOT NULL,
        device_key TEXT NOT NULL,
        PRIMARY KEY (gateway_product_key, gateway_device_key, product_key, device_key),
        FOREIGN KEY (gateway_product_key, gateway_device_key)
            REFERENCES devices (product_key, device_key) DEFERRABLE INITIALLY DEFERRED,
        FOREIGN KEY (product_key, device_key)
            REFERENCES devices (product_key, device_key) DEFERRABLE INITIALLY DEFERRED
    ) STRICT, WITHOUT ROWID
    """,
    # Deleting a device looks here for rows that name it as a sub-device.
    "CREATE INDEX topology_device ON topology (product_key, device_key)",
    """
    CREATE TABLE applications (
        name TEXT PRIMARY KEY,
        key TEXT NOT NULL,
        secret TEXT NOT NULL,
        api_key_hash TEXT NOT NULL,
        scopes TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE operators (
        name TEXT PRIMARY KEY,
        password_hash TEXT NOT NULL,
        scopes TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)

_INBOX: Version = (
    # The points of one commit, as they came; see `inbox`. `rows` comes last, so that the other columns are read
    # without it.
    """
    CREATE TABLE inbox (
        id INTEGER PRIMARY KEY,
        points INTEGER NOT NULL,
        size INTEGER NOT NULL,
        rows TEXT NOT NULL
    ) STRICT
    """,
    "DROP VIEW measurepoints",
    # Of a point that is in both the inbox has the newer one. `series` is joined in each half, not once to both: SQLite
    # would otherwise gather all points before it looks for those of a device. Series and time are one text to look for:
    # of two columns that could be NULL, for all that SQLite knows, it would read all of the inbox for each point.
    """
    CREATE VIEW measurepoints AS
    WITH arrived AS MATERIALIZED (
        SELECT
            json_extract(each.value, '$[0]') AS series,
            json_extract(each.value, '$[1]') AS time,
            json_extract(each.value, '$[2]') AS value,
            json_extract(each.value, '$[3]') AS quality,
            json_extract(each.value, '$[4]') AS origin,
            row_number() OVER (
                PARTITION BY json_extract(each.value, '$[0]'), json_extract(each.value, '$[1]')
                ORDER BY inbox.id DESC, each.key DESC
            ) AS age
        FROM inbox, json_each(inbox.rows) AS each
    )
    SELECT
        series.product_key,
        series.device_key,
        series.measurepoint,
        strftime('%Y-%m-%d %H:%M:%f', arrived.time / 1000.0, 'unixepoch') AS utc,
        arrived.time,
        arrived.value,
        arrived.quality,
        CASE arrived.origin WHEN 0 THEN 'post' WHEN 1 THEN 'resume' WHEN 2 THEN 'integration' END AS origin
    FROM arrived JOIN series ON series.id = arrived.series
    WHERE arrived.age = 1
    UNION ALL
    SELECT
        series.product_key,
        series.device_key,
        series.measurepoint,
        strftime('%Y-%m-%d %H:%M:%f', points.time / 1000.0, 'unixepoch'),
        points.time,
        points.value,
        points.quality,
        CASE points.origin WHEN 0 THEN 'post' WHEN 1 THEN 'resume' WHEN 2 THEN 'integration' END
    FROM points JOIN series ON series.id = points.series
    WHERE points.series || ' ' || points.time NOT IN (SELECT series || ' ' || time FROM arrived)
    """,
)

_COMMANDS: Version = (
    # Values and service calls on their way to devices. `kind` and `state` are the numbers of the REST API; times are
    # epoch milliseconds; `name`, `input` and `output` are JSON texts. What is long comes last.
    """
    CREATE TABLE commands (
        id INTEGER PRIMARY KEY,
        product_key TEXT NOT NULL,
        device_key TEXT NOT NULL,
        kind INTEGER NOT NULL,
        identifier TEXT NOT NULL,
        state INTEGER NOT NULL,
        created INTEGER NOT NULL,
        sent INTEGER,
        finished INTEGER,
        timeout INTEGER NOT NULL,
        pending_ttl INTEGER NOT NULL,
        application TEXT NOT NULL,
        device_code INTEGER,
        device_message TEXT NOT NULL,
        name TEXT,
        topic TEXT NOT NULL,
        input TEXT NOT NULL,
        output TEXT,
        payload BLOB NOT NULL
    ) STRICT
    """,
    # Each ends with the order in which a search wants its rows (the id comes last in every index).
    "CREATE INDEX commands_created ON commands (created)",
    "CREATE INDEX commands_state ON commands (state, created)",
    "CREATE INDEX commands_device ON commands (product_key, device_key, created)",
    # By what they are deleted: an unfinished one never is.
    "CREATE INDEX commands_finished ON commands (finished) WHERE finished IS NOT NULL",
)

_FLEET: Version = (
    # `origin`: 0 the registry file, 1 the wire. `name` is JSON text.
    "ALTER TABLE devices ADD COLUMN origin INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE devices ADD COLUMN name TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE devices ADD COLUMN timezone TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE topology ADD COLUMN origin INTEGER NOT NULL DEFAULT 0",
    # Sub-devices of the registry file that their gateway has let go: the file must not bring them back by itself.
    """
    CREATE TABLE released (
        gateway_product_key TEXT NOT NULL,
        gateway_device_key TEXT NOT NULL,
        product_key TEXT NOT NULL,
        device_key TEXT NOT NULL,
        time INTEGER NOT NULL,
        PRIMARY KEY (gateway_product_key, gateway_device_key, product_key, device_key)
    ) STRICT, WITHOUT ROWID
    """,
    # Which change of the registry that came over the wire is the last one in it.
    "INSERT INTO meta VALUES ('registry_serial', 0)",
    # What devices say of themselves. `value` and `fields` are JSON texts, `origin` is as that of points.
    """
    CREATE TABLE attributes (
        product_key TEXT NOT NULL,
        device_key TEXT NOT NULL,
        identifier TEXT NOT NULL,
        value TEXT NOT NULL,
        time INTEGER NOT NULL,
        origin INTEGER NOT NULL,
        PRIMARY KEY (product_key, device_key, identifier)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE tags (
        product_key TEXT NOT NULL,
        device_key TEXT NOT NULL,
        tag TEXT NOT NULL,
        value TEXT NOT NULL,
        time INTEGER NOT NULL,
        PRIMARY KEY (product_key, device_key, tag)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE events (
        product_key TEXT NOT NULL,
        device_key TEXT NOT NULL,
        event TEXT NOT NULL,
        time INTEGER NOT NULL,
        fields TEXT NOT NULL,
        origin INTEGER NOT NULL,
        PRIMARY KEY (product_key, device_key, event, time)
    ) STRICT, WITHOUT ROWID
    """,
    # When devices came and went; the gateway is the one that they came and went through.
    """
    CREATE TABLE presence (
        id INTEGER PRIMARY KEY,
        product_key TEXT NOT NULL,
        device_key TEXT NOT NULL,
        time INTEGER NOT NULL,
        online INTEGER NOT NULL,
        why TEXT NOT NULL,
        gateway_product_key TEXT,
        gateway_device_key TEXT
    ) STRICT
    """,
    "CREATE INDEX presence_device ON presence (product_key, device_key)",
    # The newest hundred of each device are kept: a device that comes and goes all day must not fill the disk. By a
    # trigger, for thousands of devices that go at once: SQLite does it without a return to Python for each.
    """
    CREATE TRIGGER presence_added AFTER INSERT ON presence BEGIN
        DELETE FROM presence WHERE product_key = new.product_key AND device_key = new.device_key AND id <= (
            SELECT id FROM presence WHERE product_key = new.product_key AND device_key = new.device_key
            ORDER BY id DESC LIMIT 1 OFFSET 100
        );
    END
    """,
    # Points and events are history and stay; what is said of a device as it is goes with it.
    """
    CREATE TRIGGER device_removed AFTER DELETE ON devices BEGIN
        DELETE FROM attributes WHERE product_key = old.product_key AND device_key = old.device_key;
        DELETE FROM tags WHERE product_key = old.product_key AND device_key = old.device_key;
        DELETE FROM presence WHERE product_key = old.product_key AND device_key = old.device_key;
    END
    """,
)

_COMMAND_BYTES: Version = (
    # What a command counts against the bound on those that are kept: as long as the texts and the payload in it.
    "ALTER TABLE commands ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0",
    """
    UPDATE commands SET bytes = length(payload) + length(CAST(
        product_key || device_key || identifier || application || device_message || coalesce(name, '') || topic || input
        || coalesce(output, '') AS BLOB))
    """,
    # Summed up, and walked through from the oldest, without a look at the commands themselves.
    "DROP INDEX commands_finished",
    "CREATE INDEX commands_finished ON commands (finished, id, bytes) WHERE finished IS NOT NULL",
)

_EVENTS: Version = (
    # When an event came: it is kept for a time from then on, whatever time its device has given it. Those that are
    # there came before now.
    "ALTER TABLE events ADD COLUMN received INTEGER NOT NULL DEFAULT 0",
    "UPDATE events SET received = strftime('%s', 'now') * 1000",
    # By what they are deleted.
    "CREATE INDEX events_received ON events (received)",
)

_REGISTRARS: Version = (
    # The gateway that has registered a device, as `product/device`: it alone may be told the secret again.
    "ALTER TABLE devices ADD COLUMN registrar TEXT NOT NULL DEFAULT ''",
)

VERSIONS: tuple[Version, ...] = (_FIRST, _INBOX, _COMMANDS, _FLEET, _COMMAND_BYTES, _EVENTS, _REGISTRARS)
"""Append only: the first leads to version 1, and no released one may ever change."""
