//! Questions to the operator, on a terminal only: what columns hold, and where the list comes from.
//! An empty answer is "I do not know", and then the strict answer holds.

use std::io::{self, BufRead, Write};

use crate::{
    domain::{
        import::{
            columns::Mapping,
            vocabulary::{SOURCE_KIND, YES_NO, look_up},
        },
        lang::Lang,
    },
    pipeline::repermission::read::ReadAs,
};

/// Asks about each column that nobody reads.
pub fn columns(files: &[ReadAs], mapping: &mut Mapping, lang: Lang) -> io::Result<()> {
    for file in files {
        for column in file.columns.iter().filter(|column| column.guessed) {
            eprintln!("{}: {} → {}", file.name, column.column, column.field);
        }
        for column in &file.left_out {
            let known = mapping.ignore.contains(column) || mapping.map.iter().any(|(mapped, _)| mapped == column);
            if known {
                continue;
            }
            let question = lang.pick(
                format!(
                    "{} : que contient la colonne « {column} » ? (nom d'un champ, ou Entrée pour la laisser)",
                    file.name
                ),
                format!("{}: what does column {column:?} hold? (name of a field, or Enter to leave it out)", file.name),
            );
            match said(&question)?.as_str() {
                "" => mapping.ignore.push(column.clone()),
                field => mapping.map.push((column.clone(), field.to_owned())),
            }
        }
    }
    Ok(())
}

/// Asks where the list comes from, and returns the answers as one text. What is answered in a known word
/// becomes the value of the lines that do not say otherwise.
pub fn provenance(files: &[ReadAs], mapping: &mut Mapping, lang: Lang) -> io::Result<Option<String>> {
    let is_read = |field: &str| files.iter().all(|file| file.columns.iter().any(|column| column.field == field));
    let mut told = Vec::new();
    let questions = [
        ("source_kind", lang.pick(
            "D'où viennent ces adresses ? (formulaire, achat, carte de visite, salon, partenaire, liste achetée, source publique ; Entrée : inconnu)",
            "Where do these addresses come from? (form, purchase, business card, event, partner, purchased list, public source; Enter: not known)",
        )),
        ("collected_at", lang.pick(
            "Quand ont-elles été collectées, au plus tôt ? (une date ; Entrée : inconnu)",
            "When were they collected, at the earliest? (a date; Enter: not known)",
        )),
        ("", lang.pick("Par qui ? (Entrée : inconnu)", "By whom? (Enter: not known)")),
        ("informed", lang.pick(
            "Les personnes ont-elles été informées que leur adresse servirait à la prospection ? (oui, non ; Entrée : inconnu)",
            "Were people told that their address would be used for marketing? (yes, no; Enter: not known)",
        )),
    ];
    for (field, question) in questions {
        if mapping.default.iter().any(|(known, _)| known == field) || (!field.is_empty() && is_read(field)) {
            continue;
        }
        let answer = said(question)?;
        if answer.is_empty() {
            continue;
        }
        let known = match field {
            "source_kind" => look_up(SOURCE_KIND, &answer).is_ok(),
            "informed" => look_up(YES_NO, &answer).is_ok(),
            field => !field.is_empty(),
        };
        if known {
            mapping.default.push((field.to_owned(), answer.clone()));
        }
        told.push(format!("{question} {answer}"));
    }
    Ok(Some(told.join("\n")).filter(|text| !text.is_empty()))
}

fn said(question: &str) -> io::Result<String> {
    eprint!("{question}\n> ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}
