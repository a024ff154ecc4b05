//! One line of a file: what it says of a person, or why it is refused.
//!
//! A refusal that stands in a line holds even when the line is refused for something else.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    columns::{Columns, ConsentPart, Field},
    countries,
    dates::{self, DateFault, DateOrder, Order},
    roles, sensitive,
    vocabulary::{self as words, Vocabulary, look_up, shown},
};
use crate::domain::{
    address::{Address, AddressError},
    consents::{ConsentState, Proof},
    contacts::{ActivityKind, AddressKind, ContactKind, LegalForm, Relationship, SourceKind, TrackingConsent},
    dates::When,
    words::words,
};

words! {
    /// Why a line is refused: the stable codes of the import's report.
    FaultCode {
        /// Not as many cells as the header.
        Columns = "columns",
        /// A quote that is never closed, or text behind a closing one.
        Quote = "quote",
        /// The line is longer than any line of contacts.
        LineTooLong = "line_too_long",
        /// A character that is no text in the file's encoding.
        Encoding = "encoding",
        /// No address.
        EmailMissing = "email_missing",
        /// Not an address (DATA-1).
        EmailInvalid = "email_invalid",
        /// A word that is not known in this column.
        ValueUnknown = "value_unknown",
        /// No country has this code or name.
        CountryUnknown = "country_unknown",
        /// Not a date.
        DateInvalid = "date_invalid",
        /// Day and month could be exchanged.
        DateAmbiguous = "date_ambiguous",
        /// A date that has not come yet (DATA-1).
        DateFuture = "date_future",
        /// A yes without a date proves nothing (GD-2).
        ConsentUndated = "consent_undated",
        /// A date of consent, but no consent.
        ConsentMissing = "consent_missing",
        /// A word about health, religion, … (minimisation).
        Sensitive = "sensitive",
        /// A control character.
        Control = "control_character",
        /// A text longer than any honest one.
        TextTooLong = "too_long",
        /// The person stands in an earlier line that says something else.
        Duplicate = "duplicate",
    }
}

/// Where and why a line is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The column as the file names it; empty for the whole line.
    pub column: String,
    /// Stable code.
    pub code: FaultCode,
    /// What is wrong, and the way out. Never holds an address.
    pub message: String,
}

/// What a line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Whose line it is, if the address can be read.
    pub address: Option<Address>,
    /// What it says of the person.
    pub facts: Facts,
    /// Consents that were given, or are pending.
    pub consents: Vec<Said>,
    /// What the person refused. Holds even when the line has a fault.
    pub refusals: Refusals,
    /// Why the line is refused.
    pub fault: Option<Fault>,
}

/// Facts about a person; None where the line says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the column of its name")]
pub struct Facts {
    pub address_kind: Option<AddressKind>,
    pub kind: Option<ContactKind>,
    pub legal_form: Option<LegalForm>,
    pub relationship: Option<Relationship>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub company: Option<String>,
    pub job_title: Option<String>,
    pub country: Option<&'static str>,
    pub language: Option<String>,
    pub time_zone: Option<String>,
    pub source: Option<String>,
    pub source_kind: Option<SourceKind>,
    pub collected_at: Option<When>,
    pub informed: Option<bool>,
    pub similar: Option<bool>,
    pub same_entity: Option<bool>,
    pub refusal_offered: Option<bool>,
    pub relationship_end: Option<When>,
    pub last_activity: Option<ActivityKind>,
    pub last_activity_at: Option<When>,
}

/// One thing that the person said about a product, or about tracking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The product's slug. None: about tracking.
    pub product: Option<String>,
    /// What was said.
    pub state: ConsentState,
    /// When; a refusal without it stands for ever.
    pub at: Option<When>,
    /// What proves it.
    pub proof: Proof,
    /// Where the proof is kept.
    pub evidence: String,
}

