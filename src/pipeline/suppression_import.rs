//! A list of refusals from a file: one address, domain or hash a line, or CSV with a header.
//!
//! It only ever adds. A line that cannot be read is refused with its place, and the others count.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    time::Instant,
};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    import::{
        Pace,
        records::{Record, RecordFault, Records},
        report::{ReadAs, Refusals, Report},
        source::{Source, SourceError},
    },
    suppress::{self, Reach, Refusal, Whom, Written, latest_instant},
    suppression_list::{HashKind, UNKNOWN, reach, unguard, whom, whom_of_domain, whom_of_hash},
};
use crate::{
    domain::{
        address::SuppressionKey,
        import::{
            dates::{self, Order},
            vocabulary::fold,
        },
        suppressions::{Origin, Scope, SuppressionReason},
        words::words,
    },
    store::{Db, imports, products},
};

/// What holds for lines that do not say it themselves.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Why. A list of people who refused is the people's own act unless somebody says otherwise.
    pub reason: SuppressionReason,
    /// Slug of the product; everything when there is none.
    pub product: Option<String>,
    /// Since when; now when it is not said.
    pub at: Option<Timestamp>,
    /// How hashes of 64 digits were made.
    pub hash_kind: Option<HashKind>,
    /// Order of day and month.
    pub order: Order,
}

words! {
    /// What a column of the file may hold.
    Field {
        /// An address, or `@domain`.
        Address = "address",
        /// A domain.
        Domain = "domain",
        /// A hash, with or without its kind.
        Hash = "hash",
        /// The kind of the hash.
        HashKind = "hash_kind",
        /// The fingerprint of the key that our own kind of hash was made with.
        Key = "key",
        /// What is covered.
        Scope = "scope",
        /// Slug of the product.
        Product = "product",
        /// Why.
        Reason = "reason",
        /// Since when.
        At = "at",
        /// A word for later.
        Note = "note",
        /// Where it came from there; here it comes from an import.
        Origin = "origin",
    }
}

/// Why nothing (more) was imported.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Read(#[from] io::Error),
    /// The file is no text.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Nothing stands in the file.
    #[error("the file is empty")]
    Empty,
    /// A column is not known.
    #[error("line {line}: the column {name:?} is not known; the first line must name the columns, of {}", known())]
    Column {
        /// Where the header stands.
        line: u64,
        /// As the file names it.
        name: String,
    },
    /// A column is there twice, or none says whom.
    #[error("line {line}: {message}")]
    Header {
        /// Where the header stands.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

impl ListError {
    /// The file is wrong, and nothing was written.
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, ListError::Store(_))
    }
}

fn known() -> String {
    Field::ALL.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(", ")
}

/// Lines in a transaction, for each step of the pace.
const LINES: usize = 20;

/// Adds every refusal of the file that does not stand yet.
pub async fn import(
    db: &Db,
    key: &SuppressionKey,
    fingerprint: &str,
    tz: &TimeZone,
    now: Timestamp,
    file: File,
    defaults: &Defaults,
) -> Result<Report, ListError> {
    let slugs = {
        let mut tx = db.read().await?;
        products::all(&mut tx).await?.into_iter().map(|p| p.slug).collect()
    };
    let mut source = Source::open(file)?;
    let layout = Layout::of(&mut source)?;
    source.text.seek(SeekFrom::Start(layout.body.1))?;
    let mut records = Records::new(&source.text, layout.delimiter, layout.body.0, layout.body.1);
    let read_as = ReadAs { encoding: source.encoding, delimiter: char::from(layout.delimiter) };
    let mut report =
        Report { lines: 0, new: 0, changed: 0, unchanged: 0, refused: 0, refusals: Refusals::new()?, read_as };
    let reader = LineReader { layout, defaults, slugs, key, fingerprint, tz, now };
    let mut pace = Pace::new(db);
    loop {
        let (mut refusals, kept) = reader.chunk(&mut records, pace.parcels * LINES, &mut report)?;
        if refusals.is_empty() && kept.is_empty() {
            return Ok(report);
        }
        let counted = refusals.len();
        refusals.extend(kept);
        let mut tx = db.write().await?;
        let started = Instant::now();
        let written = suppress::refuse_all(&mut tx, key, &refusals, now).await?;
        tx.commit().await?;
        let held = started.elapsed();
        let new = written[..counted].iter().filter(|w| matches!(w, Written::New(_))).count() as u64;
        report.new += new;
        report.unchanged += counted as u64 - new;
        pace.keep(held).await;
    }
}

