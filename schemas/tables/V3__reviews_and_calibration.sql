-- What physicians decide of reports, what the model said of the same studies, and the calibration sets in use.

-- The model's answer with its evidence (findings.inferred.v1): a calibration sets it beside the physician's number.
CREATE TABLE prescreen.inferences (
    run_id      text        NOT NULL,
    study_uid   text        NOT NULL,
    revision    integer     NOT NULL,
    event_id    uuid        NOT NULL,
    inferred_at timestamptz NOT NULL,
    findings    jsonb       NOT NULL,      -- the whole message
    payload_sha256 text     NOT NULL,
    PRIMARY KEY (run_id, study_uid, revision)
);

-- A physician's decision on a report. Append-only: the latest one of a report holds.
CREATE TABLE prescreen.reviews (
    review_id   uuid        PRIMARY KEY,
    run_id      text        NOT NULL,
    study_uid   text        NOT NULL,
    revision    integer     NOT NULL,
    report_event_id uuid    NOT NULL,      -- the report it is about
    action      text        NOT NULL CHECK (action IN ('confirm', 'correct', 'reject', 'object')),
    ef_percent  double precision CHECK (ef_percent BETWEEN 0 AND 100), -- the ejection fraction the physician stands for
    blinded     boolean     NOT NULL DEFAULT false, -- given before the model's number was shown
    reviewer    text        NOT NULL,      -- account, not a name
    category    text,                      -- of an objection
    note        text,                      -- the physician's words; never leaves this table
    difference  jsonb,                     -- what `correct` changed, as JSON
    decided_at  timestamptz NOT NULL,
    CHECK (action <> 'correct' OR difference IS NOT NULL OR ef_percent IS NOT NULL)
);
CREATE INDEX reviews_by_report ON prescreen.reviews (run_id, study_uid, revision, decided_at DESC);
CREATE INDEX reviews_by_time ON prescreen.reviews (decided_at);

-- Every calibration set that stood behind a report, as its file was. Named by the file's SHA-256: an id may be used twice.
CREATE TABLE prescreen.calibration_sets (
    digest      text        PRIMARY KEY,
    id          text        NOT NULL,
    made_at     timestamptz NOT NULL,
    model       text        NOT NULL,      -- SHA-256
    fingerprint text        NOT NULL,      -- of the inference
    alpha       double precision NOT NULL,
    studies     integer     NOT NULL,
    synthetic   boolean     NOT NULL,
    contents    text        NOT NULL,      -- the file, byte for byte
    first_used_at timestamptz NOT NULL
);

-- The drift monitors begin with the last reports of their set.
CREATE INDEX reports_by_calibration ON prescreen.reports (run_id, (report->'calibration'->>'digest'), issued_at DESC);

GRANT SELECT, INSERT, UPDATE ON prescreen.inferences TO prescreen_app;
GRANT SELECT, INSERT ON prescreen.reviews, prescreen.calibration_sets TO prescreen_app;
