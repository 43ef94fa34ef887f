-- What Factum keeps. {s} stands for the schema.

-- One row of facts about the store.
CREATE TABLE {s}.meta (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- Positions are base + (transaction id << 20) + ordinal. It is raised when the store was restored into a cluster whose
    -- transaction ids are behind.
    base  bigint NOT NULL DEFAULT 0
);
INSERT INTO {s}.meta DEFAULT VALUES;

-- Nothing is kept here. Appends hold it shared, so that one under a condition can keep all others out while it looks.
CREATE TABLE {s}.gate ();

CREATE TABLE {s}.streams (
    id             bigint PRIMARY KEY,             -- the position of its first event
    name           text COLLATE "C" NOT NULL,
    category       text COLLATE "C" NOT NULL,
    version        bigint NOT NULL,
    first_version  bigint NOT NULL DEFAULT 1,      -- what is below was truncated
    last_position  bigint NOT NULL,
    recorded_at    timestamptz NOT NULL            -- of its last event
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX streams_by_name ON {s}.streams (name);
CREATE INDEX streams_by_category ON {s}.streams (category, id);

-- A truncated event keeps its row, because it was recorded and counts, but without its id, data and metadata.
CREATE TABLE {s}.events (
    position        bigint NOT NULL,
    stream          bigint NOT NULL,               -- streams.id
    version         bigint NOT NULL,
    recorded_at     timestamptz NOT NULL,
    id              uuid,                          -- unique within its stream; null: truncated
    occurred_at     bigint,                        -- microseconds since 1970, as the writer said
    occurred_nanos  smallint,                      -- and the nanoseconds behind them
    type            text COLLATE "C" NOT NULL,
    category        text COLLATE "C" NOT NULL,
    data            bytea,                         -- null: truncated
    metadata        bytea,                         -- null: none
    tags            text[] COLLATE "C",            -- null: none
    CONSTRAINT events_by_position PRIMARY KEY (position)
);
CREATE UNIQUE INDEX events_by_version ON {s}.events (stream, version);
-- Not unique: the lock on the stream's row keeps ids unique, and an index that only looks is cheaper to fill.
CREATE INDEX events_by_id ON {s}.events (stream, id);
CREATE INDEX events_by_category ON {s}.events (category, position);
CREATE INDEX events_by_type ON {s}.events (type, position);

CREATE TABLE {s}.tags (
    tag       text COLLATE "C" NOT NULL,
    position  bigint NOT NULL,
    PRIMARY KEY (tag, position)
);

-- A record that was removed keeps its row and its version, with a null value.
CREATE TABLE {s}.records (
    name     text COLLATE "C" PRIMARY KEY,
    version  bigint NOT NULL,
    value    bytea
);
