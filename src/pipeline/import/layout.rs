//! How a file is built, found out before anything is written: separator, columns, order of the dates.

use std::io::{self, Read, Seek, SeekFrom};

use super::{
    ImportError, Options,
    records::{Record, Records},
    source::Source,
};
use crate::domain::import::{
    columns::{self, Columns, Field},
    dates::Evidence,
    vocabulary::fold,
};

/// How a file is built.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Byte that separates cells.
    pub delimiter: u8,
    /// What the columns hold.
    pub columns: Columns,
    /// Line and byte where the records after the header begin.
    pub body: (u64, u64),
    /// How many records follow the header.
    pub lines: u64,
    /// What the dates prove about the order of day and month.
    pub evidence: Evidence,
}

/// How much of a file is looked at to find its separator.
const SAMPLE: u64 = 64 * 1024;
const SAMPLE_RECORDS: usize = 20;

impl Layout {
    /// Reads the header, and every record once.
    pub fn of(source: &mut Source, options: &Options, products: &[String]) -> Result<Layout, ImportError> {
        let sample = sample(source)?;
        let delimiter = delimiter(&sample, options, products)?.ok_or(ImportError::Empty)?;
        source.text.seek(SeekFrom::Start(source.start))?;
        let mut records = Records::new(&source.text, delimiter, 1, source.start);
        let mut record = Record::default();
        let header = header(&mut records, &mut record)?;
        if record.fault.is_some() {
            return Err(ImportError::Header { line: record.line });
        }
        let columns = columns::resolve(&header, &options.mapping, products)?;
        let body = (records.line(), records.offset());
        let dated: Vec<usize> =
            columns.of_field.iter().filter(|(f, _)| f.is_dated()).map(|(_, place)| place.index).collect();
        let (mut lines, mut evidence) = (0, Evidence::default());
        while records.next(&mut record)? {
            lines += 1;
            for &index in &dated {
                evidence.add(record.cell(index));
            }
            if let Some(index) = columns.nameless.iter().find(|i| !record.cell(**i).trim().is_empty()) {
                return Err(ImportError::Nameless { column: index + 1, line: record.line });
            }
        }
        if lines == 0 {
            return Err(ImportError::HeaderOnly);
        }
        Ok(Layout { delimiter, columns, body, lines, evidence })
    }
}

/// The header's cells. `sep=;` before it is for spreadsheet programs only.
pub fn header(records: &mut Records<impl Read>, record: &mut Record) -> Result<Vec<String>, ImportError> {
    let mut first = true;
    loop {
        if !records.next(record)? {
            return Err(ImportError::Empty);
        }
        if !(std::mem::take(&mut first) && record.cell(0).trim().to_ascii_lowercase().starts_with("sep=")) {
            break;
        }
    }
    Ok(record.cells().iter().map(|name| name.trim().to_owned()).collect())
}

/// The beginning of a file, up to the end of a line.
pub fn sample(source: &mut Source) -> io::Result<Vec<u8>> {
    let mut sample = Vec::new();
    source.text.seek(SeekFrom::Start(source.start))?;
    (&source.text).take(SAMPLE).read_to_end(&mut sample)?;
    if sample.len() as u64 == SAMPLE {
        // The last line is most likely cut.
        let end = sample.iter().rposition(|b| *b == b'\n').map_or(sample.len(), |end| end + 1);
        sample.truncate(end);
    }
    Ok(sample)
}

/// The separator under which the header has the most names that are known, then under which the first
/// records are as wide as the header. None: there is no record at all.
pub fn delimiter(sample: &[u8], options: &Options, products: &[String]) -> io::Result<Option<u8>> {
    let named: Vec<String> =
        options.mapping.map.iter().map(|(column, _)| column).chain(&options.mapping.ignore).map(|c| fold(c)).collect();
    let is_known = |name: &str| Field::named(name, products).is_ok() || named.contains(&fold(name));
    let mut best = None;
    for delimiter in [b',', b';', b'\t'] {
        let mut records = Records::new(sample, delimiter, 1, 0);
        let mut record = Record::default();
        let header = match header(&mut records, &mut record) {
            Err(ImportError::Read(error)) => return Err(error),
            Err(_) => continue,
            Ok(header) => header,
        };
        let known = header.iter().filter(|name| is_known(name)).count();
        let mut alike = 0;
        for _ in 0..SAMPLE_RECORDS {
            if header.len() > 1 && records.next(&mut record)? && record.cells().len() == header.len() {
                alike += 1;
            }
        }
        let score = (known, alike, header.len());
        if best.is_none_or(|(_, other)| score > other) {
            best = Some((delimiter, score));
        }
    }
    Ok(best.map(|(delimiter, _)| delimiter))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::domain::import::{columns::Mapping, dates::Order};

    fn layout(text: &str, mapping: Mapping) -> Result<Layout, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut source = Source::open(file).unwrap();
        let options = Options { mapping, date_order: None };
        Layout::of(&mut source, &options, &["crm".into()]).map_err(|e| e.to_string())
    }

    #[test]
    fn the_separator_is_the_one_that_makes_sense_of_the_header() {
        let mapped = Mapping { map: vec![("courriel".into(), "email".into())], ..Mapping::default() };
        for (text, mapping, delimiter, lines) in [
            ("email,source\na@example.net,\"x;y;z\"\n", Mapping::default(), b',', 1),
            ("email;source\na@example.net;\"x, y, z\"\nb@example.net;x,y\n", Mapping::default(), b';', 2),
            ("email\tsource\na@example.net\tx,y;z\n", Mapping::default(), b'\t', 1),
            ("email\na@example.net\n", Mapping::default(), b',', 1),
            ("\"email\";\"source\"\na@example.net;x\n", Mapping::default(), b';', 1),
            ("sep=;\r\nemail;source\r\na@example.net;x\r\n", Mapping::default(), b';', 1),
            ("courriel;source\na@example.net;x,y\n", mapped, b';', 1),
            ("\u{FEFF}email;source\n\na@example.net;\"x\ny\"\n", Mapping::default(), b';', 1),
        ] {
            let layout = layout(text, mapping).unwrap();
            assert_eq!((layout.delimiter, layout.lines), (delimiter, lines), "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_imported_says_why() {
        for (text, part) in [
            ("", "is empty"),
            ("\n\n", "is empty"),
            ("email;source\n", "no line after its header"),
            ("email;\"source\na;b\n", "line 1: the header"),
            ("nom;prénom\nx;y\n", "no column holds the address"),
            ("email;nom;prénom\nx;y;z\n", "\"nom\", \"prénom\" are not known"),
            ("email;source;\na@example.net;x;\nb@example.net;x;y\n", "line 3: column 3 has no name"),
        ] {
            let error = layout(text, Mapping::default()).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn dates_anywhere_in_the_file_prove_their_order() {
        let text = "email;collected_at;relationship_end;source\na@b.fr;01/02/2025;;31/12/2025\nb@b.fr;;18/03/2025;\n";
        let evidence = layout(text, Mapping::default()).unwrap().evidence;
        assert!(matches!(evidence.order(None), Order::Proven(_)));
        let text = text.replace("18/03/2025", "");
        let evidence = layout(&text, Mapping::default()).unwrap().evidence;
        assert_eq!(evidence.order(None), Order::Unknown, "a column of words proves nothing");
    }
}
