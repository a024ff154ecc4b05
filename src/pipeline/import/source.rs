//! The file as UTF-8 text, whatever encoding it came in.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use sha2::{Digest, Sha256};

/// A file of contacts, readable as UTF-8.
#[derive(Debug)]
pub struct Source {
    /// The file itself, or its translation in a temporary file.
    pub text: File,
    /// Where the text begins, behind a byte order mark.
    pub start: u64,
    /// The encoding that the file is in.
    pub encoding: &'static str,
    /// SHA-256 of the file's bytes.
    pub digest: [u8; 32],
}

/// Why a file is no text.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system cannot read it, or cannot write the translation.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A workbook.
    #[error("this is a spreadsheet workbook, not CSV; save it as CSV (UTF-8) first")]
    Workbook,
    /// Zero bytes all over.
    #[error("this is no text that can be read; save it as CSV in UTF-8")]
    Binary,
}

const CHUNK: usize = 128 * 1024;

impl Source {
    /// Reads the whole file once to know its encoding, and translates it if it must be.
    ///
    /// A byte order mark decides; without one, UTF-8 where the bytes are UTF-8, else Windows-1252, which
    /// holds Latin-1. A file that is UTF-8 but for a few bytes stays UTF-8: those bytes become U+FFFD,
    /// and their lines will be refused.
    pub fn open(mut file: File) -> Result<Source, SourceError> {
        file.seek(SeekFrom::Start(0))?;
        let survey = Survey::of(&mut file)?;
        let encoding = survey.encoding()?;
        let start = if encoding == UTF_8 && survey.bom == Some(UTF_8) { 3 } else { 0 };
        let text = if encoding == UTF_8 && survey.broken == 0 { file } else { translate(&mut file, encoding)? };
        let start = if encoding == UTF_8 && survey.broken == 0 { start } else { 0 };
        Ok(Source { text, start, encoding: encoding.name(), digest: survey.digest })
    }
}

/// What the bytes of a file are like.
struct Survey {
    bom: Option<&'static Encoding>,
    workbook: bool,
    bytes: u64,
    zeros: u64,
    /// Characters of several bytes that are UTF-8.
    wide: u64,
    /// Bytes that are not.
    broken: u64,
    digest: [u8; 32],
}

impl Survey {
    fn of(file: &mut File) -> io::Result<Survey> {
        let mut survey = Survey { bom: None, workbook: false, bytes: 0, zeros: 0, wide: 0, broken: 0, digest: [0; 32] };
        let mut digest = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        let mut kept = 0;
        loop {
            let read = file.read(&mut chunk[kept..])?;
            digest.update(&chunk[kept..kept + read]);
            if survey.bytes == 0 {
                survey.bom = Encoding::for_bom(&chunk[..read]).map(|(encoding, _)| encoding);
                survey.workbook =
                    chunk[..read].starts_with(b"PK\x03\x04") || chunk[..read].starts_with(b"\xD0\xCF\x11\xE0");
            }
            survey.bytes += read as u64;
            survey.zeros += chunk[kept..kept + read].iter().filter(|b| **b == 0).count() as u64;
            let filled = kept + read;
            let open = survey.count(&chunk[..filled], read == 0);
            chunk.copy_within(filled - open..filled, 0);
            kept = open;
            if read == 0 {
                break;
            }
        }
        survey.digest = digest.finalize().into();
        Ok(survey)
    }

    /// Counts what is UTF-8 and what is not; returns how many bytes at the end may go on in the next chunk.
    fn count(&mut self, mut bytes: &[u8], last: bool) -> usize {
        loop {
            let (valid, error) = match std::str::from_utf8(bytes) {
                Ok(text) => (text.len(), None),
                Err(error) => (error.valid_up_to(), Some(error.error_len())),
            };
            self.wide += bytes[..valid].iter().filter(|b| **b >= 0xC0).count() as u64;
            match error {
                None => return 0,
                Some(None) if !last => return bytes.len() - valid,
                Some(length) => {
                    self.broken += 1;
                    bytes = &bytes[valid + length.unwrap_or(bytes.len() - valid)..];
                }
            }
        }
    }

    fn encoding(&self) -> Result<&'static Encoding, SourceError> {
        if self.workbook {
            return Err(SourceError::Workbook);
        }
        match self.bom {
            Some(encoding) if encoding == UTF_16LE || encoding == UTF_16BE => Ok(encoding),
            _ if self.zeros * 10 > self.bytes => Err(SourceError::Binary),
            Some(_) => Ok(UTF_8),
            None if self.broken > self.wide => Ok(WINDOWS_1252),
            None => Ok(UTF_8),
        }
    }
}

/// Writes the text as UTF-8 into a temporary file that has no name and goes with its handle.
fn translate(file: &mut File, encoding: &'static Encoding) -> io::Result<File> {
    file.seek(SeekFrom::Start(0))?;
    let mut to = tempfile::tempfile()?;
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let (mut from, mut utf8) = (vec![0; CHUNK], vec![0; 4 * CHUNK]);
    loop {
        let read = file.read(&mut from)?;
        let last = read == 0;
        let mut bytes = &from[..read];
        loop {
            let (result, used, written, _) = decoder.decode_to_utf8(bytes, &mut utf8, last);
            to.write_all(&utf8[..written])?;
            bytes = &bytes[used..];
            if result == encoding_rs::CoderResult::InputEmpty {
                break;
            }
        }
        if last {
            return Ok(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(&'static str, String), String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut source = Source::open(file).map_err(|e| e.to_string())?;
        let expected: [u8; 32] = Sha256::digest(bytes).into();
        assert_eq!(source.digest, expected);
        let mut text = String::new();
        source.text.seek(SeekFrom::Start(source.start)).unwrap();
        source.text.read_to_string(&mut text).unwrap();
        Ok((source.encoding, text))
    }

    #[test]
    fn encodings_are_detected_over_the_whole_file() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let long = format!("{}é", "a".repeat(CHUNK - 1));
        let late = [long.as_bytes(), &[0xE9; 3]].concat();
        for (bytes, encoding, text) in [
            ("prénom".as_bytes().to_vec(), "UTF-8", "prénom".to_owned()),
            ("\u{FEFF}prénom".as_bytes().to_vec(), "UTF-8", "prénom".to_owned()),
            (b"pr\xE9nom \x80 \x9C".to_vec(), "windows-1252", "prénom € œ".to_owned()),
            (utf16("\u{FEFF}prénom", u16::to_le_bytes), "UTF-16LE", "prénom".to_owned()),
            (utf16("\u{FEFF}prénom", u16::to_be_bytes), "UTF-16BE", "prénom".to_owned()),
            (long.as_bytes().to_vec(), "UTF-8", long.clone()),
            (late, "windows-1252", format!("{}Ã©ééé", "a".repeat(CHUNK - 1))),
            // Broken UTF-8 stays UTF-8: only the broken bytes are lost.
            (b"\xC3\xA9\xC3\xA8 \xE9x".to_vec(), "UTF-8", "éè \u{FFFD}x".to_owned()),
            (b"\xEF\xBB\xBF\xE9\xE9\xE9".to_vec(), "UTF-8", "\u{FFFD}\u{FFFD}\u{FFFD}".to_owned()),
            (Vec::new(), "UTF-8", String::new()),
        ] {
            assert_eq!(read(&bytes), Ok((encoding, text)), "{encoding}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_the_way_out() {
        assert!(read(b"PK\x03\x04 a workbook").unwrap_err().contains("save it as CSV"));
        assert!(read(b"e\0m\0a\0i\0l\0").unwrap_err().contains("UTF-8"));
    }
}
