//! Import: a file of contacts and consents, line by line, in bounded memory.
//!
//! The file is read three times: for its encoding and fingerprint, for its layout, and for its lines.
//! Lines are written in short transactions, each with how far the import is: interrupted at any
//! instant, the same command goes on where it was. An import adds refusals and never lifts one.

mod batch;
pub(super) mod layout;
pub(super) mod merge;
pub(super) mod reading;
pub(super) mod records;
pub(super) mod report;
pub(super) mod source;

use std::{fs::File, io, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, task, time::Instant};

pub use self::report::{ReadAs, Refusals, Report};
use self::{
    batch::{Outcome, Writer},
    layout::Layout,
    reading::{PARCEL, Parcel, Read, Reading},
    source::{Source, SourceError},
};
use crate::{
    domain::{
        address::SuppressionKey,
        import::{
            columns::{ColumnError, Mapping},
            dates::DateOrder,
            lines::{Fault, LineReader},
        },
    },
    store::{
        Db,
        imports::{self, Progress, Refusal},
        products,
    },
};

/// How a file is to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// What the columns hold.
    pub mapping: Mapping,
    /// Whether day or month comes first, where they could be exchanged.
    pub date_order: Option<DateOrder>,
}

/// Where and when an import is done.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The database.
    pub db: &'a Db,
    /// Key of the address hashes.
    pub key: &'a SuppressionKey,
    /// The controller's time zone.
    pub tz: &'a TimeZone,
    /// The present instant.
    pub now: Timestamp,
}

/// Told how many lines are done, of how many.
pub type OnProgress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

/// Why nothing (more) was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Read(#[from] io::Error),
    /// The file is no text.
    #[error(transparent)]
    Source(SourceError),
    /// Nothing stands in the file.
    #[error("the file is empty")]
    Empty,
    /// Nothing but a header stands in the file.
    #[error("the file has no line after its header")]
    HeaderOnly,
    /// The header is no record.
    #[error("line {line}: the header cannot be read: a double quote is not closed, or a name is endless")]
    Header {
        /// Where.
        line: u64,
    },
    /// A column is unknown, missing, or there twice.
    #[error(transparent)]
    Columns(#[from] ColumnError),
    /// A value stands in a column without a name.
    #[error("line {line}: column {column} has no name in the header, but holds a value; name it or remove it")]
    Nameless {
        /// Counted from 1.
        column: usize,
        /// Where the value stands.
        line: u64,
    },
    /// A value of `--default` cannot be read.
    #[error("--default {}: {}", .0.column, .0.message)]
    Default(Fault),
    /// Somebody else imports the same file.
    #[error("another process imports this very file right now; let it finish, or stop it and start again")]
    Overtaken,
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

impl ImportError {
    /// The file or the options are wrong, and nothing was written.
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, ImportError::Overtaken | ImportError::Store(_))
    }
}

/// Imports a file. The same file and options again after an interruption go on where it was.
pub async fn apply(
    place: Place<'_>,
    file: File,
    options: &Options,
    on_progress: OnProgress<'_>,
) -> Result<Report, ImportError> {
    let prepared = prepare(place, file, options).await?;
    let fingerprint = prepared.fingerprint.clone();
    let mut progress = open(place, &fingerprint).await?;
    let read_as = prepared.read_as();
    let mut pace = Pace::new(place.db);
    let mut lines = prepared.read(place, progress.lines, false);
    on_progress(lines.done, lines.total);
    while let Some((_, batch)) = lines.next(pace.parcels).await? {
        let held = write(place, &lines.reader, &mut progress, &batch).await?;
        on_progress(lines.done, lines.total);
        pace.keep(held).await;
    }
    finish(place, &progress, read_as).await
}

