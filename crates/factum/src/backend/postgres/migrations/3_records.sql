-- Writes or removes a record, if it is at the version expected (null: whatever it is; 0: it is not there).
-- The version is the new one, 0 where nothing changed, and the actual one where it was refused.
CREATE FUNCTION {s}.write_record(r_name text, r_value bytea, r_expected bigint, OUT refused boolean, OUT new_version bigint)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    written  bigint;
    is_there boolean;
BEGIN
    refused := false;
    LOOP
        SELECT r.version, r.value IS NOT NULL INTO written, is_there FROM {s}.records r WHERE r.name = r_name FOR UPDATE;
        EXIT WHEN FOUND;
        written := 0;
        is_there := false;
        EXIT WHEN r_value IS NULL OR r_expected <> 0;
        -- A row to hold on to; of several that make it, one goes on and the others find it in the next round.
        INSERT INTO {s}.records (name, version) VALUES (r_name, 0) ON CONFLICT (name) DO NOTHING;
    END LOOP;
    new_version := CASE WHEN is_there THEN written ELSE 0 END;
    IF r_expected <> new_version THEN
        refused := true;
        RETURN;
    END IF;
    IF r_value IS NOT NULL OR is_there THEN
        new_version := written + 1;
        UPDATE {s}.records r SET version = written + 1, value = r_value WHERE r.name = r_name;
    END IF;
END
$$;
