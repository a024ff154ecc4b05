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

use super::{
    survey::{Overheard, Survey},
    workbook::{self, WorkbookError},
};
use crate::{
    domain::{
        address::{Address, hex},
        import::{
            columns::Field,
            lines::{Line, LineReader},
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
    /// A default would go over what a column says.
    #[error(
        "--default {field}={value}: column {column:?} says it line by line and is not read; write {field} into it in \
             words that are known, pass --map {column:?}={field}, or leave the default out"
    )]
    DefaultOver {
        /// The field.
        field: String,
        /// Its default.
        value: String,
        /// The column that is not read.
        column: String,
    },
    /// There is no header.
    #[error("line 1: an address stands where the names of the columns should be; put a line of names above it")]
    NoHeader,
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
    overheard: Overheard,
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
        if header.iter().any(|name| name.contains('@') && Address::parse(name.trim()).is_ok()) {
            return Err(ReadError::NoHeader);
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
            refusals_in: found.overheard.refusing(&header).cloned().collect(),
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
            overheard: found.overheard,
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
        address(self.written_address(record))
    }

    /// What a record says of a person.
    pub fn line(&self, record: &Record) -> Line {
        self.line_of(&record.cells(), record.fault)
    }

    /// The same of cells that were kept apart from their record.
    pub fn line_of(&self, cells: &[&str], fault: Option<RecordFault>) -> Line {
        let mut line = self.reader.read(cells, fault.map(whole_line));
        if line.address.is_none() {
            line.address = address(self.email.and_then(|index| cells.get(index)).map_or("", |cell| cell.trim()));
        }
        self.overheard.add(cells, &mut line);
        line
    }
}

/// Whose line it is.
fn address(written: &str) -> Option<Address> {
    let read = Address::parse(written).ok().or_else(|| Address::parse(unwrapped(written)?).ok());
    read.filter(|address| !address.as_str().contains('\u{FFFD}'))
}

/// The address in `<a@example.net>`, `mailto:a@example.net` or `Ana <a@example.net>`: whose line it is, though
/// nothing is sent to what is written so.
fn unwrapped(written: &str) -> Option<&str> {
    let inner = written.rsplit_once('<').map_or(written, |(_, rest)| rest.trim_end().trim_end_matches('>'));
    let inner = inner.trim();
    let bare = inner.get(..7).filter(|start| start.eq_ignore_ascii_case("mailto:")).map_or(inner, |_| &inner[7..]);
    (bare.len() < written.len()).then_some(bare.trim())
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
