//! What is known of people, read in one go for many: the facts that `decide` judges.

use std::collections::{BTreeSet, HashMap};

use jiff::{Timestamp, civil::Date};

use super::{
    Result, Sql, Tx,
    consents::{self, Consent, ConsentPurpose},
    contacts::Contact,
    on, opens,
    suppressions::{self, Entry},
};
use crate::domain::{
    address::{Address, AddressHash, covering_domains, foreign_hashes},
    consents::ConsentEvent,
    contacts::{ActivityKind, TrackingConsent},
    dates::{Dated, When},
    eligibility::Person,
    suppressions::{Origin, Scope, Suppression},
};

const ASKED: Sql = Sql::twin(
    "SELECT address_hash, asked_at FROM repermission_ask WHERE product = $1
     AND address_hash IN (SELECT unhex(value) FROM json_each($2))",
    "SELECT address_hash, asked_at FROM repermission_ask WHERE product = $1
     AND address_hash IN (SELECT decode(value, 'hex') FROM json_array_elements_text(CAST($2 AS json)))",
);
// A contact in the order of the fields of `Contact`, its version, how many consent events it has, when it was asked,
// whether any refusal names it, and the day of its last open; then whether any refusal names a domain, or comes from
// another's list of hashes. What hardly anybody has is then read of those who have it.
const KNOWN: Sql = Sql::twin(
    "SELECT json_group_array(json_array(json_array(id, address, hex(address_hash), kind, address_kind, legal_form, relationship, first_name, last_name, company,
     job_title, country, regime, language, time_zone, source, source_kind, collected_at, informed, similar_offer,
     same_entity, refusal_offered, relationship_end, last_activity, last_activity_at, paused_until, created_at, changed_at),
     version, (SELECT COUNT(*) FROM consent WHERE contact_id = contact.id),
     (SELECT asked_at FROM repermission_ask WHERE address_hash = contact.address_hash AND product = $2),
     EXISTS (SELECT 1 FROM suppression WHERE address_hash = contact.address_hash AND lifted_at IS NULL),
     (SELECT day FROM last_open WHERE address_hash = contact.address_hash))),
     (SELECT EXISTS (SELECT 1 FROM suppression WHERE domain <> '')),
     (SELECT EXISTS (SELECT 1 FROM suppression WHERE foreign_hash <> '')) FROM contact
     WHERE id IN (SELECT value FROM json_each($1))",
    "SELECT CAST(COALESCE(json_agg(json_build_array(json_build_array(id, address, encode(address_hash, 'hex'), kind, address_kind, legal_form, relationship, first_name, last_name, company,
     job_title, country, regime, language, time_zone, source, source_kind, collected_at, informed, similar_offer,
     same_entity, refusal_offered, relationship_end, last_activity, last_activity_at, paused_until, created_at, changed_at),
     version, (SELECT COUNT(*) FROM consent WHERE contact_id = contact.id),
     (SELECT asked_at FROM repermission_ask WHERE address_hash = contact.address_hash AND product = $2),
     EXISTS (SELECT 1 FROM suppression WHERE address_hash = contact.address_hash AND lifted_at IS NULL),
     (SELECT day FROM last_open WHERE address_hash = contact.address_hash))), '[]') AS TEXT),
     (SELECT EXISTS (SELECT 1 FROM suppression WHERE domain <> '')),
     (SELECT EXISTS (SELECT 1 FROM suppression WHERE foreign_hash <> '')) FROM contact
     WHERE id = ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST($1 AS json))))",
);
// Of each its mark, when it was asked, and whether any refusal names it; and whether any names a domain, or comes
// from another's list of hashes.
const RECHECK: Sql = Sql::twin(
    "SELECT json_group_array(json_array(id, version, (SELECT COUNT(*) FROM consent WHERE contact_id = contact.id),
     (SELECT asked_at FROM repermission_ask WHERE address_hash = contact.address_hash AND product = $2),
     EXISTS (SELECT 1 FROM suppression WHERE address_hash = contact.address_hash AND lifted_at IS NULL))),
     (SELECT EXISTS (SELECT 1 FROM suppression WHERE domain <> '')),
     (SELECT EXISTS (SELECT 1 FROM suppression WHERE foreign_hash <> '')) FROM contact
     WHERE id IN (SELECT value FROM json_each($1))",
    "SELECT CAST(COALESCE(json_agg(json_build_array(id, version,
     (SELECT COUNT(*) FROM consent WHERE contact_id = contact.id),
     (SELECT asked_at FROM repermission_ask WHERE address_hash = contact.address_hash AND product = $2),
     EXISTS (SELECT 1 FROM suppression WHERE address_hash = contact.address_hash AND lifted_at IS NULL))), '[]') AS TEXT),
     (SELECT EXISTS (SELECT 1 FROM suppression WHERE domain <> '')),
     (SELECT EXISTS (SELECT 1 FROM suppression WHERE foreign_hash <> '')) FROM contact
     WHERE id = ANY (ARRAY(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST($1 AS json))))",
);
const ASK: Sql = Sql::same(
    "INSERT INTO repermission_ask (address_hash, product, asked_at) VALUES ($1, $2, $3)
     ON CONFLICT (address_hash, product) DO UPDATE SET asked_at = excluded.asked_at",
);

