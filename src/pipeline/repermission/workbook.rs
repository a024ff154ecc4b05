//! Workbooks (XLSX, ODS) as delimited text, cell by cell, so that one reader serves every file.
//!
//! The text goes to a temporary file: a row of the sheet is a line of it, with the same number. What a
//! workbook unpacks to is bounded, for a small file can hold an endless one.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
};

use calamine::{DataRef, ExcelDateTime, Reader as _, SheetType, SheetVisible, Xlsx};
use jiff::{ToSpan, civil::Date};
use quick_xml::events::{BytesStart, Event};

/// What a workbook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Office Open XML.
    Xlsx,
    /// OpenDocument.
    Ods,
}

/// A sheet as text.
#[derive(Debug)]
pub struct Sheet {
    /// Its name.
    pub name: String,
    /// Its rows, as comma-separated UTF-8.
    pub text: File,
}

/// Why a workbook cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WorkbookError {
    /// The system fails.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Neither XLSX nor ODS, though packed like one.
    #[error("this is a workbook of another format (XLS, XLSB …); save it as XLSX, ODS or CSV (UTF-8) first")]
    Format,
    /// It is broken, encrypted, or no workbook at all.
    #[error("the workbook cannot be read ({0}); open it and save it anew as XLSX or CSV")]
    Broken(String),
    /// More than any honest list.
    #[error("the workbook unpacks to more than {0}; split it, or save it as CSV")]
    TooLarge(&'static str),
    /// Several sheets hold something.
    #[error("several sheets hold data: {}; say which one with --sheet", .0.join(", "))]
    Several(Vec<String>),
    /// No sheet of that name.
    #[error("there is no sheet {name:?}; there are: {}", .there.join(", "))]
    NoSheet {
        /// What was asked for.
        name: String,
        /// What there is.
        there: Vec<String>,
    },
    /// Nothing stands in it.
    #[error("no sheet holds anything")]
    Empty,
}

/// All parts of the package together, unpacked.
const MOST_UNPACKED: u64 = 2 * 1024 * 1024 * 1024;
/// The shared texts of an XLSX are held in memory.
const MOST_IN_MEMORY: u64 = 256 * 1024 * 1024;
/// The text that a sheet is written as.
const MOST_TEXT: u64 = 1024 * 1024 * 1024;
const MOST_PARTS: usize = 10_000;
/// Columns and rows of the largest sheet that spreadsheet programs make.
const MOST_COLUMNS: usize = 16_384;
const MOST_ROWS: u64 = 1_048_576;

