-- The result store. Forward only: a released file never changes; a change is a new file.
-- No foreign keys across topics: topics arrive in any order, a missing parent is created as a stub.

CREATE SCHEMA IF NOT EXISTS prescreen;

-- Roles. The connection's own role only migrates; every statement afterwards runs under one of these.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'prescreen_app') THEN
        CREATE ROLE prescreen_app NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'prescreen_identity') THEN
        CREATE ROLE prescreen_identity NOLOGIN;
    END IF;
    IF NOT pg_has_role(current_user, 'prescreen_app', 'MEMBER') THEN
        EXECUTE format('GRANT prescreen_app TO %I', current_user);
    END IF;
    IF NOT pg_has_role(current_user, 'prescreen_identity', 'MEMBER') THEN
        EXECUTE format('GRANT prescreen_identity TO %I', current_user);
    END IF;
END
$$;

-- One row for each (run, study, revision): where it stands.
CREATE TABLE prescreen.studies (
    run_id       text        NOT NULL,
    study_uid    text        NOT NULL,
    revision     integer     NOT NULL CHECK (revision >= 1),
    state        text        NOT NULL CHECK (state IN ('in_progress', 'reported', 'rejected', 'dead_lettered', 'superseded')),
    reason       text,                     -- stable code behind the state
    domain       text,                     -- NULL while only a stub
    synthetic    boolean,
    priority     text,
    instances    integer,
    received_at  timestamptz,              -- when intake closed it; NULL while only a stub
    first_seen_at timestamptz NOT NULL,    -- when the store first heard of it
    terminal_at  timestamptz,
    PRIMARY KEY (run_id, study_uid, revision)
);
CREATE INDEX studies_by_state ON prescreen.studies (run_id, state, first_seen_at);
CREATE INDEX studies_by_arrival ON prescreen.studies (run_id, first_seen_at DESC);

-- The timeline: every record the store saw, once. `deliveries` counts how often it came.
-- Partitioned by the event's month, so that old months can be dropped whole.
CREATE TABLE prescreen.study_events (
    run_id      text        NOT NULL,
    event_id    uuid        NOT NULL,
    month       date        NOT NULL,
    study_uid   text        NOT NULL,
    revision    integer     NOT NULL,
    topic       text        NOT NULL,
    source      text        NOT NULL,
    happened_at timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL,
    summary     text        NOT NULL,      -- one line: verdict, code, or counts
    payload_sha256 text     NOT NULL,
    deliveries  integer     NOT NULL DEFAULT 1,
    PRIMARY KEY (run_id, event_id, month)
) PARTITION BY RANGE (month);
CREATE INDEX study_events_by_study ON prescreen.study_events (study_uid, run_id, revision, happened_at);

-- One report for each (run, study, revision); the first write wins.
CREATE TABLE prescreen.reports (
    run_id      text        NOT NULL,
    study_uid   text        NOT NULL,
    revision    integer     NOT NULL,
    event_id    uuid        NOT NULL,
    issued_at   timestamptz NOT NULL,
    certainty   text        NOT NULL,
    abstention  text,
    ef_percent  double precision,
    status      text        NOT NULL,
    report      jsonb       NOT NULL,      -- the whole message, the master of every rendering
    payload_sha256 text     NOT NULL,
    PRIMARY KEY (run_id, study_uid, revision)
);

CREATE TABLE prescreen.findings (
    run_id      text        NOT NULL,
    study_uid   text        NOT NULL,
    revision    integer     NOT NULL,
    code        text        NOT NULL,
    PRIMARY KEY (run_id, study_uid, revision, code)
);

CREATE TABLE prescreen.rejections (
    run_id      text        NOT NULL,
    study_uid   text        NOT NULL,
    revision    integer     NOT NULL,
    event_id    uuid        NOT NULL,
    stage       text        NOT NULL,
    code        text        NOT NULL,      -- the deciding reason
    rejected_at timestamptz NOT NULL,
    rejection   jsonb       NOT NULL,
    payload_sha256 text     NOT NULL,
    PRIMARY KEY (run_id, study_uid, revision)
);

-- One row for each dead record, by where it came from. study_uid NULL: bytes that name no study.
CREATE TABLE prescreen.dead_letters (
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    run_id      text,
    study_uid   text,
    revision    integer,
    stage       text        NOT NULL,
    cause       text        NOT NULL,
    detail      text        NOT NULL,
    attempts    integer     NOT NULL,
    died_at     timestamptz NOT NULL,
    dlq_topic   text        NOT NULL,
    dlq_partition integer   NOT NULL,
    dlq_offset  bigint      NOT NULL,
    redriven_at timestamptz,
    PRIMARY KEY (topic, partition, "offset")
);
CREATE INDEX dead_letters_by_study ON prescreen.dead_letters (study_uid);

-- The only place for a name or a patient id. Its own role; nobody else may read it.
CREATE TABLE prescreen.identity (
    study_uid        text PRIMARY KEY,
    patient_name     bytea NOT NULL,       -- raw bytes of the header; character_set says how to read them
    patient_id       bytea NOT NULL,
    issuer           bytea NOT NULL,
    birth_date       bytea NOT NULL,
    accession_number bytea NOT NULL,
    character_set    bytea NOT NULL,
    updated_at       timestamptz NOT NULL
);

-- How far the store has come, written in the transaction of the rows themselves. For inspection: skipping records
-- is never decided by it, the keys above make a second write harmless.
CREATE TABLE prescreen.sink_offsets (
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    next_offset bigint      NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (topic, partition)
);

GRANT USAGE ON SCHEMA prescreen TO prescreen_app;
GRANT USAGE ON SCHEMA prescreen TO prescreen_identity;
GRANT SELECT, INSERT, UPDATE ON prescreen.studies, prescreen.study_events, prescreen.reports, prescreen.findings,
    prescreen.rejections, prescreen.dead_letters, prescreen.sink_offsets TO prescreen_app;
GRANT SELECT, INSERT, UPDATE ON prescreen.identity TO prescreen_identity;

-- Months of the timeline are made by the owner on the app's behalf, so that the app needs no ownership.
CREATE FUNCTION prescreen.ensure_month(first_day date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Two stores meet the new month at the same moment, and IF NOT EXISTS alone does not make them wait for each other.
    PERFORM pg_advisory_xact_lock(hashtext('prescreen.ensure_month'));
    EXECUTE format('CREATE TABLE IF NOT EXISTS prescreen.study_events_%s PARTITION OF prescreen.study_events FOR VALUES FROM (%L) TO (%L)',
        to_char(first_day, 'YYYY_MM'), first_day, (first_day + interval '1 month')::date);
END
$$;
REVOKE ALL ON FUNCTION prescreen.ensure_month(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prescreen.ensure_month(date) TO prescreen_app;
