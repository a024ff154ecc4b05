//! Suppressions: the one place that writes them (SUP-1 … SUP-11).
//!
//! A refusal is written once and stays: it is never deleted, only lifted, by the person's own later
//! double opt-in (which `decide` derives, nothing is written) or by hand where SUP-7 allows it.

use std::collections::{BTreeSet, HashMap};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    domain::{
        address::{Address, AddressHash, SuppressionKey, covering_domains, foreign_hashes},
        consents::{ConsentState, Proof},
        dates::When,
        suppressions::{Origin, Scope, SuppressionReason},
    },
    store::{
        self, Tx, consents,
        consents::ConsentPurpose,
        contacts,
        events::{self, Event, EventKind},
        suppressions::{self, Entry},
    },
};

/// Whom a refusal covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// One person whose address is at hand; it is kept in plain.
    Address(Address),
    /// One person known by a link of ours; the plain address is that of the contact, while there is one (U16).
    Person(AddressHash),
    /// One person known by our keyed hash alone, which is all that is kept.
    Hash(AddressHash),
    /// One person known by another's hash, as `sha256:HEX` or `md5:HEX`.
    Foreign(String),
    /// Everybody of a domain and its sub-domains (SUP-4).
    Domain(String),
}

/// What a refusal is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// All marketing: a refusal without a stated scope (SUP-3).
    Everything,
    /// All marketing to that one address: the same, under another name.
    Address,
    /// Marketing about the product of this slug.
    Product(String),
}

/// A refusal to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whom it covers.
    pub whom: Whom,
    /// What it is about.
    pub reach: Reach,
    /// Why.
    pub reason: SuppressionReason,
    /// Where it comes from.
    pub origin: Origin,
    /// Since when. None: nobody knows, and the person cannot lift it (SUP-6).
    pub at: Option<Timestamp>,
    /// Id of the campaign whose message led to it.
    pub campaign_id: Option<i64>,
    /// What the operator wrote.
    pub note: String,
}

/// What became of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// An entry at least as strong stood already; nothing was written.
    Stood(i64),
    /// A new entry, with its id.
    New(i64),
}

/// Why an entry is not lifted.
#[derive(Debug, thiserror::Error)]
pub enum LiftError {
    /// No entry has this id, or none of the address is known.
    #[error("no such suppression")]
    Unknown,
    /// It was lifted before.
    #[error("the suppression {0} was lifted already")]
    Already(i64),
    /// What the person did, only the person undoes (SUP-7).
    #[error(
        "the suppression {id} is the person's own act ({reason}): only the person lifts it, by a later double opt-in (SUP-7)"
    )]
    PersonsAct {
        /// Which entry.
        id: i64,
        /// What the person did.
        reason: SuppressionReason,
    },
    /// A reason must be written.
    #[error("say why it is lifted")]
    NoReason,
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

/// A standing entry that concerns an address, as far as the person has not lifted it.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The entry.
    pub entry: Entry,
    /// It is in force at that moment: it has begun (SUP-6).
    pub in_force: bool,
    /// Slugs of the products for which the person has lifted it by a later double opt-in (SUP-7).
    pub lifted_for: Vec<String>,
}

impl Finding {
    /// Whether it still blocks anything.
    pub fn blocks(&self) -> bool {
        self.in_force && !(self.entry.scope == Scope::Product && self.lifted_for.contains(&self.entry.product))
    }
}

/// Records a refusal, unless one at least as strong stands. The caller commits; only then may it be
/// called done.
pub async fn refuse(tx: &mut Tx, key: &SuppressionKey, refusal: &Refusal, now: Timestamp) -> store::Result<Written> {
    let written = refuse_all(tx, key, std::slice::from_ref(refusal), now).await?;
    Ok(written[0])
}

