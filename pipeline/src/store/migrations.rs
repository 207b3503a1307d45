//! Brings the tables to this build's version.

use refinery::{Report, Runner};

use super::{Database, DatabaseError};

mod embedded {
    refinery::embed_migrations!("../schemas/tables");
}

/// Why the tables could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrationError {
    /// No database to migrate.
    #[error("cannot migrate")]
    Database(#[from] DatabaseError),
    /// A migration failed; the ones before it stand.
    #[error("migration failed")]
    Migration(#[from] Box<refinery::Error>),
}

fn runner() -> Runner {
    // Each migration is one transaction with its own history row: a crash leaves whole versions only.
    embedded::migrations::runner().set_grouped(false).set_abort_divergent(true).set_abort_missing(true)
}

/// Applies what is missing and returns the names applied. Forward only.
pub(crate) fn migrate(database: &Database) -> Result<Vec<String>, MigrationError> {
    // The history lies beside the tables it speaks of: from PostgreSQL 15 on, `public` belongs to the database's owner.
    let schema = "CREATE SCHEMA IF NOT EXISTS prescreen";
    database.with_client(|client| client.batch_execute(schema))?.map_err(DatabaseError::of)?;
    let report: Report = database.with_client(|client| runner().run(client))?.map_err(Box::new)?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// The names that `migrate` would apply.
pub(crate) fn pending(database: &Database) -> Result<Vec<String>, MigrationError> {
    // Before the first migration there is no history table, and everything is pending.
    let history = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";
    let begun = database.with_client(|client| client.query_one(history, &[]).map(|row| row.get(0)))?;
    let applied = if begun.map_err(DatabaseError::of)? {
        database.with_client(|client| runner().get_applied_migrations(client))?.map_err(Box::new)?
    } else {
        Vec::new()
    };
    let runner = runner();
    let missing = runner
        .get_migrations()
        .iter()
        .filter(|one| !applied.iter().any(|done| done.version() == one.version()));
    Ok(missing.map(ToString::to_string).collect())
}
