//! Plan: sort every line of an old list, once, and keep nothing but the plan.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use tokio::{sync::mpsc, task, time::Instant};

use super::{
    judge::{Judge, JudgeError, Note, Verdict},
    plan_name,
    read::{Context, Given, How, OldFile, ReadAs, ReadError},
    sort::SortedFiles,
    spool::{Buckets, Judged, Told},
};
use crate::{
    app::App,
    domain::{
        import::lines::FaultCode,
        lang::Lang,
        regimes::RULES_VERSION,
        repermission::{Group, missing::Fact},
    },
    pipeline::import::{Pace, records::Record},
    store::{
        products,
        repermission::{self, NewLine},
    },
};

/// What is to be sorted, and how.
#[derive(Debug)]
pub struct Request {
    /// The files.
    pub files: Vec<Given>,
    /// Slug of the product that the question would be about.
    pub product: String,
    /// The day or instant to decide for; now if none.
    pub as_of: Option<AsOf>,
    /// How the files are read.
    pub how: How,
    /// Where the list comes from, in the operator's words.
    pub provenance: Option<String>,
    /// Folder for the sorted files.
    pub out: Option<PathBuf>,
    /// Language of the sorted files.
    pub lang: Lang,
}

/// For when a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// The end of a day in the controller's time zone (RET-6).
    Day(Date),
    /// An instant.
    Instant(Timestamp),
}

impl AsOf {
    fn instant(self, tz: &TimeZone, now: Timestamp) -> Timestamp {
        match self {
            AsOf::Instant(instant) => instant,
            AsOf::Day(day) if day == now.to_zoned(tz.clone()).date() => now,
            AsOf::Day(day) => {
                let end = day.at(23, 59, 59, 999_000_000);
                tz.to_timestamp(end).unwrap_or(now)
            }
        }
    }
}

/// A plan that was made. The groups sum to the lines, the reasons too.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Its name in commands.
    pub id: String,
    /// Slug of the product.
    pub product: String,
    /// When it was made.
    pub made_at: String,
    /// For when it was decided.
    pub as_of: String,
    /// Records of all files, without headers.
    pub lines: u64,
    /// Lines by group; every group is there.
    pub groups: BTreeMap<&'static str, u64>,
    /// Lines by code of the basis or reason.
    pub by_reason: BTreeMap<&'static str, u64>,
    /// Lines whose refusal will be recorded as soon as anything is done with the plan.
    pub refusals: u64,
    /// What facts that nobody has stated would change.
    pub estimates: Vec<Estimate>,
    /// How each file was read.
    pub files: Vec<ReadAs>,
    /// Where the list comes from, in the operator's words.
    pub provenance: Option<String>,
    /// Facts stated for every line that does not say otherwise.
    pub defaults: BTreeMap<String, String>,
    /// Version of the rules.
    pub rules_version: &'static str,
    /// The settings that decide with them.
    pub settings: Settings,
}

/// What `config` says of the rules.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Time zone in which dates are taken.
    pub time_zone: String,
    /// Months of retention; none: the regime's.
    pub retention_months: Option<u32>,
    /// Days after the term in which a question may still be put (RET-4).
    pub end_of_term_recontact_days: u32,
    /// Months of silence after a question (RP-6).
    pub repermission_cooldown_months: u32,
    /// The product concerns people's profession.
    pub profession_related: bool,
}

/// If these facts could be shown, so many lines would belong elsewhere.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    /// The facts.
    pub facts: Vec<&'static str>,
    /// Lines whose group or reason would change.
    pub lines: u64,
    /// Where they would belong.
    pub would: BTreeMap<&'static str, u64>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file cannot be read.
    #[error("{name}: {error}")]
    File {
        /// Which one.
        name: String,
        /// Why.
        error: ReadError,
    },
    /// No such product.
    #[error("there is no product {0:?}; add it with: ouinon product add {0}")]
    NoProduct(String),
    /// `--map` names a column that no file has.
    #[error("--map {0}: no file has such a column")]
    NoColumn(String),
    /// No file was given.
    #[error("no file was given")]
    NoFile,
    /// The sorted files cannot be written.
    #[error("{path}: {error}")]
    Out {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A temporary file fails.
    #[error("temporary file: {0}")]
    Io(io::Error),
    /// The database fails.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
    /// A file changed while it was read.
    #[error("a file changed while it was read; do it again")]
    Changed,
}

