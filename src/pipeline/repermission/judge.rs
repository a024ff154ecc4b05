//! Judging the people of a list: everything that any line and the database say, joined; then `decide`.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use jiff::Timestamp;

use super::{
    person::{self, At, Kept},
    read::OldFile,
    spool::{Judged, Waiting},
};
use crate::{
    app::App,
    domain::{
        address::AddressHash,
        campaigns::{CampaignKind, Terms},
        contacts::ContactKind,
        eligibility::{self, Basis, Decision, Outcome, Person, Reason},
        import::lines::{Facts, FaultCode, Line},
        repermission::{DUPLICATE, Group, UNUSABLE_ROW, missing::Fact, union},
        rulebook,
    },
    store::{contacts, facts},
};

/// What is decided of a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Its group.
    pub group: Group,
    /// Code of the basis or reason.
    pub code: &'static str,
    /// Ids of the rules.
    pub rules: &'static [&'static str],
}

/// What supplying some facts would change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// People whose decision would change.
    pub people: u64,
    /// Where they would belong.
    pub would: BTreeMap<Group, u64>,
}

/// The judge of one list, and what it has found so far.
pub struct Judge<'a> {
    app: &'a App,
    files: &'a [OldFile],
    terms: &'a Terms,
    as_of: Timestamp,
    now: Timestamp,
    verdicts: Vec<Verdict>,
    number_of: HashMap<Verdict, u16>,
    /// Of facts, alone and together.
    effects: BTreeMap<Vec<Fact>, Effect>,
}

/// People looked up in the database at a time.
const TOGETHER: usize = 2000;

impl<'a> Judge<'a> {
    /// A judge of these files about the terms of a question, as of an instant.
    pub fn new(app: &'a App, files: &'a [OldFile], terms: &'a Terms, as_of: Timestamp) -> Judge<'a> {
        let now = app.now();
        Judge {
            app,
            files,
            terms,
            as_of,
            now,
            verdicts: Vec::new(),
            number_of: HashMap::new(),
            effects: BTreeMap::new(),
        }
    }

    fn verdict(&self, number: u16) -> &Verdict {
        &self.verdicts[usize::from(number)]
    }

    fn number(&mut self, verdict: Verdict) -> u16 {
        if let Some(number) = self.number_of.get(&verdict) {
            return *number;
        }
        // Groups, codes and rules are few: their combinations never come near the limit.
        let number = self.verdicts.len() as u16;
        self.verdicts.push(verdict.clone());
        self.number_of.insert(verdict, number);
        number
    }

    /// Judges a line without an address.
    pub fn faulty(&mut self, position: u64, code: FaultCode, judged: &mut Judged) -> io::Result<()> {
        let number = self.number(of_fault(code));
        judged.put(position, number, None)
    }

    /// The verdicts by their numbers, and the effects of missing facts.
    pub fn finish(self) -> (Vec<Verdict>, BTreeMap<Vec<Fact>, Effect>) {
        (self.verdicts, self.effects)
    }

    /// Judges the lines of a bucket: all lines of each person are among them.
    pub async fn bucket(&mut self, waiting: Vec<Waiting>, judged: &mut Judged) -> Result<(), JudgeError> {
        let mut people: Vec<Vec<(u64, Line)>> = Vec::new();
        let mut index_of: HashMap<AddressHash, usize> = HashMap::new();
        let mut hashes = Vec::new();
        for line in waiting {
            let cells: Vec<&str> = line.cells.iter().map(String::as_str).collect();
            let read = self.files[line.file].line_of(&cells, line.fault);
            let index = *index_of.entry(line.hash).or_insert_with(|| {
                people.push(Vec::new());
                hashes.push(line.hash);
                people.len() - 1
            });
            people[index].push((line.position, read));
        }
        for (people, hashes) in people.chunks(TOGETHER).zip(hashes.chunks(TOGETHER)) {
            self.people(people, hashes, judged).await?;
        }
        Ok(())
    }

    async fn people(
        &mut self,
        people: &[Vec<(u64, Line)>],
        hashes: &[AddressHash],
        judged: &mut Judged,
    ) -> Result<(), JudgeError> {
        let tz = self.app.tz();
        let at = At { tz, now: self.now };
        let mut tx = self.app.db.read().await?;
        let mut known: HashMap<AddressHash, contacts::Contact> =
            contacts::by_hashes(&mut tx, hashes).await?.into_iter().map(|c| (c.address_hash, c)).collect();
        let (mut joined, mut contacts) = (Vec::with_capacity(people.len()), Vec::with_capacity(people.len()));
        for (lines, hash) in people.iter().zip(hashes) {
            let mut facts = Facts::default();
            for (_, line) in lines {
                match line.fault {
                    None => union::join(&mut facts, &line.facts, tz),
                    // A consumer is one, whatever else is wrong with the line that says so.
                    Some(_) if line.facts.kind == Some(ContactKind::Consumer) => facts.kind = line.facts.kind,
                    Some(_) => {}
                }
            }
            let address = lines.iter().find_map(|(_, line)| line.address.as_ref()).ok_or(JudgeError::Lost)?;
            contacts.push(person::contact(known.remove(hash), address, *hash, &facts, &at));
            joined.push((address, facts));
        }
        let persons = facts::of(&mut tx, &contacts, &self.terms.product).await?;
        drop(tx);
        for (((lines, mut person), (address, facts)), hash) in people.iter().zip(persons).zip(joined).zip(hashes) {
            self.as_of(&mut person);
            let at = At { tz, now: self.as_of };
            let refusals: Vec<_> = lines.iter().map(|(_, line)| &line.refusals).collect();
            let valid = || lines.iter().filter(|(_, line)| line.fault.is_none());
            let consents: Vec<_> = valid().flat_map(|(_, line)| &line.consents).collect();
            person::add_words(&mut person, &refusals, &consents, &at);
            let decision = self.decide(&person);
            let verdict = of_decision(&decision);
            let group = verdict.group;
            if valid().next().is_some() {
                self.estimate(&person, facts.kind.is_some(), &decision);
            }
            let number = self.number(verdict);
            let mut first = true;
            for (position, line) in lines {
                let number = match &line.fault {
                    Some(fault) => self.number(of_fault(fault.code)),
                    None if std::mem::take(&mut first) => number,
                    None => self.number(Verdict { group: Group::Duplicate, code: DUPLICATE, rules: &[] }),
                };
                let asked = group == Group::Askable && self.verdict(number).group == Group::Askable;
                let kept = asked.then(|| Kept::of(address, &facts));
                let refused = person::kept_refusals(&line.refusals, &At { tz, now: self.now });
                let note = Note { hash: hash.to_hex(), person: kept, refusals: refused };
                judged.put(*position, number, Some(&note.text()))?;
            }
        }
        Ok(())
    }

    /// The decision about the question. Whoever was asked lately and said yes needs no question: the pause
    /// between two of them hides no consent.
    fn decide(&self, person: &Person) -> Decision {
        let decision = eligibility::decide(&self.app.rules, self.terms, person, self.as_of);
        if decision.outcome != Outcome::Block(Reason::RepermissionCooldown) {
            return decision;
        }
        let mail = Terms { kind: CampaignKind::Marketing, ..self.terms.clone() };
        let without = eligibility::decide(&self.app.rules, &mail, person, self.as_of);
        if without.outcome == Outcome::Send(Basis::Consent) { without } else { decision }
    }

    /// What has been refused by now holds, whatever instant the plan is made for.
    fn as_of(&self, person: &mut Person) {
        let until_now = |at: Timestamp| if at <= self.now { at.min(self.as_of) } else { at };
        for entry in &mut person.suppressions {
            entry.at = entry.at.map(until_now);
        }
        for event in person.consents.iter_mut().filter(|event| event.state.is_refusal()) {
            event.at = event.at.map(until_now);
        }
    }

    /// Runs the decision again with each fact that nobody has stated, and with all of them.
    fn estimate(&mut self, person: &Person, kind_stated: bool, decision: &Decision) {
        if !matches!(Group::of(decision.outcome), Group::Unknown | Group::NoBasis) {
            return;
        }
        let product = self.terms.product.clone();
        let missing: Vec<Fact> =
            Fact::ALL.iter().copied().filter(|fact| fact.is_missing(person, kind_stated, &product)).collect();
        for fact in &missing {
            self.supply(person, vec![*fact], decision);
        }
        let together: Vec<Fact> =
            missing.into_iter().filter(|fact| matches!(fact, Fact::Date | Fact::Source | Fact::Country)).collect();
        if together.len() > 1 {
            self.supply(person, together, decision);
        }
    }

    fn supply(&mut self, person: &Person, facts: Vec<Fact>, decision: &Decision) {
        let today = self.as_of.to_zoned(self.app.tz().clone()).date();
        let mut person = person.clone();
        for fact in &facts {
            fact.supply(&mut person, &self.terms.product, today);
        }
        let would = eligibility::decide(&self.app.rules, self.terms, &person, self.as_of).outcome;
        if would != decision.outcome {
            let effect = self.effects.entry(facts).or_default();
            effect.people += 1;
            *effect.would.entry(Group::of(would)).or_default() += 1;
        }
    }
}

/// Why judging ended.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// A temporary file fails.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
    /// A line was laid down by its address, and has none when it is read again.
    #[error("a file changed while it was read; do it again")]
    Lost,
}

