//! `ouinon rules list|show|check`: the rules in force, and a lawyer's own tests of them.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Subcommand;
use serde_json::json;

use crate::domain::{
    decision_table::{self, Report},
    eligibility::{Basis, Reason},
    lang::Lang,
    regimes::{self, RULES_VERSION, Regime},
    rulebook::{self, Rule},
};

/// What can be asked of the rules.
#[derive(Debug, Clone, Subcommand)]
pub enum RulesCommand {
    /// List the regimes and the rules that the software applies, with their sources
    List {
        /// Language of titles and sentences: en or fr
        #[arg(long, default_value = "en")]
        lang: Lang,
    },
    /// Show a rule (FR-5), a regime (EU_DEFAULT) or a decision's code (NO_CONSENT)
    Show {
        /// The id, name or code
        id: String,
        /// Language of titles and sentences: en or fr
        #[arg(long, default_value = "en")]
        lang: Lang,
    },
    /// Run a decision table through the engine and print each row that differs
    Check {
        /// The table, a CSV file
        table: PathBuf,
    },
}

/// Runs the command. Results go to `out`, errors of a table to `err`. Exit codes: 0 done, and every
/// row passed; 1 some row differs; 2 a table that cannot be read, or an id that nothing bears.
pub fn run(command: RulesCommand, json: bool, out: &mut impl Write, err: &mut impl Write) -> anyhow::Result<ExitCode> {
    match command {
        RulesCommand::List { lang } => list(lang, json, out).map(|()| ExitCode::SUCCESS),
        RulesCommand::Show { id, lang } => show(&id, lang, json, out, err),
        RulesCommand::Check { table } => check(&table, json, out, err),
    }
    .context("the rules could not be written")
}