/// Says what [`apply`] would do, and changes nothing: the same statements, rolled back.
pub async fn dry_run(
    place: Place<'_>,
    file: File,
    options: &Options,
    on_progress: OnProgress<'_>,
) -> Result<Report, ImportError> {
    let prepared = prepare(place, file, options).await?;
    let (mut progress, mut refusals) = (Progress::default(), Refusals::new()?);
    let read_as = prepared.read_as();
    let mut pace = Pace::new(place.db);
    let mut lines = prepared.read(place, 0, true);
    while let Some((mut before, batch)) = lines.next(pace.parcels).await? {
        let first = batch.first().map_or(0, |read| read.number);
        before.retain(|read| read.number < first);
        let mut tx = place.db.write().await?;
        let started = Instant::now();
        let outcomes = writer(place, &lines.reader).write(&mut tx, &before, &batch).await?;
        drop(tx);
        for refusal in count(&mut progress, &batch, outcomes) {
            refusals.push(&refusal)?;
        }
        on_progress(lines.done, lines.total);
        pace.keep(started.elapsed()).await;
    }
    Ok(Report::of(&progress, refusals, read_as))
}

/// A file that can be imported.
struct Prepared {
    source: Source,
    layout: Layout,
    reader: LineReader,
    /// Of the file and of the options: both make an import.
    fingerprint: String,
}

async fn prepare(place: Place<'_>, file: File, options: &Options) -> Result<Prepared, ImportError> {
    let mut tx = place.db.read().await?;
    let products: Vec<String> = products::all(&mut tx).await?.into_iter().map(|product| product.slug).collect();
    drop(tx);
    let (options, tz, now) = (options.clone(), place.tz.clone(), place.now);
    let prepare = move || {
        let mut source = Source::open(file).map_err(|error| match error {
            SourceError::Io(error) => ImportError::Read(error),
            other => ImportError::Source(other),
        })?;
        let layout = Layout::of(&mut source, &options, &products)?;
        let order = layout.evidence.order(options.date_order);
        let reader = LineReader::new(&layout.columns, order, tz, now).map_err(ImportError::Default)?;
        let fingerprint = fingerprint(&source, &options);
        Ok(Prepared { source, layout, reader, fingerprint })
    };
    task::spawn_blocking(prepare).await.expect("reading a file does not panic")
}

fn fingerprint(source: &Source, options: &Options) -> String {
    let mut digest = Sha256::new();
    digest.update(source.digest);
    digest.update(format!("{options:?}"));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Prepared {
    fn read_as(&self) -> ReadAs {
        ReadAs { encoding: self.source.encoding, delimiter: char::from(self.layout.delimiter) }
    }

    /// Starts to read the lines after the first `skip`.
    fn read(self, place: Place<'_>, skip: i64, dry: bool) -> Lines {
        let (to, parcels) = mpsc::channel(2 * MOST_PARCELS);
        let skip = u64::try_from(skip).unwrap_or_default();
        let (total, reader) = (self.layout.lines, self.reader.clone());
        let reading = Reading::new(self.source.text, self.layout, self.reader, place.key.clone(), skip, dry);
        let thread = task::spawn_blocking(move || reading.run(&to));
        Lines { parcels, thread: Some(thread), reader, done: skip, total }
    }
}

/// The lines of a file as they are read.
struct Lines {
    parcels: mpsc::Receiver<Parcel>,
    thread: Option<task::JoinHandle<io::Result<()>>>,
    reader: LineReader,
    done: u64,
    total: u64,
}

impl Lines {
    /// Up to `most` parcels: the earlier lines of a dry run, and the lines. None at the end.
    async fn next(&mut self, most: usize) -> Result<Option<(Vec<Read>, Vec<Read>)>, ImportError> {
        let (mut before, mut lines) = (Vec::new(), Vec::with_capacity(most * PARCEL));
        for _ in 0..most {
            let Some(mut parcel) = self.parcels.recv().await else { break };
            before.append(&mut parcel.before);
            lines.append(&mut parcel.lines);
        }
        self.done += lines.len() as u64;
        if !lines.is_empty() {
            return Ok(Some((before, lines)));
        }
        if let Some(thread) = self.thread.take() {
            thread.await.expect("reading lines does not panic")?;
        }
        Ok(None)
    }
}

/// How many lines a transaction takes, so that what it locks is free again soon, the write lock of
/// SQLite or the people's slots on PostgreSQL: an unsubscribe and the gate wait for it.
pub(super) struct Pace {
    shares_lock: bool,
    pub(super) parcels: usize,
}

/// At most so many parcels make a transaction.
const MOST_PARCELS: usize = 40;
/// How often whoever waits for the lock of SQLite looks for it, and a little more.
const LOOK: Duration = Duration::from_millis(4);
/// The lock is held no longer than this, as far as the last transaction tells.
const LONGEST_HOLD: Duration = Duration::from_millis(50);

impl Pace {
    pub(super) fn new(db: &Db) -> Pace {
        Pace { shares_lock: matches!(db, Db::Lite { .. }), parcels: 5 }
    }

    /// Adapts to how long the last transaction held its lock, and lets others in before the next. How
    /// long it waited for the lock says nothing about its size.
    pub(super) async fn keep(&mut self, held: Duration) {
        if held > LONGEST_HOLD {
            let fits = self.parcels as f64 * LONGEST_HOLD.as_secs_f64() / held.as_secs_f64();
            self.parcels = (fits as usize).max(1);
        } else if held < LONGEST_HOLD / 2 {
            self.parcels = (self.parcels * 2).min(MOST_PARCELS);
        }
        if self.shares_lock {
            // SQLite's waiters look again every few milliseconds; they must find the lock free in between.
            tokio::time::sleep((held / 8).clamp(LOOK, LOOK * 2)).await;
        }
    }
}

fn writer<'a>(place: Place<'a>, reader: &LineReader) -> Writer<'a> {
    Writer { key: place.key, tz: place.tz, now: place.now, consents: reader.reads_consents() }
}