/// Where what stands in the file.
struct Layout {
    delimiter: u8,
    /// None: one thing a line.
    columns: Option<BTreeMap<Field, usize>>,
    width: usize,
    /// Line and byte at which the list begins.
    body: (u64, u64),
}

/// Stands in no text: a line of a plain list is one cell.
const NO_DELIMITER: u8 = 0x1F;

impl Layout {
    fn of(source: &mut Source) -> Result<Layout, ListError> {
        let mut best: Option<(usize, Layout, Vec<String>)> = None;
        for delimiter in [b',', b';', b'\t'] {
            source.text.seek(SeekFrom::Start(source.start))?;
            let mut records = Records::new(&source.text, delimiter, 1, source.start);
            let mut record = Record::default();
            if !records.next(&mut record)? {
                return Err(ListError::Empty);
            }
            let names: Vec<String> = record.cells().iter().map(|name| fold(name)).collect();
            let known = names.iter().filter(|name| field(name).is_some()).count();
            if best.as_ref().is_none_or(|(most, other, _)| (known, names.len()) > (*most, other.width)) {
                let body = (records.line(), records.offset());
                best = Some((known, Layout { delimiter, columns: None, width: names.len(), body }, names));
            }
        }
        let (known, layout, names) = best.ok_or(ListError::Empty)?;
        if known == 0 && names.len() == 1 {
            return Ok(Layout { delimiter: NO_DELIMITER, columns: None, width: 1, body: (1, source.start) });
        }
        Ok(Layout { columns: Some(columns(&names)?), ..layout })
    }
}

fn columns(names: &[String]) -> Result<BTreeMap<Field, usize>, ListError> {
    let mut columns = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        let field = field(name).ok_or_else(|| ListError::Column { line: 1, name: name.clone() })?;
        if columns.insert(field, index).is_some() {
            return Err(ListError::Header { line: 1, message: format!("two columns hold the {field}") });
        }
    }
    if ![Field::Address, Field::Domain, Field::Hash].iter().any(|f| columns.contains_key(f)) {
        let message = "no column says whom: one must be address, domain or hash".to_owned();
        return Err(ListError::Header { line: 1, message });
    }
    Ok(columns)
}

/// The field of a folded name, also under the names that other programs give it.
fn field(name: &str) -> Option<Field> {
    match name {
        "email" | "e_mail" | "mail" | "email_address" | "adresse" | "adresse_email" | "adresse_e_mail" => {
            Some(Field::Address)
        }
        "domaine" => Some(Field::Domain),
        "unsubscribed_at" | "date" => Some(Field::At),
        name => name.parse().ok(),
    }
}

/// Why a line is refused.
struct Fault {
    column: &'static str,
    code: &'static str,
    message: String,
    /// What stands all the same: it is plain whom the line is about, and a no is never lost to a
    /// misspelt date or reason.
    kept: Option<Box<Refusal>>,
}

fn fault<T>(column: &'static str, code: &'static str, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { column, code, message: message.into(), kept: None })
}

struct LineReader<'a> {
    layout: Layout,
    defaults: &'a Defaults,
    slugs: Vec<String>,
    key: &'a SuppressionKey,
    fingerprint: &'a str,
    tz: &'a TimeZone,
    now: Timestamp,
}

