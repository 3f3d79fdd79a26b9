-- The tables of both peers.
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY,
    product_key TEXT NOT NULL,
    device_key TEXT NOT NULL,
    measurepoint TEXT NOT NULL,
    UNIQUE (product_key, device_key, measurepoint)
) STRICT;
CREATE TABLE IF NOT EXISTS points (
    series INTEGER NOT NULL,
    time INTEGER NOT NULL,
    value TEXT NOT NULL,
    quality INTEGER,
    PRIMARY KEY (series, time)
) STRICT, WITHOUT ROWID;
