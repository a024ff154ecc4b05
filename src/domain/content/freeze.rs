//! From a campaign file to what is sent: the steps, in order.

use super::{
    Controller, Finding, Frozen, Injected, Message,
    html::{self, Node},
    lint, markdown, plain,
    protect::Protected,
    wording,
};
use crate::domain::{
    campaign_file::{BodyFormat, CampaignFile},
    contacts::SourceKind,
    eligibility::Basis,
    located::{Problem, Problems, position},
    merge::MergeContact,
    templates::{self, Scan, TagError},
};

const LAYOUT: &str = include_str!("../../../templates/mail/layout.html");
/// So many problems are reported at once.
const MAX_PROBLEMS: usize = 50;
const BANNER: &str = "{{ ouinon.banner }}";
const FOOTER: &str = "{{ ouinon.footer }}";

/// Freezes the content of a campaign about the product of that name.
///
/// Problems are what makes the text unusable, each with its place in the file: they refuse the
/// creation. What should only be known stands in [`Frozen::findings`].
pub fn freeze(file: &CampaignFile, product_name: &str, controller: &Controller) -> Result<Frozen, Problems> {
    let (subject, body) = scan_both(file)?;
    let mut findings = fallback_findings(file, &subject, &body);
    let subject = Protected::new(&file.subject, subject.pieces, false).restore_whole();
    let mut protected = Protected::new(&file.body, body.pieces, file.format == BodyFormat::Markdown);
    let content = match file.format {
        BodyFormat::Markdown => markdown::to_html(&protected.text),
        BodyFormat::Html => protected.text.clone(),
    };
    let nodes = html::nodes(&content).map_err(|e| in_body(file, 0, format!("the HTML cannot be read: {e}")))?;
    refuse(file, &protected, lint::refused(&nodes, &protected))?;
    findings.extend(lint::findings(&nodes, &protected));
    findings.extend(wording::findings(file, &protected.visible_text(&nodes)));
    let text = plain::from_nodes(&nodes, &protected);
    let html = with_slots(file, &mut protected, &content, &nodes)?;
    let text = format!("{BANNER}{}\n{FOOTER}", protected.restore(&text));
    let mut frozen = Frozen {
        subject,
        html,
        text,
        campaign: file.slug.clone(),
        kind: file.kind,
        language: file.language.clone(),
        product: file.product.clone(),
        product_name: product_name.to_owned(),
        sender_name: file.from.name.clone(),
        sender_email: file.from.address.to_string(),
        controller: controller.clone(),
        art14_notice: file.art14_notice,
        findings,
    };
    frozen.findings.extend(probe(file, &frozen)?);
    frozen.findings.sort_by_key(|f| f.level);
    Ok(frozen)
}

fn scan_both(file: &CampaignFile) -> Result<(Scan<'_>, Scan<'_>), Problems> {
    let subject = templates::scan(&file.subject, true);
    let body = templates::scan(&file.body, false);
    match (subject, body) {
        (Ok(subject), Ok(body)) => Ok((subject, body)),
        (subject, body) => {
            let subject = subject.err().unwrap_or_default().into_iter().map(|e| subject_problem(file, &e));
            let body = body.err().unwrap_or_default().into_iter().map(|e| body_problem(file, e.offset, e.message));
            Err(Problems(subject.chain(body).take(MAX_PROBLEMS).collect()))
        }
    }
}

fn subject_problem(file: &CampaignFile, error: &TagError) -> Problem {
    let (line, column) = file.subject_place;
    let (_, within) = position(&file.subject, error.offset);
    Problem { line, column: column + within - 1, key: Some("subject".to_owned()), message: error.message.clone() }
}

fn body_problem(file: &CampaignFile, offset: usize, message: String) -> Problem {
    let (line, column) = position(&file.body, offset);
    Problem { line: file.body_line + line - 1, column, key: Some("body".to_owned()), message }
}

fn in_body(file: &CampaignFile, offset: usize, message: String) -> Problems {
    Problems(vec![body_problem(file, offset, message)])
}

fn refuse(file: &CampaignFile, protected: &Protected, refused: Vec<(usize, String)>) -> Result<(), Problems> {
    if refused.is_empty() {
        return Ok(());
    }
    let problems = refused.into_iter().take(MAX_PROBLEMS).map(|(offset, message)| {
        // Markdown moves things: there the place is that of the body.
        let offset = if file.format == BodyFormat::Html { protected.source_offset(offset) } else { 0 };
        body_problem(file, offset, message)
    });
    Err(Problems(problems.collect()))
}

