//! Every basis and reason is documented and tested; every rule has code behind it.

use std::collections::BTreeSet;

use ouinon::domain::{
    eligibility::{Basis, Reason},
    lang::Lang,
    rulebook,
};

use super::Findings;
use crate::source;

const PAGE: &str = "docs/reasons.md";

/// `docs/reasons.md` as the program's own words make it.
fn page() -> String {
    let mut page = String::from(
        "# Bases and reasons\n\n\
         Every decision carries one of these codes: a *basis* when the message may be sent, a *reason* when it\n\
         must not. `ouinon explain ADDRESS --product P` shows the decision for one person with its evidence,\n\
         `ouinon rules show RULE` the rule and its source.\n\n\
         A test keeps this page equal to the program; `OUINON_TEST_BLESS=1 cargo test tidy` writes it anew.\n",
    );
    page.push_str("\n## Bases\n\n| Code | In French | In English | Rules |\n|---|---|---|---|\n");
    for basis in Basis::ALL {
        let (fr, en) = (basis.sentence(Lang::Fr), basis.sentence(Lang::En));
        page.push_str(&format!("| `{basis}` | {fr} | {en} | {} |\n", rulebook::rules_of(basis.as_str()).join(", ")));
    }
    page.push_str(
        "\n## Reasons\n\n| Code | In French | In English | What would change it | Rules |\n|---|---|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let (fr, en, remedy) = (reason.sentence(Lang::Fr), reason.sentence(Lang::En), reason.remedy(Lang::En));
        let rules = rulebook::rules_of(reason.as_str()).join(", ");
        page.push_str(&format!("| `{reason}` | {fr} | {en} | {remedy} | {rules} |\n"));
    }
    page
}

#[test]
fn every_basis_and_reason_is_documented() {
    let path = source::top().join(PAGE);
    if std::env::var_os("OUINON_TEST_BLESS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == page(), "{PAGE} is not what the program says: write it with OUINON_TEST_BLESS=1 cargo test tidy");
}

/// The codes that a row of a decision table under `tests/data` expects.
fn expected_in_tables() -> BTreeSet<String> {
    let mut expected = BTreeSet::new();
    for table in source::files("tests/data", "csv").iter().filter(|t| t.text.contains("expected_code")) {
        let mut rows = csv::Reader::from_reader(table.text.as_bytes());
        let column = rows.headers().unwrap().iter().position(|h| h == "expected_code").unwrap();
        expected.extend(rows.records().map(|row| row.unwrap()[column].to_owned()));
    }
    expected
}

/// The text of every test: `tests/it` and the ends of the program's files.
fn tests() -> String {
    let stories = source::files("tests/it", "rs").into_iter().filter(|f| !f.path.starts_with("tests/it/tidy"));
    let ends = source::program().into_iter().map(|mut file| {
        let tests = file.of_program().len();
        file.text.drain(..tests);
        file
    });
    stories.chain(ends).map(|file| file.text).collect()
}

#[test]
fn every_basis_and_reason_is_expected_by_a_table_or_a_story() {
    let (tables, tests) = (expected_in_tables(), tests());
    assert!(tables.len() > 20, "the decision tables are found");
    let mut findings = Findings::default();
    let bases = Basis::ALL.iter().map(|b| (b.as_str(), format!("Basis::{b:?}")));
    let reasons = Reason::ALL.iter().map(|r| (r.as_str(), format!("Reason::{r:?}")));
    for (code, variant) in bases.chain(reasons) {
        if !tables.contains(code) && !tests.contains(code) && !tests.contains(&variant) {
            findings.add("tests", 0, format!("no decision table and no test expects {code}"));
        }
    }
    findings.none();
}

/// Rules that no line of code need enforce, and why.
const WITHOUT_CODE: &[(&str, &str)] = &[
    ("FR-8", "says what breaking the others costs"),
    ("GD-6", "comes with the record of processing"),
    ("GD-7", "is the whole of the house: minimal data, keys apart, logs without people"),
    ("GD-8", "comes with the log of incidents"),
    ("GD-9", "comes with the audit trail"),
    ("RET-8", "explains what the periods are"),
    ("RET-10", "is kept by never deleting a refusal"),
    ("SUP-2", "is kept by the recipients' pages as a whole"),
    ("TRK-7", "tells of a window that is closed: nothing is granted by it"),
    ("TRK-9", "asks for no more than the consent that everybody is asked for"),
];

#[test]
fn every_rule_is_named_where_it_is_enforced() {
    let mut places: String = source::program().into_iter().map(|file| file.text).collect();
    for file in source::files("src/domain", "toml") {
        // Of the book itself, what the decision cites; of the regimes, everything.
        places.push_str(file.text.split("[[rule]]").next().unwrap_or_default());
    }
    let named: BTreeSet<&str> = places.split(|c: char| !c.is_alphanumeric() && c != '-').collect();
    let mut findings = Findings::default();
    for rule in rulebook::all() {
        if !named.contains(rule.id) && WITHOUT_CODE.iter().all(|(id, _)| *id != rule.id) {
            findings.add("src", 0, format!("no code names rule {} ({})", rule.id, rule.title_en));
        }
    }
    findings.none();
}