/// Finds the interrupted import of the same file and options, or starts one.
async fn open(place: Place<'_>, fingerprint: &str) -> Result<Progress, ImportError> {
    let mut tx = place.db.write().await?;
    if let Some(progress) = imports::open(&mut tx, fingerprint).await? {
        return Ok(progress);
    }
    match imports::start(&mut tx, fingerprint, place.now.as_millisecond()).await {
        Ok(id) => {
            tx.commit().await?;
            Ok(Progress { id, ..Progress::default() })
        }
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(ImportError::Overtaken),
        Err(error) => Err(error.into()),
    }
}

/// One transaction: the lines, the refused ones, and how far the import is. Returns how long it held its lock.
async fn write(
    place: Place<'_>,
    reader: &LineReader,
    progress: &mut Progress,
    batch: &[Read],
) -> Result<Duration, ImportError> {
    let from = progress.lines;
    let mut tx = place.db.write().await?;
    let started = Instant::now();
    let outcomes = writer(place, reader).write(&mut tx, &[], batch).await?;
    let refusals = count(progress, batch, outcomes);
    imports::refuse(&mut tx, progress.id, &refusals).await?;
    if !imports::advance(&mut tx, progress, from).await? {
        return Err(ImportError::Overtaken);
    }
    tx.commit().await?;
    Ok(started.elapsed())
}

/// Adds the outcomes to the totals, and returns the refused lines.
fn count(progress: &mut Progress, batch: &[Read], outcomes: Vec<Outcome>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (read, outcome) in batch.iter().zip(outcomes) {
        progress.lines += 1;
        match outcome {
            Outcome::New => progress.added += 1,
            Outcome::Changed => progress.changed += 1,
            Outcome::Unchanged => progress.unchanged += 1,
            Outcome::Refused(fault) => {
                progress.refused += 1;
                refusals.push(Refusal {
                    line: i64::try_from(read.number).unwrap_or(i64::MAX),
                    column_name: fault.column,
                    code: fault.code.as_str().to_owned(),
                    message: fault.message,
                });
            }
        }
    }
    refusals
}

/// Ends the import and tells the whole of it, what was done before an interruption too.
async fn finish(place: Place<'_>, progress: &Progress, read_as: ReadAs) -> Result<Report, ImportError> {
    let mut tx = place.db.write().await?;
    imports::finish(&mut tx, progress.id, place.now.as_millisecond()).await?;
    tx.commit().await?;
    let mut refusals = Refusals::new()?;
    let mut line = 0;
    loop {
        let mut tx = place.db.read().await?;
        let page = imports::refusals(&mut tx, progress.id, line, 1000).await?;
        let Some(last) = page.last() else { break };
        line = last.line;
        for refusal in &page {
            refusals.push(refusal)?;
        }
    }
    Ok(Report::of(progress, refusals, read_as))
}
