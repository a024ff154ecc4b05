//! The two tables, and the tables that must be refused.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::domain::eligibility::{Basis, Reason};

const GIVEN: &str = include_str!("../../../tests/data/decision-table.csv");
const MORE: &str = include_str!("../../../tests/data/decision-table-more.csv");

fn rows(table: &str) -> Vec<Row> {
    read(table.as_bytes()).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn assert_passes(table: &str, row_count: usize) {
    let report = check(&rows(table));
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    assert_eq!((report.rows, report.passed), (row_count, row_count));
}

#[test]
fn the_given_table_passes_completely() {
    assert_passes(GIVEN, 105);
}

#[test]
fn our_own_table_passes_completely() {
    assert_passes(MORE, 394);
}

/// PAUSED_BY_PERSON and SUNSET have no column; `eligibility::properties` tests them.
#[test]
fn every_code_that_a_table_can_express_is_expected_by_one() {
    let expected: HashSet<&str> = [GIVEN, MORE].iter().flat_map(|t| rows(t)).map(|row| row.expected.code).collect();
    let codes = Basis::ALL.iter().map(|b| b.as_str()).chain(Reason::ALL.iter().map(|r| r.as_str()));
    let missing: Vec<&str> = codes.filter(|code| !expected.contains(code)).collect();
    assert_eq!(missing, ["PAUSED_BY_PERSON", "SUNSET"]);
    let regimes: HashSet<String> = rows(MORE).into_iter().map(|row| row.person.regime).collect();
    assert!(crate::domain::regimes::all().iter().all(|regime| regimes.contains(regime.id)));
}

#[test]
fn every_decision_cites_rules_of_the_book() {
    for row in [GIVEN, MORE].iter().flat_map(|table| rows(table)) {
        let decision = eligibility::decide(&row.rules, &row.terms, &row.person, row.now);
        assert!(!decision.rule_ids.is_empty(), "{}", row.id);
        assert!(decision.rule_ids.iter().all(|id| crate::domain::rulebook::find(id).is_some()), "{}", row.id);
        assert_eq!(decision.rules_version, crate::domain::regimes::RULES_VERSION);
    }
}

/// In the given table, what the engine cites meets what the row refers to, but for rows that refer to
/// a rule of counting or a particular case behind the deciding rule.
#[test]
fn the_rules_cited_are_mostly_those_that_the_given_table_refers_to() {
    let lines: Vec<&str> = GIVEN.lines().collect();
    let (mut meet, mut total) = (0, 0);
    for row in rows(GIVEN) {
        let decision = eligibility::decide(&row.rules, &row.terms, &row.person, row.now);
        let refers = |id: &&&str| {
            lines[row.line - 1].contains(&format!("{id},")) || lines[row.line - 1].contains(&format!("{id};"))
        };
        total += 1;
        meet += usize::from(decision.rule_ids.iter().any(|id| refers(&id)));
    }
    assert!(meet * 10 >= total * 7, "{meet} of {total}");
}

#[test]
fn a_row_that_differs_is_reported_with_both_decisions() {
    let table = GIVEN.replacen("SEND,CONSENT,none", "BLOCK,NO_CONSENT,none", 1);
    let report = check(&rows(&table));
    assert_eq!((report.rows, report.passed), (105, 104));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["failed"],
        serde_json::json!([{
            "id": "D001",
            "line": 2,
            "expected": {"decision": "BLOCK", "code": "NO_CONSENT", "tracking": "none"},
            "got": {"decision": "SEND", "code": "CONSENT", "tracking": "none"},
        }])
    );
}

#[test]
fn an_expectation_that_cannot_hold_is_a_difference_not_an_error() {
    let table = GIVEN.replacen("SEND,CONSENT,none", "BLOCK,CONSENT,none", 1);
    assert_eq!(check(&rows(&table)).failed.len(), 1);
    let table = GIVEN.replacen("SEND,CONSENT,none", "SEND,CONSENT,individual", 1);
    assert_eq!(check(&rows(&table)).failed.len(), 1);
}

#[test]
fn a_header_alone_is_a_table_without_rows() {
    assert!(rows(&header()).is_empty());
    let report = check(&[]);
    assert_eq!((report.rows, report.passed, report.failed.len()), (0, 0, 0));
}

#[test]
fn order_of_columns_byte_order_mark_and_line_ends_change_nothing() {
    let table = with(&[]);
    let turned: Vec<String> = table.lines().map(|l| l.split(',').rev().collect::<Vec<_>>().join(",")).collect();
    assert_eq!(check(&rows(&turned.join("\n"))).passed, 1);
    assert_eq!(check(&rows(&format!("\u{feff}{}\r\n\r\n", table.replace('\n', "\r\n")))).passed, 1);
}

#[test]
fn the_documentation_columns_are_known_and_not_required() {
    let table = with(&[]);
    let (header, row) = table.split_once('\n').unwrap();
    let extended = format!("{header},{}\n{row},1,2,3,4,5,6\n", DOCUMENTATION.join(","));
    assert_eq!(check(&rows(&extended)).passed, 1);
}