impl PlanError {
    /// What was given is wrong, and nothing was written.
    pub fn is_bad_input(&self) -> bool {
        match self {
            PlanError::File { error: ReadError::Import(error), .. } => error.is_bad_input(),
            PlanError::File { .. } | PlanError::NoProduct(_) | PlanError::NoColumn(_) | PlanError::NoFile => true,
            PlanError::Out { .. } => true,
            PlanError::Io(_) | PlanError::Store(_) | PlanError::Changed => false,
        }
    }
}

impl From<JudgeError> for PlanError {
    fn from(error: JudgeError) -> PlanError {
        match error {
            JudgeError::Io(error) => PlanError::Io(error),
            JudgeError::Store(error) => PlanError::Store(error),
            JudgeError::Lost => PlanError::Changed,
        }
    }
}

/// Told how much is done, of how much.
pub type OnProgress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

/// Lines on their way to the database.
const PARCEL: usize = 2000;
/// A plan that did not become whole within a day never will.
const UNFINISHED_MS: i64 = 24 * 3600 * 1000;

/// Sorts every line of the files, and keeps the plan. Changes nothing else.
pub async fn make(app: &App, request: Request, on_progress: OnProgress<'_>) -> Result<Plan, PlanError> {
    let now = app.now();
    let as_of = request.as_of.map_or(now, |as_of| as_of.instant(app.tz(), now));
    let mut tx = app.db.read().await?;
    let products = products::all(&mut tx).await?;
    drop(tx);
    let product = products.iter().find(|p| p.slug == request.product).cloned();
    let product = product.ok_or_else(|| PlanError::NoProduct(request.product.clone()))?;
    let slugs: Vec<String> = products.into_iter().map(|p| p.slug).collect();
    let terms = super::terms(&product, !app.config.controller.postal_address.is_empty());

    let defaults = request.how.options.mapping.default.iter().cloned().collect();
    let files = open(request.files, request.how, slugs, product.slug.clone(), app.tz().clone(), as_of).await?;
    let lines: u64 = files.iter().map(|file| file.read_as.lines).sum();
    let (files, buckets, faulty) = lay_out(app, files, lines).await?;

    let mut judged = Judged::new(lines).map_err(PlanError::Io)?;
    let mut judge = Judge::new(app, &files, &terms, as_of);
    let mut done = 0;
    for (position, code) in faulty {
        judge.faulty(position, code, &mut judged).map_err(PlanError::Io)?;
        done += 1;
    }
    for bucket in buckets.read() {
        let bucket = bucket.map_err(PlanError::Io)?;
        done += bucket.len() as u64;
        judge.bucket(bucket, &mut judged).await?;
        on_progress(done, 2 * lines);
    }
    let (verdicts, effects) = judge.finish();
    let told = judged.finish().map_err(PlanError::Io)?;

    let counts = count(&told, &verdicts, lines).map_err(PlanError::Io)?;
    let mut plan = Plan {
        id: String::new(),
        product: product.slug.clone(),
        made_at: now.to_string(),
        as_of: as_of.to_string(),
        lines,
        groups: counts.groups,
        by_reason: counts.by_reason,
        refusals: 0,
        estimates: effects.into_iter().map(|(facts, effect)| estimate(&facts, &effect)).collect(),
        files: files.iter().map(|file| file.read_as.clone()).collect(),
        provenance: request.provenance,
        defaults,
        rules_version: RULES_VERSION,
        settings: Settings {
            time_zone: app.tz().iana_name().unwrap_or("UTC").to_owned(),
            retention_months: app.rules.settings.retention_months,
            end_of_term_recontact_days: app.rules.settings.end_of_term_recontact_days,
            repermission_cooldown_months: app.rules.settings.repermission_cooldown_months,
            profession_related: product.for_business,
        },
    };
    plan.estimates.sort_by_key(|estimate| std::cmp::Reverse(estimate.lines));

    let sorted = match &request.out {
        Some(folder) => {
            let files = SortedFiles::create(folder, request.lang);
            Some(files.map_err(|error| PlanError::Out { path: folder.clone(), error })?)
        }
        None => None,
    };
    let id = begin(app, &product.slug, now, as_of).await?;
    plan.id = plan_name(id);
    let writing = Writing { files: Arc::new(files), told, verdicts, sorted };
    match write(app, id, writing, lines, on_progress).await {
        Ok(refusals) => plan.refusals = refusals,
        Err(error) => {
            let mut tx = app.db.write().await?;
            repermission::drop_plan(&mut tx, id).await?;
            tx.commit().await?;
            return Err(error);
        }
    }
    let document = serde_json::to_string(&plan).expect("a plan is plain values");
    let askable = plan.groups.get(Group::Askable.as_str()).copied().unwrap_or_default();
    let mut tx = app.db.write().await?;
    repermission::finish(&mut tx, id, &document, i64::try_from(askable).unwrap_or(i64::MAX)).await?;
    tx.commit().await?;
    Ok(plan)
}