/// What is to be kept of a line.
pub struct Note {
    /// The keyed hash of the address, hexadecimal.
    pub hash: String,
    /// What is kept of a person who may be asked.
    pub person: Option<Kept>,
    /// Its refusals.
    pub refusals: Vec<person::KeptRefusal>,
}

impl Note {
    /// As one text: hash, person and refusals, each on a line.
    fn text(&self) -> String {
        let json = |value: Option<String>| value.unwrap_or_default();
        let person = self.person.as_ref().and_then(|kept| serde_json::to_string(kept).ok());
        let refusals = Some(&self.refusals).filter(|r| !r.is_empty()).and_then(|r| serde_json::to_string(r).ok());
        format!("{}\n{}\n{}", self.hash, json(person), json(refusals))
    }

    /// Splits the text: hash, person, refusals, as they are stored.
    pub fn parts(text: &str) -> (Option<AddressHash>, &str, &str) {
        let mut parts = text.splitn(3, '\n');
        let mut next = || parts.next().unwrap_or_default();
        (AddressHash::from_hex(next()), next(), next())
    }
}

fn of_decision(decision: &Decision) -> Verdict {
    Verdict { group: Group::of(decision.outcome), code: decision.outcome.code(), rules: decision.rule_ids }
}

fn of_fault(code: FaultCode) -> Verdict {
    let reason = match code {
        FaultCode::EmailMissing | FaultCode::EmailInvalid => Some(Reason::DataInvalidAddress),
        FaultCode::DateInvalid | FaultCode::DateAmbiguous | FaultCode::DateFuture => Some(Reason::DataInvalidDate),
        _ => None,
    };
    let code = reason.map_or(UNUSABLE_ROW, |reason| Outcome::Block(reason).code());
    let rules = if reason.is_some() { rulebook::rules_of(code) } else { &["DATA-1"] };
    Verdict { group: Group::Invalid, code, rules }
}
