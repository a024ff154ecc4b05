//! Opening the files of an old list: their text, their columns, the order of their dates.
//!
//! Everything of an import's reading serves here too. What is added: workbooks, columns known by the
//! names that such files use, and refusals taken from wherever they stand.

use std::{
    fs::File,
    io::{self, Read as _, Seek, SeekFrom},
};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::workbook::{self, WorkbookError};
use crate::{
    domain::{
        address::Address,
        import::{
            columns::{self, ColumnError, Columns, ConsentPart, Field, Mapping},
            dates::Evidence,
            headers,
            lines::{Line, LineReader},
            vocabulary::{self as words, fold, look_up},
        },
    },
    pipeline::import::{
        ImportError, Options, layout,
        reading::whole_line,
        records::{Record, RecordFault, Records},
        source::{Source, SourceError},
    },
};

/// A file as the operator named it.
#[derive(Debug)]
pub struct Given {
    /// Its name, for messages and reports.
    pub name: String,
    /// The file.
    pub file: File,
}

/// How the files are to be read.
#[derive(Debug, Clone, Default)]
pub struct How {
    /// Columns, defaults and the order of dates, as for an import.
    pub options: Options,
    /// Sheet of the workbooks.
    pub sheet: Option<String>,
}

/// What a reader must know besides the file.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Slugs of the products that exist.
    pub products: &'a [String],
    /// The product that the list is sorted for.
    pub product: &'a str,
    /// The controller's time zone.
    pub tz: &'a TimeZone,
    /// The instant of the decision: what lies after it has not come yet.
    pub now: Timestamp,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// As for an import.
    #[error("{0}")]
    Import(#[from] ImportError),
    /// As a workbook.
    #[error("{0}")]
    Workbook(#[from] WorkbookError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Import(ImportError::Read(error))
    }
}

/// How a file was read, for the report and the evidence.
#[derive(Debug, Clone, Serialize)]
pub struct ReadAs {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Encoding, or the kind of workbook.
    pub encoding: String,
    /// What separates its cells; none for a workbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// The sheet, of a workbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// Records, without the header.
    pub lines: u64,
    /// What each column is read as.
    pub columns: Vec<ReadColumn>,
    /// Columns that are not read.
    pub left_out: Vec<String>,
    /// Columns from which refusals are taken besides `unsubscribed_at`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals_in: Vec<String>,
    /// Order of day and month: said, proven by the file, or unknown.
    pub date_order: String,
}

/// A column and its field.
#[derive(Debug, Clone, Serialize)]
pub struct ReadColumn {
    /// As the file names it.
    pub column: String,
    /// The field.
    pub field: String,
    /// Known by its name and values; nobody said so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub guessed: bool,
}

/// An open file of the list.
#[derive(Debug)]
pub struct OldFile {
    /// How it is read.
    pub read_as: ReadAs,
    /// Columns of `--map` that it has.
    pub mapped: Vec<String>,
    text: File,
    delimiter: u8,
    body: (u64, u64),
    reader: LineReader,
    email: Option<usize>,
    more_refusals: Vec<(usize, Refusing)>,
}

/// How a column besides `unsubscribed_at` says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusing {
    /// It is named like one: whatever stands there and is no "no" is a refusal.
    ByName,
    /// It holds words that mean nothing else.
    ByWord,
}

impl OldFile {
    /// Opens a file. Nothing is written but temporary files.
    pub fn open(given: Given, how: &How, context: Context<'_>) -> Result<OldFile, ReadError> {
        let Given { name, mut file } = given;
        let book = workbook::is_workbook(&mut file)?;
        let (mut source, sheet) = if book {
            let digest = digest(&mut file)?;
            let sheet = workbook::read(&file, how.sheet.as_deref())?;
            let mut source = source(sheet.text)?;
            source.digest = digest;
            (source, Some(sheet.name))
        } else {
            (source(file)?, None)
        };
        let delimiter = if book {
            b','
        } else {
            let sample = layout::sample(&mut source)?;
            layout::delimiter(&sample, &how.options, context.products)?.ok_or(ImportError::Empty)?
        };
        source.text.seek(SeekFrom::Start(source.start))?;
        let mut records = Records::new(&source.text, delimiter, 1, source.start);
        let mut record = Record::default();
        let header = layout::header(&mut records, &mut record)?;
        if record.fault.is_some() {
            return Err(ImportError::Header { line: record.line }.into());
        }
        let body = (records.line(), records.offset());
        let mut survey = Survey::of(&header, how, context)?;
        while records.next(&mut record)? {
            survey.look(&record, context.tz);
        }
        if survey.lines == 0 {
            return Err(ImportError::HeaderOnly.into());
        }
        let found = survey.decide(&header, how, context)?;
        let order = found.evidence.order(how.options.date_order);
        let reader =
            LineReader::new(&found.columns, order, context.tz.clone(), context.now).map_err(ImportError::Default)?;
        let read_as = ReadAs {
            name,
            sha256: hex(&source.digest),
            encoding: if book { "workbook".to_owned() } else { source.encoding.to_owned() },
            delimiter: (!book).then_some(char::from(delimiter)),
            sheet,
            lines: survey.lines,
            columns: found.read_columns(),
            left_out: found.left_out,
            refusals_in: found.more_refusals.iter().map(|(index, _)| header[*index].clone()).collect(),
            date_order: format!("{order:?}").to_lowercase(),
        };
        let email = found.columns.of_field.get(&Field::Email).map(|place| place.index);
        Ok(OldFile {
            read_as,
            mapped: found.mapped,
            text: source.text,
            delimiter,
            body,
            reader,
            email,
            more_refusals: found.more_refusals,
        })
    }

