//! The sorted list as files: one CSV for each group, a row for each line, with its reason and rule.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter},
    path::Path,
};

use super::judge::Verdict;
use crate::domain::{
    eligibility::{Basis, Reason},
    lang::Lang,
    repermission::{DUPLICATE, Group, UNUSABLE_ROW},
};

/// The files of the groups, open for writing.
pub struct SortedFiles {
    files: BTreeMap<Group, csv::Writer<BufWriter<File>>>,
    lang: Lang,
}

/// Columns of each file.
pub const COLUMNS: [&str; 7] = ["file", "line", "email", "reason", "rule", "sentence", "detail"];

impl SortedFiles {
    /// Makes `askable.csv` and its siblings in a folder, readable by nobody else.
    pub fn create(folder: &Path, lang: Lang) -> io::Result<SortedFiles> {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut files = BTreeMap::new();
        for group in Group::ALL {
            let path = folder.join(format!("{group}.csv"));
            let file = File::options().create(true).write(true).truncate(true).mode(0o600).open(path)?;
            let mut writer = csv::Writer::from_writer(BufWriter::new(file));
            writer.write_record(COLUMNS)?;
            files.insert(*group, writer);
        }
        Ok(SortedFiles { files, lang })
    }

    /// Writes a line into the file of its group.
    pub fn put(&mut self, file: &str, line: u64, email: &str, verdict: &Verdict, detail: &str) -> io::Result<()> {
        let sentence = sentence(verdict.code, self.lang);
        let row = [
            &harmless(file),
            &line.to_string(),
            &harmless(email),
            verdict.code,
            &verdict.rules.join(" "),
            sentence,
            &harmless(detail),
        ];
        match self.files.get_mut(&verdict.group) {
            Some(out) => out.write_record(row).map_err(io::Error::other),
            None => Ok(()),
        }
    }

    /// Everything is written.
    pub fn finish(mut self) -> io::Result<()> {
        self.files.values_mut().try_for_each(csv::Writer::flush)
    }
}

/// A text that no spreadsheet takes for a formula.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

/// What a code says, the plan's own codes too.
pub fn sentence(code: &str, lang: Lang) -> &'static str {
    if let Ok(reason) = code.parse::<Reason>() {
        return reason.sentence(lang);
    }
    if let Ok(basis) = code.parse::<Basis>() {
        return basis.sentence(lang);
    }
    match code {
        DUPLICATE => lang.pick(
            "La même personne figure sur une ligne précédente, qui vaut pour elle.",
            "The same person stands on an earlier line, which counts for them.",
        ),
        UNUSABLE_ROW => lang.pick("La ligne ne peut pas être lue.", "The row cannot be read."),
        _ => "",
    }
}