/// Records refusals, in their order, with a number of statements that grows only with what is new.
pub async fn refuse_all(
    tx: &mut Tx,
    key: &SuppressionKey,
    refusals: &[Refusal],
    now: Timestamp,
) -> store::Result<Vec<Written>> {
    let subjects: Vec<Subject> = refusals.iter().map(|r| Subject::of(&r.whom, key)).collect();
    suppressions::lock(tx, &subjects.iter().map(Subject::slot).collect()).await?;
    let mut known = Known::load(tx, &subjects).await?;
    let (mut written, mut new) = (Vec::with_capacity(refusals.len()), Vec::new());
    for (refusal, subject) in refusals.iter().zip(subjects) {
        if let Some(id) = known.covers(&subject, refusal, now) {
            written.push(Written::Stood(id));
            continue;
        }
        let mut entry = known.entry(&subject, refusal, now);
        // It has no id yet: its place among the new ones, as a number that no stored entry has.
        entry.id = -1 - new.len() as i64;
        written.push(Written::New(entry.id));
        new.push(entry.clone());
        known.standing.entry(subject).or_default().push(entry);
    }
    let counted: Vec<Event> = new.iter().filter_map(|entry| event(entry, now)).collect();
    let ids = suppressions::add_all(tx, &new, &counted).await?;
    let stored = |id: i64| if id < 0 { ids[(-1 - id) as usize] } else { id };
    Ok(written
        .into_iter()
        .map(|one| match one {
            Written::Stood(id) => Written::Stood(stored(id)),
            Written::New(id) => Written::New(stored(id)),
        })
        .collect())
}

/// Lifts an entry by hand, with a written reason, where SUP-7 allows it.
pub async fn lift(tx: &mut Tx, id: i64, because: &str, now: Timestamp) -> Result<Entry, LiftError> {
    if because.trim().is_empty() {
        return Err(LiftError::NoReason);
    }
    let entry = suppressions::by_id(tx, id).await?.ok_or(LiftError::Unknown)?;
    if entry.lifted_at.is_some() {
        return Err(LiftError::Already(id));
    }
    if entry.reason.is_the_persons_act() {
        return Err(LiftError::PersonsAct { id, reason: entry.reason });
    }
    match suppressions::lift(tx, id, because.trim(), now.as_millisecond()).await? {
        true => Ok(entry),
        false => Err(LiftError::Already(id)),
    }
}

/// How long after a press the person may take it back.
pub const UNDO_MINUTES: i64 = 60;

/// What became of taking back a press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// What the press wrote is lifted.
    Now,
    /// It was lifted before.
    Before,
    /// Too long ago: it stands.
    TooLate,
    /// No press of this person wrote such an entry.
    Unknown,
}

/// Takes back what one press of the person wrote, and nothing else: an older refusal, another press and
/// what was said about consent stay as they are. The link came by mail and the press is a POST, which is
/// the double opt-in that SUP-7 asks for; a yes to a product is not among what is written, for it would
/// lift older refusals too.
pub async fn undo(tx: &mut Tx, person: AddressHash, id: i64, now: Timestamp) -> store::Result<Undone> {
    lock_person(tx, person).await?;
    let Some(entry) = suppressions::by_id(tx, id).await?.filter(|e| is_a_press(e, person)) else {
        return Ok(Undone::Unknown);
    };
    if entry.lifted_at.is_some() {
        return Ok(Undone::Before);
    }
    if !may_be_undone(&entry, now) {
        return Ok(Undone::TooLate);
    }
    suppressions::lift(tx, id, UNDONE, now.as_millisecond()).await?;
    if let Some(campaign) = entry.campaign_id {
        let undo = Event {
            campaign_id: campaign,
            kind: EventKind::Undo,
            class: "",
            address_hash: person,
            at: now.as_millisecond(),
        };
        events::add(tx, &[undo]).await?;
    }
    Ok(Undone::Now)
}

/// Whether a standing entry can still be taken back by the person who pressed.
pub fn may_be_undone(entry: &Entry, now: Timestamp) -> bool {
    let age = now.as_millisecond() - entry.recorded_at;
    entry.lifted_at.is_none() && (0..UNDO_MINUTES * 60_000).contains(&age)
}

/// Whether an entry was written by a press of this person on a page.
pub fn is_a_press(entry: &Entry, person: AddressHash) -> bool {
    entry.hash() == Some(person) && is_undoable(entry)
}

/// A press within so many milliseconds of another is the same: a double click, or applied again.
const SAME_PRESS: i64 = 10_000;

