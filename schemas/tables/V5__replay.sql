-- Replays: what each arm made of each study at each stage, and what the comparison came to. Nothing of the live system
-- refers to these tables, and they to none of its.

-- One row for each run. Not a run of the live system: those have no plan.
CREATE TABLE prescreen.replay_runs (
    run_id        text        PRIMARY KEY CHECK (run_id NOT IN ('live', 'heartbeat')),
    plan          text        NOT NULL,    -- plan.json, canonical
    plan_sha256   text        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('running', 'finished', 'failed')),
    studies       bigint      NOT NULL,    -- inputs of the plan
    expected      bigint      NOT NULL,    -- rows at most
    started_by    text        NOT NULL,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    failure       text,
    verdict       text        CHECK (verdict IN ('pass', 'regression', 'inconclusive')),
    report_sha256 text,                    -- of report_json, byte for byte
    report_html   text,
    report_json   text,
    reported_at   timestamptz,
    promoted_at   timestamptz,
    CHECK ((verdict IS NULL) = (report_sha256 IS NULL))
);
CREATE INDEX replay_runs_by_time ON prescreen.replay_runs (started_at DESC);

-- One row for each step done; the first write wins.
CREATE TABLE prescreen.replay_results (
    run_id        text        NOT NULL REFERENCES prescreen.replay_runs,
    arm           text        NOT NULL CHECK (arm IN ('baseline', 'candidate')),
    study_uid     text        NOT NULL,
    revision      integer     NOT NULL,
    stage         text        NOT NULL,
    input_event   uuid        NOT NULL,
    ended         text        NOT NULL CHECK (ended IN ('emitted', 'rejected', 'failed')),
    output        json        NOT NULL,    -- not jsonb: numbers stay as they were written
    output_sha256 text        NOT NULL,
    seconds       double precision,
    model         json,                    -- requests and tokens, where they were counted
    memo_hits     bigint      NOT NULL,
    stored_at     timestamptz NOT NULL,
    PRIMARY KEY (run_id, arm, study_uid, revision, stage)
);

GRANT SELECT, INSERT ON prescreen.replay_runs, prescreen.replay_results TO prescreen_app;
GRANT UPDATE (state, finished_at, failure, verdict, report_sha256, report_html, report_json, reported_at, promoted_at)
    ON prescreen.replay_runs TO prescreen_app;