    /// Reads every record from the first one on.
    pub fn each(&self, mut take: impl FnMut(&Record) -> io::Result<()>) -> io::Result<()> {
        (&self.text).seek(SeekFrom::Start(self.body.1))?;
        let mut records = Records::new(&self.text, self.delimiter, self.body.0, self.body.1);
        let mut record = Record::default();
        while records.next(&mut record)? {
            take(&record)?;
        }
        Ok(())
    }

    /// What stands where the address should.
    pub fn written_address<'r>(&self, record: &'r Record) -> &'r str {
        self.email.map_or("", |index| record.cell(index).trim())
    }

    /// The address of a record, if it can be read; that of a record that is too long is not kept.
    pub fn address(&self, record: &Record) -> Option<Address> {
        Address::parse(self.written_address(record)).ok().filter(|address| !address.as_str().contains('\u{FFFD}'))
    }

    /// What a record says of a person.
    pub fn line(&self, record: &Record) -> Line {
        self.line_of(&record.cells(), record.fault)
    }

    /// The same of cells that were kept apart from their record.
    pub fn line_of(&self, cells: &[&str], fault: Option<RecordFault>) -> Line {
        let mut line = self.reader.read(cells, fault.map(whole_line));
        if line.refusals.unsubscribed.is_none() && self.more_refusals.iter().any(|more| refuses(*more, cells)) {
            // Nobody knows since when: it stands for ever (SUP-6).
            line.refusals.unsubscribed = Some(None);
        }
        line
    }
}

fn refuses((index, how): (usize, Refusing), cells: &[&str]) -> bool {
    let value = cells.get(index).map_or("", |cell| cell.trim());
    match how {
        Refusing::ByWord => headers::speaks_of_refusal(value),
        Refusing::ByName => !value.is_empty() && look_up(words::REFUSAL, value) != Ok(Some(false)),
    }
}

fn source(file: File) -> Result<Source, ImportError> {
    Source::open(file).map_err(|error| match error {
        SourceError::Io(error) => ImportError::Read(error),
        other => ImportError::Source(other),
    })
}

