//! The suppression list as a file: read from others', line by line, and written for others.
//!
//! An import only ever adds. An export says what is known: a plain address where one is kept, else its hash.

use std::io::{self, Write};

use jiff::Timestamp;

use super::suppress::{Reach, Whom};
use crate::{
    domain::{
        address::{Address, AddressHash, normalise_domain},
        words::words,
    },
    store::{
        Db,
        suppressions::{self, Entry},
    },
};

words! {
    /// How a hash was made of an address.
    HashKind {
        /// HMAC-SHA-256 with our suppression key.
        Hmac = "hmac",
        /// SHA-256 of the normalised address.
        Sha256 = "sha256",
        /// MD5 of the normalised address.
        Md5 = "md5",
    }
}

/// Reads an address, `@domain`, or (with `domains`) a bare domain.
pub fn whom(text: &str, domains: bool) -> Result<Whom, String> {
    let text = text.trim();
    if let Some(domain) = text.strip_prefix('@') {
        return whom_of_domain(domain);
    }
    if domains && !text.contains('@') {
        return whom_of_domain(text);
    }
    Address::parse(text).map(Whom::Address).map_err(|e| e.to_string())
}

/// Reads a domain.
pub fn whom_of_domain(text: &str) -> Result<Whom, String> {
    let domain = text.trim().trim_start_matches('@');
    normalise_domain(domain).map(Whom::Domain).ok_or_else(|| "the domain is not valid".to_owned())
}

/// Reads a hash: `KIND:HEX`, or hexadecimal digits whose kind is said apart. 64 digits may be ours or
/// anybody's SHA-256, so the kind must be said; 32 digits are MD5.
pub fn whom_of_hash(text: &str, said: Option<HashKind>) -> Result<Whom, String> {
    let text = text.trim();
    let (kind, hex) = match text.split_once(':') {
        Some((kind, hex)) => {
            let kind: HashKind = kind.trim().to_ascii_lowercase().parse().map_err(|e| format!("{e}"))?;
            if said.is_some_and(|said| said != kind) {
                return Err(format!("the hash says {kind}, and --hash-kind something else"));
            }
            (Some(kind), hex.trim())
        }
        None => (said, text),
    };
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) || ![32, 64].contains(&hex.len()) {
        return Err("a hash is 64 hexadecimal digits (HMAC-SHA-256, SHA-256) or 32 (MD5)".to_owned());
    }
    let hex = hex.to_ascii_lowercase();
    match (kind, hex.len()) {
        (Some(HashKind::Hmac), 64) => {
            AddressHash::from_hex(&hex).map(Whom::Hash).ok_or_else(|| "not hexadecimal".to_owned())
        }
        (Some(HashKind::Sha256), 64) => Ok(Whom::Foreign(format!("sha256:{hex}"))),
        (Some(HashKind::Md5) | None, 32) => Ok(Whom::Foreign(format!("md5:{hex}"))),
        (None, _) => Err("ours or anybody's SHA-256? say --hash-kind hmac or --hash-kind sha256".to_owned()),
        (Some(kind), _) => Err(format!("{kind} has another number of digits")),
    }
}

/// The columns of an exported list, which an import reads back.
pub const COLUMNS: [&str; 10] =
    ["scope", "address", "domain", "hash", "product", "reason", "origin", "at", "note", "key"];

/// What stands for an instant that nobody knows: an empty one would be read as now.
pub const UNKNOWN: &str = "unknown";

const PAGE: i64 = 1000;

/// Writes every standing entry as CSV, oldest first; with `hashed` no plain address. `key` is the fingerprint
/// of the key that hashes are made with. Returns how many.
pub async fn export_csv(db: &Db, hashed: bool, key: &str, out: &mut (impl Write + ?Sized)) -> anyhow::Result<u64> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(COLUMNS)?;
    let count = each_page(db, |entries| {
        for entry in entries {
            csv.write_record(row(&entry, hashed, key).map(|cell| guard(&cell)))?;
        }
        Ok(())
    })
    .await?;
    csv.flush()?;
    Ok(count)
}

/// Writes every standing entry as a JSON array, oldest first; with `hashed` no plain address.
pub async fn export_json(db: &Db, hashed: bool, key: &str, out: &mut (impl Write + ?Sized)) -> anyhow::Result<u64> {
    let mut separator = "[\n";
    let count = each_page(db, |entries| {
        for entry in entries {
            let cells = COLUMNS.iter().map(|name| (*name).to_owned()).zip(row(&entry, hashed, key));
            let object: serde_json::Map<String, serde_json::Value> =
                cells.filter(|(_, cell)| !cell.is_empty()).map(|(name, cell)| (name, cell.into())).collect();
            out.write_all(separator.as_bytes())?;
            serde_json::to_writer(&mut *out, &object)?;
            separator = ",\n";
        }
        Ok(())
    })
    .await?;
    out.write_all(if count == 0 { b"[]\n" } else { b"\n]\n" })?;
    out.flush()?;
    Ok(count)
}

/// Calls with page after page of the standing entries, each read in a transaction of its own.
async fn each_page(db: &Db, mut write: impl FnMut(Vec<Entry>) -> io::Result<()>) -> anyhow::Result<u64> {
    let (mut after, mut count) = (0, 0);
    loop {
        let mut tx = db.read().await?;
        let entries = suppressions::page(&mut tx, after, PAGE).await?;
        drop(tx);
        let Some(last) = entries.last() else { return Ok(count) };
        after = last.id;
        let standing: Vec<Entry> = entries.into_iter().filter(|e| e.lifted_at.is_none()).collect();
        count += standing.len() as u64;
        write(standing)?;
    }
}

fn row(entry: &Entry, hashed: bool, key: &str) -> [String; 10] {
    let plain = !hashed && !entry.address.is_empty();
    let hash = entry.hash().map_or_else(|| entry.foreign_hash.clone(), |hash| format!("hmac:{}", hash.to_hex()));
    let hash = if plain { String::new() } else { hash };
    let at = entry.at.and_then(|at| Timestamp::from_millisecond(at).ok());
    [
        entry.scope.as_str().to_owned(),
        if plain { entry.address.clone() } else { String::new() },
        entry.domain.clone(),
        hash.clone(),
        entry.product.clone(),
        entry.reason.as_str().to_owned(),
        entry.origin.as_str().to_owned(),
        at.map_or_else(|| UNKNOWN.to_owned(), |at| at.to_string()),
        entry.note.clone(),
        // A hash under another key matches nobody: it carries the fingerprint of its own.
        if !plain && hash.starts_with("hmac:") { key.to_owned() } else { String::new() },
    ]
}

/// What a spreadsheet would run as a formula begins with one of these; an apostrophe before it stops that.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\''];

/// A cell that no spreadsheet runs as a formula.
fn guard(cell: &str) -> String {
    if cell.starts_with(FORMULA) { format!("'{cell}") } else { cell.to_owned() }
}

/// The cell that was guarded.
pub(super) fn unguard(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| rest.starts_with(FORMULA)).unwrap_or(cell)
}

/// The reach of a product's slug, or of everything.
pub fn reach(product: Option<String>) -> Reach {
    product.map_or(Reach::Everything, Reach::Product)
}