fn fallback_findings(file: &CampaignFile, subject: &Scan<'_>, body: &Scan<'_>) -> Vec<Finding> {
    let place = |field: &str, problem: Problem| {
        let (line, column) = (problem.line, problem.column);
        Finding::warning(
            "field_without_fallback",
            format!("Ligne {line}, colonne {column} : contact.{field} peut manquer ; ajoutez « | default('…') »."),
            format!("Line {line}, column {column}: contact.{field} may be missing; add `| default('…')`."),
        )
    };
    let in_subject = subject.without_fallback.iter().take(MAX_PROBLEMS).map(|(field, offset)| {
        place(field, subject_problem(file, &TagError { offset: *offset, message: String::new() }))
    });
    let in_body = body.without_fallback.iter().take(MAX_PROBLEMS);
    let in_body = in_body.map(|(field, offset)| place(field, body_problem(file, *offset, String::new())));
    in_subject.chain(in_body).collect()
}

/// The HTML template: the content in our layout, or a whole document with the slots injected.
fn with_slots(
    file: &CampaignFile,
    protected: &mut Protected,
    content: &str,
    nodes: &[Node],
) -> Result<String, Problems> {
    let (banner, footer) = (protected.slot(BANNER), protected.slot(FOOTER));
    let is_document = nodes
        .iter()
        .any(|node| matches!(node, Node::Start(element) if ["html", "head", "body"].contains(&element.name.as_str())));
    let whole = match (file.format, is_document) {
        (BodyFormat::Markdown, true) => {
            let message = "<html>, <head> and <body> do not belong in Markdown; say `format = \"html\"`";
            return Err(in_body(file, 0, message.to_owned()));
        }
        (BodyFormat::Html, true) => html::inject(content, &banner, &footer)
            .map_err(|e| in_body(file, 0, format!("the HTML cannot be read: {e}")))?
            .ok_or_else(|| in_body(file, 0, "an HTML document needs a <body>".to_owned()))?,
        (_, false) => in_layout(file, protected, content, &banner, &footer),
    };
    for slot in [&banner, &footer] {
        if protected.is_inside_a_block(&whole, slot) {
            let message = "the end of the body stands inside an `if` or a `for`: the footer could be left out";
            return Err(in_body(file, 0, message.to_owned()));
        }
        if !is_seen(&whole, slot) {
            let message = "something is left open in the body, a comment, a quote or a <style>: it swallows the footer";
            return Err(in_body(file, 0, message.to_owned()));
        }
    }
    Ok(protected.restore(&whole))
}

fn in_layout(file: &CampaignFile, protected: &mut Protected, content: &str, banner: &str, footer: &str) -> String {
    let title = protected.slot("{{ campaign.subject }}");
    let lang = file.language.as_deref().map_or(String::new(), |tag| format!(" lang=\"{tag}\""));
    let frame = LAYOUT.replacen("%lang%", &lang, 1).replacen("%title%", &title, 1);
    let frame = frame.replacen("%banner%", banner, 1).replacen("%footer%", footer, 1);
    frame.replacen("%body%", content, 1)
}

/// Whether a reader sees the text that comes in the place of this word, once.
fn is_seen(html: &str, word: &str) -> bool {
    let nodes = html::nodes(html).unwrap_or_default();
    nodes.iter().filter(|node| matches!(node, Node::Text(text) if text.contains(word))).count() == 1
}

/// Renders for a contact with every field and for one with none: what fails, fails here.
fn probe(file: &CampaignFile, frozen: &Frozen) -> Result<Vec<Finding>, Problems> {
    let refused = |e: templates::RenderError| in_body(file, 0, e.to_string());
    let message = Message::new(frozen.clone()).map_err(refused)?;
    let injected = Injected {
        basis: Basis::LegitimateInterestB2b,
        unsubscribe_url: "https://unsubscribe.example/o/0123456789012345678901234567890123456789012345678901234567890123",
        preferences_url: None,
        why_url: None,
        view_url: None,
        source: None,
        source_kind: SourceKind::DirectForm,
        collected_at: None,
        test: false,
    };
    let bare = MergeContact { email: "a@b.example".to_owned(), ..MergeContact::default() };
    message.render(&bare, &injected).map_err(refused)?;
    let full = message.render(&sample_contact(), &injected).map_err(refused)?;
    Ok(wording::size_findings(&full))
}

fn sample_contact() -> MergeContact {
    let some = |text: &str| Some(text.to_owned());
    MergeContact {
        email: "camille.lefevre@entreprise.example".to_owned(),
        first_name: some("Camille"),
        last_name: some("Lefèvre"),
        company: some("Entreprise Exemple"),
        job_title: some("Responsable des achats"),
        country: some("FR"),
        language: some("fr"),
    }
}