fn digest(file: &mut File) -> io::Result<[u8; 32]> {
    file.seek(SeekFrom::Start(0))?;
    let mut digest = Sha256::new();
    let mut chunk = vec![0; 128 * 1024];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(&chunk[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What the values of each column are like.
struct Survey {
    lines: u64,
    columns: Vec<Surveyed>,
}

struct Surveyed {
    /// Fields that its name suggests, and how many values can be read so.
    candidates: Vec<(Field, u64)>,
    /// Known by a canonical name or by `--map`.
    known: bool,
    ignored: bool,
    filled: u64,
    addresses: u64,
    refusals: u64,
    evidence: Evidence,
}

impl Survey {
    fn of(header: &[String], how: &How, context: Context<'_>) -> Result<Survey, ReadError> {
        let mapping = &how.options.mapping;
        let mut columns = Vec::new();
        for name in header {
            let mapped = mapping.map.iter().any(|(column, _)| fold(column) == fold(name));
            let known =
                mapped || !matches!(Field::named(name, context.products), Err(ColumnError::UnknownField { .. }));
            let mut candidates = Vec::new();
            if !known {
                for field in headers::candidates(name) {
                    let field = match *field {
                        "consent" => Field::Consent(context.product.to_owned(), ConsentPart::State),
                        field => Field::named(field, context.products).map_err(ImportError::Columns)?,
                    };
                    candidates.push((field, 0));
                }
            }
            columns.push(Surveyed {
                candidates,
                known,
                ignored: mapping.ignore.iter().any(|column| fold(column) == fold(name)),
                filled: 0,
                addresses: 0,
                refusals: 0,
                evidence: Evidence::default(),
            });
        }
        Ok(Survey { lines: 0, columns })
    }

    fn look(&mut self, record: &Record, tz: &TimeZone) {
        self.lines += 1;
        // A faulty record's cells may stand under other names than theirs.
        if record.fault.is_some() {
            return;
        }
        for (index, column) in self.columns.iter_mut().enumerate() {
            let value = record.cell(index).trim();
            if value.is_empty() {
                continue;
            }
            column.filled += 1;
            column.evidence.add(value);
            column.refusals += u64::from(headers::speaks_of_refusal(value));
            if !column.known {
                column.addresses += u64::from(value.contains('@') && headers::reads(&Field::Email, value, tz));
                for (field, count) in &mut column.candidates {
                    *count += u64::from(headers::reads(field, value, tz));
                }
            }
        }
    }

    /// What each column is read as.
    fn decide(&mut self, header: &[String], how: &How, context: Context<'_>) -> Result<Found, ReadError> {
        let given = &how.options.mapping;
        let has = |column: &String| header.iter().any(|name| name == column || fold(name) == fold(column));
        let mut mapping = Mapping {
            map: given.map.iter().filter(|(column, _)| has(column)).cloned().collect(),
            default: given.default.clone(),
            ignore: Vec::new(),
        };
        let mapped = mapping.map.iter().map(|(column, _)| column.clone()).collect();
        let mut taken: Vec<Field> = Vec::new();
        for (index, name) in header.iter().enumerate() {
            taken.extend(said_field(name, &mapping, context).filter(|_| self.columns[index].known));
        }
        let mut guessed = Vec::new();
        let mut more_refusals = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            if column.known || column.ignored || header[index].trim().is_empty() {
                continue;
            }
            let Some(field) = column.field() else { continue };
            if !taken.contains(&field) {
                taken.push(field.clone());
                guessed.push((header[index].clone(), field));
            } else if field == Field::UnsubscribedAt {
                more_refusals.push((index, Refusing::ByName));
            }
        }
        if !taken.contains(&Field::Email) {
            let mut likely =
                (0..header.len()).filter(|i| self.columns[*i].is_mostly_addresses() && !header[*i].trim().is_empty());
            if let (Some(only), None) = (likely.next(), likely.next()) {
                guessed.retain(|(column, _)| *column != header[only]);
                guessed.push((header[only].clone(), Field::Email));
            }
        }
        for (index, column) in self.columns.iter().enumerate() {
            let guess = guessed.iter().find(|(name, _)| *name == header[index]).map(|(_, field)| field.clone());
            let field = guess.or_else(|| said_field(&header[index], &mapping, context));
            let reads_refusals = matches!(field, Some(Field::UnsubscribedAt | Field::Consent(..)));
            if column.refusals > 0 && !reads_refusals && !more_refusals.iter().any(|(i, _)| *i == index) {
                more_refusals.push((index, Refusing::ByWord));
            }
        }
        mapping.map.extend(guessed.iter().map(|(column, field)| (column.clone(), field.to_string())));
        let is_read =
            |index: usize| self.columns[index].known || guessed.iter().any(|(column, _)| *column == header[index]);
        let left_out: Vec<String> = (0..header.len())
            .filter(|i| !header[*i].trim().is_empty() && (!is_read(*i) || self.columns[*i].ignored))
            .map(|i| header[i].clone())
            .collect();
        mapping.ignore.clone_from(&left_out);
        let columns = columns::resolve(header, &mapping, context.products).map_err(ImportError::Columns)?;
        let dated = columns.of_field.iter().filter(|(field, _)| field.is_dated()).map(|(_, place)| place.index);
        let evidence = dated.fold(Evidence::default(), |sum, index| sum.and(self.columns[index].evidence));
        Ok(Found {
            columns,
            evidence,
            guessed: guessed.into_iter().map(|(name, _)| name).collect(),
            left_out,
            mapped,
            more_refusals,
        })
    }
}

/// The field that a column is by its own name or by `--map`.
fn said_field(name: &str, mapping: &Mapping, context: Context<'_>) -> Option<Field> {
    let mapped = mapping.map.iter().find(|(column, _)| column == name || fold(column) == fold(name));
    Field::named(mapped.map_or(name, |(_, field)| field), context.products).ok()
}

impl Surveyed {
    /// The first field that its values can be read as. A name with one meaning bears a few bad values,
    /// whose lines are then refused; one with several must be proven by all of them.
    fn field(&self) -> Option<Field> {
        if let [(field, read)] = self.candidates.as_slice() {
            let sure = *field == Field::UnsubscribedAt || read * 2 >= self.filled;
            return Some(field.clone()).filter(|_| sure);
        }
        self.candidates.iter().find(|(_, read)| *read == self.filled && self.filled > 0).map(|(field, _)| field.clone())
    }

    fn is_mostly_addresses(&self) -> bool {
        !self.known && !self.ignored && self.addresses > 0 && self.addresses * 2 >= self.filled
    }
}

/// What a survey found.
struct Found {
    columns: Columns,
    evidence: Evidence,
    guessed: Vec<String>,
    left_out: Vec<String>,
    mapped: Vec<String>,
    more_refusals: Vec<(usize, Refusing)>,
}

impl Found {
    fn read_columns(&self) -> Vec<ReadColumn> {
        let mut columns: Vec<_> = self.columns.of_field.iter().collect();
        columns.sort_by_key(|(_, place)| place.index);
        columns
            .into_iter()
            .map(|(field, place)| ReadColumn {
                column: place.name.clone(),
                field: field.to_string(),
                guessed: self.guessed.contains(&place.name),
            })
            .collect()
    }
}
