//! `ouinon repermission plan FILE…`

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{ask, tell};
use crate::{
    app::App,
    cli::{
        Failure,
        import::{self, ColumnArgs},
        output,
    },
    domain::import::{columns::Mapping, dates::DateOrder},
    pipeline::{
        import::Options,
        repermission::{
            plan::{self, AsOf, PlanError, Request},
            read::{Given, How, ReadAs},
        },
    },
};

/// Which files, and how they are to be read.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// CSV, XLSX or ODS files with a header; one person may stand in several; - is stdin
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The product that the question would be about
    #[arg(long, value_name = "P")]
    product: String,
    /// Decide for this day (2026-12-01, its end in the controller's time zone) or instant, instead of now
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
    /// Write one CSV for each group into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Sheet of a workbook, where several hold data
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// Where the list comes from: from whom, when, by whom it was collected, what people were told
    #[arg(long, value_name = "TEXT")]
    provenance: Option<String>,
    /// Read columns, defaults and order of dates from a file that --save-mapping wrote
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Write columns, defaults and order of dates to a file, for the next list of that kind
    #[arg(long, value_name = "FILE")]
    save_mapping: Option<PathBuf>,
}

/// The file of `--save-mapping` and `--mapping`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SavedMapping {
    #[serde(skip_serializing_if = "Option::is_none")]
    date_order: Option<DateOrder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sheet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignore: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    map: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    default: BTreeMap<String, String>,
}

/// Sorts the list and prints what was found.
pub async fn run(app: &App, args: PlanArgs, json: bool) -> anyhow::Result<ExitCode> {
    let lang = output::lang();
    let saved = args.mapping.as_deref().map(read_mapping).transpose()?.unwrap_or_default();
    let mut how = how(&args, &saved);
    let mut provenance = args.provenance.clone().or(saved.provenance);
    let as_of = args.as_of.as_deref().map(as_of).transpose()?;
    let given = open(&args.files)?;
    if io::stdin().is_terminal() && io::stderr().is_terminal() && !json {
        let files = plan::look(app, again(&given)?, how.clone(), &args.product).await.map_err(failure)?;
        ask::columns(&files, &mut how.options.mapping, lang)?;
        if provenance.is_none() {
            provenance = ask::provenance(&files, &mut how.options.mapping, lang)?;
        }
    }
    if let Some(path) = &args.save_mapping {
        let files = plan::look(app, again(&given)?, how.clone(), &args.product).await.map_err(failure)?;
        save_mapping(path, &how, &files, provenance.as_deref())?;
    }
    let request = Request { files: given, product: args.product, as_of, how, provenance, out: args.out.clone(), lang };
    let bar = output::progress(Some(0), "plan");
    let mut on_progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let made = plan::make(app, request, &mut on_progress).await;
    bar.finish_and_clear();
    let plan = made.map_err(failure)?;
    if json {
        output::json(&plan)?;
    } else {
        let mut out = BufWriter::new(io::stdout().lock());
        tell::plan(&plan, args.out.as_deref(), lang, io::stdout().is_terminal(), &mut out)?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn open(paths: &[PathBuf]) -> anyhow::Result<Vec<Given>> {
    let mut files = Vec::new();
    for path in paths {
        let file = import::open(path).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?;
        // The name alone: where it lies on the operator's disk is nobody's business.
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        files.push(Given { name, file });
    }
    Ok(files)
}

/// The same files once more: what comes by a pipe is there only once.
fn again(given: &[Given]) -> io::Result<Vec<Given>> {
    given.iter().map(|one| Ok(Given { name: one.name.clone(), file: one.file.try_clone()? })).collect()
}

/// What was said on the command line, before what a saved mapping says.
fn how(args: &PlanArgs, saved: &SavedMapping) -> How {
    let given = &args.columns;
    let pairs = |said: &[(String, String)], saved: &BTreeMap<String, String>| {
        let mut pairs = said.to_vec();
        let unsaid = saved.iter().filter(|(key, _)| said.iter().all(|(said, _)| said != *key));
        pairs.extend(unsaid.map(|(key, value)| (key.clone(), value.clone())));
        pairs
    };
    let mapping = Mapping {
        map: pairs(&given.map, &saved.map),
        default: pairs(&given.default, &saved.default),
        ignore: [given.ignore.clone(), saved.ignore.clone()].concat(),
    };
    How {
        options: Options { mapping, date_order: given.date_order.or(saved.date_order) },
        sheet: args.sheet.clone().or_else(|| saved.sheet.clone()),
    }
}

fn read_mapping(path: &std::path::Path) -> anyhow::Result<SavedMapping> {
    let place = path.display();
    let text = fs::read_to_string(path).map_err(|e| Failure::Input(format!("{place}: {e}")))?;
    Ok(toml::from_str(&text).map_err(|e| Failure::Input(format!("{place}: {}", e.message())))?)
}

fn save_mapping(path: &std::path::Path, how: &How, files: &[ReadAs], provenance: Option<&str>) -> anyhow::Result<()> {
    let mapping = &how.options.mapping;
    let read = files.iter().flat_map(|file| &file.columns).map(|column| (column.column.clone(), column.field.clone()));
    let saved = SavedMapping {
        date_order: how.options.date_order,
        sheet: how.sheet.clone(),
        provenance: provenance.map(str::to_owned),
        ignore: mapping.ignore.clone(),
        map: read.filter(|(column, field)| column != field).chain(mapping.map.iter().cloned()).collect(),
        default: mapping.default.iter().cloned().collect(),
    };
    let text = toml::to_string(&saved).expect("texts can be written as TOML");
    Ok(fs::write(path, text).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?)
}

fn as_of(text: &str) -> anyhow::Result<AsOf> {
    if let Ok(day) = text.parse::<Date>()
        && text.len() == 10
    {
        return Ok(AsOf::Day(day));
    }
    let instant = text.parse::<Timestamp>().map_err(|_| {
        Failure::Input(format!("--as-of {text}: write a day like 2026-12-01 or an instant like 2026-12-01T09:00:00Z"))
    });
    Ok(AsOf::Instant(instant?))
}

fn failure(error: PlanError) -> anyhow::Error {
    if error.is_bad_input() { Failure::Input(error.to_string()).into() } else { error.into() }
}
