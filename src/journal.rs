//! A local journal: what must not be lost while the database is away.
//!
//! One append-only file beside the keys, for us alone (0600). Whatever is in it was flushed to the
//! disk before anybody was told so, and stays until the database has it. All processes of one data
//! folder share it: a lock of the file makes them take turns, and a number in its head grows with
//! every write, so that whoever reads the database can tell whether something was written meanwhile.
//!
//! The head is 16 bytes, `OUINONJ1` and the number. A frame is `OJ`, the length (4 bytes), the first
//! 8 bytes of the payload's SHA-256, and the payload. A frame that is cut or damaged is passed over,
//! and those after it are found by their mark.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

const FILE: &str = "refusals.journal";
const HEAD: &[u8; 8] = b"OUINONJ1";
const HEAD_BYTES: usize = 16;
const MARK: &[u8; 2] = b"OJ";
const SUM_BYTES: usize = 8;
const FRAME_BYTES: usize = MARK.len() + 4 + SUM_BYTES;
/// No payload is longer: a length beyond it is damage.
const MAX_PAYLOAD: usize = 64 * 1024;

/// The journal of a data folder. Cheap to clone; no file is made before something is written.
#[derive(Debug, Clone)]
pub struct Journal {
    path: Arc<PathBuf>,
    /// The lock of a file is its process's: threads take turns here.
    turn: Arc<Mutex<()>>,
    settling: Arc<tokio::sync::Mutex<()>>,
}

/// What the journal was like at a moment. Two equal ones: nothing was written in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    number: u64,
    length: u64,
}

impl Mark {
    /// Nothing waits to be applied.
    pub fn is_empty(self) -> bool {
        self.length <= HEAD_BYTES as u64
    }
}

/// What a journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The payloads that are whole, in the order of writing.
    pub payloads: Vec<Vec<u8>>,
    /// When it was read.
    pub mark: Mark,
    /// Bytes of damaged frames before the last whole one: something was written there and is lost.
    pub damaged: usize,
}

impl Journal {
    /// The journal of the data folder `folder`.
    pub fn of_folder(folder: &Path) -> Journal {
        Journal { path: Arc::new(folder.join(FILE)), turn: Arc::default(), settling: Arc::default() }
    }

    /// Of those in this process that want to apply it, one does; the others wait and find it done.
    pub async fn settling(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.settling.lock().await
    }

    /// What it is like now.
    pub fn mark(&self) -> io::Result<Mark> {
        match File::open(&*self.path) {
            Ok(file) => mark(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Mark { number: 0, length: 0 }),
            Err(error) => Err(error),
        }
    }

    /// Writes payloads, and returns once they are on the disk. On an error none of them is there.
    pub fn append(&self, payloads: &[Vec<u8>]) -> io::Result<()> {
        let _turn = self.turn();
        let mut file = self.open()?;
        file.lock()?;
        let before = mark(&file)?;
        // What a dead process left half-written would hide what follows.
        let end = if before.is_empty() { HEAD_BYTES as u64 } else { end_of_whole(&mut file)? };
        file.set_len(end.max(HEAD_BYTES as u64))?;
        let written = put(&mut file, before.number + 1, end, payloads);
        if written.is_err() {
            // Nobody is told that it is there, so it must not be.
            file.set_len(end)?;
        }
        written
    }