/// What a contact's own facts were read at: the version of its row and the number of its consent
/// events, which are never changed or removed. Equal marks, equal facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    version: i64,
    consents: i64,
}

/// Someone as the claim reads them: the contact, the facts, and what both were read at.
#[derive(Debug)]
pub struct Read {
    /// The contact.
    pub contact: Contact,
    /// The facts, as they bear on the product.
    pub person: Person,
    /// What they were read at.
    pub mark: Mark,
}

/// These contacts by id and the facts about them, as they bear on `product`, in the order of their ids; who is
/// missing is gone.
pub async fn read(tx: &mut Tx, ids: &[i64], product: &str) -> Result<Vec<Read>> {
    let (sql, list) = (KNOWN.on(tx), super::json(ids));
    let (json, has_domain, has_foreign): (String, bool, bool) =
        on!(tx, |c| sqlx::query_as(sql).bind(list).bind(product).fetch_one(c).await)?;
    let mut rows: Vec<Row> = super::rows(&json)?;
    rows.sort_by_key(|row| row.0.id);
    let addresses: Vec<Option<Address>> = rows.iter().map(|row| Address::parse(&row.0.address).ok()).collect();
    let concerned = rows.iter().zip(&addresses).filter(|(row, _)| has_domain || has_foreign || row.4.0);
    let concerned: Vec<_> = concerned.map(|(row, address)| (row.0.address_hash, address.as_ref())).collect();
    let refusals = Refusals::load(tx, &concerned, has_foreign).await?;
    let spoke: Vec<i64> = rows.iter().filter(|row| row.2 > 0).map(|row| row.0.id).collect();
    let mut consents = group(consents::of_contacts(tx, &spoke).await?, |c| c.contact_id);
    let people = rows.into_iter().zip(addresses).map(|(row, address)| {
        let Row(contact, version, count, asked_at, _, opened) = row;
        let events = consents.remove(&contact.id).unwrap_or_default();
        let suppressions = refusals.of(contact.address_hash, address.as_ref());
        let opened = opened.and_then(|day| day.parse().ok());
        let person = person(&contact, address, &events, suppressions, asked_at, opened);
        Read { contact, person, mark: Mark { version, consents: count } }
    });
    Ok(people.collect())
}

/// A row of [`KNOWN`].
#[derive(serde::Deserialize)]
struct Row(Contact, i64, i64, Option<i64>, Truth, Option<String>);

/// Id, version, number of consent events, when the person was asked, whether a refusal names the person.
#[derive(serde::Deserialize)]
struct Rechecked(i64, i64, i64, Option<i64>, Truth);

#[derive(serde::Deserialize)]
struct Truth(#[serde(deserialize_with = "super::truth")] bool);

/// A person as known before, to be brought up to the present.
#[derive(Debug)]
pub struct Known<'a> {
    /// Key of the contact.
    pub contact_id: i64,
    /// Keyed hash of the address.
    pub address_hash: AddressHash,
    /// What is known.
    pub person: &'a mut Person,
}