/// What a person refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Unsubscribed from everything; since when, if that is known.
    pub unsubscribed: Option<Option<When>>,
    /// Consents refused or withdrawn, and tracking withdrawn.
    pub consents: Vec<Said>,
}

impl Refusals {
    /// Nothing was refused.
    pub fn is_empty(&self) -> bool {
        self.unsubscribed.is_none() && self.consents.is_empty()
    }
}

/// Longest text of a field, in characters.
const LONGEST_TEXT: usize = 500;

/// Reads the lines of one file.
#[derive(Debug, Clone)]
pub struct LineReader {
    width: usize,
    cells: BTreeMap<Field, Cell>,
    products: Vec<String>,
    order: Order,
    tz: TimeZone,
    now: Timestamp,
}

/// Where a field's value comes from.
#[derive(Debug, Clone)]
struct Cell {
    index: Option<usize>,
    name: String,
    default: String,
}

impl LineReader {
    /// A reader for files with these columns. A default value that cannot be read is an error.
    pub fn new(columns: &Columns, order: Order, tz: TimeZone, now: Timestamp) -> Result<LineReader, Fault> {
        let mut cells = BTreeMap::new();
        for (field, place) in &columns.of_field {
            cells.insert(
                field.clone(),
                Cell { index: Some(place.index), name: place.name.clone(), default: String::new() },
            );
        }
        for (field, value) in &columns.defaults {
            let cell = Cell { index: None, name: field.to_string(), default: String::new() };
            cells.entry(field.clone()).or_insert(cell).default = value.clone();
        }
        let products = cells.keys().filter_map(|field| match field {
            Field::Consent(product, ConsentPart::State) => Some(product.clone()),
            _ => None,
        });
        let reader = LineReader { width: columns.width, products: products.collect(), cells, order, tz, now };
        for field in columns.defaults.keys() {
            reader.check_default(field)?;
        }
        Ok(reader)
    }

    /// Whether some line may hold a consent, or its refusal.
    pub fn reads_consents(&self) -> bool {
        !self.products.is_empty() || self.cells.contains_key(&Field::Tracking)
    }

    /// Reads one line, which may be known to be faulty as a whole.
    pub fn read(&self, cells: &[&str], fault: Option<Fault>) -> Line {
        let mut line = Line { fault, ..Line::default() };
        if line.fault.is_none() && cells.len() != self.width {
            line.fault = Some(self.wrong_width(cells.len()));
        }
        match self.address(cells) {
            Ok(address) => line.address = Some(address),
            Err(fault) => line.refuse(fault),
        }
        line.refusals = self.refusals(cells, &mut line.fault);
        if line.fault.is_none()
            && let Err(fault) = self.fill(cells, &mut line)
        {
            line.refuse(fault);
        }
        if let Some(fault) = line.fault.as_mut().filter(|_| line.address.is_some() && !line.refusals.is_empty()) {
            fault.message.push_str("; the refusal that stands in this line is kept");
        }
        line
    }

    fn fill(&self, cells: &[&str], line: &mut Line) -> Result<(), Fault> {
        line.facts = self.facts(cells)?;
        line.facts.address_kind = line.address.as_ref().map(roles::address_kind);
        line.consents = self.consents(cells, line.facts.collected_at)?;
        Ok(())
    }

    fn address(&self, cells: &[&str]) -> Result<Address, Fault> {
        let text = self.value(&Field::Email, cells);
        if text.contains('\u{FFFD}') {
            return Err(self.fault(&Field::Email, FaultCode::Encoding, BROKEN));
        }
        Address::parse(text).map_err(|error| {
            let code = if error == AddressError::Empty { FaultCode::EmailMissing } else { FaultCode::EmailInvalid };
            self.fault(&Field::Email, code, error.to_string())
        })
    }

