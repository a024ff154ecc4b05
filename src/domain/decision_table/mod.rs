//! Decision tables: rows of facts with the decision that a lawyer expects (rules section 6).
//!
//! Read strictly: a table that does not say exactly what it means is refused with every error
//! located, and nothing is evaluated. What a *contact's* data get wrong (an address, a date, an
//! unknown regime) is not an error of the table: it is decided, like in life.
//!
//! Tolerated, because they change no meaning: a UTF-8 byte order mark, CRLF line ends, blank lines
//! after the last row, columns in any order. The documentation columns may be left out.

mod items;
mod records;
mod row;

use std::{collections::HashMap, fmt};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    campaigns::Terms,
    eligibility::{self, Outcome, Person, Rules, Tracking},
};
use records::Record;
use row::Cells;

/// Columns that a table must have: what is decided upon, and what is expected.
pub const REQUIRED: [&str; 34] = [
    "id",
    "regime",
    "now",
    "tz",
    "config",
    "campaign_kind",
    "product",
    "profession_related",
    "sector",
    "has_promo",
    "art14_notice",
    "msg_elements",
    "tracking_request",
    "email",
    "contact_kind",
    "address_kind",
    "legal_form",
    "relationship",
    "similar",
    "same_entity",
    "softoptin_notice",
    "consents",
    "source",
    "info_given",
    "collected_at",
    "relationship_end",
    "last_activity_kind",
    "last_activity_at",
    "suppressions",
    "repermission_last_at",
    "tracking_consent",
    "expected_decision",
    "expected_code",
    "expected_tracking",
];

/// Columns for readers: never an input, and not required.
pub const DOCUMENTATION: [&str; 6] = ["group", "title", "rule_class", "rule_ref", "source_ref", "note"];

/// One row: a person, a campaign, an instant, and what ought to come out.
#[derive(Debug, Clone)]
pub struct Row {
    /// What the table calls it.
    pub id: String,
    /// Line on which the row starts; the header is line 1.
    pub line: usize,
    /// Settings, time zone and the key of test tables.
    pub rules: Rules,
    /// The campaign.
    pub terms: Terms,
    /// The person.
    pub person: Person,
    /// The instant of the decision.
    pub now: Timestamp,
    /// What the table expects.
    pub expected: Verdict,
}

/// A decision as a table writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `SEND` or `BLOCK`.
    pub decision: &'static str,
    /// The basis or reason.
    pub code: &'static str,
    /// The tracking allowed.
    pub tracking: Tracking,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, tracking {}", self.decision, self.code, self.tracking)
    }
}

/// Something that a table must not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {message}", .column.as_ref().map(|c| format!(", column {c}")).unwrap_or_default())]
pub struct TableError {
    /// Line on which the row starts; the header is line 1.
    pub line: usize,
    /// The column, when one is at fault.
    pub column: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Reads a whole table, or says everything that is wrong with it.
pub fn read(table: &[u8]) -> Result<Vec<Row>, Vec<TableError>> {
    let mut errors = Vec::new();
    let mut records = records::read(table, &mut errors).into_iter();
    let Some(header) = records.next() else {
        errors.push(TableError { line: 1, column: None, message: "the table is empty: it needs a header line".into() });
        return Err(errors);
    };
    let columns = read_header(&header, &mut errors);
    let mut lines_by_id: HashMap<String, usize> = HashMap::new();
    let mut rows = Vec::new();
    for record in records {
        if record.fields.len() != header.fields.len() {
            let message = format!("{} fields, the header has {}", record.fields.len(), header.fields.len());
            errors.push(TableError { line: record.line, column: None, message });
            continue;
        }
        let row = Cells::new(&columns, &record, &mut errors).row();
        if let Some(first) = lines_by_id.insert(row.id.clone(), row.line).filter(|_| !row.id.is_empty()) {
            let message = format!("the id {:?} stands on line {first} already", row.id);
            errors.push(TableError { line: row.line, column: Some("id".into()), message });
        }
        rows.push(row);
    }
    errors.sort_by_key(|error| error.line);
    if errors.is_empty() { Ok(rows) } else { Err(errors) }
}

/// Where each known column stands.
fn read_header<'a>(header: &'a Record, errors: &mut Vec<TableError>) -> HashMap<&'a str, usize> {
    let mut columns = HashMap::new();
    let mut fault = |column: &str, message: &str| {
        let column = Some(column.to_owned());
        errors.push(TableError { line: header.line, column, message: message.to_owned() });
    };
    for (at, name) in header.fields.iter().enumerate() {
        if !REQUIRED.contains(&name.as_str()) && !DOCUMENTATION.contains(&name.as_str()) {
            fault(name, if name.is_empty() { "a column without a name" } else { "unknown column" });
        } else if columns.insert(name.as_str(), at).is_some() {
            fault(name, "the column stands there twice");
        }
    }
    for name in REQUIRED {
        if !columns.contains_key(name) {
            fault(name, "the column is missing");
        }
    }
    columns
}

/// What the engine decides on a row: the one and only [`eligibility::decide`].
pub fn evaluate(row: &Row) -> Verdict {
    let decision = eligibility::decide(&row.rules, &row.terms, &row.person, row.now);
    Verdict {
        decision: if decision.outcome.is_send() { SEND } else { BLOCK },
        code: decision.outcome.code(),
        tracking: decision.tracking,
    }
}

const SEND: &str = "SEND";
const BLOCK: &str = "BLOCK";

/// The result of `rules check --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Rows of the table.
    pub rows: usize,
    /// Rows decided as expected.
    pub passed: usize,
    /// The others, in the order of the table.
    pub failed: Vec<Difference>,
}

/// A row that is decided otherwise than expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The row.
    pub id: String,
    /// The line on which it starts.
    pub line: usize,
    /// What the table says.
    pub expected: Verdict,
    /// What the engine decides.
    pub got: Verdict,
}

/// Evaluates every row and compares.
pub fn check(rows: &[Row]) -> Report {
    let difference = |row: &Row| {
        let got = evaluate(row);
        let differs = got != row.expected;
        differs.then(|| Difference { id: row.id.clone(), line: row.line, expected: row.expected.clone(), got })
    };
    let failed: Vec<Difference> = rows.iter().filter_map(difference).collect();
    Report { rows: rows.len(), passed: rows.len() - failed.len(), failed }
}

/// A code that a table may expect, with its outcome.
fn outcome_of(code: &str) -> Option<Outcome> {
    let basis = code.parse().map(Outcome::Send);
    basis.or_else(|_| code.parse().map(Outcome::Block)).ok()
}

#[cfg(test)]
mod tests;