/// Reads anew what others may have written about these people since: suppressions, and when they were
/// asked for permission. With equal [`Mark`]s that is everything that can have changed. Returns the
/// present marks in their order; none: who is gone.
pub async fn refresh(tx: &mut Tx, people: &mut [Known<'_>], product: &str) -> Result<Vec<Option<Mark>>> {
    let ids: Vec<i64> = people.iter().map(|known| known.contact_id).collect();
    let (sql, list) = (RECHECK.on(tx), super::json(&ids));
    let (json, has_domain, has_foreign): (String, bool, bool) =
        on!(tx, |c| sqlx::query_as(sql).bind(list).bind(product).fetch_one(c).await)?;
    let mut rows: Vec<Rechecked> = super::rows(&json)?;
    rows.sort_unstable_by_key(|row| row.0);
    let row_of = |known: &Known| rows.binary_search_by_key(&known.contact_id, |row| row.0).ok().map(|at| &rows[at]);
    // Nearly nobody is: then there is nothing more to read.
    let is_named = |known: &Known| row_of(known).is_some_and(|row| row.4.0);
    let concerned = people.iter().filter(|known| has_domain || has_foreign || is_named(known));
    let concerned: Vec<_> = concerned.map(|known| (known.address_hash, known.person.address.as_ref())).collect();
    let refusals = Refusals::load(tx, &concerned, has_foreign).await?;
    let marks = people.iter_mut().map(|known| {
        let row = row_of(known);
        known.person.suppressions = refusals.of(known.address_hash, known.person.address.as_ref());
        known.person.repermission_last_at = asked_at(row.and_then(|row| row.3));
        row.map(|row| Mark { version: row.1, consents: row.2 })
    });
    Ok(marks.collect())
}

/// The facts about each of `contacts`, in their order, as they bear on `product`.
pub async fn of(tx: &mut Tx, contacts: &[Contact], product: &str) -> Result<Vec<Person>> {
    let addresses: Vec<Option<Address>> = contacts.iter().map(|c| Address::parse(&c.address).ok()).collect();
    let ids: Vec<i64> = contacts.iter().map(|c| c.id).collect();
    let mut consents = group(consents::of_contacts(tx, &ids).await?, |c| c.contact_id);
    let known: Vec<_> = contacts.iter().zip(&addresses).map(|(c, a)| (c.address_hash, a.as_ref())).collect();
    let has_foreign = suppressions::has_foreign(tx).await?;
    let refusals = Refusals::load(tx, &known, has_foreign).await?;
    let asked = asked(tx, &known, product).await?;
    let opened = opens::days(tx, &known.iter().map(|(hash, _)| *hash).collect::<Vec<_>>()).await?;
    Ok(contacts
        .iter()
        .zip(addresses)
        .map(|(contact, address)| {
            let events = consents.remove(&contact.id).unwrap_or_default();
            let suppressions = refusals.of(contact.address_hash, address.as_ref());
            let asked_at = asked.get(&contact.address_hash).copied();
            person(contact, address, &events, suppressions, asked_at, opened.get(&contact.address_hash).copied())
        })
        .collect())
}

/// What these people say about tracking now; those of whom nothing is known (any more) are missing.
pub async fn tracking_of(tx: &mut Tx, people: &[AddressHash]) -> Result<HashMap<AddressHash, TrackingConsent>> {
    let known = super::contacts::addresses(tx, people).await?;
    let ids: Vec<i64> = known.iter().map(|(id, _, _)| *id).collect();
    let mut consents = group(consents::of_contacts(tx, &ids).await?, |c| c.contact_id);
    let said = |id: i64, consents: &mut HashMap<i64, Vec<Consent>>| tracking(&consents.remove(&id).unwrap_or_default());
    Ok(known.into_iter().map(|(id, hash, _)| (hash, said(id, &mut consents))).collect())
}

/// Notes that a person was asked for permission about a product (RP-6).
pub async fn note_asked(tx: &mut Tx, hash: AddressHash, product: &str, now: i64) -> Result<()> {
    let sql = ASK.on(tx);
    on!(tx, |c| sqlx::query(sql).bind(hash.0.as_slice()).bind(product).bind(now).execute(c).await.map(|_| ()))
}

async fn asked(
    tx: &mut Tx,
    people: &[(AddressHash, Option<&Address>)],
    product: &str,
) -> Result<HashMap<AddressHash, i64>> {
    let hashes: Vec<AddressHash> = people.iter().map(|(hash, _)| *hash).collect();
    let (sql, list) = (ASKED.on(tx), super::json(&hashes));
    let rows: Vec<(Vec<u8>, i64)> = on!(tx, |c| sqlx::query_as(sql).bind(product).bind(list).fetch_all(c).await)?;
    Ok(rows.into_iter().filter_map(|(hash, at)| Some((hash.try_into().ok()?, at))).collect())
}

/// The standing suppressions that may concern a set of people.
struct Refusals {
    by_hash: HashMap<AddressHash, Vec<Entry>>,
    by_domain: HashMap<String, Vec<Entry>>,
    by_foreign: HashMap<String, Vec<Entry>>,
}

impl Refusals {
    async fn load(tx: &mut Tx, people: &[(AddressHash, Option<&Address>)], has_foreign: bool) -> Result<Refusals> {
        let mut found = Refusals { by_hash: HashMap::new(), by_domain: HashMap::new(), by_foreign: HashMap::new() };
        if people.is_empty() {
            return Ok(found);
        }
        let hashes: Vec<AddressHash> = people.iter().map(|(hash, _)| *hash).collect();
        let addresses = || people.iter().filter_map(|(_, address)| *address);
        let domains: BTreeSet<&str> = addresses().flat_map(|a| covering_domains(a.domain())).collect();
        let domains: Vec<String> = domains.into_iter().map(str::to_owned).collect();
        let foreign: Vec<String> =
            if has_foreign { addresses().flat_map(foreign_hashes).collect() } else { Vec::new() };
        for entry in suppressions::standing(tx, &hashes, &domains, &foreign).await? {
            if let Some(hash) = entry.hash() {
                found.by_hash.entry(hash).or_default().push(entry);
            } else if !entry.foreign_hash.is_empty() {
                found.by_foreign.entry(entry.foreign_hash.clone()).or_default().push(entry);
            } else {
                found.by_domain.entry(entry.domain.clone()).or_default().push(entry);
            }
        }
        Ok(found)
    }

    fn of(&self, hash: AddressHash, address: Option<&Address>) -> Vec<Suppression> {
        let mut entries: Vec<&Entry> = self.by_hash.get(&hash).into_iter().flatten().collect();
        if let Some(address) = address {
            entries.extend(covering_domains(address.domain()).filter_map(|d| self.by_domain.get(d)).flatten());
            if !self.by_foreign.is_empty() {
                entries.extend(foreign_hashes(address).iter().filter_map(|h| self.by_foreign.get(h)).flatten());
            }
        }
        entries.into_iter().map(suppression).collect()
    }
}

/// An entry as `decide` sees it.
pub fn suppression(entry: &Entry) -> Suppression {
    let value = match entry.scope {
        Scope::Product => Some(entry.product.clone()),
        Scope::Domain => Some(entry.domain.clone()),
        Scope::Hash if entry.foreign_hash.is_empty() => entry.hash().map(AddressHash::to_hex),
        Scope::Hash => Some(entry.foreign_hash.clone()),
        // Matched by the keyed hash of the contact's own address.
        Scope::Global | Scope::Address => None,
    };
    Suppression { scope: entry.scope, value, reason: entry.reason, at: entry.at.and_then(instant) }
}

fn person(
    contact: &Contact,
    address: Option<Address>,
    events: &[Consent],
    suppressions: Vec<Suppression>,
    asked_at: Option<i64>,
    last_open: Option<Date>,
) -> Person {
    Person {
        address,
        regime: contact.regime.clone(),
        kind: contact.kind,
        address_kind: contact.address_kind,
        legal_form: contact.legal_form,
        relationship: contact.relationship,
        similar: contact.similar_offer,
        same_entity: contact.same_entity,
        refusal_offered: contact.refusal_offered,
        source: contact.source_kind,
        informed: contact.informed,
        collected_at: Dated::read(&contact.collected_at),
        relationship_end: Dated::read(&contact.relationship_end),
        last_activity: contact.last_activity.parse::<ActivityKind>().ok(),
        last_activity_at: Dated::read(&contact.last_activity_at),
        consents: events.iter().filter(|e| e.purpose == ConsentPurpose::Mail).map(consent).collect(),
        suppressions,
        tracking: tracking(events),
        repermission_last_at: self::asked_at(asked_at),
        paused_until: contact.paused_until.parse().ok(),
        last_open,
    }
}

fn asked_at(millis: Option<i64>) -> Dated {
    millis.and_then(instant).map_or(Dated::Unknown, |at| Dated::At(When::Instant(at)))
}

fn consent(event: &Consent) -> ConsentEvent {
    ConsentEvent {
        product: Some(event.product.clone()).filter(|p| !p.is_empty()),
        state: event.state,
        at: event.at.and_then(instant),
        proof: event.proof,
        imported: event.origin == Origin::Import,
    }
}

/// The last word of the person on tracking; at equal instants the no stands.
fn tracking(events: &[Consent]) -> TrackingConsent {
    use crate::domain::consents::ConsentState::Granted;
    events
        .iter()
        .filter(|e| e.purpose == ConsentPurpose::Tracking)
        .max_by_key(|e| (e.at.unwrap_or(i64::MAX), e.state != Granted))
        .map_or(TrackingConsent::None, |e| {
            if e.state == Granted { TrackingConsent::Granted } else { TrackingConsent::Withdrawn }
        })
}

fn instant(millis: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis).ok()
}

fn group<T>(rows: Vec<T>, key: impl Fn(&T) -> i64) -> HashMap<i64, Vec<T>> {
    let mut groups: HashMap<i64, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}
