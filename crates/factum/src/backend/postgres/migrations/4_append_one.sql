-- Records one append to one stream, without tags: what append does, in one statement, because for one event it is the number of
-- statements that takes the time. What does not fit is not recorded, and is to be looked at closely.
CREATE FUNCTION {s}.append_one(
    s_name          text,
    s_category      text,
    expected        bigint,
    e_id            uuid[],
    e_type          text[],
    e_data          bytea[],
    e_metadata      bytea[],
    e_occurred_at   bigint[],
    e_occurred_nanos smallint[],
    OUT recorded    boolean,
    OUT before      bigint,
    OUT first       bigint
)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
    WITH gate AS MATERIALIZED (
        -- Nothing is there; the table is locked as append locks it, before this statement sees anything.
        SELECT FROM {s}.gate FOR KEY SHARE
    ), seen AS MATERIALIZED (
        SELECT s.version FROM {s}.streams s WHERE s.name = s_name
    ), held AS MATERIALIZED (
        SELECT s.id, s.version, s.last_position, s.recorded_at FROM {s}.streams s WHERE s.name = s_name FOR UPDATE
    ), place AS MATERIALIZED (
        -- The transaction id is asked for when the row is locked. If the row had to be waited for, this statement does not see the
        -- events that came meanwhile, and their ids.
        SELECT h.id, coalesce(h.version, 0) AS before, greatest(clock_timestamp(), h.recorded_at) AS recorded_at,
               coalesce(h.last_position, 0) AS last_position,
               (SELECT m.base FROM {s}.meta m) + (pg_current_xact_id()::text::bigint << 20) + 1 AS first,
               (SELECT s.version FROM seen s) IS NOT DISTINCT FROM h.version AS sees_all
        FROM (SELECT) one LEFT JOIN gate ON true LEFT JOIN held h ON true
    ), fitting AS MATERIALIZED (
        SELECT p.* FROM place p
        WHERE p.sees_all AND p.last_position < p.first
          AND (expected = p.before OR expected = -2 OR (expected = -4 AND p.before > 0))
          AND (p.id IS NULL OR NOT EXISTS (
              SELECT FROM unnest(e_id) AS u (id)
              WHERE (SELECT true FROM {s}.events e WHERE e.stream = p.id AND e.id = u.id LIMIT 1)))
    ), kept AS (
        INSERT INTO {s}.streams AS s (id, name, category, version, last_position, recorded_at)
        SELECT coalesce(f.id, f.first), s_name, s_category, f.before + cardinality(e_id), f.first + cardinality(e_id) - 1, f.recorded_at
        FROM fitting f
        ON CONFLICT (name) DO UPDATE
        SET version = excluded.version, last_position = excluded.last_position, recorded_at = excluded.recorded_at
        WHERE s.id = excluded.id
        RETURNING s.id
    ), written AS (
        INSERT INTO {s}.events
            (position, stream, version, recorded_at, id, occurred_at, occurred_nanos, type, category, data, metadata)
        SELECT f.first + u.number - 1, k.id, f.before + u.number, f.recorded_at, u.id, u.occurred_at, u.occurred_nanos, u.type,
               s_category, u.data, u.metadata
        FROM kept k, fitting f, unnest(e_id, e_type, e_data, e_metadata, e_occurred_at, e_occurred_nanos) WITH ORDINALITY
             AS u (id, type, data, metadata, occurred_at, occurred_nanos, number)
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM written), p.before, p.first INTO recorded, before, first FROM place p;
END
$$;
