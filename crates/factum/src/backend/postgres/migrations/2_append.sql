-- Records a batch of appends. Each has a status of its own, so that one that is refused does not touch the others.
--
--   0  recorded
--   1  to be looked at closely: a stream is not as expected, or holds one of the ids
--   2  to be tried again in another transaction: a stream was written by a later transaction, so these positions would go back
--
-- No two appends of a batch name the same stream. Expected is a version, -2 for any and -4 for an existing stream.
CREATE FUNCTION {s}.append(
    s_names         text[],      -- the streams, each once, sorted
    s_categories    text[],
    p_append        int[],       -- for each part: the number of its append,
    p_stream        int[],       --   the number of its stream,
    p_expected      bigint[],    --   what it expects,
    p_events        int[],       --   how many events it has
    e_part          int[],       -- for each event: the number of its part, and what it is
    e_id            uuid[],
    e_type          text[],
    e_data          bytea[],
    e_metadata      bytea[],
    e_occurred_at   bigint[],
    e_occurred_nanos smallint[],
    e_tags          text[],      -- separated by U+001F; null if the batch has none
    OUT statuses    int[],       -- for each append
    OUT befores     bigint[],    -- for each part: the version it follows on,
    OUT positions   bigint[]     --   and the position of its first event; null if it was not recorded
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
    row             record;
    ids             bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(s_names)]);
    versions        bigint[] := array_fill(0::bigint, ARRAY[cardinality(s_names)]);
    lasts           bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(s_names)]);
    starts          int[] := array_fill(0, ARRAY[cardinality(p_append)]);
    known           int[];
    start           int := 1;
    number          int := 1;
    latest          bigint := 0;
    exists_one      boolean := false;
    recorded        timestamptz := clock_timestamp();
    first_position  bigint;
    next_position   bigint;
    written         int;
    touched         int := 0;
BEGIN
    -- Before any transaction id: whoever gets through the gate later has a higher one.
    LOCK TABLE {s}.gate IN ROW SHARE MODE;

    -- In the order of names, so that batches wait for each other and never in a circle.
    FOR row IN
        SELECT s.id, s.name, s.version, s.last_position, s.recorded_at FROM {s}.streams s
        WHERE s.name = ANY (s_names) ORDER BY s.name FOR UPDATE
    LOOP
        WHILE s_names[number] <> row.name LOOP
            number := number + 1;
        END LOOP;
        ids[number] := row.id;
        versions[number] := row.version;
        lasts[number] := row.last_position;
        latest := greatest(latest, row.last_position);
        recorded := greatest(recorded, row.recorded_at);
        exists_one := true;
    END LOOP;

    -- Only now, with all rows locked: a transaction that waited for one must not keep an earlier place than who was before it.
    SELECT m.base + (pg_current_xact_id()::text::bigint << 20) INTO first_position FROM {s}.meta m;
    -- A second append in the same transaction goes on where the first one ended.
    next_position := first_position + coalesce(nullif(current_setting('factum.ordinal', true), '')::bigint, 0) + 1;

    IF exists_one THEN
        known := ARRAY(
            SELECT u.part FROM unnest(e_part, e_id) AS u (part, id)
            WHERE ids[p_stream[u.part]] IS NOT NULL
              AND (SELECT true FROM {s}.events e WHERE e.stream = ids[p_stream[u.part]] AND e.id = u.id LIMIT 1)
        );
    END IF;

    statuses := array_fill(0, ARRAY[p_append[cardinality(p_append)]]);
    befores := array_fill(0::bigint, ARRAY[cardinality(p_append)]);
    positions := array_fill(NULL::bigint, ARRAY[cardinality(p_append)]);
    FOR part IN 1 .. cardinality(p_append) LOOP
        number := p_stream[part];
        starts[part] := start;
        start := start + p_events[part];
        befores[part] := versions[number];
        IF NOT (p_expected[part] = versions[number] OR p_expected[part] = -2 OR (p_expected[part] = -4 AND versions[number] > 0)) THEN
            statuses[p_append[part]] := 1;
        ELSIF known IS NOT NULL AND part = ANY (known) THEN
            statuses[p_append[part]] := 1;
        ELSIF latest >= next_position AND lasts[number] >= next_position AND statuses[p_append[part]] = 0 THEN
            statuses[p_append[part]] := 2;
        END IF;
        versions[number] := versions[number] + p_events[part];
    END LOOP;

    lasts := array_fill(NULL::bigint, ARRAY[cardinality(s_names)]);
    FOR part IN 1 .. cardinality(p_append) LOOP
        IF statuses[p_append[part]] = 0 THEN
            number := p_stream[part];
            positions[part] := next_position;
            next_position := next_position + p_events[part];
            IF ids[number] IS NULL THEN
                ids[number] := positions[part];
            END IF;
            IF lasts[number] IS NULL THEN
                touched := touched + 1;
            END IF;
            lasts[number] := next_position - 1;
        END IF;
    END LOOP;
    IF touched = 0 THEN
        RETURN;
    END IF;
    PERFORM set_config('factum.ordinal', (next_position - first_position - 1)::text, true);

    INSERT INTO {s}.streams AS s (id, name, category, version, last_position, recorded_at)
    SELECT u.id, u.name, u.category, u.version, u.last, recorded
    FROM unnest(ids, s_names, s_categories, versions, lasts) AS u (id, name, category, version, last)
    WHERE u.last IS NOT NULL
    ON CONFLICT (name) DO UPDATE
    SET version = excluded.version, last_position = excluded.last_position, recorded_at = excluded.recorded_at
    WHERE s.id = excluded.id;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written < touched THEN
        RAISE EXCEPTION 'another transaction made one of the streams first' USING ERRCODE = 'serialization_failure';
    END IF;

    INSERT INTO {s}.events
        (position, stream, version, recorded_at, id, occurred_at, occurred_nanos, type, category, data, metadata, tags)
    SELECT positions[u.part] + (u.number - starts[u.part]), ids[p_stream[u.part]], befores[u.part] + 1 + (u.number - starts[u.part]),
           recorded, u.id, u.occurred_at, u.occurred_nanos, u.type, s_categories[p_stream[u.part]], u.data, u.metadata,
           string_to_array(u.tags, E'\x1f')
    FROM unnest(e_part, e_id, e_type, e_data, e_metadata, e_occurred_at, e_occurred_nanos, e_tags) WITH ORDINALITY
         AS u (part, id, type, data, metadata, occurred_at, occurred_nanos, tags, number)
    WHERE positions[u.part] IS NOT NULL;

    IF e_tags IS NOT NULL THEN
        INSERT INTO {s}.tags (tag, position)
        SELECT DISTINCT tag, positions[u.part] + (u.number - starts[u.part])
        FROM unnest(e_part, e_tags) WITH ORDINALITY AS u (part, tags, number), unnest(string_to_array(u.tags, E'\x1f')) AS tag
        WHERE positions[u.part] IS NOT NULL AND u.tags IS NOT NULL;
    END IF;
END
$$;
