//! Records of a delimited text, as RFC 4180 has them, one by one and in bounded memory.
//!
//! Our own splitter, because one stray quote must cost one line: a general reader takes everything up
//! to the next quote, maybe the rest of the file, for one cell. Here a quote that is not closed, or is
//! followed by text, makes its own line faulty, and reading goes on with the next line.

use std::io::{self, Read};

/// A record of contacts is never longer, in bytes.
const LONGEST: usize = 64 * 1024;

/// Why a record is faulty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFault {
    /// A double quote is not closed, or text follows the closing one.
    Quote,
    /// Longer than any record of contacts.
    TooLong,
}

/// One record: its cells, and where it stands. Reused from one record to the next.
#[derive(Debug, Default)]
pub struct Record {
    /// Line of the text on which it starts, from 1.
    pub line: u64,
    /// Byte of the text at which it starts.
    pub offset: u64,
    /// Faulty: then the cells are those of its first line, read without regard to quotes.
    pub fault: Option<RecordFault>,
    bytes: Vec<u8>,
    text: String,
    ends: Vec<usize>,
}

impl Record {
    /// The cells, without their quotes.
    pub fn cells(&self) -> Vec<&str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end]).collect()
    }

    /// The cell at `index`; empty when there is none.
    pub fn cell(&self, index: usize) -> &str {
        let start = if index == 0 { Some(0) } else { self.ends.get(index - 1).copied() };
        start.zip(self.ends.get(index)).map_or("", |(start, end)| &self.text[start..*end])
    }

    fn clear(&mut self) {
        self.fault = None;
        self.bytes.clear();
        self.text.clear();
        self.ends.clear();
    }

    fn end_cell(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Makes text of the bytes. They are UTF-8 unless the file changed while it was read.
    fn decode(&mut self) {
        if let Ok(text) = std::str::from_utf8(&self.bytes) {
            self.text.push_str(text);
            return;
        }
        let mut start = 0;
        for end in &mut self.ends {
            self.text.push_str(&String::from_utf8_lossy(&self.bytes[start..*end]));
            start = std::mem::replace(end, self.text.len());
        }
    }
}

/// Reads records from a UTF-8 text.
#[derive(Debug)]
pub struct Records<R> {
    input: R,
    delimiter: u8,
    buffer: Vec<u8>,
    /// How much of the buffer is used up.
    used: usize,
    ended: bool,
    line: u64,
    offset: u64,
}

/// What was found at the start of a stretch of bytes.
enum Found {
    /// A whole record of that many bytes and line ends.
    Record(usize, u64),
    /// It may go on behind the stretch.
    Unfinished,
    /// A fault.
    Fault,
}

impl<R: Read> Records<R> {
    /// Reads from the present position of `input`, which is byte `offset` of the text and on `line`.
    pub fn new(input: R, delimiter: u8, line: u64, offset: u64) -> Records<R> {
        Records { input, delimiter, buffer: Vec::new(), used: 0, ended: false, line, offset }
    }

    /// Starts anew from `input`, which is byte `offset` of the text and on `line`.
    pub fn restart(&mut self, input: R, line: u64, offset: u64) {
        self.buffer.clear();
        (self.input, self.used, self.ended, self.line, self.offset) = (input, 0, false, line, offset);
    }

    /// The line that comes next.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The byte that comes next.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next record; false at the end. Empty lines are passed over.
    pub fn next(&mut self, record: &mut Record) -> io::Result<bool> {
        loop {
            record.clear();
            (record.line, record.offset) = (self.line, self.offset);
            let rest = &self.buffer[self.used..];
            if rest.is_empty() && self.ended {
                return Ok(false);
            }
            match scan(rest, self.delimiter, self.ended, record) {
                Found::Record(length, lines) => {
                    self.take(length, lines);
                    if record.ends.len() == 1 && record.bytes.is_empty() {
                        continue;
                    }
                }
                Found::Unfinished if rest.len() < LONGEST => {
                    self.fill()?;
                    continue;
                }
                Found::Unfinished | Found::Fault => self.first_line(record)?,
            }
            record.decode();
            return Ok(true);
        }
    }

