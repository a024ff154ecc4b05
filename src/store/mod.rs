//! The only SQL: one file per table, the same statements on SQLite and PostgreSQL.
//!
//! A function takes a [`Tx`]; the pipeline begins and commits. A statement is one [`Sql`] text
//! for both engines, with a twin only where it must differ. Lists travel as one JSON text, so
//! that a statement's text never depends on how many rows it is given.

mod engine;

pub mod buckets;
pub mod campaigns;
pub mod consents;
pub mod contacts;
pub mod deliveries;
pub mod domains;
pub mod events;
pub mod facts;
pub mod groups;
pub mod imports;
pub mod inspect;
pub mod keys;
pub mod lanes;
pub mod opens;
pub mod outcomes;
pub mod products;
pub mod repermission;
pub mod requests;
pub mod stops;
pub mod subscriptions;
pub mod suppressions;
pub mod wordings;
pub mod workers;
mod writer;

pub use engine::{Db, LiteTx, OpenError, Sql, Tx};
pub use writer::{Carry, Held, Writer, Writing};

/// Runs one body against the connection of whichever engine the transaction is on.
macro_rules! on {
    ($tx:expr, |$conn:ident| $body:expr) => {
        match $tx {
            $crate::store::Tx::Lite(tx) => {
                let $conn = &mut **tx;
                $body
            }
            $crate::store::Tx::Pg(tx) => {
                let $conn = &mut **tx;
                $body
            }
        }
    };
}
pub(crate) use on;

/// The result of a statement.
pub type Result<T> = std::result::Result<T, sqlx::Error>;

/// Whether a transaction that failed so may be committed all the same: the database's answer did not arrive.
pub fn may_have_committed(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => false,
        // PostgreSQL that stops (class 57P) says so to whoever waits for an answer.
        sqlx::Error::Database(said) => said.code().is_some_and(|code| code.starts_with("57P")),
        _ => true,
    }
}

/// Rows that a statement answers as one JSON text: a page of them is read several times faster so than row by row.
fn rows<T: serde::de::DeserializeOwned>(json: &str) -> Result<Vec<T>> {
    serde_json::from_str(json).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// True and false in JSON; SQLite writes them as numbers.
fn truth<'de, D: serde::Deserializer<'de>>(d: D) -> std::result::Result<bool, D::Error> {
    struct Truth;
    impl serde::de::Visitor<'_> for Truth {
        type Value = bool;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("true, false, 1 or 0")
        }
        fn visit_bool<E>(self, value: bool) -> std::result::Result<bool, E> {
            Ok(value)
        }
        fn visit_u64<E>(self, value: u64) -> std::result::Result<bool, E> {
            Ok(value != 0)
        }
    }
    d.deserialize_any(Truth)
}

/// A list of rows or keys as the JSON text that a statement takes it as.
fn json<T: serde::Serialize + ?Sized>(rows: &T) -> String {
    serde_json::to_string(rows).expect("rows are plain values")
}
