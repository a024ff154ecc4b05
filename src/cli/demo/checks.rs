//! Every sum of the demonstration, checked against what the catcher holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    Sent,
    mailbox::{self, How, Left},
    scene::Scene,
};
use crate::{
    mail::{catcher::Caught, dkim_check, reading},
    pipeline::report::Status,
    web::demo::Imported,
};

/// One thing that must hold.
#[derive(Debug, Serialize)]
pub struct Check {
    /// What.
    pub what: &'static str,
    /// It does.
    pub holds: bool,
    /// The numbers.
    pub numbers: String,
}

/// Checks everything.
pub fn all(scene: &Scene, import: &Imported, campaigns: &[Sent], left: &[Left]) -> Vec<Check> {
    let mut checks = vec![Check::sum(
        "import: lines = new + changed + unchanged + refused",
        import.lines,
        import.new + import.changed + import.unchanged + import.refused,
    )];
    let mut caught = scene.catcher.mailbag().messages();
    for sent in campaigns {
        let rest = caught.split_off(sent.caught.min(caught.len()));
        let messages: Vec<&Caught> = caught.iter().map(AsRef::as_ref).collect();
        checks.extend(of_campaign(scene, sent, &messages));
        caught = rest;
    }
    if let [first, second] = campaigns {
        checks.extend(of_refusals(scene, first, second, left));
    }
    checks
}

fn of_campaign(scene: &Scene, sent: &Sent, caught: &[&Caught]) -> Vec<Check> {
    let status = &sent.report.status;
    let recipients: BTreeSet<&str> = caught.iter().map(|caught| mailbox::recipient(caught)).collect();
    let signed = caught.iter().filter(|caught| is_signed(scene, caught)).count();
    let offering = caught.iter().filter(|caught| is_to_its_reader_with_one_click(caught)).count();
    vec![
        Check::sum("campaign: asked = the sum of its states", status.asked, sum(status)),
        Check::sum("campaign: asked = what preflight said", status.asked, sent.preflight.asked),
        Check::sum("campaign: by basis, the accepted sum", status.accepted, sent.report.by_basis.values().sum::<i64>()),
        Check::sum("campaign: by reason, the blocked sum", status.blocked, status.by_reason.values().sum::<i64>()),
        Check::sum("catcher: as many messages as were accepted", status.accepted, caught.len()),
        Check::sum("catcher: nobody twice", caught.len(), recipients.len()),
        Check::sum("catcher: each to its reader, each with one-click", caught.len(), offering),
        Check::sum("catcher: both DKIM signatures of each verify", caught.len(), signed),
    ]
}

fn of_refusals(scene: &Scene, first: &Sent, second: &Sent, left: &[Left]) -> Vec<Check> {
    let queued = left.iter().filter(|left| left.how == How::OneClickWhileQueued).count() as i64;
    let product = left.iter().filter(|left| left.how == How::PageProduct).count() as i64;
    let global = left.len() as i64 - queued - product;
    let count = |counts: &BTreeMap<&'static str, i64>, code: &str| counts.get(code).copied().unwrap_or(0);
    let reasons = |sent: &Sent, code: &str| count(&sent.preflight.block.by_reason, code);
    let (early, late) = (&first.preflight, &second.preflight);

    let messages = scene.catcher.mailbag().messages();
    let (of_first, of_second) = messages.split_at(first.caught.min(messages.len()));
    let of = |messages: &[std::sync::Arc<Caught>]| -> BTreeSet<String> {
        messages.iter().map(|caught| mailbox::recipient(caught).to_owned()).collect()
    };
    let refused: BTreeSet<String> = left.iter().map(|left| left.address.clone()).collect();
    let expected: BTreeSet<String> = of(of_first).difference(&refused).cloned().collect();
    vec![
        Check::sum("first campaign: accepted = what preflight said", first.report.status.accepted, early.send.total),
        Check::sum("one-click: each was answered 200", left.len(), left.iter().filter(|l| l.status == 200).count()),
        Check::sum("one-click: each is counted once", left.len() as i64, first.report.unsubscribes),
        Check::sum("second preflight: as many fewer as refused", early.send.total, late.send.total + global + product),
        Check::sum(
            "second preflight: SUPPRESSED_GLOBAL",
            reasons(second, "SUPPRESSED_GLOBAL"),
            reasons(first, "SUPPRESSED_GLOBAL") + global,
        ),
        Check::sum(
            "second preflight: SUPPRESSED_PRODUCT",
            reasons(second, "SUPPRESSED_PRODUCT"),
            reasons(first, "SUPPRESSED_PRODUCT") + product,
        ),
        Check::sum(
            "second campaign: accepted = what preflight said, less who refused while queued",
            second.report.status.accepted,
            late.send.total - queued,
        ),
        Check {
            what: "second campaign: exactly the readers of the first who did not refuse",
            holds: of(of_second) == expected,
            numbers: format!("{} = {}", of_second.len(), expected.len()),
        },
    ]
}

impl Check {
    fn sum(what: &'static str, one: impl TryInto<i64>, other: impl TryInto<i64>) -> Check {
        let (one, other) = (one.try_into().ok(), other.try_into().ok());
        let shown = |n: Option<i64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        Check { what, holds: one.is_some() && one == other, numbers: format!("{} = {}", shown(one), shown(other)) }
    }
}

fn sum(s: &Status) -> i64 {
    s.queued + s.claimed + s.submitting + s.accepted + s.deferred + s.bounced + s.blocked + s.unknown + s.cancelled
}

/// One recipient, the one that the letter names, who can leave with one click.
fn is_to_its_reader_with_one_click(caught: &Caught) -> bool {
    let Some(reading) = reading::read(&caught.bytes) else { return false };
    let to = reading.to.rsplit('<').next().unwrap_or_default().trim_end_matches('>');
    caught.to.len() == 1 && caught.to[0] == to && reading.one_click.is_some()
}

fn is_signed(scene: &Scene, caught: &Caught) -> bool {
    let txt = |name: &str| scene.dns.iter().find(|record| record.name == name).map(|record| record.value.clone());
    let verdicts = dkim_check::verify(&caught.bytes, txt);
    let covers = |name: &str| verdicts.iter().all(|v| v.signed.iter().any(|signed| signed == name));
    verdicts.len() == 2
        && verdicts.iter().all(|verdict| verdict.result.is_ok())
        && covers("list-unsubscribe")
        && covers("list-unsubscribe-post")
}