    /// Takes the first line of a faulty record, and reads its cells without regard to quotes.
    fn first_line(&mut self, record: &mut Record) -> io::Result<()> {
        record.clear();
        let mut too_long = false;
        loop {
            let rest = &self.buffer[self.used..];
            let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
            if let Some(end) = end.filter(|end| rest.get(end + 1).is_some() || self.ended || rest[*end] == b'\n') {
                let terminator = if rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n') { 2 } else { 1 };
                record.bytes.extend_from_slice(&rest[..end]);
                self.take(end + terminator, 1);
                break;
            }
            if self.ended {
                record.bytes.extend_from_slice(rest);
                let length = rest.len();
                self.take(length, 1);
                break;
            }
            if rest.len() >= LONGEST {
                // Nothing of it is kept; what stands before the line's end is only passed over.
                too_long = true;
                let passed = rest.len() - 1;
                self.take(passed, 0);
            }
            self.fill()?;
        }
        too_long |= record.bytes.len() > LONGEST;
        record.fault = Some(if too_long { RecordFault::TooLong } else { RecordFault::Quote });
        if too_long {
            record.bytes.clear();
        }
        record.bytes.retain(|b| *b != b'"');
        let line = std::mem::take(&mut record.bytes);
        for cell in line.split(|b| *b == self.delimiter) {
            record.bytes.extend_from_slice(cell);
            record.end_cell();
        }
        Ok(())
    }

    fn take(&mut self, length: usize, lines: u64) {
        self.used += length;
        self.offset += length as u64;
        self.line += lines;
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + LONGEST, 0);
        let read = loop {
            match self.input.read(&mut self.buffer[before..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buffer.truncate(before + read);
        self.ended = read == 0;
        Ok(())
    }
}

/// Splits the first record of `bytes`; `ended` says that nothing follows them.
fn scan(bytes: &[u8], delimiter: u8, ended: bool, record: &mut Record) -> Found {
    let (mut at, mut lines) = (0, 0);
    loop {
        if bytes.get(at) == Some(&b'"') {
            match quoted(bytes, at + 1, ended, record, &mut lines) {
                Ok(next) => at = next,
                Err(found) => return found,
            }
            // Spaces between a closing quote and the separator are a habit of some programs.
            at += bytes[at..].iter().take_while(|b| **b == b' ').count();
        } else {
            let plain = bytes[at..].iter().take_while(|b| **b != delimiter && !matches!(b, b'\n' | b'\r')).count();
            record.bytes.extend_from_slice(&bytes[at..at + plain]);
            at += plain;
        }
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b), _) if *b == delimiter => {
                record.end_cell();
                at += 1;
            }
            (None | Some(b'\r'), None) if !ended => return Found::Unfinished,
            (None, _) => {
                record.end_cell();
                return Found::Record(at, lines + 1);
            }
            (Some(b'\r'), Some(b'\n')) => {
                record.end_cell();
                return Found::Record(at + 2, lines + 1);
            }
            (Some(b'\r' | b'\n'), _) => {
                record.end_cell();
                return Found::Record(at + 1, lines + 1);
            }
            (Some(_), _) => return Found::Fault,
        }
    }
}

/// Reads a quoted cell up to behind its closing quote.
fn quoted(bytes: &[u8], start: usize, ended: bool, record: &mut Record, lines: &mut u64) -> Result<usize, Found> {
    let mut at = start;
    loop {
        let Some(length) = bytes[at..].iter().position(|b| *b == b'"') else {
            return Err(if ended { Found::Fault } else { Found::Unfinished });
        };
        let part = &bytes[at..at + length];
        record.bytes.extend_from_slice(part);
        *lines += line_ends(part);
        match bytes.get(at + length + 1) {
            Some(b'"') => record.bytes.push(b'"'),
            Some(_) => return Ok(at + length + 1),
            None if ended => return Ok(at + length + 1),
            None => return Err(Found::Unfinished),
        }
        at += length + 2;
    }
}

