//! The schema, as numbered steps that are embedded in the binary. A step is never changed once it was released: a database remembers
//! the hash of each step that made it.
//!
//! Both databases take the same text where SQL allows it: `TEXT`, `BIGINT`, `DOUBLE PRECISION`, placeholders `$1`, and no NULL (an empty
//! text or 0 says that there is nothing), because the driver for both has no other types in common. Triggers differ, so a step may have a
//! text for each database.
//!
//! Numbers: 1 to 49 cases and audit, 50 to 99 access.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::Kind;

/// One step of the schema.
struct Step {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// A step whose text is the same for both databases.
const fn common(number: i64, name: &'static str, sql: &'static str) -> Step {
    Step { number, name, sqlite: sql, postgres: sql }
}

/// Every step, in the order of numbers.
const STEPS: &[Step] = &[
    common(1, "store", include_str!("migrations/0001_store.sql")),
    common(2, "audit", include_str!("migrations/0002_audit.sql")),
    Step {
        number: 3,
        name: "audit guard",
        sqlite: include_str!("migrations/0003_audit_guard.sqlite.sql"),
        postgres: include_str!("migrations/0003_audit_guard.postgres.sql"),
    },
    common(4, "cases", include_str!("migrations/0004_cases.sql")),
];

/// The steps of access, which have the higher numbers.
const ACCESS_STEPS: &[Step] = &[common(50, "access", include_str!("migrations/0050_access.sql"))];

/// The steps for one database.
pub(super) fn migrator(kind: Kind) -> Migrator {
    let migration = |step: &Step| {
        let sql = match kind {
            Kind::Sqlite => step.sqlite,
            Kind::Postgres => step.postgres,
        };
        Migration::new(step.number, Cow::Borrowed(step.name), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(STEPS.iter().chain(ACCESS_STEPS).map(migration).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_numbers_of_their_own_in_order() {
        let steps: Vec<&Step> = STEPS.iter().chain(ACCESS_STEPS).collect();
        assert!(steps.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert!(steps.iter().all(|step| (1..100).contains(&step.number) && !step.name.is_empty()));
    }
}