    fn facts(&self, cells: &[&str]) -> Result<Facts, Fault> {
        Ok(Facts {
            address_kind: None,
            kind: self.word(&Field::Kind, words::KIND, cells)?,
            legal_form: self.word(&Field::LegalForm, words::LEGAL_FORM, cells)?,
            relationship: self.word(&Field::Relationship, words::RELATIONSHIP, cells)?,
            first_name: self.text(&Field::FirstName, cells)?,
            last_name: self.text(&Field::LastName, cells)?,
            company: self.text(&Field::Company, cells)?,
            job_title: self.scanned(&Field::JobTitle, cells)?,
            country: self.country(cells)?,
            language: self.language(cells)?,
            time_zone: self.time_zone(cells)?,
            source: self.scanned(&Field::Source, cells)?,
            source_kind: self.word(&Field::SourceKind, words::SOURCE_KIND, cells)?,
            collected_at: self.past(&Field::CollectedAt, cells)?,
            informed: self.informed(cells)?,
            similar: self.word(&Field::Similar, words::YES_NO, cells)?,
            same_entity: self.word(&Field::SameEntity, words::YES_NO, cells)?,
            refusal_offered: self.word(&Field::RefusalOffered, words::YES_NO, cells)?,
            relationship_end: self.date(&Field::RelationshipEnd, cells)?,
            last_activity: self.word(&Field::LastActivity, words::ACTIVITY, cells)?,
            last_activity_at: self.past(&Field::LastActivityAt, cells)?,
        })
    }

    /// What was given or is pending. A yes needs a date: its own, or that of the collection.
    fn consents(&self, cells: &[&str], collected: Option<When>) -> Result<Vec<Said>, Fault> {
        let mut said = Vec::new();
        for product in &self.products {
            let part = |part| Field::Consent(product.clone(), part);
            let (state_field, at_field) = (part(ConsentPart::State), part(ConsentPart::At));
            let Some(state) = self.word(&state_field, words::CONSENT, cells)? else {
                if !self.cell(&at_field, cells).is_empty() && self.cell(&state_field, cells).is_empty() {
                    let message = format!("a date, but {state_field} is empty; write what was said there");
                    return Err(self.fault(&at_field, FaultCode::ConsentMissing, message));
                }
                continue;
            };
            let proof = self.word(&part(ConsentPart::Proof), words::PROOF, cells)?.unwrap_or(Proof::None);
            let evidence = self.scanned(&part(ConsentPart::Evidence), cells)?.unwrap_or_default();
            if state.is_refusal() {
                continue;
            }
            let at = self.past(&at_field, cells)?.or(collected);
            let at = Some(at.ok_or_else(|| self.undated(&state_field))?);
            said.push(Said { product: Some(product.clone()), state, at, proof, evidence });
        }
        if self.word(&Field::Tracking, words::TRACKING, cells)? == Some(TrackingConsent::Granted) {
            let at = Some(collected.ok_or_else(|| self.undated(&Field::Tracking))?);
            said.push(Said {
                product: None,
                state: ConsentState::Granted,
                at,
                proof: Proof::None,
                evidence: String::new(),
            });
        }
        Ok(said)
    }

    fn undated(&self, field: &Field) -> Fault {
        let own = if *field == Field::Tracking { String::new() } else { format!("{field}_at or ") };
        self.fault(field, FaultCode::ConsentUndated, format!("a yes needs a date: fill in {own}collected_at"))
    }

    /// What the line refuses, whatever else is wrong with it.
    fn refusals(&self, cells: &[&str], fault: &mut Option<Fault>) -> Refusals {
        let mut refusals = Refusals { unsubscribed: self.unsubscribed(cells, fault), consents: Vec::new() };
        for product in &self.products {
            refusals.consents.extend(self.refused_consent(product, cells, fault));
        }
        if self.word(&Field::Tracking, words::TRACKING, cells) == Ok(Some(TrackingConsent::Withdrawn)) {
            let (state, proof) = (ConsentState::Withdrawn, Proof::None);
            refusals.consents.push(Said { product: None, state, at: None, proof, evidence: String::new() });
        }
        refusals
    }