#[test]
fn a_bad_header_is_refused_column_by_column() {
    for name in REQUIRED {
        let others: Vec<&str> = REQUIRED.into_iter().filter(|other| *other != name).collect();
        let error = only_error(&others.join(","));
        assert_eq!(error, (1, name.to_owned()), "missing");
    }
    assert_eq!(only_error(&format!("{},surprise", header())), (1, "surprise".into()));
    assert_eq!(only_error(&format!("{},", header())), (1, "".into()));
    assert_eq!(only_error(&format!("{},email", header())), (1, "email".into()));
    assert_eq!(only_error(&format!("{},note,note", header())), (1, "note".into()));
    assert_eq!(errors(&header().replace("regime", "Regime")).len(), 2, "one unknown, one missing");
    for empty in ["", "\n\n", "\u{feff}"] {
        assert_eq!(read(empty.as_bytes()).unwrap_err().len(), 1);
    }
}

#[test]
fn a_row_with_too_many_or_too_few_fields_is_refused() {
    let table = with(&[]);
    assert_eq!(errors(&format!("{},more", table)).len(), 1);
    let error = errors(table.rsplit_once(',').unwrap().0).remove(0);
    assert_eq!((error.line, error.message.as_str()), (2, "33 fields, the header has 34"));
    assert_eq!(errors(&table.replacen('\n', "\n\n", 1)).len(), 1, "a blank line among the rows");
}

#[test]
fn an_id_stands_once() {
    let table = with(&[]);
    let row = table.lines().nth(1).unwrap();
    assert_eq!(only_error(&format!("{table}\n{row}")), (3, "id".into()));
}

#[test]
fn a_value_that_is_not_listed_is_refused_where_it_stands() {
    for (column, value) in [
        ("id", ""),
        ("now", ""),
        ("now", "2026-11-18"),
        ("now", "2026-11-18T09:00:00"),
        ("now", "2026-11-18T09:00:00+01:00"),
        ("now", "2026-11-18T09:00Z"),
        ("now", "2026-11-18 09:00:00Z"),
        ("now", "2026-11-18t09:00:00z"),
        ("now", "2026-13-18T09:00:00Z"),
        ("tz", ""),
        ("tz", "Paris"),
        ("tz", "Etc/Unknown"),
        ("tz", "+01:00"),
        ("product", ""),
        ("campaign_kind", "promo"),
        ("campaign_kind", "Marketing"),
        ("campaign_kind", " marketing"),
        ("campaign_kind", "unknown"),
        ("profession_related", "maybe"),
        ("sector", "energy"),
        ("sector", "unknown"),
        ("has_promo", "unknown"),
        ("art14_notice", "na"),
        ("info_given", "YES"),
        ("similar", "true"),
        ("same_entity", "1"),
        ("softoptin_notice", "oui"),
        ("tracking_request", "all"),
        ("contact_kind", "business"),
        ("contact_kind", "na"),
        ("address_kind", "role"),
        ("address_kind", "unknown"),
        ("legal_form", "sas"),
        ("legal_form", "na"),
        ("relationship", "partner"),
        ("relationship", "unknown"),
        ("source", "event"),
        ("source", "na"),
        ("tracking_consent", "yes"),
        ("last_activity_kind", "Click"),
        ("last_activity_kind", "click twice"),
        ("msg_elements", "identity,optout"),
        ("msg_elements", "identity+"),
        ("msg_elements", "none"),
        ("msg_elements", "identity+identity"),
        ("config", "retention_months"),
        ("config", "retention_months="),
        ("config", "retention_months=-1"),
        ("config", "retention_months=+1"),
        ("config", "retention_months=36.0"),
        ("config", "retention_months=4294967296"),
        ("config", "retention_months=36;retention_months=12"),
        ("config", "retention_months=36,repermission_cooldown_months=1"),
        ("config", "retention=36"),
        ("config", "retention_months=36;"),
        ("consents", "granted"),
        ("consents", "state=granted;"),
        ("consents", "product=crm,at=2026-03-10T08:00:00Z"),
        ("consents", "state=given"),
        ("consents", "state=granted,proof=paper"),
        ("consents", "state=granted,at=2026-03-10"),
        ("consents", "state=granted,at=yesterday"),
        ("consents", "state=granted,state=granted"),
        ("consents", "state=granted,by=me"),
        ("consents", "state=granted, proof=full"),
        ("suppressions", "scope=global"),
        ("suppressions", "scope=everything,reason=manual"),
        ("suppressions", "scope=global,reason=soft_limit"),
        ("suppressions", "scope=global,reason=other"),
        ("suppressions", "scope=global,value=crm,reason=manual"),
        ("suppressions", "scope=product,reason=manual"),
        ("suppressions", "scope=domain,reason=manual"),
        ("suppressions", "scope=domain,value=a b,reason=manual"),
        ("suppressions", "scope=address,value=paul,reason=manual"),
        ("suppressions", "scope=hash,reason=manual"),
        ("suppressions", "scope=hash,value=38632011,reason=manual"),
        ("suppressions", "scope=global,reason=manual,at=2026-05-02"),
        ("expected_decision", ""),
        ("expected_decision", "send"),
        ("expected_code", ""),
        ("expected_code", "YES"),
        ("expected_code", "consent"),
        ("expected_tracking", ""),
        ("expected_tracking", "deliverability"),
    ] {
        assert_eq!(only_error(&with(&[(column, value)])), (2, column.to_owned()), "{value:?}");
    }
}

