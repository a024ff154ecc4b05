//! `ouinon import FILE`

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{Failure, output};
use crate::{
    app::App,
    domain::{
        import::{columns::Mapping, dates::DateOrder},
        lang::Lang,
    },
    pipeline::import::{self, ImportError, Options, Place, Report},
};

/// Which file, and how it is to be read.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A CSV file with a header (UTF-8, Latin-1, Windows-1252 or UTF-16; comma, semicolon or tab); - is stdin
    file: PathBuf,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// How the columns of a list are read.
#[derive(Debug, Args)]
pub struct ColumnArgs {
    /// Read column COL as this field; columns with usual names are known already
    #[arg(long, value_name = "COL=FIELD", value_parser = pair)]
    pub map: Vec<(String, String)>,
    /// Value of a field where its cell is empty or its column missing
    #[arg(long, value_name = "FIELD=VALUE", value_parser = default)]
    pub default: Vec<(String, String)>,
    /// Leave column COL out, whatever its name
    #[arg(long, value_name = "COL")]
    pub ignore: Vec<String>,
    /// Which comes first in dates like 04/05/2025: dmy or mdy
    #[arg(long, value_name = "ORDER")]
    pub date_order: Option<DateOrder>,
}

/// Refused lines that a person is shown; `--json` has them all.
const SHOWN: usize = 20;

/// A column may have an equals sign in its name, a field has none.
fn pair(text: &str) -> Result<(String, String), String> {
    let (column, field) = text.rsplit_once('=').ok_or("expected COL=FIELD, for example prénom=first_name")?;
    Ok((column.to_owned(), field.to_owned()))
}

/// The value of a field where the file has none.
fn default(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("expected FIELD=VALUE, for example country=FR")?;
    Ok((field.to_owned(), value.to_owned()))
}

/// Imports the file and prints what became of its lines.
pub async fn run(app: &App, args: ImportArgs, json: bool) -> anyhow::Result<ExitCode> {
    let lang = output::lang();
    let file = open(&args.file).map_err(|e| Failure::Input(format!("{}: {e}", args.file.display())))?;
    let ColumnArgs { map, default, ignore, date_order } = args.columns;
    let options = Options { mapping: Mapping { map, default, ignore }, date_order };
    let place = Place { db: &app.db, key: &app.keys.suppression, tz: app.tz(), now: app.now() };
    let bar = output::progress(Some(0), if args.dry_run { "dry run" } else { "import" });
    let mut on_progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let result = match args.dry_run {
        true => import::dry_run(place, file, &options, &mut on_progress).await,
        false => import::apply(place, file, &options, &mut on_progress).await,
    };
    bar.finish_and_clear();
    let mut report = result.map_err(|error| failure(error, &args.file))?;
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        report.write_json(&mut out)?;
    } else {
        print(&mut report, args.dry_run, lang, &mut out)?;
    }
    out.flush()?;
    Ok(if report.refused == report.lines { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The file, or stdin in a temporary file: an import reads it several times.
pub fn open(path: &Path) -> io::Result<File> {
    if path.as_os_str() == "-" {
        return spooled(&mut io::stdin().lock());
    }
    let mut file = File::open(path)?;
    let kind = file.metadata()?;
    if kind.is_dir() {
        return Err(io::Error::other("this is a folder"));
    }
    if kind.is_file() { Ok(file) } else { spooled(&mut file) }
}

fn spooled(from: &mut impl io::Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(from, &mut file)?;
    Ok(file)
}

fn failure(error: ImportError, path: &Path) -> anyhow::Error {
    let place = path.display();
    if error.is_bad_input() {
        Failure::Input(format!("{place}: {error}")).into()
    } else {
        anyhow::Error::new(error).context(format!("{place}"))
    }
}

/// Says what became of the lines.
pub fn print(report: &mut Report, dry: bool, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    if dry {
        writeln!(out, "{}", lang.pick("Essai : rien n'a été écrit.", "Dry run: nothing was written."))?;
    }
    let delimiter = match report.read_as.delimiter {
        ';' => lang.pick("points-virgules", "semicolons"),
        '\t' => lang.pick("tabulations", "tabs"),
        _ => lang.pick("virgules", "commas"),
    };
    let encoding = report.read_as.encoding;
    match lang {
        Lang::Fr => writeln!(out, "Lu en {encoding}, séparé par des {delimiter}.")?,
        Lang::En => writeln!(out, "Read as {encoding}, separated by {delimiter}.")?,
    }
    for (count, fr, en) in [
        (report.lines, "lignes", "lines"),
        (report.new, "nouveaux", "new"),
        (report.changed, "modifiés", "changed"),
        (report.unchanged, "inchangés", "unchanged"),
        (report.refused, "refusées", "refused"),
    ] {
        writeln!(out, "{count:>10}  {}", lang.pick(fr, en))?;
    }
    if report.refused == 0 {
        return Ok(());
    }
    writeln!(out)?;
    for (code, count) in report.refusals.by_code() {
        writeln!(out, "{count:>10}  {code}")?;
    }
    writeln!(out)?;
    for refusal in report.refusals.iter()?.take(SHOWN) {
        let refusal = refusal?;
        let column = if refusal.column_name.is_empty() { String::new() } else { format!(", {}", refusal.column_name) };
        let line = lang.pick("ligne", "line");
        writeln!(out, "{line} {}{column}: {} ({})", refusal.line, refusal.message, refusal.code)?;
    }
    if let Some(more) = report.refused.checked_sub(SHOWN as u64).filter(|more| *more > 0) {
        match lang {
            Lang::Fr => writeln!(out, "… et {more} autres ; toutes avec --json")?,
            Lang::En => writeln!(out, "… and {more} more; all of them with --json")?,
        }
    }
    Ok(())
}