    fn unsubscribed(&self, cells: &[&str], fault: &mut Option<Fault>) -> Option<Option<When>> {
        let text = self.value(&Field::UnsubscribedAt, cells);
        if text.is_empty() {
            return None;
        }
        match look_up(words::REFUSAL, text) {
            Ok(Some(true)) => Some(None),
            Ok(_) => None,
            // With cells too many, a text that cannot be read most likely belongs to another column.
            Err(_) if cells.len() > self.width && self.date(&Field::UnsubscribedAt, cells).is_err() => None,
            Err(_) => Some(self.since(&Field::UnsubscribedAt, cells, fault)),
        }
    }

    fn refused_consent(&self, product: &str, cells: &[&str], fault: &mut Option<Fault>) -> Option<Said> {
        let part = |part| Field::Consent(product.to_owned(), part);
        let state = self.word(&part(ConsentPart::State), words::CONSENT, cells).ok().flatten();
        let state = state.filter(|s| s.is_refusal())?;
        let at = self.since(&part(ConsentPart::At), cells, fault);
        let proof = self.word(&part(ConsentPart::Proof), words::PROOF, cells).ok().flatten().unwrap_or(Proof::None);
        let evidence = self.scanned(&part(ConsentPart::Evidence), cells).ok().flatten().unwrap_or_default();
        Some(Said { product: Some(product.to_owned()), state, at, proof, evidence })
    }

    /// Since when a refusal holds. A date that cannot be read is a fault, and the refusal has none:
    /// it stands for ever. An ambiguous one is a fault, and the refusal has the later of its readings.
    fn since(&self, field: &Field, cells: &[&str], fault: &mut Option<Fault>) -> Option<When> {
        let mut refuse = |f: Fault| {
            fault.get_or_insert(f);
        };
        match self.past(field, cells) {
            Ok(when) => when,
            Err(f) if f.code == FaultCode::DateAmbiguous => {
                refuse(f);
                let text = self.value(field, cells);
                let reading = |order| dates::read(text, Order::Said(order), &self.tz).ok();
                let later = [DateOrder::Dmy, DateOrder::Mdy].into_iter().filter_map(reading);
                later.max_by_key(|when| when.starts_at(&self.tz)).filter(|when| !when.is_after(self.now, &self.tz))
            }
            Err(f) => {
                refuse(f);
                None
            }
        }
    }

