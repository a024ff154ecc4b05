//! What a plan found, for people: a table, a bar, and sentences.

use std::{
    io::{self, Write},
    path::Path,
};

use crate::{
    cli::output,
    domain::{
        lang::Lang,
        repermission::{DUPLICATE, Group, UNUSABLE_ROW, missing::Fact},
    },
    pipeline::repermission::{
        plan::{Estimate, Plan},
        sort,
    },
};

const BAR: usize = 50;

/// Colour of a group on a terminal.
fn colour(group: Group) -> u8 {
    match group {
        Group::Askable => 32,
        Group::Already => 36,
        Group::Refused => 31,
        Group::NoBasis => 35,
        Group::Expired => 33,
        Group::Unknown => 34,
        Group::Invalid | Group::Duplicate => 90,
    }
}

fn painted(text: &str, colour: u8, coloured: bool) -> String {
    if coloured { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// The name of a group, and what is to be done with it.
pub fn group(group: Group, lang: Lang) -> (&'static str, &'static str) {
    match group {
        Group::Askable => lang.pick(("à interroger", "la question peut leur être posée"), ("askable", "may be asked")),
        Group::Already => lang
            .pick(("déjà d'accord", "accord prouvé : rien à demander"), ("already", "proven consent: nothing to ask")),
        Group::Refused => lang.pick(
            ("refus", "ne jamais leur écrire ; le refus sera enregistré"),
            ("refused", "never write to them; the refusal will be recorded"),
        ),
        Group::NoBasis => {
            lang.pick(("sans base", "ne pas même poser la question"), ("no basis", "must not even be asked"))
        }
        Group::Expired => lang.pick(
            ("trop anciens", "durée de conservation dépassée : à effacer"),
            ("expired", "past retention: to be purged"),
        ),
        Group::Unknown => lang
            .pick(("à éclaircir", "il manque une date ou l'origine"), ("unknown", "a date or the source is missing")),
        Group::Invalid => lang
            .pick(("inutilisables", "adresse, date ou ligne illisible"), ("invalid", "address, date or row unusable")),
        Group::Duplicate => lang
            .pick(("doublons", "la personne figure plus haut"), ("duplicate", "the person stands on an earlier line")),
    }
}

/// Prints a plan.
pub fn plan(plan: &Plan, folder: Option<&Path>, lang: Lang, coloured: bool, out: &mut impl Write) -> io::Result<()> {
    let coloured = coloured && std::env::var_os("NO_COLOR").is_none();
    files(plan, lang, out)?;
    let count = |group: Group| plan.groups.get(group.as_str()).copied().unwrap_or_default();
    writeln!(out)?;
    for g in Group::ALL {
        let (name, what) = group(*g, lang);
        let n = format!("{:>10}", lang.number(count(*g)));
        writeln!(out, "{n}  {}  {what}", painted(&format!("{name:<14}"), colour(*g), coloured))?;
    }
    writeln!(out, "{:>10}  {}", lang.number(plan.lines), lang.pick("lignes", "lines"))?;
    writeln!(out, "\n{}\n", bar(plan, coloured))?;
    reasons(plan, lang, out)?;
    for estimate in
        plan.estimates.iter().filter(|e| e.would.keys().any(|group| *group == "askable" || *group == "already"))
    {
        writeln!(out, "{}", sentence(estimate, lang))?;
    }
    if plan.refusals > 0 {
        writeln!(out, "{}", refusals(plan.refusals, lang))?;
    }
    if plan.provenance.is_none() {
        writeln!(
            out,
            "{}",
            lang.pick(
                "Provenance non indiquée (--provenance) : ce que les lignes ne disent pas est tenu pour inconnu.",
                "No provenance was given (--provenance): what the lines do not say is held for unknown.",
            )
        )?;
    }
    if let Some(folder) = folder {
        match lang {
            Lang::Fr => writeln!(out, "Un fichier par groupe, chaque ligne avec son motif : {}", folder.display())?,
            Lang::En => writeln!(out, "One file for each group, each line with its reason: {}", folder.display())?,
        }
    }
    writeln!(out, "{}: {}", lang.pick("Plan", "Plan"), plan.id)?;
    if count(Group::Askable) > 0 {
        let next = format!("ouinon repermission send {} --wave 10%", plan.id);
        writeln!(out, "{} {next}", lang.pick("Ensuite :", "Next:"))?;
    }
    Ok(())
}

fn files(plan: &Plan, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    for file in &plan.files {
        let lines = lang.number(file.lines);
        let sheet = file.sheet.as_deref().map(|sheet| format!(" [{sheet}]")).unwrap_or_default();
        writeln!(out, "{}{sheet}: {lines} {}, {}", file.name, lang.pick("lignes", "lines"), file.encoding)?;
        let guessed: Vec<String> =
            file.columns.iter().filter(|c| c.guessed).map(|c| format!("{} → {}", c.column, c.field)).collect();
        if !guessed.is_empty() {
            writeln!(out, "  {} {}", lang.pick("lu d'après le nom :", "read by name:"), guessed.join(", "))?;
        }
        if !file.left_out.is_empty() {
            writeln!(out, "  {} {}", lang.pick("laissé :", "left out:"), file.left_out.join(", "))?;
        }
        if !file.refusals_in.is_empty() {
            writeln!(
                out,
                "  {} {}",
                lang.pick("refus lus aussi dans :", "refusals also read in:"),
                file.refusals_in.join(", ")
            )?;
        }
    }
    Ok(())
}

/// One bar of all lines, a stretch for each group; a group that has any line has at least one cell.
fn bar(plan: &Plan, coloured: bool) -> String {
    let mut text = String::new();
    let signs = ["█", "▓", "▒", "░", "◆", "◇", "·", "-"];
    for (index, group) in Group::ALL.iter().enumerate() {
        let n = plan.groups.get(group.as_str()).copied().unwrap_or_default();
        if n == 0 || plan.lines == 0 {
            continue;
        }
        let cells = ((n as f64 / plan.lines as f64) * BAR as f64).round().max(1.0) as usize;
        let sign = if coloured { "█" } else { signs[index] };
        text.push_str(&painted(&sign.repeat(cells), colour(*group), coloured));
    }
    text
}

fn reasons(plan: &Plan, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let own = [DUPLICATE, UNUSABLE_ROW];
    let of_decide = plan.by_reason.iter().filter(|(code, _)| !own.contains(code));
    let table = output::reasons(of_decide.map(|(code, n)| (*code, i64::try_from(*n).unwrap_or(i64::MAX))), lang);
    writeln!(out, "{table}")?;
    for code in own {
        if let Some(n) = plan.by_reason.get(code) {
            writeln!(out, " {n:>8}  {code}  {}", sort::sentence(code, lang))?;
        }
    }
    writeln!(out)
}

/// "If you can show the source of these 412 lines, 300 may be asked; 112 not."
fn sentence(estimate: &Estimate, lang: Lang) -> String {
    let facts: Vec<&str> =
        estimate.facts.iter().filter_map(|f| f.parse::<Fact>().ok()).map(|f| f.to_be_shown(lang)).collect();
    let facts = facts.join(lang.pick(" et ", " and "));
    let n = |group: Group| estimate.would.get(group.as_str()).copied().unwrap_or_default();
    let (ask, already) = (n(Group::Askable), n(Group::Already));
    let rest = estimate.lines - ask - already;
    let lines = lang.number(estimate.lines);
    match lang {
        Lang::Fr => format!(
            "Si vous pouvez montrer {facts} pour ces {lines} lignes : {ask} à interroger, {already} déjà d'accord, {rest} toujours non."
        ),
        Lang::En => format!(
            "If you can show {facts} of these {lines} lines: {ask} may be asked, {already} have consent, {rest} still not."
        ),
    }
}

/// How many lines refuse, and what comes of it.
fn refusals(count: u64, lang: Lang) -> String {
    let n = lang.number(count);
    match (lang, count) {
        (Lang::Fr, 1) => format!("{n} ligne porte un refus : il sera enregistré dès que ce plan servira."),
        (Lang::Fr, _) => format!("{n} lignes portent un refus : ils seront enregistrés dès que ce plan servira."),
        (Lang::En, 1) => format!("{n} line holds a refusal: it will be recorded as soon as this plan is used."),
        (Lang::En, _) => format!("{n} lines hold a refusal: they will be recorded as soon as this plan is used."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_one() {
        assert!(refusals(1, Lang::Fr).starts_with("1 ligne porte un refus"));
        assert!(refusals(1, Lang::En).starts_with("1 line holds a refusal"));
        assert!(refusals(2, Lang::Fr).starts_with("2 lignes portent un refus"));
        assert!(refusals(2, Lang::En).starts_with("2 lines hold a refusal"));
    }
}