/// Whether the file starts like a workbook; the position is left at the start.
pub fn is_workbook(file: &mut File) -> io::Result<bool> {
    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    let read = file.read(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(read == 4 && (magic == *b"PK\x03\x04" || magic == *b"\xD0\xCF\x11\xE0"))
}

/// The named sheet as text, or the only one that holds anything.
pub fn read(file: &File, sheet: Option<&str>) -> Result<Sheet, WorkbookError> {
    match kind(file)? {
        Kind::Xlsx => xlsx(file, sheet),
        Kind::Ods => ods(file, sheet),
    }
}

/// Looks into the package without unpacking it, and refuses what would not fit.
fn kind(file: &File) -> Result<Kind, WorkbookError> {
    let mut package = open(file)?;
    if package.len() > MOST_PARTS {
        return Err(WorkbookError::TooLarge("10,000 parts"));
    }
    let (mut unpacked, mut in_memory) = (0u64, 0u64);
    for index in 0..package.len() {
        let part = package.by_index_raw(index).map_err(broken)?;
        unpacked = unpacked.saturating_add(part.size());
        let name = part.name().map_err(broken)?;
        if !name.contains("/worksheets/sheet") && name.starts_with("xl/") {
            in_memory = in_memory.saturating_add(part.size());
        }
    }
    if unpacked > MOST_UNPACKED {
        return Err(WorkbookError::TooLarge("2 GiB"));
    }
    let has = |name: &str| package.file_names().any(|part| part.is_ok_and(|part| part == name));
    if has("xl/workbook.xml") {
        return if in_memory > MOST_IN_MEMORY {
            Err(WorkbookError::TooLarge("256 MiB of texts"))
        } else {
            Ok(Kind::Xlsx)
        };
    }
    if has("content.xml") { Ok(Kind::Ods) } else { Err(WorkbookError::Format) }
}

fn open(file: &File) -> Result<zip::ZipArchive<BufReader<File>>, WorkbookError> {
    let mut file = file.try_clone()?;
    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut magic)?;
    if magic == *b"\xD0\xCF\x11\xE0" {
        return Err(WorkbookError::Format);
    }
    file.seek(SeekFrom::Start(0))?;
    zip::ZipArchive::new(BufReader::new(file)).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> WorkbookError {
    let text = error.to_string();
    WorkbookError::Broken(text.chars().take(120).collect())
}

fn xlsx(file: &File, wanted: Option<&str>) -> Result<Sheet, WorkbookError> {
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    let mut book = Xlsx::new(BufReader::new(file)).map_err(broken)?;
    let sheets = book.sheets_metadata().iter().filter(|s| s.typ == SheetType::WorkSheet);
    let names: Vec<(String, bool)> = sheets.map(|s| (s.name.clone(), s.visible == SheetVisible::Visible)).collect();
    choose(&names, wanted, |name| {
        let mut rows = Rows::new()?;
        let mut cells = book.worksheet_cells_reader(name).map_err(broken)?;
        while let Some(cell) = cells.next_cell().map_err(broken)? {
            let (row, column) = cell.get_position();
            let text = text_of(cell.get_value());
            rows.put(u64::from(row), column as usize, text)?;
        }
        rows.finish()
    })
}

/// The named sheet; or else the only visible one with anything in it, whatever hidden ones hold.
fn choose(
    names: &[(String, bool)],
    wanted: Option<&str>,
    mut read: impl FnMut(&str) -> Result<Option<File>, WorkbookError>,
) -> Result<Sheet, WorkbookError> {
    if let Some(wanted) = wanted {
        let there = || names.iter().map(|(name, _)| name.clone()).collect();
        let (name, _) = names
            .iter()
            .find(|(name, _)| name == wanted)
            .ok_or_else(|| WorkbookError::NoSheet { name: wanted.to_owned(), there: there() })?;
        let text = read(name)?.ok_or(WorkbookError::Empty)?;
        return Ok(Sheet { name: name.clone(), text });
    }
    let mut found: Vec<Sheet> = Vec::new();
    for (name, _) in names.iter().filter(|(_, visible)| *visible) {
        if let Some(text) = read(name)? {
            found.push(Sheet { name: name.clone(), text });
        }
    }
    if found.len() > 1 {
        return Err(WorkbookError::Several(found.into_iter().map(|sheet| sheet.name).collect()));
    }
    found.pop().ok_or(WorkbookError::Empty)
}

/// A cell as a person would type it into a CSV; a formula is the value that was last computed.
fn text_of(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Empty => String::new(),
        DataRef::Int(n) => n.to_string(),
        DataRef::Float(n) => number(*n),
        DataRef::String(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(true) => "true".to_owned(),
        DataRef::Bool(false) => "false".to_owned(),
        DataRef::DateTime(when) if when.is_datetime() => day(when),
        DataRef::DateTime(when) => number(when.as_f64()),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        // What a formula could not compute: nobody knows what stood there, and where a refusal may stand that
        // is one.
        DataRef::Error(error) => error.to_string(),
    }
}

fn number(n: f64) -> String {
    if n.fract() == 0.0 && n.abs() < 1e15 { format!("{n:.0}") } else { n.to_string() }
}

/// A cell that the sheet shows as a date: ISO 8601, without an offset where it has a time of day.
/// Workbooks count from 1900 or, where they say so, from 1904.
fn day(when: &ExcelDateTime) -> String {
    let serial = when.as_f64();
    if !(1.0..2_958_466.0).contains(&serial) {
        return number(serial);
    }
    let (year, month, day, ..) = when.to_ymd_hms_milli();
    let Ok(day) = Date::new(year as i16, month as i8, day as i8) else { return number(serial) };
    let seconds = (serial.fract() * 86_400.0).round() as i64;
    let at = day.at(0, 0, 0, 0).saturating_add(seconds.seconds());
    if at.time() == jiff::civil::Time::midnight() { at.date().to_string() } else { at.to_string() }
}

fn ods(file: &File, wanted: Option<&str>) -> Result<Sheet, WorkbookError> {
    let names: Vec<(String, bool)> = tables(file)?.into_iter().map(|name| (name, true)).collect();
    choose(&names, wanted, |name| table(file, name))
}

/// The names of the tables of an ODS.
fn tables(file: &File) -> Result<Vec<String>, WorkbookError> {
    let mut names = Vec::new();
    walk(file, |event| {
        if let Event::Start(element) = event
            && element.local_name().as_ref() == "table"
        {
            names.push(attribute(element, "table:name")?.unwrap_or_default());
        }
        Ok(())
    })?;
    Ok(names)
}

/// Reads the events of `content.xml`, within bounds.
fn walk(file: &File, mut each: impl FnMut(&Event<'_>) -> Result<(), WorkbookError>) -> Result<(), WorkbookError> {
    let mut package = open(file)?;
    let content = package.by_name("content.xml").map_err(broken)?;
    // The directory may lie about the size.
    let mut reader = quick_xml::Reader::from_reader(BufReader::new(content.take(MOST_UNPACKED)));
    reader.config_mut().expand_empty_elements = true;
    let mut buffer = Vec::new();
    loop {
        let event = reader.read_event_into(&mut buffer).map_err(broken)?;
        if matches!(event, Event::Eof) {
            return Ok(());
        }
        each(&event)?;
        drop(event);
        if buffer.capacity() as u64 > MOST_IN_MEMORY {
            return Err(WorkbookError::TooLarge("256 MiB in one cell"));
        }
        buffer.clear();
    }
}

/// One table of an ODS as text.
fn table(file: &File, name: &str) -> Result<Option<File>, WorkbookError> {
    let mut reader = Table {
        wanted: name,
        inside: false,
        rows: Rows::new()?,
        row: 0,
        row_repeats: 1,
        cells: Vec::new(),
        cell: None,
        skip: 0,
        in_text: false,
    };
    walk(file, |event| reader.take(event))?;
    reader.rows.finish()
}

/// Where the reader of a table stands.
struct Table<'n> {
    wanted: &'n str,
    inside: bool,
    rows: Rows,
    row: u64,
    row_repeats: u64,
    /// Cells of the row: how often each, and what it holds.
    cells: Vec<(usize, String)>,
    cell: Option<Cell>,
    /// Depth of elements whose text is nobody's value: comments, tracked changes.
    skip: usize,
    in_text: bool,
}

#[derive(Default)]
struct Cell {
    repeats: usize,
    value: Option<String>,
    text: String,
}

impl Table<'_> {
    fn take(&mut self, event: &Event<'_>) -> Result<(), WorkbookError> {
        match event {
            Event::Start(element) => self.start(element),
            Event::End(element) => self.end(element.local_name().as_ref()),
            Event::Text(text) if self.reads() => {
                self.text(text);
                Ok(())
            }
            Event::GeneralRef(entity) if self.reads() => {
                let entity = format!("&{};", &**entity);
                let text = quick_xml::escape::unescape(&entity).map_err(broken)?.into_owned();
                self.text(&text);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn reads(&self) -> bool {
        self.inside && self.skip == 0 && self.in_text
    }

    fn text(&mut self, text: &str) {
        if let Some(cell) = &mut self.cell
            && cell.text.len() < LONGEST_CELL
        {
            cell.text.push_str(text);
        }
    }

    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), WorkbookError> {
        let name = element.local_name();
        if self.skip > 0 || ["annotation", "tracked-changes"].contains(&name.as_ref()) {
            self.skip += 1;
            return Ok(());
        }
        match name.as_ref() {
            "table" => self.inside = attribute(element, "table:name")?.unwrap_or_default() == self.wanted,
            _ if !self.inside => {}
            "table-row" => {
                self.row_repeats = repeats(element, "table:number-rows-repeated")?.min(MOST_ROWS);
                self.cells.clear();
            }
            "table-cell" | "covered-table-cell" => {
                let repeats = repeats(element, "table:number-columns-repeated")?.min(MOST_COLUMNS as u64) as usize;
                let value = match attribute(element, "office:value-type")?.as_deref() {
                    Some("date") => attribute(element, "office:date-value")?,
                    Some("boolean") => attribute(element, "office:boolean-value")?,
                    Some("float" | "currency" | "percentage") => {
                        let value = attribute(element, "office:value")?;
                        Some(value.and_then(|v| v.parse().ok()).map(number).unwrap_or_default())
                    }
                    _ => None,
                };
                self.cell = Some(Cell { repeats, value, text: String::new() });
            }
            "p" | "h" => {
                self.in_text = true;
                if self.cell.as_ref().is_some_and(|cell| !cell.text.is_empty()) {
                    self.text(" ");
                }
            }
            "s" | "tab" | "line-break" => self.text(" "),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), WorkbookError> {
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        match name {
            "table" => self.inside = false,
            "p" | "h" => self.in_text = false,
            "table-cell" | "covered-table-cell" => {
                if let Some(cell) = self.cell.take() {
                    self.cells.push((cell.repeats, cell.value.unwrap_or(cell.text)));
                }
            }
            "table-row" if self.inside => self.row_ends()?,
            _ => {}
        }
        Ok(())
    }

    fn row_ends(&mut self) -> Result<(), WorkbookError> {
        let filled = self.cells.iter().rposition(|(_, text)| !text.trim().is_empty()).map_or(0, |last| last + 1);
        // Empty rows and cells are repeated to the end of the sheet by habit; they are not written.
        let times = if filled == 0 { 0 } else { self.row_repeats };
        for time in 0..times {
            let mut column = 0;
            for (repeats, text) in &self.cells[..filled] {
                for _ in 0..*repeats {
                    self.rows.put(self.row + time, column, text.clone())?;
                    column += 1;
                }
            }
        }
        self.row = self.row.saturating_add(self.row_repeats);
        Ok(())
    }
}

/// A longer text is cut: no cell of a list of contacts is.
const LONGEST_CELL: usize = 1024 * 1024;

fn repeats(element: &BytesStart<'_>, name: &str) -> Result<u64, WorkbookError> {
    Ok(attribute(element, name)?.and_then(|n| n.parse().ok()).unwrap_or(1).max(1))
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, WorkbookError> {
    let found = element.try_get_attribute(name).map_err(broken)?;
    let value = found.map(|attribute| {
        attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).map(std::borrow::Cow::into_owned)
    });
    value.transpose().map_err(broken)
}

/// Writes rows in their order; a row is as wide as its last filled cell, or as the header.
struct Rows {
    out: BufWriter<File>,
    written: u64,
    /// The row under way, and its cells.
    row: u64,
    cells: Vec<String>,
    any: bool,
    /// Cells of the first row that has any: the header. No later row is shorter, unless it is empty.
    width: usize,
}

impl Rows {
    fn new() -> io::Result<Rows> {
        Ok(Rows {
            out: BufWriter::new(tempfile::tempfile()?),
            written: 0,
            row: 0,
            cells: Vec::new(),
            any: false,
            width: 0,
        })
    }

    fn put(&mut self, row: u64, column: usize, text: String) -> Result<(), WorkbookError> {
        if text.is_empty() {
            return Ok(());
        }
        if row >= MOST_ROWS || column >= MOST_COLUMNS || row < self.row {
            return Err(WorkbookError::Broken("its rows are not in order".to_owned()));
        }
        while self.row < row {
            self.end_row()?;
        }
        if self.cells.len() <= column {
            self.cells.resize(column + 1, String::new());
        }
        self.cells[column] = text;
        self.any = true;
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), WorkbookError> {
        let mut line = Vec::new();
        if self.width == 0 {
            self.width = self.cells.len();
        } else if !self.cells.is_empty() && self.cells.len() < self.width {
            self.cells.resize(self.width, String::new());
        }
        for (index, cell) in self.cells.iter().enumerate() {
            if index > 0 {
                line.push(b',');
            }
            if !cell.is_empty() {
                line.push(b'"');
                for c in cell.chars() {
                    match c {
                        '"' => line.extend_from_slice(b"\"\""),
                        // A row is one line: its number is the sheet's.
                        '\n' | '\r' => line.push(b' '),
                        c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                }
                line.push(b'"');
            }
        }
        line.push(b'\n');
        self.written += line.len() as u64;
        if self.written > MOST_TEXT {
            return Err(WorkbookError::TooLarge("1 GiB of text"));
        }
        self.out.write_all(&line)?;
        self.cells.clear();
        self.row += 1;
        Ok(())
    }

    /// The text; None when nothing was put.
    fn finish(mut self) -> Result<Option<File>, WorkbookError> {
        if !self.any {
            return Ok(None);
        }
        self.end_row()?;
        let mut file = self.out.into_inner().map_err(|error| WorkbookError::Io(error.into_error()))?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Some(file))
    }
}

#[cfg(test)]
mod tests {
    use calamine::{ExcelDateTime, ExcelDateTimeType::DateTime};

    use super::*;

    #[test]
    fn days_are_counted_as_the_workbook_counts_them() {
        for (serial, from_1904, expected) in [
            (45734.0, false, "2025-03-18"),
            (44272.0, true, "2025-03-18"),
            (45734.5, false, "2025-03-18T12:00:00"),
            (0.0, false, "0"),
        ] {
            assert_eq!(day(&ExcelDateTime::new(serial, DateTime, from_1904)), expected, "{serial} {from_1904}");
        }
    }
}