    /// The cell as the file has it, trimmed; empty where there is none.
    fn cell<'c>(&self, field: &Field, cells: &[&'c str]) -> &'c str {
        let index = self.cells.get(field).and_then(|cell| cell.index);
        index.and_then(|index| cells.get(index)).map_or("", |text| text.trim())
    }

    /// The cell's value, or the default.
    fn value<'c>(&'c self, field: &Field, cells: &[&'c str]) -> &'c str {
        match self.cell(field, cells) {
            "" => self.cells.get(field).map_or("", |cell| &cell.default),
            text => text,
        }
    }

    fn word<T: Copy>(&self, field: &Field, vocabulary: Vocabulary<T>, cells: &[&str]) -> Result<Option<T>, Fault> {
        match self.value(field, cells) {
            "" => Ok(None),
            text => look_up(vocabulary, text).map_err(|message| self.fault(field, FaultCode::ValueUnknown, message)),
        }
    }

    /// Free text: one line without control characters, so that it can stand in a header.
    fn text(&self, field: &Field, cells: &[&str]) -> Result<Option<String>, Fault> {
        let text = self.value(field, cells);
        if text.is_empty() {
            return Ok(None);
        }
        if text.contains('\u{FFFD}') {
            return Err(self.fault(field, FaultCode::Encoding, BROKEN));
        }
        let line_break = |c: char| matches!(c, '\n' | '\r' | '\t' | '\u{85}' | '\u{2028}' | '\u{2029}');
        // A name may be merged into a header: it is refused, not repaired (H07).
        let merged = matches!(field, Field::FirstName | Field::LastName);
        if let Some(c) = text.chars().find(|c| (c.is_control() || line_break(*c)) && (merged || !line_break(*c))) {
            let message = format!("holds the control character U+{:04X}; remove it", u32::from(c));
            return Err(self.fault(field, FaultCode::Control, message));
        }
        if text.len() > LONGEST_TEXT && text.chars().count() > LONGEST_TEXT {
            let message = format!("longer than {LONGEST_TEXT} characters; shorten it");
            return Err(self.fault(field, FaultCode::TextTooLong, message));
        }
        Ok(Some(if text.contains(line_break) {
            text.split(line_break).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
        } else {
            text.to_owned()
        }))
    }

    /// Free text that must not hold sensitive words.
    fn scanned(&self, field: &Field, cells: &[&str]) -> Result<Option<String>, Fault> {
        let text = self.text(field, cells)?;
        match text.as_deref().and_then(sensitive::find) {
            Some(word) => {
                let message =
                    format!("holds the sensitive word {word:?}, which nobody may keep about a person; remove it");
                Err(self.fault(field, FaultCode::Sensitive, message))
            }
            None => Ok(text),
        }
    }

    fn country(&self, cells: &[&str]) -> Result<Option<&'static str>, Fault> {
        match self.value(&Field::Country, cells) {
            "" => Ok(None),
            text => countries::code(text).map(Some).ok_or_else(|| {
                let message = format!("{:?} is no country; write its ISO 3166 code, such as FR", shown(text));
                self.fault(&Field::Country, FaultCode::CountryUnknown, message)
            }),
        }
    }

    fn time_zone(&self, cells: &[&str]) -> Result<Option<String>, Fault> {
        match self.value(&Field::TimeZone, cells) {
            "" => Ok(None),
            // The name as the time zone database spells it.
            text => TimeZone::get(text).ok().and_then(|zone| zone.iana_name().map(str::to_owned)).map(Some).ok_or_else(
                || {
                    let message =
                        format!("{:?} is no time zone; write its IANA name, such as Europe/Paris", shown(text));
                    self.fault(&Field::TimeZone, FaultCode::ValueUnknown, message)
                },
            ),
        }
    }

    fn language(&self, cells: &[&str]) -> Result<Option<String>, Fault> {
        match self.value(&Field::Language, cells) {
            "" => Ok(None),
            text => words::language(text)
                .map(Some)
                .map_err(|message| self.fault(&Field::Language, FaultCode::ValueUnknown, message)),
        }
    }

    /// Yes, no, or the date of the information.
    fn informed(&self, cells: &[&str]) -> Result<Option<bool>, Fault> {
        let text = self.value(&Field::Informed, cells);
        match self.word(&Field::Informed, words::YES_NO, cells) {
            Err(_) if text.bytes().any(|b| b.is_ascii_digit()) => {
                self.past(&Field::Informed, cells).map(|when| when.map(|_| true))
            }
            read => read,
        }
    }

    /// A date that must not lie in the future (DATA-1).
    fn past(&self, field: &Field, cells: &[&str]) -> Result<Option<When>, Fault> {
        let when = self.date(field, cells)?;
        match when.filter(|when| when.is_after(self.now, &self.tz)) {
            Some(when) => Err(self.fault(field, FaultCode::DateFuture, format!("{when} has not come yet; correct it"))),
            None => Ok(when),
        }
    }

    fn date(&self, field: &Field, cells: &[&str]) -> Result<Option<When>, Fault> {
        let text = self.value(field, cells);
        // What databases write for a date that is not there.
        let nothing = text.starts_with("0000-00-00") || text.eq_ignore_ascii_case("null");
        // Of a refusal only an empty cell says plainly that there is none.
        if text.is_empty() || (nothing && *field != Field::UnsubscribedAt) {
            return Ok(None);
        }
        dates::read(text, self.order, &self.tz).map(Some).map_err(|error| {
            let code = match error {
                DateFault::Ambiguous | DateFault::Contradicted => FaultCode::DateAmbiguous,
                _ => FaultCode::DateInvalid,
            };
            self.fault(field, code, format!("{:?}: {error}", shown(text)))
        })
    }

    fn fault(&self, field: &Field, code: FaultCode, message: impl Into<String>) -> Fault {
        let column = self.cells.get(field).map_or_else(|| field.to_string(), |cell| cell.name.clone());
        Fault { column, code, message: message.into() }
    }

    fn wrong_width(&self, found: usize) -> Fault {
        let message = format!(
            "{found} cells, but the header has {}; a text that holds the separator must stand in double quotes",
            self.width
        );
        Fault { column: String::new(), code: FaultCode::Columns, message }
    }

    fn check_default(&self, field: &Field) -> Result<(), Fault> {
        let cells: &[&str] = &[];
        match field {
            Field::UnsubscribedAt => {
                let mut fault = None;
                self.unsubscribed(cells, &mut fault);
                fault.map_or(Ok(()), Err)
            }
            Field::Consent(_, ConsentPart::State) => self.word(field, words::CONSENT, cells).map(drop),
            Field::Consent(_, ConsentPart::At) => self.past(field, cells).map(drop),
            Field::Consent(_, ConsentPart::Proof) => self.word(field, words::PROOF, cells).map(drop),
            Field::Consent(_, ConsentPart::Evidence) => self.scanned(field, cells).map(drop),
            Field::Tracking => self.word(field, words::TRACKING, cells).map(drop),
            _ => self.facts(cells).map(drop),
        }
    }
}