    /// Everything in it.
    pub fn read(&self) -> io::Result<Contents> {
        let _turn = self.turn();
        let mut file = match File::open(&*self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Contents { payloads: Vec::new(), mark: Mark { number: 0, length: 0 }, damaged: 0 });
            }
            Err(error) => return Err(error),
        };
        file.lock_shared()?;
        let mark = mark(&file)?;
        let (payloads, damaged, _) = scan(&bytes(&mut file)?);
        Ok(Contents { payloads, mark, damaged })
    }

    /// Empties it, if nothing was written since `mark`. What is damaged is kept aside.
    pub fn clear(&self, contents: &Contents) -> io::Result<bool> {
        let _turn = self.turn();
        let mut file = self.open()?;
        file.lock()?;
        if mark(&file)? != contents.mark {
            return Ok(false);
        }
        if contents.damaged > 0 {
            let aside = self.path.with_extension(format!("damaged-{}", contents.mark.number));
            let mut copy = File::options().create(true).truncate(true).write(true).mode(0o600).open(aside)?;
            copy.write_all(&bytes(&mut file)?)?;
            copy.sync_all()?;
        }
        file.set_len(HEAD_BYTES as u64)?;
        file.sync_all()?;
        Ok(true)
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, ()> {
        // A panic in between leaves the file as a sudden death would, which reading bears.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> io::Result<File> {
        let is_new = !self.path.exists();
        let file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(&*self.path)?;
        if is_new && let Some(folder) = self.path.parent() {
            // Its name, too, must be on the disk.
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes wait to be applied.
    pub fn pending_bytes(&self) -> u64 {
        fs::metadata(&*self.path).map_or(0, |file| file.len().saturating_sub(HEAD_BYTES as u64))
    }
}

fn put(file: &mut File, number: u64, end: u64, payloads: &[Vec<u8>]) -> io::Result<()> {
    let mut text = Vec::new();
    for payload in payloads {
        if payload.len() > MAX_PAYLOAD {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much for one frame of the journal"));
        }
        text.extend_from_slice(&frame(payload));
    }
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(HEAD);
    head[8..].copy_from_slice(&number.to_be_bytes());
    file.write_all_at(&head, 0)?;
    file.write_all_at(&text, end.max(HEAD_BYTES as u64))?;
    file.sync_all()
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_BYTES + payload.len());
    frame.extend_from_slice(MARK);
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(&Sha256::digest(payload)[..SUM_BYTES]);
    frame.extend_from_slice(payload);
    frame
}

fn mark(file: &File) -> io::Result<Mark> {
    let length = file.metadata()?.len();
    let mut head = [0; HEAD_BYTES];
    let number = match file.read_exact_at(&mut head, 0) {
        Ok(()) => u64::from_be_bytes([head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]]),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
        Err(error) => return Err(error),
    };
    Ok(Mark { number, length })
}

