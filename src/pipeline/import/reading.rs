//! Reading a file in a thread of its own, ahead of the database, and knowing each person again.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Seek, SeekFrom},
};

use tokio::sync::mpsc;

use super::{
    layout::Layout,
    records::{Record, RecordFault, Records},
};
use crate::domain::{
    address::{AddressHash, SuppressionKey},
    import::lines::{Fault, FaultCode, Line, LineReader},
};

/// A line on its way to the database.
#[derive(Debug, Default)]
pub struct Read {
    /// Line of the file on which it starts.
    pub number: u64,
    /// What it says.
    pub line: Line,
    /// The keyed hash of its address, if that can be read.
    pub hash: Option<AddressHash>,
    /// The earlier line that the person has already been read from, if there is one.
    pub earlier: Option<u64>,
}

/// Some lines, in the order of the file.
#[derive(Debug, Default)]
pub struct Parcel {
    /// The lines.
    pub lines: Vec<Read>,
    /// For a dry run: earlier lines about the same people, which would have been written by now.
    pub before: Vec<Read>,
}

/// Lines in a parcel.
pub const PARCEL: usize = 100;
/// At most so many earlier lines about one person are read again in a dry run.
const MOST_BEFORE: usize = 8;

/// Who was read from which line. About 50 MB for a million people.
#[derive(Debug)]
struct Seen {
    /// First accepted line of each person: line and byte. The hash is cut to what still tells people apart.
    accepted: HashMap<[u8; 12], (u32, [u8; 6])>,
    /// Other lines with refusals, in a dry run.
    refusing: HashMap<[u8; 12], Vec<(u64, u64)>>,
}

/// Reads the records of a file.
#[derive(Debug)]
pub struct Reading {
    text: File,
    layout: Layout,
    reader: LineReader,
    key: SuppressionKey,
    /// Records that an interrupted run has dealt with: read, not sent.
    skip: u64,
    /// Also send what was read before about the same people.
    dry: bool,
}

impl Reading {
    /// Ready to read `text`, passing over `skip` records.
    pub fn new(text: File, layout: Layout, reader: LineReader, key: SuppressionKey, skip: u64, dry: bool) -> Reading {
        Reading { text, layout, reader, key, skip, dry }
    }

    /// Reads every record and sends it, until the receiver is gone.
    pub fn run(self, to: &mpsc::Sender<Parcel>) -> io::Result<()> {
        let (line, offset) = self.layout.body;
        let at = |offset| At { file: &self.text, offset };
        let mut records = Records::new(at(offset), self.layout.delimiter, line, offset);
        let mut again = Records::new(at(offset), self.layout.delimiter, line, offset);
        let mut seen = Seen::new(self.layout.lines);
        let (mut record, mut parcel, mut count) = (Record::default(), Parcel::default(), 0);
        while records.next(&mut record)? {
            count += 1;
            let mut read = self.read(&record);
            let before = read.hash.map(|hash| seen.before(hash)).unwrap_or_default();
            read.earlier = before.first().filter(|(_, _, accepted)| *accepted).map(|(line, ..)| *line);
            seen.note(&read, record.offset, self.dry);
            if count <= self.skip {
                continue;
            }
            if self.dry {
                for (line, offset, _) in before {
                    again.restart(at(offset), line, offset);
                    again.next(&mut record)?;
                    parcel.before.push(self.read(&record));
                }
            }
            parcel.lines.push(read);
            if parcel.lines.len() == PARCEL && to.blocking_send(std::mem::take(&mut parcel)).is_err() {
                return Ok(());
            }
        }
        if !parcel.lines.is_empty() {
            // A receiver that is gone wants nothing more.
            let _ = to.blocking_send(parcel);
        }
        Ok(())
    }

    fn read(&self, record: &Record) -> Read {
        let line = self.reader.read(&record.cells(), record.fault.map(whole_line));
        let hash = line.address.as_ref().map(|address| self.key.hash(address));
        Read { number: record.line, hash, line, earlier: None }
    }
}

/// What is wrong with a line as a whole, in words.
pub fn whole_line(fault: RecordFault) -> Fault {
    let (code, message) = match fault {
        RecordFault::Quote => (
            FaultCode::Quote,
            "a double quote is not closed, or text follows the closing one; double it inside a quoted text",
        ),
        RecordFault::TooLong => {
            (FaultCode::LineTooLong, "longer than any line of contacts; is a line end or a quote missing?")
        }
    };
    Fault { column: String::new(), code, message: message.to_owned() }
}

impl Seen {
    fn new(lines: u64) -> Seen {
        let room = usize::try_from(lines.min(4_000_000)).unwrap_or_default();
        Seen { accepted: HashMap::with_capacity(room), refusing: HashMap::new() }
    }

    /// The lines that spoke of the person before: the accepted one first, then those that only refused.
    fn before(&self, hash: AddressHash) -> Vec<(u64, u64, bool)> {
        let key = cut(hash);
        let accepted = self.accepted.get(&key).map(|(line, offset)| {
            let mut bytes = [0; 8];
            bytes[2..].copy_from_slice(offset);
            (u64::from(*line), u64::from_be_bytes(bytes), true)
        });
        let refusing = self.refusing.get(&key).into_iter().flatten().map(|(line, offset)| (*line, *offset, false));
        accepted.into_iter().chain(refusing).collect()
    }

    fn note(&mut self, read: &Read, offset: u64, dry: bool) {
        let Some(key) = read.hash.map(cut) else { return };
        if read.line.fault.is_none() && read.earlier.is_none() {
            let offset = offset.to_be_bytes();
            let line = u32::try_from(read.number).unwrap_or(u32::MAX);
            self.accepted.insert(key, (line, [offset[2], offset[3], offset[4], offset[5], offset[6], offset[7]]));
        } else if dry && !read.line.refusals.is_empty() {
            let lines = self.refusing.entry(key).or_default();
            if lines.len() < MOST_BEFORE {
                lines.push((read.number, offset));
            }
        }
    }
}

/// The hash is keyed, so that nobody can choose addresses that meet in twelve bytes.
fn cut(hash: AddressHash) -> [u8; 12] {
    let mut key = [0; 12];
    key.copy_from_slice(&hash.0[..12]);
    key
}

/// Reads a file from a place of its own, whatever other readers of the same file do.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(self.offset))?;
        let read = self.file.read(to)?;
        self.offset += read as u64;
        Ok(read)
    }
}
