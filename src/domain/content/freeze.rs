//! From a campaign file to what is sent: the steps, in order.

use super::{
    Controller, Finding, Frozen, Injected, Message, Tracks,
    html::{self, Node},
    lint, markdown, plain,
    plainness::{self, Fault},
    protect::Protected,
    wording,
};
use crate::domain::{
    campaign_file::{BodyFormat, CampaignFile},
    campaigns::{CampaignKind, TrackingRequest},
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
/// The footer of the HTML part, and behind it the pixel of whoever gets one.
const HTML_FOOTER: &str = "{{ ouinon.footer }}{{ ouinon.pixel }}";
/// Links of one message that can be told apart.
const MAX_LINKS: usize = 1000;

/// Freezes the content of a campaign about the product of that name.
///
/// Problems are what makes the text unusable, each with its place in the file: they refuse the
/// creation. What should only be known stands in [`Frozen::findings`].
pub fn freeze(file: &CampaignFile, product_name: &str, controller: &Controller) -> Result<Frozen, Problems> {
    let (subject, body) = scan_both(file)?;
    let mut findings = fallback_findings(file, &subject, &body);
    let subject = Protected::new(&file.subject, subject.pieces, false).restore_whole();
    let mut protected = Protected::new(&file.body, body.pieces, file.format == BodyFormat::Markdown);
    let (content, places) = match file.format {
        BodyFormat::Markdown => {
            let (html, places) = markdown::to_html(&protected.text);
            (html, Some(places))
        }
        BodyFormat::Html => (protected.text.clone(), None),
    };
    let nodes = html::nodes(&content).map_err(|e| in_body(file, 0, format!("the HTML cannot be read: {e}")))?;
    // Where in the body that was written an offset of the HTML stands.
    let written = |offset: usize, protected: &Protected| {
        protected.source_offset(places.as_ref().map_or(offset, |places| places.source_offset(offset)))
    };
    refuse(file, lint::refused(&nodes, &protected), |offset| written(offset, &protected))?;
    findings.extend(lint::findings(&nodes, &protected));
    if file.kind == CampaignKind::Repermission {
        findings.retain(|finding| !plainness::CODES.contains(&finding.code.as_str()));
        let faults = plainness::faults(&content, &nodes, &protected);
        findings.extend(faults.into_iter().map(|fault| not_plain(file, written(fault.offset, &protected), &fault)));
    }
    findings.extend(wording::findings(file, &protected.visible_text(&nodes)));
    let text = plain::from_nodes(&nodes, &protected);
    let (content, links) = with_tracked_links(file, &mut protected, content)?;
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
        links,
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

/// What the question may not be sent with, with its place.
fn not_plain(file: &CampaignFile, offset: usize, fault: &Fault) -> Finding {
    let Problem { line, column, .. } = body_problem(file, offset, String::new());
    Finding::error(
        fault.code,
        format!("Ligne {line}, colonne {column} : {}", fault.fr),
        format!("Line {line}, column {column}: {}", fault.en),
    )
}

/// `written` gives the place of an offset in the body as it was written.
fn refuse(
    file: &CampaignFile,
    refused: Vec<(usize, String)>,
    written: impl Fn(usize) -> usize,
) -> Result<(), Problems> {
    if refused.is_empty() {
        return Ok(());
    }
    let problems = refused.into_iter().take(MAX_PROBLEMS);
    let problems = problems.map(|(offset, message)| body_problem(file, written(offset), message));
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

/// A re-permission has no pixel, whatever it asks for (RP-7): opening is never consent (TRK-3).
fn footer_of(file: &CampaignFile) -> &'static str {
    let asks = file.tracking != TrackingRequest::None || file.count_opens;
    if asks && file.kind != CampaignKind::Repermission { HTML_FOOTER } else { FOOTER }
}

/// The content with a slot in the place of each link that can be followed by its number, where the
/// campaign asks for it; and where they lead. Links that hold something merged, and those of another
/// kind than the web's, stay as they are. In the text part all do. Links that are the service itself
/// (unsubscribe, preferences) are not of the content and never tracked (TRK-6).
fn with_tracked_links(
    file: &CampaignFile,
    protected: &mut Protected,
    content: String,
) -> Result<(String, Vec<String>), Problems> {
    let mut targets: Vec<String> = Vec::new();
    if file.tracking != TrackingRequest::Individual || file.kind == CampaignKind::Repermission {
        return Ok((content, targets));
    }
    let links = html::links(&content).map_err(|e| in_body(file, 0, format!("the HTML cannot be read: {e}")))?;
    let (mut out, mut at) = (String::with_capacity(content.len()), 0);
    for link in links {
        let as_written = &content[link.place.clone()];
        if !can_be_tracked(&link.target) || as_written.contains('{') || protected.has_tag(as_written) {
            continue;
        }
        let number = match targets.iter().position(|target| *target == link.target) {
            Some(known) => known + 1,
            None if targets.len() == MAX_LINKS => continue,
            None => {
                targets.push(link.target.clone());
                targets.len()
            }
        };
        let slot =
            format!("{{% if ouinon.click %}}{{{{ ouinon.click }}}}{number}{{% else %}}{as_written}{{% endif %}}");
        out.push_str(&content[at..link.place.start]);
        out.push_str(&protected.slot(&slot));
        at = link.place.end;
    }
    out.push_str(&content[at..]);
    Ok((out, targets))
}

/// A whole address on the web that a redirect can name as it is.
fn can_be_tracked(target: &str) -> bool {
    let lower = target.to_ascii_lowercase();
    let on_the_web =
        ["https://", "http://"].iter().any(|scheme| lower.len() > scheme.len() && lower.starts_with(scheme));
    on_the_web && target.bytes().all(|b| b.is_ascii_graphic())
}

/// The HTML template: the content in our layout, or a whole document with the slots injected.
fn with_slots(
    file: &CampaignFile,
    protected: &mut Protected,
    content: &str,
    nodes: &[Node],
) -> Result<String, Problems> {
    let (banner, footer) = (protected.slot(BANNER), protected.slot(footer_of(file)));
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
        answer_url: None,
        source: None,
        source_kind: SourceKind::DirectForm,
        collected_at: None,
        test: false,
        tracks: Tracks::default(),
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