fn check(table: &Path, json: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
    let name = table.display();
    let bytes = match std::fs::read(table) {
        Ok(bytes) => bytes,
        Err(error) => {
            writeln!(err, "{name}: {error}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let rows = match decision_table::read(&bytes) {
        Ok(rows) => rows,
        Err(errors) => {
            for error in &errors {
                writeln!(err, "{name}: {error}")?;
            }
            writeln!(err, "{name}: {} errors, nothing was checked", errors.len())?;
            return Ok(ExitCode::from(2));
        }
    };
    let report = decision_table::check(&rows);
    if json {
        write_json(out, &report)?
    } else {
        write_report(out, &report)?
    }
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_report(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for row in &report.failed {
        writeln!(out, "{} (line {})", row.id, row.line)?;
        writeln!(out, "  expected  {}", row.expected)?;
        writeln!(out, "  got       {}", row.got)?;
    }
    let Report { rows, passed, failed } = report;
    writeln!(out, "{rows} rows, {passed} passed, {} differ (rules {RULES_VERSION})", failed.len())
}

fn list(lang: Lang, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        let all = json!({"rules_version": RULES_VERSION, "regimes": regimes::all(), "rules": rulebook::all()});
        return write_json(out, &all);
    }
    let (version, caution) = lang.pick(
        ("Règles", "Ce que le logiciel applique ; ceci n'est pas un conseil juridique."),
        ("Rules", "What the software applies; this is not legal advice."),
    );
    writeln!(out, "{version} {RULES_VERSION}. {caution}\n")?;
    for regime in regimes::all() {
        writeln!(out, "{:<11} {:<38} {}", regime.id, regime_name(regime, lang), regime.text)?;
    }
    writeln!(out)?;
    for rule in rulebook::all() {
        writeln!(out, "{:<9} [{}] {:<9} {}", rule.id, rule.evidence, rule.class, rule.title(lang))?;
    }
    Ok(())
}

fn show(id: &str, lang: Lang, json: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
    if let Some(rule) = rulebook::find(id) {
        if json { write_json(out, rule)? } else { write_rule(out, rule, lang)? }
    } else if let Some(regime) = regimes::all().iter().find(|regime| regime.id.eq_ignore_ascii_case(id)) {
        if json { write_json(out, regime)? } else { write_regime(out, regime, lang)? }
    } else if let Some(code) = Code::find(id) {
        if json { write_json(out, &code.json())? } else { code.write(out, lang)? }
    } else {
        writeln!(err, "{id:?} is no rule, regime or code; `ouinon rules list` names them")?;
        return Ok(ExitCode::from(2));
    }
    Ok(ExitCode::SUCCESS)
}

fn write_rule(out: &mut impl Write, rule: &Rule, lang: Lang) -> io::Result<()> {
    writeln!(out, "{}  {}\n", rule.id, rule.title(lang))?;
    writeln!(out, "{}\n", rule.summary(lang))?;
    writeln!(out, "{}: {}", lang.pick("Source", "Source"), rule.source)?;
    writeln!(out, "{}: {}", lang.pick("Nature", "Class"), rule.class)?;
    let evidence = rule.evidence;
    writeln!(out, "{}: [{evidence}] {}", lang.pick("Vérification", "Evidence"), evidence.meaning(lang))
}

fn write_regime(out: &mut impl Write, regime: &Regime, lang: Lang) -> io::Result<()> {
    writeln!(out, "{}  {}\n", regime.id, regime_name(regime, lang))?;
    writeln!(out, "{}: {}", lang.pick("Texte", "Text"), regime.text)?;
    writeln!(out, "{}: {}", lang.pick("Source", "Source"), regime.source)?;
    writeln!(out, "{}: {}", lang.pick("En vigueur depuis", "In force since"), regime.in_force)?;
    writeln!(out, "{}: {}", lang.pick("Revu le", "Revised"), regime.version)?;
    writeln!(out, "{}: {}", lang.pick("Pays", "Countries"), regime.countries.join(" "))?;
    writeln!(out, "{}: {}", lang.pick("Particuliers", "Consumers"), regime.consumer)?;
    writeln!(out, "{}: {}", lang.pick("Professionnels", "Professionals"), regime.business_named)?;
    writeln!(out, "{}: {}", lang.pick("Adresses génériques", "Role addresses"), regime.business_generic)?;
    let proofs: Vec<&str> = regime.accepted_proofs.iter().map(|proof| proof.as_str()).collect();
    writeln!(out, "{}: {}", lang.pick("Preuves admises", "Accepted proofs"), proofs.join(", "))?;
    let months = regime.retention_months.map_or("-".to_owned(), |months| months.to_string());
    writeln!(out, "{}: {months}", lang.pick("Conservation, en mois", "Retention, in months"))?;
    for permission in &regime.permissions {
        writeln!(out, "{}: {}", permission.basis, permission.basis.sentence(lang))?;
    }
    Ok(())
}

fn regime_name(regime: &Regime, lang: Lang) -> &'static str {
    lang.pick(regime.name_fr, regime.name_en)
}

/// What a decision can answer.
enum Code {
    Basis(Basis),
    Reason(Reason),
}

impl Code {
    fn find(code: &str) -> Option<Code> {
        let code = code.to_ascii_uppercase();
        code.parse().map(Code::Basis).or_else(|_| code.parse().map(Code::Reason)).ok()
    }

    fn as_str(&self) -> &'static str {
        match self {
            Code::Basis(basis) => basis.as_str(),
            Code::Reason(reason) => reason.as_str(),
        }
    }

    fn sentence(&self, lang: Lang) -> &'static str {
        match self {
            Code::Basis(basis) => basis.sentence(lang),
            Code::Reason(reason) => reason.sentence(lang),
        }
    }

    fn remedy(&self, lang: Lang) -> Option<&'static str> {
        match self {
            Code::Basis(_) => None,
            Code::Reason(reason) => Some(reason.remedy(lang)),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "code": self.as_str(),
            "decision": if matches!(self, Code::Basis(_)) { "SEND" } else { "BLOCK" },
            "sentence_fr": self.sentence(Lang::Fr),
            "sentence_en": self.sentence(Lang::En),
            "remedy_fr": self.remedy(Lang::Fr),
            "remedy_en": self.remedy(Lang::En),
            "rules": rulebook::rules_of(self.as_str()),
        })
    }

    fn write(&self, out: &mut impl Write, lang: Lang) -> io::Result<()> {
        writeln!(out, "{}\n\n{}", self.as_str(), self.sentence(lang))?;
        if let Some(remedy) = self.remedy(lang) {
            writeln!(out, "{}: {remedy}", lang.pick("Ce qui y changerait quelque chose", "What would change it"))?;
        }
        writeln!(out)?;
        for rule in rulebook::rules_of(self.as_str()).iter().filter_map(|id| rulebook::find(id)) {
            writeln!(out, "{:<9} {}", rule.id, rule.title(lang))?;
        }
        Ok(())
    }
}

