//! How results are written: JSON for scripts, tables and bars for people.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::domain::{
    eligibility::{Basis, Reason},
    lang::Lang,
};

/// Writes a line on stdout, as `println!` does. Who reads it may stop reading: then the command has said
/// enough, and ends well.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::output::write(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// As `say!`, without a line end.
macro_rules! say_bare {
    ($($text:tt)*) => {
        $crate::cli::output::write(format_args!($($text)*))
    };
}

/// Writes on stdout. When nobody reads any more the process ends, quietly; when it cannot be written for
/// another reason (a full disk), with a failure.
pub fn write(text: std::fmt::Arguments) {
    let mut out = io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("ouinon: the result cannot be written: {error}");
            std::process::exit(1)
        }
    }
}

/// Writes a result as JSON on stdout.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// The language of the terminal, from the environment; English unless it asks for French.
pub fn lang() -> Lang {
    ["LC_ALL", "LC_MESSAGES", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .and_then(|value| Lang::from_tag(&value))
        .unwrap_or(Lang::En)
}

/// A table without lines but under its header.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table
}

/// Codes with their counts and sentences, the greatest first.
pub fn reasons<'a>(counts: impl IntoIterator<Item = (&'a str, i64)>, lang: Lang) -> Table {
    let mut rows: Vec<(&str, i64)> = counts.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (code, n) in rows {
        table.add_row(vec![format!("{n:>8}"), code.to_owned(), sentence(code, lang)]);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn sentence(code: &str, lang: Lang) -> String {
    if let Ok(reason) = code.parse::<Reason>() {
        return reason.sentence(lang).to_owned();
    }
    code.parse::<Basis>().map_or(String::new(), |basis| basis.sentence(lang).to_owned())
}

/// A progress bar on stderr; silent when that is no terminal.
pub fn progress(length: Option<u64>, what: &str) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    let template = if length.is_some() {
        "{msg} {bar:40} {human_pos}/{human_len} {per_sec} {eta}"
    } else {
        "{msg} {spinner} {human_pos} {per_sec}"
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is part of the program"));
    bar.set_message(what.to_owned());
    bar
}

/// A bar of `width` cells, filled in proportion.
pub fn bar(part: i64, whole: i64, width: usize) -> String {
    let filled = if whole <= 0 { 0 } else { (part.max(0) as f64 / whole as f64 * width as f64).round() as usize };
    let filled = filled.min(width);
    format!("{}{}", "█".repeat(filled), "░".repeat(width - filled))
}