fn bytes(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn end_of_whole(file: &mut File) -> io::Result<u64> {
    let (_, _, end) = scan(&bytes(file)?);
    Ok(end as u64)
}

/// The whole payloads of a file, the damaged bytes between them, and where the last of them ends.
fn scan(bytes: &[u8]) -> (Vec<Vec<u8>>, usize, usize) {
    let (mut payloads, mut damaged) = (Vec::new(), 0);
    let (mut at, mut end) = (HEAD_BYTES.min(bytes.len()), HEAD_BYTES.min(bytes.len()));
    while at < bytes.len() {
        match whole(&bytes[at..]) {
            Some(payload) => {
                damaged += at - end;
                at += FRAME_BYTES + payload.len();
                end = at;
                payloads.push(payload.to_vec());
            }
            None => {
                let next = memchr::memmem::find(&bytes[at + 1..], MARK);
                at = next.map_or(bytes.len(), |further| at + 1 + further);
            }
        }
    }
    (payloads, damaged, end)
}

/// The payload of a frame that begins here, if it is whole.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(MARK)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<SUM_BYTES>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let payload = rest.get(..length).filter(|_| length <= MAX_PAYLOAD)?;
    (Sha256::digest(payload)[..SUM_BYTES] == *sum).then_some(payload)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn fresh() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::of_folder(folder.path());
        (folder, journal)
    }

    fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_is_written_is_read_in_order_and_gone_once_cleared() {
        let (_folder, journal) = fresh();
        assert!(journal.mark().unwrap().is_empty());
        assert_eq!(journal.read().unwrap().payloads, texts(&[]));
        journal.append(&texts(&["one", "two"])).unwrap();
        let early = journal.read().unwrap();
        journal.append(&texts(&["three", ""])).unwrap();
        let all = journal.read().unwrap();
        assert_eq!(all.payloads, texts(&["one", "two", "three", ""]));
        assert!(!journal.clear(&early).unwrap(), "something was written since");
        assert!(journal.clear(&all).unwrap());
        let after = journal.mark().unwrap();
        assert!(after.is_empty());
        assert_ne!(after, Journal::of_folder(Path::new("/nowhere")).mark().unwrap(), "the number stays");
        journal.append(&texts(&["four"])).unwrap();
        assert_eq!(journal.read().unwrap().payloads, texts(&["four"]));
    }

    #[test]
    fn the_file_is_for_us_alone() {
        let (_folder, journal) = fresh();
        journal.append(&texts(&["one"])).unwrap();
        assert_eq!(fs::metadata(journal.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn two_processes_share_it() {
        let (folder, one) = fresh();
        let two = Journal::of_folder(folder.path());
        let mark = one.mark().unwrap();
        two.append(&texts(&["by two"])).unwrap();
        assert_ne!(one.mark().unwrap(), mark);
        one.append(&texts(&["by one"])).unwrap();
        assert_eq!(two.read().unwrap().payloads, texts(&["by two", "by one"]));
        let seen = two.mark().unwrap();
        assert!(one.clear(&one.read().unwrap()).unwrap());
        assert_ne!(two.mark().unwrap(), seen, "emptied is not the same as before");
    }

    #[test]
    fn a_full_disk_writes_nothing_and_says_so() {
        let journal = Journal { path: Arc::new("/dev/full".into()), ..Journal::of_folder(Path::new("/dev")) };
        assert!(journal.append(&texts(&["one"])).is_err());
    }

    #[test]
    fn a_torn_tail_is_written_over_and_damage_in_between_is_kept_aside() {
        let (_folder, journal) = fresh();
        journal.append(&texts(&["first", "second"])).unwrap();
        let file = File::options().write(true).open(journal.path()).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - 3).unwrap();
        let torn = journal.read().unwrap();
        assert_eq!((torn.payloads, torn.damaged), (texts(&["first"]), 0));
        journal.append(&texts(&["third"])).unwrap();
        let whole = journal.read().unwrap();
        assert_eq!((&whole.payloads, whole.damaged), (&texts(&["first", "third"]), 0));
        file.write_all_at(b"x", (HEAD_BYTES + FRAME_BYTES) as u64).unwrap();
        let hurt = journal.read().unwrap();
        assert_eq!((&hurt.payloads, hurt.damaged), (&texts(&["third"]), FRAME_BYTES + 5));
        assert!(journal.clear(&hurt).unwrap());
        let aside = fs::read_dir(journal.path().parent().unwrap()).unwrap().count();
        assert_eq!(aside, 2, "the damaged file stays for a person to look at");
    }

    proptest! {
        /// Cut anywhere, what was whole before the cut is there; any byte changed costs its own frame only.
        #[test]
        fn damage_costs_what_it_hits(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..8),
            cut in any::<prop::sample::Index>(),
            hit in any::<prop::sample::Index>(),
            by in 1u8..,
        ) {
            let mut bytes = vec![0; HEAD_BYTES];
            let mut ends = vec![HEAD_BYTES];
            for payload in &payloads {
                bytes.extend_from_slice(&frame(payload));
                ends.push(bytes.len());
            }
            let cut = HEAD_BYTES + cut.index(bytes.len() - HEAD_BYTES + 1);
            let kept = ends.iter().filter(|end| **end <= cut).count() - 1;
            let (found, damaged, end) = scan(&bytes[..cut]);
            prop_assert!(found[..kept] == payloads[..kept]);
            // What a cut payload holds may look like a frame of its own; it never hides a whole one.
            prop_assert!(found.len() == kept || damaged > 0);
            prop_assert!(end >= ends[kept]);

            let at = HEAD_BYTES + hit.index(bytes.len() - HEAD_BYTES);
            bytes[at] = bytes[at].wrapping_add(by);
            let victim = ends.iter().filter(|end| **end <= at).count() - 1;
            let (found, _, _) = scan(&bytes);
            prop_assert!(found[..victim] == payloads[..victim]);
            prop_assert!(found.ends_with(&payloads[victim + 1..]));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (payloads, damaged, end) = scan(&bytes);
            prop_assert!(end <= bytes.len() && damaged <= bytes.len());
            prop_assert!(payloads.iter().map(Vec::len).sum::<usize>() <= bytes.len());
        }
    }
}