#[test]
fn upper_case_hashes_are_refused_and_lower_case_ones_read() {
    let hash = "38632011c71a0f1f717164df0caf530e698eef0155cdba534ba42b56e835acc4";
    let cell = |hash: &str| format!("scope=hash,value={hash},reason=manual");
    assert_eq!(rows(&with(&[("suppressions", &cell(hash))])).len(), 1);
    assert_eq!(errors(&with(&[("suppressions", &cell(&hash.to_uppercase()))])).len(), 1);
}

#[test]
fn every_error_of_a_table_is_told_at_once() {
    let row = with(&[("tz", "Paris"), ("source", "?"), ("expected_code", "?")]);
    let second = with(&[("id", "second"), ("sector", "?")]);
    let second = second.lines().nth(1).unwrap();
    let places: Vec<(usize, String)> =
        errors(&format!("{row}\n{second}")).into_iter().map(|e| (e.line, e.column.unwrap())).collect();
    let at = |line, column: &str| (line, column.to_owned());
    assert_eq!(places.len(), 4);
    for place in [at(2, "tz"), at(2, "source"), at(2, "expected_code"), at(3, "sector")] {
        assert!(places.contains(&place), "{place:?}");
    }
    let error = &errors(&row)[0];
    assert!(error.to_string().starts_with("line 2, column "), "{error}");
}

#[test]
fn what_is_wrong_with_a_contact_is_a_decision() {
    for (column, value, code) in [
        ("email", "paul", "DATA_INVALID_ADDRESS"),
        ("collected_at", "?", "DATA_INVALID_DATE"),
        ("collected_at", "2026-03-10T08:00:00+01:00", "DATA_INVALID_DATE"),
        ("relationship_end", "?", "DATA_INVALID_DATE"),
        ("last_activity_at", "?", "DATA_INVALID_DATE"),
        ("repermission_last_at", "?", "DATA_INVALID_DATE"),
        ("regime", "?", "REGIME_UNKNOWN"),
    ] {
        assert_eq!(evaluate(&rows(&with(&[(column, value)]))[0]).code, code, "{column}");
    }
}

/// A table of one row, a consumer of whom nothing is known but the address, with these cells changed.
fn with(changes: &[(&str, &str)]) -> String {
    let cell = |column: &&str| {
        let changed = changes.iter().find(|(name, _)| name == column).map(|(_, value)| *value);
        let value = changed.unwrap_or(match *column {
            "id" => "R1",
            "regime" => "FR",
            "now" => "2026-11-18T09:00:00Z",
            "tz" => "Europe/Paris",
            "product" => "crm",
            "sector" => "none",
            "msg_elements" => "identity+optout",
            "email" => "marie.durand@example.net",
            "expected_decision" => "BLOCK",
            "expected_code" => "RETENTION_UNKNOWN",
            "expected_tracking" => "none",
            _ => "",
        });
        if value.contains(',') { format!("\"{value}\"") } else { value.to_owned() }
    };
    format!("{}\n{}", header(), REQUIRED.iter().map(cell).collect::<Vec<_>>().join(","))
}

fn header() -> String {
    REQUIRED.join(",")
}

fn errors(table: &str) -> Vec<TableError> {
    read(table.as_bytes()).expect_err("the table must be refused")
}

fn only_error(table: &str) -> (usize, String) {
    let mut errors = errors(table);
    assert_eq!(errors.len(), 1, "{errors:?}");
    let error = errors.remove(0);
    (error.line, error.column.unwrap_or_default())
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_cell_makes_the_reader_or_the_engine_panic(
        column in proptest::sample::select(REQUIRED.to_vec()),
        value in "([a-z]{1,9}=)?[ -~é\u{0}\n]{0,24}[;,=+]?[0-9TZ:-]{0,24}",
    ) {
        let cell = format!("\"{}\"", value.replace('"', "\"\""));
        let row: Vec<String> = REQUIRED.iter().zip(with(&[]).lines().nth(1).unwrap().split(','))
            .map(|(name, old)| if *name == column { cell.clone() } else { old.to_owned() }).collect();
        if let Ok(rows) = read(format!("{}\n{}", header(), row.join(",")).as_bytes()) {
            check(&rows);
        }
    }

    #[test]
    fn a_table_cut_anywhere_does_not_make_the_reader_panic(at in 0..MORE.len()) {
        let _ = read(&MORE.as_bytes()[..at]);
    }
}
