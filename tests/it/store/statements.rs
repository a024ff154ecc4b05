//! Every statement is prepared on its engine, and says the same on both.

use ouinon::store::Db;
use sqlx::{AssertSqlSafe, Column, Executor, SqlSafeStr, Statement};

use crate::{
    source::{self, Piece},
    world::{World, on_both},
};

/// A statement of the store: where it stands and its text on each engine.
struct Text {
    at: String,
    lite: String,
    pg: String,
}

/// Every `Sql::same` and `Sql::twin` under `src/store`.
fn statements() -> Vec<Text> {
    let mut found = Vec::new();
    for file in source::files("src/store", "rs") {
        let mut pieces: Vec<(usize, Piece)> = source::pieces(file.of_program());
        pieces.retain(|(_, piece)| match piece {
            Piece::Comment(_) => false,
            Piece::Code(code) => !code.trim().is_empty(),
            Piece::Text(_) => true,
        });
        for (i, (_, piece)) in pieces.iter().enumerate() {
            let Piece::Code(code) = piece else { continue };
            let code = code.trim_end();
            let text = |at: usize| match &pieces.get(at) {
                Some((_, Piece::Text(text))) => text.clone(),
                _ => panic!("{}: a statement is not a literal", file.path),
            };
            let at = format!("{}:{}", file.path, pieces.get(i + 1).map_or(0, |(line, _)| *line));
            if code.ends_with("Sql::same(") {
                found.push(Text { at, lite: text(i + 1), pg: text(i + 1) });
            } else if code.ends_with("Sql::twin(") {
                found.push(Text { at, lite: text(i + 1), pg: text(i + 3) });
            }
        }
    }
    found
}

/// The highest `$n` of a statement, each of which must be used.
fn parameters(sql: &str) -> usize {
    let numbers: std::collections::BTreeSet<usize> = sql
        .split('$')
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()))
        .collect();
    let highest = numbers.last().copied().unwrap_or(0);
    assert_eq!(numbers.len(), highest, "a parameter is not used: {sql}");
    highest
}

#[test]
fn the_twins_take_the_same_parameters() {
    let statements = statements();
    assert!(statements.len() > 50, "the statements are found: {}", statements.len());
    for s in &statements {
        assert_eq!(parameters(&s.lite), parameters(&s.pg), "{}", s.at);
        for sql in [&s.lite, &s.pg] {
            let words: Vec<String> =
                sql.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_lowercase).collect();
            for forbidden in ["now", "current_timestamp", "random", "date", "strftime"] {
                assert!(!words.iter().any(|w| w == forbidden), "{}: {forbidden} belongs to the application", s.at);
            }
            assert!(!sql.contains('?'), "{}: parameters are $1, $2 …", s.at);
        }
    }
    let same = |s: &&Text| s.lite == s.pg;
    let (same, twins) = (statements.iter().filter(same).count(), statements.iter().filter(|s| !same(s)).count());
    assert!(same > twins, "one text is the rule and a twin the exception: {same} and {twins}");
}

on_both! {
    /// A misspelt column is found here and not by the first person who needs the statement.
    async fn every_statement_is_prepared(world: &mut World) {
        for s in statements() {
            if let Err(e) = columns(world.db(), &s).await {
                panic!("{}: {e}", s.at);
            }
        }
    }
}

/// SQLite plans without statistics, and a plan that walks over a whole campaign for each message is
/// quadratic. Only what counts or cancels a campaign as a whole may look at all of its deliveries.
#[tokio::test]
async fn no_statement_walks_over_a_campaign_for_a_few_of_its_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&format!("sqlite:{}/plans.db", folder.path().display())).await.unwrap();
    let Db::Lite { writer, .. } = &db else { unreachable!("the URL says SQLite") };
    let mut connection = writer.hold().await.unwrap();
    let mut seen = 0;
    for s in statements().iter().filter(|s| s.lite.contains("delivery")) {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", s.lite));
        let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&mut *connection).await.unwrap();
        let is_whole = s.lite.contains("COUNT(*)") || s.lite.contains("state IN ('queued', 'claimed', 'deferred')");
        for (.., step) in steps {
            let walks = ["delivery", "d"].iter().any(|table| {
                step == format!("SCAN {table}") || step == format!("SEARCH {table} USING PRIMARY KEY (campaign_id=?)")
            });
            assert!(is_whole || !walks, "{}: {step}", s.at);
            seen += usize::from(walks);
        }
    }
    assert!(seen > 0, "a walk is recognised where there is one");
}

/// Prepares a statement and returns the names of the columns it answers.
async fn columns(db: &Db, s: &Text) -> Result<Vec<String>, sqlx::Error> {
    match db {
        Db::Lite { writer, .. } => {
            let mut connection = writer.hold().await?;
            let statement = connection.prepare(AssertSqlSafe(s.lite.clone()).into_sql_str()).await?;
            Ok(statement.columns().iter().map(|c| c.name().to_owned()).collect())
        }
        Db::Pg(pool) => {
            let mut connection = pool.acquire().await?;
            let statement = connection.prepare(AssertSqlSafe(s.pg.clone()).into_sql_str()).await?;
            Ok(statement.columns().iter().map(|c| c.name().to_owned()).collect())
        }
    }
}

/// Both engines answer the same columns in the same order, so that one struct reads either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_twins_answer_the_same_columns() {
    let Some((lite, pg)) = super::schema::both("twins_columns").await else { return };
    for s in statements() {
        let (on_lite, on_pg) = (columns(&lite.db, &s).await.unwrap(), columns(&pg.db, &s).await.unwrap());
        if on_lite.iter().all(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_')) {
            assert!(on_lite == on_pg || on_lite.len() == 1, "{}: {on_lite:?} and {on_pg:?}", s.at);
        } else {
            assert_eq!(on_lite.len(), on_pg.len(), "{}: an expression has a name of its own on each", s.at);
        }
    }
    pg.close().await;
}