fn write_json(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "tests/data/decision-table.csv";

    /// Exit code, standard output, standard error.
    fn ouinon(command: RulesCommand, json: bool) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(command, json, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn check_text(table: &str, json: bool) -> (ExitCode, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let table_path = folder.path().join("table.csv");
        std::fs::write(&table_path, table).unwrap();
        ouinon(RulesCommand::Check { table: table_path }, json)
    }

    fn show(id: &str, json: bool) -> (ExitCode, String, String) {
        ouinon(RulesCommand::Show { id: id.to_owned(), lang: Lang::En }, json)
    }

    #[test]
    fn a_table_that_passes_is_zero_and_counts_its_rows() {
        let (code, out, err) = ouinon(RulesCommand::Check { table: GIVEN.into() }, true);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json, json!({"rows": 105, "passed": 105, "failed": []}));
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        let (code, out, _) = ouinon(RulesCommand::Check { table: GIVEN.into() }, false);
        assert_eq!(
            (code, out),
            (ExitCode::SUCCESS, format!("105 rows, 105 passed, 0 differ (rules {RULES_VERSION})\n"))
        );
    }

    #[test]
    fn a_row_that_differs_is_one_and_is_shown() {
        let table = std::fs::read_to_string(GIVEN).unwrap().replacen("SEND,CONSENT,none", "BLOCK,NO_CONSENT,none", 1);
        let (code, out, err) = check_text(&table, false);
        assert_eq!((code, err.as_str()), (ExitCode::from(1), ""));
        assert!(
            out.starts_with("D001 (line 2)\n  expected  BLOCK NO_CONSENT, tracking none\n  got       SEND CONSENT"),
            "{out}"
        );
        assert!(out.contains("105 rows, 104 passed, 1 differ"));
        let (code, out, _) = check_text(&table, true);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &json["failed"][0]["id"]), (ExitCode::from(1), &json!("D001")));
    }

    #[test]
    fn a_bad_table_is_two_with_every_error_on_stderr_and_nothing_on_stdout() {
        let table = std::fs::read_to_string(GIVEN).unwrap();
        let table = table.replacen("marketing", "promo", 1).replacen("Europe/London", "London", 1);
        for json in [false, true] {
            let (code, out, err) = check_text(&table, json);
            assert_eq!((code, out.as_str()), (ExitCode::from(2), ""));
            assert!(err.contains("line 2, column campaign_kind: \"promo\" is not one of marketing"), "{err}");
            assert!(err.contains(", column tz: ") && err.contains("2 errors, nothing was checked"), "{err}");
        }
    }

    #[test]
    fn a_table_that_is_not_there_is_two() {
        let (code, out, err) = ouinon(RulesCommand::Check { table: "no/such/table.csv".into() }, true);
        assert_eq!((code, out.as_str()), (ExitCode::from(2), ""));
        assert!(err.starts_with("no/such/table.csv: "), "{err}");
    }

    #[test]
    fn list_names_every_regime_and_rule_with_its_source() {
        let (code, out, _) = ouinon(RulesCommand::List { lang: Lang::En }, true);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &json["rules_version"]), (ExitCode::SUCCESS, &json!(RULES_VERSION)));
        assert_eq!(json["regimes"].as_array().unwrap().len(), 6);
        let rules = json["rules"].as_array().unwrap();
        assert!(
            rules.len() > 80 && rules.iter().all(|rule| rule["source"].is_string() && rule["evidence"].is_string())
        );
        let (_, out, _) = ouinon(RulesCommand::List { lang: Lang::Fr }, false);
        assert!(out.contains("n'est pas un conseil juridique") && out.contains("SUP-7") && out.contains("EU_DEFAULT"));
    }

    #[test]
    fn show_knows_rules_regimes_and_codes() {
        assert!(show("fr-5", false).1.starts_with("FR-5  Professionals: about their profession"));
        assert!(show("FR", false).1.contains("CPCE L34-5"));
        assert!(show("no_consent", false).1.contains("What would change it"));
        let json = |id| serde_json::from_str::<serde_json::Value>(&show(id, true).1).unwrap();
        assert_eq!(json("SUP-7")["id"], "SUP-7");
        assert_eq!(json("DE")["accepted_proofs"], json!(["doi"]));
        assert_eq!(json("CONSENT")["decision"], "SEND");
        assert_eq!(json("CONSENT")["remedy_en"], json!(null));
        let (code, out, err) = show("XX-1", true);
        assert_eq!((code, out.as_str()), (ExitCode::from(2), ""));
        assert!(err.contains("XX-1"));
    }
}