/// Looks at the files without sorting them: what each column would be read as.
pub async fn look(app: &App, files: Vec<Given>, how: How, product: &str) -> Result<Vec<ReadAs>, PlanError> {
    let mut tx = app.db.read().await?;
    let slugs: Vec<String> = products::all(&mut tx).await?.into_iter().map(|p| p.slug).collect();
    drop(tx);
    if !slugs.iter().any(|slug| slug == product) {
        return Err(PlanError::NoProduct(product.to_owned()));
    }
    let files = open(files, how, slugs, product.to_owned(), app.tz().clone(), app.now()).await?;
    Ok(files.into_iter().map(|file| file.read_as).collect())
}

async fn open(
    given: Vec<Given>,
    how: How,
    products: Vec<String>,
    product: String,
    tz: TimeZone,
    now: Timestamp,
) -> Result<Vec<OldFile>, PlanError> {
    let opening = move || {
        if given.is_empty() {
            return Err(PlanError::NoFile);
        }
        let context = Context { products: &products, product: &product, tz: &tz, now };
        let mut files = Vec::new();
        for one in given {
            let name = one.name.clone();
            files.push(OldFile::open(one, &how, context).map_err(|error| PlanError::File { name, error })?);
        }
        let unused = how.options.mapping.map.iter().map(|(column, _)| column);
        match unused.into_iter().find(|column| files.iter().all(|file| !file.mapped.contains(column))) {
            Some(column) => Err(PlanError::NoColumn(column.clone())),
            None => Ok(files),
        }
    };
    task::spawn_blocking(opening).await.expect("reading a file does not panic")
}

/// Reads every line once: those with an address go to the bucket of their person.
async fn lay_out(
    app: &App,
    files: Vec<OldFile>,
    lines: u64,
) -> Result<(Vec<OldFile>, Buckets, Vec<(u64, FaultCode)>), PlanError> {
    let key = app.keys.suppression.clone();
    let laying = move || {
        let mut buckets = Buckets::new(lines)?;
        let (mut faulty, mut position) = (Vec::new(), 0u64);
        for (index, file) in files.iter().enumerate() {
            file.each(|record| {
                match file.address(record) {
                    Some(address) => buckets.put(position, index, key.hash(&address), record)?,
                    None => {
                        let fault = file.line(record).fault;
                        faulty.push((position, fault.map_or(FaultCode::EmailMissing, |fault| fault.code)));
                    }
                }
                position += 1;
                Ok(())
            })?;
        }
        if position != lines {
            return Err(io::Error::other("a file changed while it was read"));
        }
        Ok((files, buckets, faulty))
    };
    task::spawn_blocking(laying).await.expect("reading a file does not panic").map_err(PlanError::Io)
}

struct Counts {
    groups: BTreeMap<&'static str, u64>,
    by_reason: BTreeMap<&'static str, u64>,
}

fn count(told: &Told, verdicts: &[Verdict], lines: u64) -> io::Result<Counts> {
    let mut counts =
        Counts { groups: Group::ALL.iter().map(|g| (g.as_str(), 0)).collect(), by_reason: BTreeMap::new() };
    for position in 0..lines {
        let verdict = &verdicts[usize::from(told.verdict(position))];
        *counts.groups.entry(verdict.group.as_str()).or_default() += 1;
        *counts.by_reason.entry(verdict.code).or_default() += 1;
    }
    Ok(counts)
}

