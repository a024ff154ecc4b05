//! Some lines, in one transaction: the refusals they hold first, then the people, then their consents.

use std::collections::{BTreeSet, HashMap};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    merge::{merge, stranger},
    reading::Read,
};
use crate::{
    domain::{
        address::{AddressHash, SuppressionKey},
        dates::When,
        import::lines::{Fault, FaultCode, Line, Said},
        suppressions::{Origin, SuppressionReason},
    },
    pipeline::suppress::{self, Reach, Refusal, Whom, Written},
    store::{
        self, Tx,
        consents::{self, Consent, ConsentPurpose},
        contacts::{self, Contact},
        suppressions,
    },
};

/// What every line is written with.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// Key of the address hashes.
    pub key: &'a SuppressionKey,
    /// The controller's time zone.
    pub tz: &'a TimeZone,
    /// The present instant.
    pub now: Timestamp,
    /// The file may hold consents.
    pub consents: bool,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A new contact.
    New,
    /// Something is known that was not.
    Changed,
    /// Everything was known.
    Unchanged,
    /// Nothing of it was taken but its refusals.
    Refused(Fault),
}

impl Writer<'_> {
    /// Writes `lines` and says what became of each. `before` are written first, and not spoken of.
    pub async fn write(&self, tx: &mut Tx, before: &[Read], lines: &[Read]) -> store::Result<Vec<Outcome>> {
        let hashes: BTreeSet<AddressHash> = before.iter().chain(lines).filter_map(|read| read.hash).collect();
        suppressions::lock(tx, &hashes.iter().map(|hash| suppress::hash_slot(*hash)).collect()).await?;
        let mut people = self.people(tx, &Vec::from_iter(hashes)).await?;
        let mut refusals = Vec::new();
        let mut outcomes = Vec::with_capacity(lines.len());
        for read in before {
            self.apply(read, &mut people, &mut refusals);
        }
        let mut by = vec![None; refusals.len()];
        for (index, read) in lines.iter().enumerate() {
            outcomes.push(self.apply(read, &mut people, &mut refusals));
            by.resize(refusals.len(), Some(index));
        }
        for (written, index) in suppress::refuse_all(tx, self.key, &refusals, self.now).await?.into_iter().zip(by) {
            if let (Written::New(_), Some(index)) = (written, index)
                && outcomes[index] == Outcome::Unchanged
            {
                outcomes[index] = Outcome::Changed;
            }
        }
        save(tx, people).await?;
        Ok(outcomes)
    }

    async fn people(&self, tx: &mut Tx, hashes: &[AddressHash]) -> store::Result<People> {
        let mut people: People = HashMap::with_capacity(hashes.len());
        let mut hash_of = HashMap::new();
        for contact in contacts::by_hashes(tx, hashes).await? {
            hash_of.insert(contact.id, contact.address_hash);
            people.insert(contact.address_hash, Person { contact: Some(contact), ..Person::default() });
        }
        if self.consents {
            let ids = Vec::from_iter(hash_of.keys().copied());
            for event in consents::of_contacts(tx, &ids).await? {
                let person = hash_of.get(&event.contact_id).and_then(|hash| people.get_mut(hash));
                person.into_iter().for_each(|person| person.said.push(event.clone()));
            }
        }
        Ok(people)
    }

    /// Takes one line into account. Refusals hold whatever becomes of the line.
    fn apply(&self, read: &Read, people: &mut People, refusals: &mut Vec<Refusal>) -> Outcome {
        let line = &read.line;
        let (Some(address), Some(hash)) = (&line.address, read.hash) else {
            return Outcome::Refused(line.fault.clone().unwrap_or_else(no_address));
        };
        let person = people.entry(hash).or_default();
        let mut outcome = match &line.fault {
            Some(fault) => Outcome::Refused(fault.clone()),
            None => self.accept(read, line, hash, person),
        };
        if let Some(since) = line.refusals.unsubscribed {
            refusals.push(self.refusal(Whom::Address(address.clone()), Reach::Everything, since));
        }
        for said in &line.refusals.consents {
            match (&person.contact, &said.product) {
                (Some(_), _) => {
                    if person.say(self.event(said)) && outcome == Outcome::Unchanged {
                        outcome = Outcome::Changed;
                    }
                }
                // Nobody whose history could hold it: it stands as a suppression instead.
                (None, Some(product)) => {
                    let reach = Reach::Product(product.clone());
                    refusals.push(self.refusal(Whom::Address(address.clone()), reach, said.at));
                }
                (None, None) => {}
            }
        }
        outcome
    }

    fn accept(&self, read: &Read, line: &Line, hash: AddressHash, person: &mut Person) -> Outcome {
        let address = line.address.as_ref().expect("the caller has the address");
        let stored = person.contact.is_some();
        let mut contact = person.contact.clone().unwrap_or_else(|| stranger(address, hash, self.now));
        let facts_change = merge(&mut contact, &line.facts, self.tz);
        let events: Vec<Event> = line.consents.iter().map(|said| self.event(said)).collect();
        let consents_change = events.iter().any(|event| !person.has_said(event));
        if let Some(earlier) = read.earlier.filter(|_| facts_change || consents_change) {
            return Outcome::Refused(duplicate(earlier, line));
        }
        if facts_change || !stored {
            contact.changed_at = self.now.as_millisecond();
            person.contact = Some(contact);
            person.changed = true;
        }
        for event in events {
            person.say(event);
        }
        match stored {
            false => Outcome::New,
            true if facts_change || consents_change => Outcome::Changed,
            true => Outcome::Unchanged,
        }
    }

    fn refusal(&self, whom: Whom, reach: Reach, since: Option<When>) -> Refusal {
        Refusal {
            whom,
            reach,
            reason: SuppressionReason::Unsubscribe,
            origin: Origin::Import,
            at: since.map(|when| suppress::latest_instant(when, self.tz, self.now)),
            campaign_id: None,
            note: String::new(),
        }
    }

    /// What was said, as a row. A bare date is the first instant of the day for a yes, the last for a no.
    fn event(&self, said: &Said) -> Event {
        let first = said.at.map(|when| when.starts_at(self.tz));
        let at = match said.at {
            Some(when) if said.state.is_refusal() => Some(suppress::latest_instant(when, self.tz, self.now)),
            _ => first,
        };
        let row = Consent {
            contact_id: 0,
            purpose: if said.product.is_some() { ConsentPurpose::Mail } else { ConsentPurpose::Tracking },
            product: said.product.clone().unwrap_or_default(),
            state: said.state,
            at: at.map(Timestamp::as_millisecond),
            proof: said.proof,
            evidence: said.evidence.clone(),
            origin: Origin::Import,
            recorded_at: self.now.as_millisecond(),
        };
        Event { row, first: first.map(Timestamp::as_millisecond) }
    }
}