/// Whether the entry may yet be taken back by whoever pressed, and by that act alone: what else is refused
/// meanwhile is written by itself, or it would be taken back with it.
fn may_be_taken_back(entry: &Entry, refusal: &Refusal, now: Timestamp) -> bool {
    let again = (entry.origin, entry.reason) == (refusal.origin, refusal.reason)
        && entry.at.zip(refusal.at).is_some_and(|(at, said)| (said.as_millisecond() - at).abs() < SAME_PRESS);
    is_undoable(entry) && may_be_undone(entry, now) && !again
}

/// Whether an entry is what a press on the page to unsubscribe writes.
fn is_undoable(entry: &Entry) -> bool {
    entry.origin == Origin::Page && entry.reason == SuppressionReason::Unsubscribe
}

/// Written with what the person took back.
const UNDONE: &str = "undone by the person on the page of the mailed link (double opt-in, SUP-7)";

/// Lifts by hand every standing entry of one address (those of its domain are others' too and stay).
/// Refused whole when one of them is the person's own act.
pub async fn lift_address(
    tx: &mut Tx,
    key: &SuppressionKey,
    address: &Address,
    because: &str,
    now: Timestamp,
) -> Result<Vec<Entry>, LiftError> {
    let found = suppressions::standing(tx, &[key.hash(address)], &[], &foreign_hashes(address)).await?;
    if found.is_empty() {
        return Err(LiftError::Unknown);
    }
    if let Some(act) = found.iter().find(|e| e.reason.is_the_persons_act()) {
        return Err(LiftError::PersonsAct { id: act.id, reason: act.reason });
    }
    for entry in &found {
        lift(tx, entry.id, because, now).await?;
    }
    Ok(found)
}

/// Every standing entry that concerns an address.
pub async fn check(
    tx: &mut Tx,
    key: &SuppressionKey,
    address: &Address,
    now: Timestamp,
) -> store::Result<Vec<Finding>> {
    let hash = key.hash(address);
    let domains: Vec<String> = covering_domains(address.domain()).map(str::to_owned).collect();
    let entries = suppressions::standing(tx, &[hash], &domains, &foreign_hashes(address)).await?;
    let opt_ins = OptIns::load(tx, &[hash]).await?;
    Ok(entries.into_iter().map(|entry| opt_ins.finding(entry, hash, now)).collect())
}

/// The latest instant that a stated time can mean: a bare date is read as its end, for an opt-in of
/// the same day must not lift the refusal, but never as later than now, for then it would not stand yet.
pub fn latest_instant(when: When, tz: &TimeZone, now: Timestamp) -> Timestamp {
    match when {
        When::Instant(instant) => instant,
        When::Date(date) => {
            let end = date.at(23, 59, 59, 999_000_000).to_zoned(tz.clone()).map_or(now, |z| z.timestamp());
            if when.is_after(now, tz) { end } else { end.min(now) }
        }
    }
}

/// What an entry is found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Hash(AddressHash),
    Foreign(String),
    Domain(String),
}

impl Subject {
    fn of(whom: &Whom, key: &SuppressionKey) -> Subject {
        match whom {
            Whom::Address(address) => Subject::Hash(key.hash(address)),
            Whom::Person(hash) | Whom::Hash(hash) => Subject::Hash(*hash),
            Whom::Foreign(hash) => Subject::Foreign(hash.clone()),
            Whom::Domain(domain) => Subject::Domain(domain.clone()),
        }
    }

    fn of_entry(entry: &Entry) -> Subject {
        match entry.hash() {
            Some(hash) => Subject::Hash(hash),
            None if !entry.foreign_hash.is_empty() => Subject::Foreign(entry.foreign_hash.clone()),
            None => Subject::Domain(entry.domain.clone()),
        }
    }

    fn slot(&self) -> u8 {
        match self {
            Subject::Hash(hash) => hash_slot(*hash),
            Subject::Foreign(text) | Subject::Domain(text) => text.bytes().fold(0, |sum: u8, b| sum.wrapping_add(b)),
        }
    }
}

/// Makes other transactions that write what one person says wait until this one ends.
pub async fn lock_person(tx: &mut Tx, person: AddressHash) -> store::Result<()> {
    suppressions::lock(tx, &[hash_slot(person)].into()).await
}

