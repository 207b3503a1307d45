-- What the gate said of each instance on arrival (instance.gated.v1): provisional, for the technologist. It decides
-- nothing about a study, and its rows expire.

CREATE TABLE prescreen.instance_gates (
    run_id       text        NOT NULL,
    study_uid    text        NOT NULL,
    instance_uid text        NOT NULL,
    blob_sha256  text        NOT NULL,
    event_id     uuid        NOT NULL,
    sender       text        NOT NULL,     -- AE title of an allowed peer; 'folder' for files
    received_at  timestamptz NOT NULL,     -- when intake stored the instance
    gated_at     timestamptz NOT NULL,
    stored_at    timestamptz NOT NULL,
    gate         jsonb       NOT NULL,     -- the whole message
    payload_sha256 text      NOT NULL,
    PRIMARY KEY (run_id, study_uid, instance_uid, blob_sha256)
);
CREATE INDEX instance_gates_by_sender ON prescreen.instance_gates (run_id, sender, received_at DESC);
CREATE INDEX instance_gates_by_age ON prescreen.instance_gates (received_at);

GRANT SELECT, INSERT, DELETE ON prescreen.instance_gates TO prescreen_app;