type People = HashMap<AddressHash, Person>;

/// A person while the batch is worked on.
#[derive(Debug, Default)]
struct Person {
    /// As it is stored, or will be.
    contact: Option<Contact>,
    /// The contact is not stored like that.
    changed: bool,
    /// The events that are stored.
    said: Vec<Consent>,
    /// Those that are not yet.
    says: Vec<Consent>,
}

/// Something that was said, with the first instant that it can mean.
struct Event {
    row: Consent,
    first: Option<i64>,
}

impl Person {
    fn has_said(&self, event: &Event) -> bool {
        let row = &event.row;
        self.said.iter().chain(&self.says).any(|known| {
            let about = known.purpose == row.purpose && known.product == row.product && known.state == row.state;
            let when = known.at == row.at || (known.at >= event.first && known.at <= row.at && event.first.is_some());
            about && when && known.proof == row.proof && known.evidence == row.evidence
        })
    }

    /// Notes an event; false when it was known.
    fn say(&mut self, event: Event) -> bool {
        let new = !self.has_said(&event);
        if new {
            self.says.push(event.row);
        }
        new
    }
}

async fn save(tx: &mut Tx, people: People) -> store::Result<()> {
    let (mut changed, mut unborn, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for (hash, person) in people {
        let Some(contact) = person.contact else { continue };
        if !person.says.is_empty() && contact.id == 0 {
            unborn.push((hash, person.says));
        } else {
            events.extend(person.says.into_iter().map(|event| Consent { contact_id: contact.id, ..event }));
        }
        if person.changed {
            changed.push(contact);
        }
    }
    contacts::save(tx, &changed).await?;
    let hashes: Vec<AddressHash> = unborn.iter().map(|(hash, _)| *hash).collect();
    if !hashes.is_empty() {
        let stored = contacts::by_hashes(tx, &hashes).await?;
        let id_of: HashMap<AddressHash, i64> = stored.into_iter().map(|c| (c.address_hash, c.id)).collect();
        for (hash, says) in unborn {
            let contact_id = id_of[&hash];
            events.extend(says.into_iter().map(|event| Consent { contact_id, ..event }));
        }
    }
    consents::add(tx, &events).await?;
    Ok(())
}

fn duplicate(earlier: u64, line: &Line) -> Fault {
    let kept = if line.refusals.is_empty() { "" } else { "; the refusal that stands in this line is kept" };
    let message =
        format!("the person of line {earlier}, of whom it says something else; make one line of the two{kept}");
    Fault { column: String::new(), code: FaultCode::Duplicate, message }
}

fn no_address() -> Fault {
    Fault { column: String::new(), code: FaultCode::EmailMissing, message: "no address".to_owned() }
}
