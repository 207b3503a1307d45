-- Who changed what (append-only, each row bound to the one before it), and what became of a dead letter that went back.

-- hash = SHA-256 over previous_hash and the row's fields, each with its length (pipeline/src/store/audit.rs). Ids have no
-- gaps: a row is written under an advisory lock, one after the other.
CREATE TABLE prescreen.audit_log (
    id            bigserial   PRIMARY KEY,
    at            timestamptz NOT NULL,
    actor         text        NOT NULL,    -- account or what the token's holder called himself
    action        text        NOT NULL,    -- for example dead_letters.redrive
    subject       text        NOT NULL,    -- what it was done to: a stage, a run, a topic
    detail        jsonb       NOT NULL,
    previous_hash text        NOT NULL,    -- of row id - 1; 64 zeros before the first
    hash          text        NOT NULL
);

-- The last row, so that rows cut off the end are missed. Whoever owns the database can forge both: each new head is also
-- logged, and a log kept on another machine is what convicts.
CREATE TABLE prescreen.audit_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id       bigint  NOT NULL,
    hash     text    NOT NULL
);
INSERT INTO prescreen.audit_head (id, hash) VALUES (0, repeat('0', 64));

CREATE FUNCTION prescreen.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON prescreen.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION prescreen.refuse_change();
CREATE TRIGGER audit_head_stays BEFORE DELETE OR TRUNCATE ON prescreen.audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION prescreen.refuse_change();

GRANT SELECT, INSERT ON prescreen.audit_log TO prescreen_app;
GRANT SELECT, UPDATE ON prescreen.audit_head TO prescreen_app;

-- Two consumers may give up on the same record.
ALTER TABLE prescreen.dead_letters
    DROP CONSTRAINT dead_letters_pkey,
    ADD PRIMARY KEY (topic, partition, "offset", stage);

-- The event that died, and where it lies since it went back. A letter whose event went back by another letter, or whose
-- study ended otherwise, is settled without having been sent: it has a redriven_at and no place.
ALTER TABLE prescreen.dead_letters
    ADD COLUMN event_id           uuid,
    ADD COLUMN redrives           integer NOT NULL DEFAULT 0,
    ADD COLUMN redriven_partition integer,
    ADD COLUMN redriven_offset    bigint;
CREATE INDEX dead_letters_by_time ON prescreen.dead_letters (died_at DESC);
CREATE INDEX dead_letters_by_event ON prescreen.dead_letters (event_id);
CREATE INDEX dead_letters_waiting ON prescreen.dead_letters (run_id, study_uid, revision) WHERE redriven_at IS NULL;

-- A study that goes on is as old as its redrive where its age is judged (truth.deadline).
ALTER TABLE prescreen.studies ADD COLUMN redriven_at timestamptz;
