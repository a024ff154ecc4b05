//! What an import did, line by line where it refused.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write},
};

use crate::store::imports::{Progress, Refusal};

/// The outcome of an import. `new + changed + unchanged + refused = lines`.
#[derive(Debug)]
pub struct Report {
    /// Lines of the file, without its header.
    pub lines: u64,
    /// Contacts that were not known.
    pub new: u64,
    /// Contacts of whom something new is known.
    pub changed: u64,
    /// Contacts of whom everything was known.
    pub unchanged: u64,
    /// Lines that were not taken, but for the refusals in them.
    pub refused: u64,
    /// Every refused line.
    pub refusals: Refusals,
    /// How the file was read.
    pub read_as: ReadAs,
}

/// How a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadAs {
    /// Name of its encoding.
    pub encoding: &'static str,
    /// What separates its cells.
    pub delimiter: char,
}

/// Refused lines, kept in a temporary file: a file may be refused whole, and memory is bounded.
#[derive(Debug)]
pub struct Refusals {
    file: BufWriter<File>,
    by_code: BTreeMap<String, u64>,
}

impl Report {
    /// A report of this progress.
    pub(super) fn of(progress: &Progress, refusals: Refusals, read_as: ReadAs) -> Report {
        let count = |n: i64| u64::try_from(n).unwrap_or_default();
        Report {
            lines: count(progress.lines),
            new: count(progress.added),
            changed: count(progress.changed),
            unchanged: count(progress.unchanged),
            refused: count(progress.refused),
            refusals,
            read_as,
        }
    }

    /// Writes the report as the one JSON object of product.md section 3, every refused line in it.
    pub fn write_json(&mut self, to: &mut impl Write) -> io::Result<()> {
        let Report { lines, new, changed, unchanged, refused, refusals, .. } = self;
        write!(
            to,
            "{{\"lines\":{lines},\"new\":{new},\"changed\":{changed},\"unchanged\":{unchanged},\"refused\":{refused},\"refusals\":["
        )?;
        for (index, refusal) in refusals.iter()?.enumerate() {
            if index > 0 {
                to.write_all(b",")?;
            }
            serde_json::to_writer(&mut *to, &refusal?)?;
        }
        writeln!(to, "]}}")
    }
}

impl Refusals {
    pub(in crate::pipeline) fn new() -> io::Result<Refusals> {
        Ok(Refusals { file: BufWriter::new(tempfile::tempfile()?), by_code: BTreeMap::new() })
    }

    pub(in crate::pipeline) fn push(&mut self, refusal: &Refusal) -> io::Result<()> {
        *self.by_code.entry(refusal.code.clone()).or_default() += 1;
        serde_json::to_writer(&mut self.file, refusal)?;
        self.file.write_all(b"\n")
    }

    /// How many lines were refused for each code.
    pub fn by_code(&self) -> &BTreeMap<String, u64> {
        &self.by_code
    }

    /// Every refused line, in the order of the file.
    pub fn iter(&mut self) -> io::Result<impl Iterator<Item = io::Result<Refusal>> + '_> {
        self.file.flush()?;
        self.file.get_ref().seek(SeekFrom::Start(0))?;
        let lines = BufReader::new(self.file.get_ref()).lines();
        Ok(lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::from)))
    }
}