fn estimate(facts: &[Fact], effect: &super::judge::Effect) -> Estimate {
    Estimate {
        facts: facts.iter().map(|fact| fact.as_str()).collect(),
        lines: effect.people,
        would: effect.would.iter().map(|(group, n)| (group.as_str(), *n)).collect(),
    }
}

async fn begin(app: &App, product: &str, now: Timestamp, as_of: Timestamp) -> Result<i64, PlanError> {
    let mut tx = app.db.write().await?;
    repermission::drop_unfinished(&mut tx, now.as_millisecond() - UNFINISHED_MS).await?;
    let id = repermission::add(&mut tx, product, now.as_millisecond(), as_of.as_millisecond()).await?;
    tx.commit().await?;
    Ok(id)
}

/// What is needed to write the plan down.
struct Writing {
    files: Arc<Vec<OldFile>>,
    told: Told,
    verdicts: Vec<Verdict>,
    sorted: Option<SortedFiles>,
}

/// Goes over the files a last time, in their order, and writes lines and sorted files. Returns how many
/// lines hold refusals.
async fn write(
    app: &App,
    id: i64,
    writing: Writing,
    lines: u64,
    on_progress: OnProgress<'_>,
) -> Result<u64, PlanError> {
    let (to, mut parcels) = mpsc::channel::<Vec<NewLine>>(4);
    let thread = task::spawn_blocking(move || writing.run(&to));
    let mut pace = Pace::new(&app.db);
    let (mut done, mut refusals) = (0, 0);
    while let Some(parcel) = parcels.recv().await {
        refusals += parcel.iter().filter(|line| !line.refusals.is_empty()).count() as u64;
        for part in parcel.chunks(pace.parcels * 100) {
            let started = Instant::now();
            let mut tx = app.db.write().await?;
            repermission::add_lines(&mut tx, id, part).await?;
            tx.commit().await?;
            done += part.len() as u64;
            pace.keep(started.elapsed()).await;
        }
        on_progress(lines + done, 2 * lines);
    }
    thread.await.expect("writing lines does not panic").map_err(PlanError::Io)?;
    if done != lines { Err(PlanError::Changed) } else { Ok(refusals) }
}

impl Writing {
    fn run(mut self, to: &mpsc::Sender<Vec<NewLine>>) -> io::Result<()> {
        let files = Arc::clone(&self.files);
        let (mut position, mut parcel) = (0u64, Vec::with_capacity(PARCEL));
        for (index, file) in files.iter().enumerate() {
            file.each(|record| {
                let line = self.line(position, index, file, record)?;
                parcel.push(line);
                position += 1;
                if parcel.len() == PARCEL && to.blocking_send(std::mem::take(&mut parcel)).is_err() {
                    return Err(io::Error::other("nobody writes the lines down any more"));
                }
                Ok(())
            })?;
        }
        if !parcel.is_empty() {
            // A receiver that is gone has an error of its own to tell.
            let _ = to.blocking_send(parcel);
        }
        match self.sorted.take() {
            Some(sorted) => sorted.finish(),
            None => Ok(()),
        }
    }

    fn line(&mut self, position: u64, index: usize, file: &OldFile, record: &Record) -> io::Result<NewLine> {
        let (number, note) = self.told.of(position)?;
        let verdict = &self.verdicts[usize::from(number)];
        let (hash, person, refusals) = note.as_deref().map(Note::parts).unwrap_or((None, "", ""));
        if let Some(sorted) = &mut self.sorted {
            let fault = if verdict.group == Group::Invalid { file.line(record).fault } else { None };
            let detail = fault.map_or(String::new(), |fault| match fault.column.as_str() {
                "" => fault.message,
                column => format!("{column}: {}", fault.message),
            });
            sorted.put(&file.read_as.name, record.line, file.written_address(record), verdict, &detail)?;
        }
        Ok(NewLine {
            position: i64::try_from(position + 1).unwrap_or(i64::MAX),
            file: i64::try_from(index + 1).unwrap_or(i64::MAX),
            line: i64::try_from(record.line).unwrap_or(i64::MAX),
            sorted_into: verdict.group,
            code: verdict.code,
            rules: verdict.rules.join(" "),
            address_hash: hash,
            person: person.to_owned(),
            refusals: refusals.to_owned(),
        })
    }
}
