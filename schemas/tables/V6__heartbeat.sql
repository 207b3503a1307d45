-- What heartbeats leave behind goes after a while; nothing else is ever deleted by these statements.

-- Blobs that heartbeats named, so that they can be removed with them.
CREATE TABLE prescreen.heartbeat_blobs (
    area      text        NOT NULL,
    sha256    text        NOT NULL,
    bytes     bigint      NOT NULL,
    study_uid text        NOT NULL,
    noted_at  timestamptz NOT NULL,
    PRIMARY KEY (area, sha256)
);
CREATE INDEX heartbeat_blobs_by_age ON prescreen.heartbeat_blobs (noted_at);
GRANT SELECT, INSERT, DELETE ON prescreen.heartbeat_blobs TO prescreen_app;

-- The app deletes no results; of heartbeats the owner does, on its behalf. Some at a time: each beat calls it.
CREATE FUNCTION prescreen.forget_heartbeats(before timestamptz) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old text[];
BEGIN
    SELECT array_agg(study_uid) INTO old FROM (
        SELECT study_uid FROM prescreen.studies WHERE run_id = 'heartbeat' AND first_seen_at < before
        ORDER BY first_seen_at LIMIT 200
    ) AS oldest;
    IF old IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM prescreen.study_events WHERE run_id = 'heartbeat' AND study_uid = ANY (old);
    DELETE FROM prescreen.findings WHERE run_id = 'heartbeat' AND study_uid = ANY (old);
    DELETE FROM prescreen.inferences WHERE run_id = 'heartbeat' AND study_uid = ANY (old);
    DELETE FROM prescreen.reports WHERE run_id = 'heartbeat' AND study_uid = ANY (old);
    DELETE FROM prescreen.rejections WHERE run_id = 'heartbeat' AND study_uid = ANY (old);
    DELETE FROM prescreen.dead_letters WHERE run_id = 'heartbeat' AND study_uid = ANY (old);
    DELETE FROM prescreen.studies WHERE run_id = 'heartbeat' AND study_uid = ANY (old);
END
$$;
REVOKE ALL ON FUNCTION prescreen.forget_heartbeats(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prescreen.forget_heartbeats(timestamptz) TO prescreen_app;