/// How many lines end in a text: at LF, CR LF, or CR alone.
fn line_ends(text: &[u8]) -> u64 {
    let count = text.iter().enumerate().filter(|(i, b)| match b {
        b'\n' => true,
        b'\r' => text.get(i + 1) != Some(&b'\n'),
        _ => false,
    });
    count.count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives one byte at a time: every boundary falls between two reads.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            to[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn all(input: impl Read, delimiter: u8) -> Vec<(u64, Option<RecordFault>, Vec<String>)> {
        let (mut records, mut record, mut found) = (Records::new(input, delimiter, 1, 0), Record::default(), vec![]);
        while records.next(&mut record).unwrap() {
            found.push((record.line, record.fault, record.cells().into_iter().map(str::to_owned).collect()));
        }
        found
    }

    fn split(text: &str) -> Vec<(u64, Option<RecordFault>, Vec<String>)> {
        let whole = all(text.as_bytes(), b';');
        assert_eq!(whole, all(Drip(text.as_bytes()), b';'), "the boundaries of reads change nothing");
        whole
    }

    fn ok(line: u64, cells: &[&str]) -> (u64, Option<RecordFault>, Vec<String>) {
        (line, None, cells.iter().map(|c| (*c).to_owned()).collect())
    }

    fn bad(line: u64, cells: &[&str]) -> (u64, Option<RecordFault>, Vec<String>) {
        (line, Some(RecordFault::Quote), ok(line, cells).2)
    }

    #[test]
    fn records_have_cells_quotes_and_line_numbers() {
        for (text, expected) in [
            ("a;b\nc;d\n", vec![ok(1, &["a", "b"]), ok(2, &["c", "d"])]),
            ("a;b\r\nc;d", vec![ok(1, &["a", "b"]), ok(2, &["c", "d"])]),
            ("a\rb\r", vec![ok(1, &["a"]), ok(2, &["b"])]),
            ("a;\n;\n", vec![ok(1, &["a", ""]), ok(2, &["", ""])]),
            ("a\n\n\r\nb", vec![ok(1, &["a"]), ok(4, &["b"])]),
            ("\"a;\"\"b\"\"\";c\nd;e", vec![ok(1, &["a;\"b\"", "c"]), ok(2, &["d", "e"])]),
            ("\"a\r\nb\n\";c\nd;e", vec![ok(1, &["a\r\nb\n", "c"]), ok(4, &["d", "e"])]),
            ("\"a\" ;\"\"\n", vec![ok(1, &["a", ""])]),
            ("5\" pipe;x\"y\n", vec![ok(1, &["5\" pipe", "x\"y"])]),
            ("", vec![]),
            ("\n\n", vec![]),
        ] {
            assert_eq!(split(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_stray_quote_costs_one_line() {
        for (text, expected) in [
            ("a;\"b\nc;d\ne;f", vec![bad(1, &["a", "b"]), ok(2, &["c", "d"]), ok(3, &["e", "f"])]),
            ("a;\"b\nc;\"d\"\ne;f", vec![bad(1, &["a", "b"]), ok(2, &["c", "d"]), ok(3, &["e", "f"])]),
            ("\"a\"b;c\r\nd;e", vec![bad(1, &["ab", "c"]), ok(2, &["d", "e"])]),
            ("a;\"", vec![bad(1, &["a", ""])]),
        ] {
            assert_eq!(split(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_passed_over_in_bounded_memory() {
        for opening in ["", "\""] {
            let text = format!("a;b\n{opening}{}\nc;d\n", "x".repeat(300_000));
            let mut records = Records::new(text.as_bytes(), b';', 1, 0);
            let mut record = Record::default();
            let mut seen = vec![];
            while records.next(&mut record).unwrap() {
                seen.push((record.line, record.fault));
                assert!(records.buffer.capacity() <= 4 * LONGEST, "{}", records.buffer.capacity());
            }
            assert_eq!(seen, [(1, None), (2, Some(RecordFault::TooLong)), (3, None)]);
        }
        let text = format!("a;\"{}\nc;d\n", "x\n".repeat(100_000));
        let found = all(text.as_bytes(), b';');
        assert_eq!((found.len(), found[0].1), (100_001, Some(RecordFault::Quote)));
    }

    #[test]
    fn a_record_is_found_again_at_its_place() {
        let text = "a;b\n\"c\nc\";d\ne;f\n".as_bytes();
        let mut records = Records::new(text, b';', 1, 0);
        let (mut record, mut places) = (Record::default(), vec![]);
        while records.next(&mut record).unwrap() {
            places.push((record.line, record.offset, record.cells().join("|")));
        }
        for (line, offset, cells) in places.into_iter().rev() {
            records.restart(&text[offset as usize..], line, offset);
            assert!(records.next(&mut record).unwrap());
            assert_eq!((record.line, record.cells().join("|")), (line, cells));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_is_read_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let whole = all(bytes.as_slice(), b',');
            prop_assert!(whole.len() <= bytes.len());
            prop_assert_eq!(whole, all(Drip(&bytes), b','));
        }

        /// What a writer of CSV writes is read as the `csv` crate reads it.
        #[test]
        fn well_formed_records_are_read_as_others_read_them(
            rows in proptest::collection::vec(proptest::collection::vec("[a-zé\";,\r\n ]{0,6}", 2..4), 1..6),
        ) {
            let mut writer = csv::WriterBuilder::new().flexible(true).delimiter(b';').from_writer(vec![]);
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            let bytes = writer.into_inner().unwrap();
            let found: Vec<Vec<String>> = all(bytes.as_slice(), b';').into_iter().map(|(.., cells)| cells).collect();
            prop_assert_eq!(found, rows);
        }
    }
}
