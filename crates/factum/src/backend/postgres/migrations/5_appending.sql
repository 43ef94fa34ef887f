-- A stream's row no longer changes with each append: its version is that of its last event. Two appends that both want to write the next
-- version meet in the index, and one of them fails; so nothing has to be locked, and an append writes one row for an event and no more.

DROP FUNCTION {s}.append(
    text[], text[], int[], int[], bigint[], int[], int[], uuid[], text[], bytea[], bytea[], bigint[], smallint[], text[]);
DROP FUNCTION {s}.append_one(text, text, bigint, uuid[], text[], bytea[], bytea[], bigint[], smallint[]);

ALTER TABLE {s}.streams DROP COLUMN version, DROP COLUMN last_position, DROP COLUMN recorded_at, RESET (fillfactor);

-- Unique now, so that an append of one event needs not look first. Truncated events have no id.
DROP INDEX {s}.events_by_id;
CREATE UNIQUE INDEX events_by_id ON {s}.events (stream, id);

-- Records a batch of appends, all but the refused: where a stream is not as expected, or holds one of the ids, or was written by a later
-- transaction, so that positions would go back. One that is refused does not touch the others.
--
-- If another transaction that is not seen yet writes to one of the streams, everything fails, with a unique violation.
--
-- No two appends of a batch name the same stream. Expected is a version, -2 for any and -4 for an existing stream. Ordinals count the
-- events of the batch, from 0, in the order of the appends; the events themselves come in the order of their streams, so that
-- batches that wait for each other do so in one order.
CREATE FUNCTION {s}.append(
    s_names         text[],      -- the streams, each once, sorted
    s_categories    text[],
    s_append        int[],       -- the number of the stream's append
    s_ordinal       int[],       -- the ordinal of its first event
    p_stream        int[],       -- for each part of an append: the number of its stream,
    p_expected      bigint[],    --   what it expects,
    p_ahead         int[],       --   how many events its append has for the stream before it
    e_stream        int[],       -- for each event: the number of its stream,
    e_ordinal       int[],       --   its ordinal,
    e_ahead         int[],       --   how many events its append has for the stream before it, and what it is
    e_id            uuid[],
    e_type          text[],
    e_data          bytea[],
    e_metadata      bytea[],
    e_occurred_at   bigint[],
    e_occurred_nanos smallint[],
    e_tags          text[],      -- separated by U+001F; null if the batch has none
    looks           boolean,     -- whether to look for ids that are there; if not, one that is makes all fail
    OUT versions    bigint[],    -- for each stream: its version before the batch
    OUT refused     int[],       -- the numbers of the appends that were refused; null if none was
    OUT first       bigint       -- the position of ordinal 0
)
LANGUAGE plpgsql
-- Statistics of a table that has just begun to grow would choose plans that read all of it.
SET enable_seqscan = off
SET enable_bitmapscan = off
-- And plans for what is at hand would be made anew with each call, which takes longer than the rest.
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    ids             bigint[];
    latest          bigint;
    recorded        timestamptz;
    ordinals        int := cardinality(e_ordinal);
    used            bigint := coalesce(nullif(current_setting('factum.ordinal', true), '')::bigint, 0);
    held            bigint[];
BEGIN
    -- Before any transaction id: whoever gets through the gate later has a higher one.
    LOCK TABLE {s}.gate IN ROW SHARE MODE;

    SELECT array_agg(x.id), array_agg(x.version), max(x.position), max(x.recorded_at), array_agg(x.position)
    INTO ids, versions, latest, recorded, held
    FROM (
        SELECT s.id, coalesce(l.version, 0) AS version, l.position, l.recorded_at
        FROM unnest(s_names) WITH ORDINALITY AS u (name, number)
        LEFT JOIN {s}.streams s ON s.name = u.name
        LEFT JOIN LATERAL (
            SELECT e.version, e.position, e.recorded_at FROM {s}.events e WHERE e.stream = s.id ORDER BY e.version DESC LIMIT 1
        ) l ON true
        ORDER BY u.number
    ) x;
    recorded := greatest(recorded, clock_timestamp());

    -- Only now, having seen the streams: what is written behind another's event must not have an earlier place than that.
    -- A second append in the same transaction goes on where the first one ended.
    SELECT m.base + (pg_current_xact_id()::text::bigint << 20) + used + 1 INTO first FROM {s}.meta m;

    SELECT array_agg(DISTINCT s_append[u.stream]) INTO refused
    FROM unnest(p_stream, p_expected, p_ahead) AS u (stream, expected, ahead)
    WHERE u.expected <> versions[u.stream] + u.ahead AND u.expected <> -2
      AND (u.expected <> -4 OR versions[u.stream] + u.ahead = 0);
    IF latest >= first THEN
        refused := refused || ARRAY(
            SELECT u.append FROM unnest(s_append, held) AS u (append, position) WHERE u.position >= first);
    END IF;
    IF looks AND latest IS NOT NULL THEN
        refused := refused || ARRAY(
            SELECT DISTINCT s_append[u.stream] FROM unnest(e_stream, e_id) AS u (stream, id)
            WHERE ids[u.stream] IS NOT NULL
              AND (SELECT true FROM {s}.events e WHERE e.stream = ids[u.stream] AND e.id = u.id));
    END IF;
    refused := nullif(refused, '{}');

    IF array_position(ids, NULL) IS NOT NULL THEN
        INSERT INTO {s}.streams (id, name, category)
        SELECT append.first + u.ordinal, u.name, u.category
        FROM unnest(ids, s_append, s_ordinal, s_names, s_categories) AS u (id, append, ordinal, name, category)
        WHERE u.id IS NULL AND (refused IS NULL OR u.append <> ALL (refused));
        ids := ARRAY(SELECT coalesce(u.id, append.first + u.ordinal) FROM unnest(ids, s_ordinal) AS u (id, ordinal));
    END IF;

    INSERT INTO {s}.events
        (position, stream, version, recorded_at, id, occurred_at, occurred_nanos, type, category, data, metadata, tags)
    SELECT append.first + u.ordinal, ids[u.stream], versions[u.stream] + 1 + u.ahead, recorded, u.id, u.occurred_at, u.occurred_nanos,
           u.type, s_categories[u.stream], u.data, u.metadata, string_to_array(u.tags, E'\x1f')
    FROM unnest(e_stream, e_ordinal, e_ahead, e_id, e_type, e_data, e_metadata, e_occurred_at, e_occurred_nanos, e_tags)
         AS u (stream, ordinal, ahead, id, type, data, metadata, occurred_at, occurred_nanos, tags)
    WHERE refused IS NULL OR s_append[u.stream] <> ALL (refused);

    IF e_tags IS NOT NULL THEN
        INSERT INTO {s}.tags (tag, position)
        SELECT DISTINCT tag, append.first + u.ordinal
        FROM unnest(e_stream, e_ordinal, e_tags) AS u (stream, ordinal, tags), unnest(string_to_array(u.tags, E'\x1f')) AS tag
        WHERE u.tags IS NOT NULL AND (refused IS NULL OR s_append[u.stream] <> ALL (refused));
    END IF;
    PERFORM set_config('factum.ordinal', (used + ordinals)::text, true);
END
$$;