/// What transactions about one person wait for (`store::suppressions::lock`).
pub(super) fn hash_slot(hash: AddressHash) -> u8 {
    hash.0[0]
}

/// What stands about the subjects of a batch.
struct Known {
    standing: HashMap<Subject, Vec<Entry>>,
    addresses: HashMap<AddressHash, String>,
    opt_ins: OptIns,
}

impl Known {
    async fn load(tx: &mut Tx, subjects: &[Subject]) -> store::Result<Known> {
        let (mut hashes, mut foreign, mut domains) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for subject in subjects {
            match subject {
                Subject::Hash(hash) => drop(hashes.insert(*hash)),
                Subject::Foreign(hash) => drop(foreign.insert(hash.clone())),
                Subject::Domain(domain) => drop(domains.insert(domain.clone())),
            }
        }
        let hashes: Vec<AddressHash> = hashes.into_iter().collect();
        let (foreign, domains) = (Vec::from_iter(foreign), Vec::from_iter(domains));
        let (mut entries, people) = suppressions::known(tx, &hashes).await?;
        if !domains.is_empty() || !foreign.is_empty() {
            entries.extend(suppressions::standing(tx, &[], &domains, &foreign).await?);
        }
        let mut standing: HashMap<Subject, Vec<Entry>> = HashMap::new();
        for entry in entries {
            standing.entry(Subject::of_entry(&entry)).or_default().push(entry);
        }
        // Only what stands can have been lifted.
        let refused: Vec<(i64, AddressHash)> = people
            .iter()
            .filter(|(_, hash, _)| standing.contains_key(&Subject::Hash(*hash)))
            .map(|(id, hash, _)| (*id, *hash))
            .collect();
        let opt_ins = OptIns::of(tx, &refused).await?;
        Ok(Known {
            standing,
            addresses: people.into_iter().map(|(_, hash, address)| (hash, address)).collect(),
            opt_ins,
        })
    }

    /// The standing entry that makes `refusal` superfluous: of the same reach, lifted by nobody whom
    /// the refusal would not be lifted by as well, and in force.
    fn covers(&self, subject: &Subject, refusal: &Refusal, now: Timestamp) -> Option<i64> {
        let product = match &refusal.reach {
            Reach::Product(slug) => slug.as_str(),
            Reach::Everything | Reach::Address => "",
        };
        let person = match subject {
            Subject::Hash(hash) => Some(*hash),
            Subject::Foreign(_) | Subject::Domain(_) => None,
        };
        let covering = self.standing.get(subject)?.iter().find(|e| {
            let same_reach = e.product == product;
            let same_lifting =
                e.reason == refusal.reason || (e.reason.is_the_persons_act() && refusal.reason.is_the_persons_act());
            same_reach && same_lifting && begun(e, now) && !self.adds_something(e, refusal, person, now)
        });
        covering.map(|e| e.id)
    }

    /// Whether an equal refusal says more than the entry, because of when it was said: an entry that
    /// the person has lifted since says nothing about a refusal after that.
    fn adds_something(&self, entry: &Entry, refusal: &Refusal, person: Option<AddressHash>, now: Timestamp) -> bool {
        if !refusal.reason.is_the_persons_act() {
            return false;
        }
        if may_be_taken_back(entry, refusal, now) {
            return true;
        }
        match (entry.at, refusal.at) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(stands), Some(said)) => {
                stands < said.as_millisecond()
                    && person.is_some_and(|hash| !self.opt_ins.lifting(entry, hash, now).is_empty())
            }
        }
    }

    fn entry(&self, subject: &Subject, refusal: &Refusal, now: Timestamp) -> Entry {
        let address = match &refusal.whom {
            Whom::Address(address) => address.to_string(),
            Whom::Person(hash) => self.addresses.get(hash).cloned().unwrap_or_default(),
            Whom::Hash(_) | Whom::Foreign(_) | Whom::Domain(_) => String::new(),
        };
        let (scope, product) = match (&refusal.reach, subject) {
            (Reach::Product(slug), _) => (Scope::Product, slug.clone()),
            (_, Subject::Domain(_)) => (Scope::Domain, String::new()),
            _ if address.is_empty() => (Scope::Hash, String::new()),
            (Reach::Address, _) => (Scope::Address, String::new()),
            (Reach::Everything, _) => (Scope::Global, String::new()),
        };
        Entry {
            id: 0,
            scope,
            product,
            domain: if let Subject::Domain(domain) = subject { domain.clone() } else { String::new() },
            address,
            address_hash: if let Subject::Hash(hash) = subject { Some(hash.0.to_vec()) } else { None },
            foreign_hash: if let Subject::Foreign(hash) = subject { hash.clone() } else { String::new() },
            reason: refusal.reason,
            origin: refusal.origin,
            at: refusal.at.map(Timestamp::as_millisecond),
            campaign_id: refusal.campaign_id,
            note: refusal.note.clone(),
            recorded_at: now.as_millisecond(),
            lifted_at: None,
            lifted_reason: String::new(),
        }
    }
}

