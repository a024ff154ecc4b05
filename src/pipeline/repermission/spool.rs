//! The lines of all files, laid out on disk so that all lines of one person come together.
//!
//! A list may be larger than memory: each line goes to the bucket of its keyed hash, one bucket is read
//! at a time, and of a line that has been judged memory keeps ten bytes.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
};

use crate::{
    domain::address::AddressHash,
    pipeline::import::records::{Record, RecordFault},
};

/// A line with an address, as it waits in a bucket.
#[derive(Debug)]
pub struct Waiting {
    /// Its place among the lines of all files, from 0.
    pub position: u64,
    /// Which file, from 0.
    pub file: usize,
    /// Keyed hash of its address.
    pub hash: AddressHash,
    /// What is wrong with the record as such.
    pub fault: Option<RecordFault>,
    /// Its cells.
    pub cells: Vec<String>,
}

/// Lines by the hash of their addresses.
#[derive(Debug)]
pub struct Buckets(Vec<BufWriter<File>>);

/// About so many lines are read at a time.
const LINES: u64 = 4096;
const MOST_BUCKETS: u64 = 256;

impl Buckets {
    /// Buckets for about so many lines.
    pub fn new(lines: u64) -> io::Result<Buckets> {
        let count = lines.div_ceil(LINES).clamp(1, MOST_BUCKETS);
        let buckets: io::Result<Vec<_>> = (0..count).map(|_| Ok(BufWriter::new(tempfile::tempfile()?))).collect();
        Ok(Buckets(buckets?))
    }

    /// Lays a line down.
    pub fn put(&mut self, position: u64, file: usize, hash: AddressHash, record: &Record) -> io::Result<()> {
        let bucket = usize::from(u16::from_be_bytes([hash.0[0], hash.0[1]])) % self.0.len();
        let out = &mut self.0[bucket];
        out.write_all(&position.to_le_bytes())?;
        out.write_all(&(file as u32).to_le_bytes())?;
        out.write_all(&hash.0)?;
        let fault = match record.fault {
            None => 0u8,
            Some(RecordFault::Quote) => 1,
            Some(RecordFault::TooLong) => 2,
        };
        let cells = record.cells();
        out.write_all(&[fault])?;
        out.write_all(&(cells.len() as u32).to_le_bytes())?;
        for cell in cells {
            out.write_all(&(cell.len() as u32).to_le_bytes())?;
            out.write_all(cell.as_bytes())?;
        }
        Ok(())
    }

    /// Reads the buckets back, one after the other, each in the order of its lines.
    pub fn read(self) -> impl Iterator<Item = io::Result<Vec<Waiting>>> {
        self.0.into_iter().map(|out| {
            let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.seek(SeekFrom::Start(0))?;
            let mut input = BufReader::with_capacity(128 * 1024, file);
            let mut lines = Vec::new();
            while let Some(line) = next(&mut input)? {
                lines.push(line);
            }
            Ok(lines)
        })
    }
}

fn next(input: &mut impl Read) -> io::Result<Option<Waiting>> {
    let mut position = [0; 8];
    match input.read_exact(&mut position) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let file = number(input)? as usize;
    let mut hash = [0; 32];
    input.read_exact(&mut hash)?;
    let mut fault = [0; 1];
    input.read_exact(&mut fault)?;
    let mut cells = Vec::new();
    for _ in 0..number(input)? {
        let mut text = vec![0; number(input)? as usize];
        input.read_exact(&mut text)?;
        cells.push(String::from_utf8(text).map_err(io::Error::other)?);
    }
    let fault = [None, Some(RecordFault::Quote), Some(RecordFault::TooLong)][usize::from(fault[0]).min(2)];
    Ok(Some(Waiting { position: u64::from_le_bytes(position), file, hash: AddressHash(hash), fault, cells }))
}

fn number(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// What was judged of each line, by its position; what is to be kept of it lies in a file.
#[derive(Debug)]
pub struct Judged {
    verdicts: Vec<u16>,
    places: Vec<u64>,
    notes: BufWriter<File>,
    length: u64,
}

impl Judged {
    /// Room for so many lines, none of them judged.
    pub fn new(lines: u64) -> io::Result<Judged> {
        let lines = usize::try_from(lines).map_err(io::Error::other)?;
        Ok(Judged {
            verdicts: vec![UNJUDGED; lines],
            places: vec![u64::MAX; lines],
            notes: BufWriter::new(tempfile::tempfile()?),
            length: 0,
        })
    }

    /// Notes a verdict, by its number, and what is to be kept of the line.
    pub fn put(&mut self, position: u64, verdict: u16, note: Option<&str>) -> io::Result<()> {
        let at = usize::try_from(position).map_err(io::Error::other)?;
        self.verdicts[at] = verdict;
        if let Some(note) = note {
            self.places[at] = self.length;
            self.notes.write_all(&(note.len() as u32).to_le_bytes())?;
            self.notes.write_all(note.as_bytes())?;
            self.length += 4 + note.len() as u64;
        }
        Ok(())
    }

    /// Everything is judged: from now on it is read.
    pub fn finish(self) -> io::Result<Told> {
        let notes = self.notes.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Told { verdicts: self.verdicts, places: self.places, notes })
    }
}

const UNJUDGED: u16 = u16::MAX;

/// The verdicts, to be read by position.
#[derive(Debug)]
pub struct Told {
    verdicts: Vec<u16>,
    places: Vec<u64>,
    notes: File,
}

impl Told {
    /// The number of the verdict on a line.
    pub fn verdict(&self, position: u64) -> u16 {
        // Positions are those of lines that were judged: their number fits memory.
        self.verdicts[position as usize]
    }

    /// The number of the verdict on a line, and what was noted of it.
    pub fn of(&self, position: u64) -> io::Result<(u16, Option<String>)> {
        use std::os::unix::fs::FileExt;
        let at = usize::try_from(position).map_err(io::Error::other)?;
        let place = self.places[at];
        if place == u64::MAX {
            return Ok((self.verdicts[at], None));
        }
        let mut length = [0; 4];
        self.notes.read_exact_at(&mut length, place)?;
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        self.notes.read_exact_at(&mut text, place + 4)?;
        Ok((self.verdicts[at], Some(String::from_utf8(text).map_err(io::Error::other)?)))
    }
}
