//! The two sets of migrations make the same tables.

use std::collections::{BTreeMap, BTreeSet};

use ouinon::store::Db;

use crate::{postgres, source};

/// A column: whether it may be null, and its family of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Column {
    nullable: bool,
    family: &'static str,
}

type Tables = BTreeMap<(String, String), Column>;

/// A freshly migrated database.
pub struct Fresh {
    pub db: Db,
    server: Option<postgres::Database>,
    _folder: Option<tempfile::TempDir>,
}

impl Fresh {
    /// Closes the database, and drops it where it is on a server.
    pub async fn close(self) {
        self.db.close().await;
        if let Some(server) = self.server {
            server.drop_database().await;
        }
    }
}

/// A fresh database on SQLite.
pub async fn lite() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&format!("sqlite:{}", folder.path().join("fresh.db").display())).await.unwrap();
    Fresh { db, server: None, _folder: Some(folder) }
}

/// A fresh database on each engine; none where there is no PostgreSQL.
pub async fn both(name: &str) -> Option<(Fresh, Fresh)> {
    let server = postgres::database(name).await?;
    let db = Db::open(&server.url).await.unwrap();
    Some((lite().await, Fresh { db, server: Some(server), _folder: None }))
}

const LITE_COLUMNS: &str = "SELECT m.name, c.name, c.type, c.\"notnull\" FROM sqlite_schema m
    JOIN pragma_table_xinfo(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\'";
const PG_COLUMNS: &str = "SELECT t.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN 1::bigint ELSE 0 END
    FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = 'public' AND t.relkind IN ('r', 'p') AND NOT t.relispartition AND a.attnum > 0
    AND NOT a.attisdropped AND t.relname NOT LIKE '\\_sqlx%'";
const LITE_KEYS: &str = "SELECT m.name, f.\"from\", f.\"table\", f.on_delete FROM sqlite_schema m
    JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'";
const PG_KEYS: &str = "SELECT t.relname::text, a.attname::text, r.relname::text,
    CASE k.confdeltype WHEN 'c' THEN 'CASCADE' ELSE 'NO ACTION' END
    FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.conkey[1] WHERE k.contype = 'f'";
/// Named indexes with whether they are unique; those of keys and constraints have names of their own.
const LITE_INDEXES: &str = "SELECT m.name, i.name, CAST(i.\"unique\" AS TEXT), '' FROM sqlite_schema m
    JOIN pragma_index_list(m.name) i WHERE m.type = 'table' AND i.origin = 'c'";
const PG_INDEXES: &str = "SELECT t.relname::text, i.relname::text, CASE WHEN x.indisunique THEN '1' ELSE '0' END, ''
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = 'public' AND NOT i.relispartition AND t.relname NOT LIKE '\\_sqlx%'
    AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.oid)";

async fn tables(db: &Db) -> Tables {
    let rows: Vec<(String, String, String, i64)> = match db {
        Db::Lite { readers, .. } => sqlx::query_as(LITE_COLUMNS).fetch_all(readers).await.unwrap(),
        Db::Pg(pool) => sqlx::query_as(PG_COLUMNS).fetch_all(pool).await.unwrap(),
    };
    let column = |(table, name, kind, notnull): (String, String, String, i64)| {
        let family = match kind.to_lowercase().as_str() {
            // Booleans are integers on SQLite.
            "integer" | "bigint" | "boolean" => "integer",
            "text" => "text",
            "blob" | "bytea" => "bytes",
            "real" | "double precision" => "real",
            other => panic!("{table}.{name}: {other} has no twin on the other engine"),
        };
        // An INTEGER PRIMARY KEY of SQLite is never null, and not said to be NOT NULL.
        ((table, name.clone()), Column { nullable: notnull == 0 && name != "id", family })
    };
    rows.into_iter().map(column).collect()
}

async fn texts(db: &Db, lite: &'static str, pg: &'static str) -> BTreeSet<(String, String, String, String)> {
    let rows = match db {
        Db::Lite { readers, .. } => sqlx::query_as(lite).fetch_all(readers).await,
        Db::Pg(pool) => sqlx::query_as(pg).fetch_all(pool).await,
    };
    rows.unwrap().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_have_the_same_tables_references_and_indexes() {
    let Some((lite, pg)) = both("same_tables").await else { return };
    let (on_lite, on_pg) = (tables(&lite.db).await, tables(&pg.db).await);
    assert!(on_lite.len() > 80, "the columns are found: {}", on_lite.len());
    for (column, about) in &on_lite {
        assert_eq!(Some(about), on_pg.get(column), "SQLite and PostgreSQL differ in {column:?}");
    }
    for column in on_pg.keys() {
        assert!(on_lite.contains_key(column), "only PostgreSQL has {column:?}");
    }
    assert_eq!(texts(&lite.db, LITE_KEYS, PG_KEYS).await, texts(&pg.db, LITE_KEYS, PG_KEYS).await);
    assert_eq!(texts(&lite.db, LITE_INDEXES, PG_INDEXES).await, texts(&pg.db, LITE_INDEXES, PG_INDEXES).await);
    pg.close().await;
}

/// SQLite reads NULL into a number as 0 and into a text as "": a column that may be null is an
/// `Option` in the struct of its row.
#[tokio::test]
async fn a_column_that_may_be_null_is_an_option_in_its_row() {
    let fresh = lite().await;
    let tables = tables(&fresh.db).await;
    let mut rows = 0;
    for file in source::files("src/store", "rs") {
        for part in file.text.split("/// A row of `").skip(1) {
            rows += 1;
            let table = part.split('`').next().unwrap();
            let body = part.split_once('{').map_or("", |(_, rest)| rest.split("\n}").next().unwrap_or(""));
            for line in body.lines().map(str::trim).filter(|l| l.starts_with("pub ")) {
                let (name, kind) = line["pub ".len()..].split_once(": ").expect("a field has a type");
                let column = tables
                    .get(&(table.to_owned(), name.to_owned()))
                    .unwrap_or_else(|| panic!("{}: {table} has no column {name}", file.path));
                let optional = kind.starts_with("Option<");
                assert_eq!(optional, column.nullable, "{}: {table}.{name} is {kind}", file.path);
            }
        }
    }
    assert!(rows >= 5, "the rows are found: {rows}");
}

/// The refusals stand alone: nothing that is deleted takes one along.
#[tokio::test]
async fn no_suppression_refers_to_anything() {
    let fresh = lite().await;
    let keys = texts(&fresh.db, LITE_KEYS, PG_KEYS).await;
    assert!(keys.iter().any(|(table, ..)| table == "consent"), "the references are found");
    assert!(keys.iter().all(|(table, _, to, _)| table != "suppression" && to != "suppression"), "{keys:?}");
}