impl LineReader<'_> {
    /// The refusals of the next lines, up to `most`, and those kept of lines that are refused
    /// themselves; both empty only at the end of the file.
    fn chunk(
        &self,
        records: &mut Records<impl Read>,
        most: usize,
        report: &mut Report,
    ) -> Result<(Vec<Refusal>, Vec<Refusal>), ListError> {
        let (mut refusals, mut all_kept) = (Vec::new(), Vec::new());
        let mut record = Record::default();
        while refusals.len() + all_kept.len() < most && records.next(&mut record)? {
            report.lines += 1;
            match self.line(&record) {
                Ok(refusal) => refusals.push(refusal),
                Err(Fault { column, code, mut message, kept }) => {
                    if let Some(kept) = kept {
                        message.push_str("; the refusal stands, without a date");
                        all_kept.push(*kept);
                    }
                    report.refused += 1;
                    let line = i64::try_from(record.line).unwrap_or(i64::MAX);
                    let (column_name, code) = (column.to_owned(), code.to_owned());
                    report.refusals.push(&imports::Refusal { line, column_name, code, message })?;
                }
            }
        }
        Ok((refusals, all_kept))
    }

    fn line(&self, record: &Record) -> Result<Refusal, Fault> {
        match record.fault {
            Some(RecordFault::Quote) => return fault("", "quote", "a double quote is not closed"),
            Some(RecordFault::TooLong) => return fault("", "line_too_long", "the line is too long"),
            None => {}
        }
        let cells = record.cells();
        let Some(columns) = &self.layout.columns else {
            return Ok(self.refusal(plain(cells[0], self.defaults.hash_kind)?, self.default_reach()));
        };
        if cells.len() != self.layout.width {
            let message = format!("{} cells, but the header has {}", cells.len(), self.layout.width);
            return fault("", "columns", message);
        }
        let cell = |field: Field| columns.get(&field).map_or("", |index| unguard(cells[*index].trim()).trim());
        self.record(cell)
    }

    fn record<'c>(&self, cell: impl Fn(Field) -> &'c str) -> Result<Refusal, Fault> {
        let (whom, reach) = self.covered(&cell)?;
        let refusal = self.refusal(whom, reach);
        match self.particulars(&cell) {
            Ok((reason, at, note)) => Ok(Refusal { reason, at, note, ..refusal }),
            Err(fault) => Err(Fault { kept: Some(Box::new(Refusal { at: None, ..refusal })), ..fault }),
        }
    }

    /// Why, since when, and what is noted.
    fn particulars<'c>(
        &self,
        cell: &impl Fn(Field) -> &'c str,
    ) -> Result<(SuppressionReason, Option<Timestamp>, String), Fault> {
        let reason = match cell(Field::Reason) {
            "" => self.defaults.reason,
            word => match fold(word).parse::<SuppressionReason>() {
                Ok(reason) => reason,
                Err(error) => return fault("reason", "value_unknown", error.to_string()),
            },
        };
        let note = cell(Field::Note);
        if note.chars().count() > 500 || note.contains(char::is_control) {
            return fault("note", "note", "a note is one line of at most 500 characters");
        }
        Ok((reason, self.since(cell(Field::At))?, note.to_owned()))
    }

    /// Whom a record covers and in what, if its columns do not contradict each other.
    fn covered<'c>(&self, cell: &impl Fn(Field) -> &'c str) -> Result<(Whom, Reach), Fault> {
        let whom = match (cell(Field::Address), cell(Field::Domain), cell(Field::Hash)) {
            ("", "", "") => return fault("", "whom_missing", "neither address, domain nor hash is filled in"),
            (address, "", "") => plain(address, self.defaults.hash_kind)?,
            ("", domain, "") => whom_of_domain(domain).or_else(|message| fault("domain", "domain_invalid", message))?,
            ("", "", hash) => match cell(Field::HashKind) {
                "" => hashed(hash, self.defaults.hash_kind)?,
                word => match word.to_ascii_lowercase().parse::<HashKind>() {
                    Ok(kind) => {
                        whom_of_hash(hash, Some(kind)).or_else(|message| fault("hash", "hash_invalid", message))?
                    }
                    Err(error) => return fault("hash_kind", "value_unknown", error.to_string()),
                },
            },
            _ => return fault("", "contradiction", "fill in one of address, domain and hash"),
        };
        let made_with = cell(Field::Key);
        if !made_with.is_empty() && made_with != self.fingerprint && matches!(whom, Whom::Hash(_)) {
            let message = "hashed with another key: it would match nobody here; export the plain list (without \
                           --hashed) where it comes from, or restore the key (keys/suppression.key) it was made with";
            return fault("key", "other_key", message);
        }
        let product = cell(Field::Product);
        if !product.is_empty() && !self.slugs.iter().any(|slug| slug == product) {
            let message = format!("there is no product {product:?}; add it, or empty the cell to refuse everything");
            return fault("product", "product_unknown", message);
        }
        let scope = match cell(Field::Scope) {
            "" if product.is_empty() => return Ok((whom, self.default_reach())),
            "" => Scope::Product,
            word => match fold(word).parse::<Scope>() {
                Ok(scope) => scope,
                Err(error) => return fault("scope", "value_unknown", error.to_string()),
            },
        };
        match (scope, whom) {
            (Scope::Product, _) if product.is_empty() => fault("product", "contradiction", "which product?"),
            (Scope::Product, whom) => Ok((whom, Reach::Product(product.to_owned()))),
            _ if !product.is_empty() => fault("scope", "contradiction", format!("{scope} and a product")),
            (Scope::Domain, whom @ Whom::Domain(_)) => Ok((whom, Reach::Everything)),
            (Scope::Domain, _) | (_, Whom::Domain(_)) => fault("scope", "contradiction", "a domain is what it covers"),
            (Scope::Hash, Whom::Address(address)) => Ok((Whom::Hash(self.key.hash(&address)), Reach::Everything)),
            (Scope::Address, whom) => Ok((whom, Reach::Address)),
            (Scope::Global | Scope::Hash, whom) => Ok((whom, Reach::Everything)),
        }
    }

    fn since(&self, text: &str) -> Result<Option<Timestamp>, Fault> {
        if text.is_empty() {
            return Ok(Some(self.defaults.at.unwrap_or(self.now)));
        }
        if text.eq_ignore_ascii_case(UNKNOWN) {
            return Ok(None);
        }
        match dates::read(text, self.defaults.order, self.tz) {
            Err(error) => fault("at", "date_invalid", error.to_string()),
            Ok(when) if when.is_after(self.now, self.tz) => fault("at", "date_future", "has not come yet; correct it"),
            Ok(when) => Ok(Some(latest_instant(when, self.tz, self.now))),
        }
    }

    fn default_reach(&self) -> Reach {
        reach(self.defaults.product.clone())
    }

    fn refusal(&self, whom: Whom, reach: Reach) -> Refusal {
        Refusal {
            whom,
            reach,
            reason: self.defaults.reason,
            origin: Origin::Import,
            at: Some(self.defaults.at.unwrap_or(self.now)),
            campaign_id: None,
            note: String::new(),
        }
    }
}

/// An address, `@domain`, domain or hash, as it stands alone.
fn plain(text: &str, kind: Option<HashKind>) -> Result<Whom, Fault> {
    let text = text.trim();
    let digits = text.split_once(':').map_or(text, |(_, digits)| digits);
    if !text.contains(['@', '.']) && [32, 64].contains(&digits.len()) {
        return hashed(text, kind);
    }
    if text.contains('@') && !text.starts_with('@') {
        return whom(text, false).or_else(|message| fault("address", "email_invalid", message));
    }
    whom(text, true).or_else(|message| fault("domain", "domain_invalid", message))
}

/// A hash of the kind that it says itself, or shows by its length, else of `kind`.
fn hashed(text: &str, kind: Option<HashKind>) -> Result<Whom, Fault> {
    let kind = kind.filter(|_| !text.contains(':') && text.len() != 32);
    whom_of_hash(text, kind).or_else(|message| fault("hash", "hash_invalid", message))
}