/// The double opt-ins of people: what lifts their own refusals (SUP-7).
struct OptIns(HashMap<AddressHash, Vec<(String, i64)>>);

impl OptIns {
    async fn load(tx: &mut Tx, hashes: &[AddressHash]) -> store::Result<OptIns> {
        let people = contacts::addresses(tx, hashes).await?;
        OptIns::of(tx, &people.into_iter().map(|(id, hash, _)| (id, hash)).collect::<Vec<_>>()).await
    }

    async fn of(tx: &mut Tx, people: &[(i64, AddressHash)]) -> store::Result<OptIns> {
        let ids: Vec<i64> = people.iter().map(|(id, _)| *id).collect();
        let hash_of: HashMap<i64, AddressHash> = people.iter().copied().collect();
        let mut found: HashMap<AddressHash, Vec<(String, i64)>> = HashMap::new();
        for event in consents::of_contacts(tx, &ids).await? {
            let proven = event.purpose == ConsentPurpose::Mail
                && event.state == ConsentState::Granted
                && event.proof == Proof::Doi
                && event.origin != Origin::Import
                && !event.product.is_empty();
            if let (true, Some(at), Some(hash)) = (proven, event.at, hash_of.get(&event.contact_id)) {
                found.entry(*hash).or_default().push((event.product, at));
            }
        }
        Ok(OptIns(found))
    }

    /// The products for which the person has lifted `entry` since.
    fn lifting(&self, entry: &Entry, person: AddressHash, now: Timestamp) -> Vec<String> {
        let Some(refused_at) = entry.at.filter(|_| entry.reason.is_the_persons_act()) else {
            return Vec::new();
        };
        let grants = self.0.get(&person).into_iter().flatten();
        let lifting = grants.filter(|(product, at)| {
            *at > refused_at && *at <= now.as_millisecond() && (entry.product.is_empty() || entry.product == *product)
        });
        BTreeSet::from_iter(lifting.map(|(product, _)| product.clone())).into_iter().collect()
    }

    fn finding(&self, entry: Entry, person: AddressHash, now: Timestamp) -> Finding {
        Finding { in_force: begun(&entry, now), lifted_for: self.lifting(&entry, person, now), entry }
    }
}

/// A refusal that has not begun yet does not stand (SUP-6).
fn begun(entry: &Entry, now: Timestamp) -> bool {
    entry.at.is_none_or(|at| at <= now.as_millisecond())
}

/// What the report counts of a new refusal.
fn event(entry: &Entry, now: Timestamp) -> Option<Event> {
    let kind = match entry.reason {
        SuppressionReason::Unsubscribe | SuppressionReason::Objection => EventKind::Unsubscribe,
        SuppressionReason::Complaint => EventKind::Complaint,
        SuppressionReason::HardBounce | SuppressionReason::SoftLimit | SuppressionReason::Manual => return None,
    };
    let (campaign_id, address_hash) = (entry.campaign_id?, entry.hash()?);
    // A no to the question of a re-permission is told apart from a press on the link to stop.
    let class = if entry.reason == SuppressionReason::Objection { "objection" } else { "" };
    Some(Event { campaign_id, kind, class, address_hash, at: entry.at.unwrap_or(now.as_millisecond()) })
}
