//! The audit log: what was changed behind its back is found and named.

use jiff::Timestamp;
use serde_json::json;

use super::Store;
use crate::store::{
    DatabaseError, Role,
    audit::{self, Broken, Entry},
};

fn append(store: &Store, subject: &'static str) -> i64 {
    let written = store.database.write(Role::App, move |sql| {
        let detail = json!({ "zeta": 1.50, "alpha": ["é", 1e20], "count": 3 });
        audit::append(
            sql,
            &Entry { actor: "engineer", action: "stage.pause", subject, detail, at: Timestamp::now() },
        )
    });
    written.expect("appended")
}

/// As the database's owner, who may do everything.
fn tamper(store: &Store, statements: &'static str) {
    let script = format!(
        "ALTER TABLE prescreen.audit_log DISABLE TRIGGER USER; {statements};
         ALTER TABLE prescreen.audit_log ENABLE TRIGGER USER"
    );
    store
        .database
        .with_client(move |client| client.batch_execute(&script))
        .expect("a client")
        .expect("tampered");
}

fn verified(store: &Store) -> Result<i64, Broken> {
    audit::verify(&store.database).expect("an answer")
}

pub(super) fn a_row_that_was_edited_deleted_or_cut_off_is_named(store: &Store) {
    assert_eq!(verified(store), Ok(0));
    let ids = ["quality_gate", "keyframes", "inference"].map(|stage| append(store, stage));
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(verified(store), Ok(3));

    // What is rolled back leaves no row and no gap.
    let broken = store.database.write(Role::App, |sql| {
        let entry =
            Entry { actor: "a", action: "b", subject: "c", detail: json!(null), at: Timestamp::UNIX_EPOCH };
        audit::append(sql, &entry)?;
        sql.batch_execute("SELECT 1 / 0")
    });
    assert!(broken.is_err());
    assert_eq!(append(store, "reporting"), 4);
    assert_eq!(verified(store), Ok(4));

    for statement in ["UPDATE prescreen.audit_log SET actor = 'x'", "DELETE FROM prescreen.audit_log"] {
        let refused = store.database.write(Role::App, move |sql| sql.batch_execute(statement));
        assert!(
            matches!(&refused, Err(DatabaseError::Refused { code, .. }) if code == "42501"),
            "{statement}: {refused:?}"
        );
    }
    let owner = "DELETE FROM prescreen.audit_log WHERE id = 1";
    let refused = store.database.with_client(move |client| client.batch_execute(owner)).expect("a client");
    assert!(refused.is_err(), "not even the owner, as long as the trigger stands");

    tamper(store, "CREATE TABLE prescreen.kept AS SELECT * FROM prescreen.audit_log");
    let restore =
        "DELETE FROM prescreen.audit_log; INSERT INTO prescreen.audit_log SELECT * FROM prescreen.kept";
    for (change, found) in [
        ("UPDATE prescreen.audit_log SET actor = 'nobody' WHERE id = 2", Broken::Edited { id: 2 }),
        (
            "UPDATE prescreen.audit_log SET detail = detail || '{\"count\": 4}' WHERE id = 1",
            Broken::Edited { id: 1 },
        ),
        (
            "UPDATE prescreen.audit_log SET at = at + interval '1 microsecond' WHERE id = 4",
            Broken::Edited { id: 4 },
        ),
        ("DELETE FROM prescreen.audit_log WHERE id = 3", Broken::Missing { id: 3 }),
        ("DELETE FROM prescreen.audit_log WHERE id >= 3", Broken::Missing { id: 3 }),
        ("TRUNCATE prescreen.audit_log", Broken::Missing { id: 1 }),
        ("UPDATE prescreen.audit_head SET id = 3", Broken::Head { id: 4 }),
    ] {
        tamper(store, change);
        assert_eq!(verified(store), Err(found), "{change}");
        tamper(store, restore);
        tamper(store, "UPDATE prescreen.audit_head SET id = 4");
        assert_eq!(verified(store), Ok(4), "after {change}");
    }
    // A row with a hash of its own making fits itself, and not the one after it.
    let forged = "DELETE FROM prescreen.audit_log WHERE id = 2; INSERT INTO prescreen.audit_log
        SELECT 2, at, actor, action, subject, detail, previous_hash, hash FROM prescreen.kept WHERE id = 3";
    tamper(store, forged);
    assert_eq!(verified(store), Err(Broken::Edited { id: 2 }), "an id belongs to the hash");
    tamper(store, restore);
    tamper(store, "DROP TABLE prescreen.kept");
    assert_eq!(append(store, "store"), 5, "and it goes on");
    assert_eq!(verified(store), Ok(5));
}