impl Line {
    /// Notes a fault; the first one is the one that is reported.
    fn refuse(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

const BROKEN: &str = "a character cannot be read in the encoding of the file; save the file as UTF-8";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::import::columns::{Mapping, resolve};

    fn reader(header: &str, defaults: &[(&str, &str)], order: Order) -> Result<LineReader, Fault> {
        let header: Vec<String> = header.split(',').map(str::to_owned).collect();
        let default = defaults.iter().map(|(f, v)| ((*f).to_owned(), (*v).to_owned())).collect();
        let mapping = Mapping { default, ..Mapping::default() };
        let columns = resolve(&header, &mapping, &["crm".to_owned()]).unwrap();
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        LineReader::new(&columns, order, TimeZone::get("Europe/Paris").unwrap(), now)
    }

    fn read(header: &str, line: &str) -> Line {
        let cells: Vec<&str> = line.split(',').collect();
        reader(header, &[], Order::Unknown).unwrap().read(&cells, None)
    }

    fn fault(header: &str, line: &str) -> String {
        read(header, line).fault.map_or_else(|| "none".into(), |f| format!("{}:{}", f.column, f.code))
    }

    fn at(text: &str) -> Option<When> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_line_is_read_in_the_words_of_its_writer() {
        let line = read(
            "Email,Kind,relationship,Country,language,collected_at,informed,job_title,consent_crm,consent_crm_proof",
            " Marie@Exämple.net ,B2B,Ancien client,France,Français,18/03/2025,oui,Directrice,oui,double opt-in",
        );
        assert_eq!(line.fault, None);
        assert_eq!(line.address.unwrap().as_str(), "marie@xn--exmple-cua.net");
        let facts = line.facts;
        assert_eq!(
            (facts.kind, facts.relationship, facts.country, facts.language.as_deref(), facts.informed),
            (Some(ContactKind::Business), Some(Relationship::FormerCustomer), Some("FR"), Some("fr"), Some(true))
        );
        assert_eq!((facts.address_kind, facts.first_name), (Some(AddressKind::Personal), None));
        let said = &line.consents[0];
        assert_eq!((said.state, said.proof), (ConsentState::Granted, Proof::Doi));
        assert_eq!(said.at, at("2025-03-18"), "the day of the collection");
    }

    #[test]
    fn a_refused_line_names_its_column_and_reason() {
        for (header, line, expected) in [
            ("email", "", "email:email_missing"),
            ("email", "marie", "email:email_invalid"),
            ("email,kind", "a@example.net,martien", "kind:value_unknown"),
            ("email,country", "a@example.net,Atlantide", "country:country_unknown"),
            ("email,Collected At", "a@example.net,04/05/2025", "Collected At:date_ambiguous"),
            ("email,collected_at", "a@example.net,hier", "collected_at:date_invalid"),
            ("email,collected_at", "a@example.net,2026-11-22", "collected_at:date_future"),
            ("email,collected_at", "a@example.net,2026-11-21", "none"),
            ("email,relationship_end", "a@example.net,2027-01-31", "none"),
            ("email,informed", "a@example.net,2025-01-31", "none"),
            ("email,informed", "a@example.net,2027-01-31", "informed:date_future"),
            ("email,consent_crm", "a@example.net,oui", "consent_crm:consent_undated"),
            ("email,consent_crm,consent_crm_at", "a@example.net,,2025-01-31", "consent_crm_at:consent_missing"),
            ("email,tracking", "a@example.net,oui", "tracking:consent_undated"),
            ("email,job_title", "a@example.net,déléguée syndicale", "job_title:sensitive"),
            ("email,source", "a@example.net,rencontrée au salon (enceinte)", "source:sensitive"),
            ("email,company", "a@example.net,Acme\0", "company:control_character"),
            ("email,company", "a@example.net,Acm\u{FFFD}", "company:encoding"),
            ("email,company", "a\u{FFFD}@example.net,Acme", "email:encoding"),
            ("email,company", "a@example.net", ":columns"),
            ("email,company", "a@example.net,Acme, SA", ":columns"),
            ("email,language", "a@example.net,martien", "language:value_unknown"),
            ("email,time_zone", "a@example.net,Paris", "time_zone:value_unknown"),
        ] {
            assert_eq!(fault(header, line), expected, "{header} / {line}");
        }
        assert_eq!(read("email,source", "a@example.net,Acme\r\n SA").facts.source.as_deref(), Some("Acme SA"));
        for (field, text) in [
            ("first_name", "Marie\r\nBcc: x"),
            ("last_name", "A\nB"),
            ("first_name", "A\tB"),
            ("last_name", "A\rB"),
            ("last_name", "A\u{2028}B"),
        ] {
            assert_eq!(
                fault(&format!("email,{field}"), &format!("a@example.net,{text}")),
                format!("{field}:control_character")
            );
        }
        let long = format!("a@example.net,{}", "é".repeat(501));
        assert_eq!(fault("email,company", &long), "company:too_long");
    }

    #[test]
    fn a_refusal_holds_whatever_else_is_wrong() {
        let unsubscribed = |header: &str, line: &str| {
            let line = read(header, line);
            (line.refusals.unsubscribed, line.fault.map(|f| f.code))
        };
        let header = "email,unsubscribed_at,country";
        for (value, since) in [
            ("2025-03-18T10:00:00Z", Some(at("2025-03-18T10:00:00Z"))),
            ("18 mars 2025", Some(at("2025-03-18"))),
            ("oui", Some(None)),
            ("X", Some(None)),
            ("désinscrit", Some(None)),
            ("non", None),
            ("0", None),
            ("", None),
        ] {
            let line = format!("a@example.net,{value},");
            assert_eq!(unsubscribed(header, &line), (since, None), "{value}");
            let bad = format!("a@example.net,{value},Atlantide");
            assert_eq!(unsubscribed(header, &bad), (since, Some(FaultCode::CountryUnknown)), "{value}");
        }
        let unreadable = (Some(None), Some(FaultCode::DateInvalid));
        for value in ["peut-être", "-", "N/A", "na", "NULL", "none", "0000-00-00", "0000-00-00 00:00:00", "?"] {
            assert_eq!(unsubscribed(header, &format!("a@example.net,{value},")), unreadable, "{value}");
        }
        assert_eq!(unsubscribed(header, "a@example.net,2035-01-01,"), (Some(None), Some(FaultCode::DateFuture)));
        let later_reading = (Some(at("2025-05-04")), Some(FaultCode::DateAmbiguous));
        assert_eq!(unsubscribed(header, "a@example.net,04/05/2025,"), later_reading);
        assert_eq!(unsubscribed(header, "a@example.net,oui"), (Some(None), Some(FaultCode::Columns)));
        assert_eq!(unsubscribed(header, "a@example.net,oui,,"), (Some(None), Some(FaultCode::Columns)));
        assert_eq!(unsubscribed(header, "a@example.net,Acme,,"), (None, Some(FaultCode::Columns)));
        let kept = read(header, "a@example.net,oui,Atlantide").fault.unwrap().message;
        assert!(kept.ends_with("the refusal that stands in this line is kept"), "{kept}");
    }

    #[test]
    fn a_refused_consent_is_an_answer_with_or_without_a_date() {
        let header = "email,consent_crm,consent_crm_at,tracking";
        let refused = |line: &str| {
            let line = read(header, line);
            let said = line.refusals.consents.iter().map(|s| (s.product.clone(), s.state, s.at)).collect::<Vec<_>>();
            (said, line.consents.len(), line.fault.map(|f| f.code))
        };
        let crm = |state, at| (Some("crm".to_owned()), state, at);
        assert_eq!(refused("a@example.net,non,,"), (vec![crm(ConsentState::Refused, None)], 0, None));
        let withdrawn = crm(ConsentState::Withdrawn, at("2025-03-18"));
        assert_eq!(refused("a@example.net,retiré,2025-03-18,"), (vec![withdrawn], 0, None));
        let unreadable = (vec![crm(ConsentState::Refused, None)], 0, Some(FaultCode::DateInvalid));
        assert_eq!(refused("a@example.net,refused,hier,"), unreadable);
        assert_eq!(refused("a@example.net,,,non"), (vec![(None, ConsentState::Withdrawn, None)], 0, None));
        assert_eq!(refused("a@example.net,none,,none"), (vec![], 0, None));
    }

    #[test]
    fn a_default_fills_empty_cells_and_is_checked_before_any_line() {
        let reader = |defaults: &[(&str, &str)]| reader("email,kind", defaults, Order::Unknown);
        let business = reader(&[("kind", "b2b"), ("country", "fr"), ("consent_crm", "yes")]).unwrap();
        let line = business.read(&["a@example.net", ""], None);
        assert_eq!((line.facts.kind, line.facts.country), (Some(ContactKind::Business), Some("FR")));
        assert_eq!(business.read(&["a@example.net", "b2c"], None).facts.kind, Some(ContactKind::Consumer));
        for (field, value) in
            [("country", "XX"), ("kind", "x"), ("collected_at", "04/05/2025"), ("unsubscribed_at", "perhaps")]
        {
            assert_eq!(reader(&[(field, value)]).unwrap_err().column, field);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_fault_never_shows_the_address(
            cells in proptest::collection::vec(".{0,30}", 0..9), local in "[a-z]{8}",
        ) {
            let header = "email,unsubscribed_at,consent_crm,consent_crm_at,collected_at,source,tracking,informed";
            let address = format!("{local}@example.net");
            let mut cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            cells.insert(0, &address);
            let line = reader(header, &[], Order::Unknown).unwrap().read(&cells, None);
            prop_assert!(line.fault.is_none_or(|f| !f.message.contains(&local)));
        }
    }
}
