//! What the words of a campaign give away: promotion in service mail, sensitive matters, false replies.

use super::{Finding, Rendered};
use crate::domain::{campaign_file::CampaignFile, campaigns::CampaignKind};

/// Gmail cuts what is longer.
const GMAIL_CLIPS_AT_BYTES: usize = 102 * 1024;
/// Phones show about half of it.
const LONG_SUBJECT_CHARS: usize = 90;

/// Beginnings of words that advertise (SVC-2).
const PROMOTION: [&str; 24] = [
    "promo",
    "soldes",
    "remise",
    "réduction",
    "reduction",
    "offre",
    "rabais",
    "cadeau",
    "gratuit",
    "profitez",
    "découvrez",
    "bon plan",
    "parrainage",
    "black friday",
    "discount",
    "offer",
    "sale",
    "deal",
    "coupon",
    "voucher",
    "free",
    "save",
    "discover",
    "upgrade",
];

/// Beginnings of words about what must not be known of a person (product section 2).
const SENSITIVE: [&str; 26] = [
    "maladie",
    "santé",
    "cancer",
    "handicap",
    "enceinte",
    "grossesse",
    "syndicat",
    "syndical",
    "religi",
    "musulman",
    "catholique",
    "juif",
    "juive",
    "politique",
    "ethni",
    "homosexu",
    "lesbien",
    "illness",
    "disease",
    "disab",
    "pregnan",
    "trade union",
    "muslim",
    "jewish",
    "ethnic",
    "sexual",
];

/// Findings about subject and visible text.
pub(super) fn findings(file: &CampaignFile, visible: &str) -> Vec<Finding> {
    let all = format!("{}\n{visible}", file.subject);
    let mut out = Vec::new();
    if file.kind == CampaignKind::Service {
        out.extend(promotion(&all).map(|word| {
            Finding::warning(
                "service_looks_promotional",
                format!("« {word} » a l'air d'une promotion : un message de service n'en contient aucune."),
                format!("{word:?} looks like a promotion: a service message holds none (SVC-2)."),
            )
        }));
        if file.has_promo {
            // A warning: `decide` blocks everybody by itself, and the report says why.
            out.push(Finding::warning(
                "service_with_promotion",
                "Une campagne de service doit dire « has_promo = false » ; sinon personne ne la reçoit.",
                "A service campaign must say `has_promo = false`; otherwise nobody receives it (SVC-2).",
            ));
        }
    }
    out.extend(word_starting_with(&all, &SENSITIVE).map(|word| {
        Finding::warning(
            "sensitive_word",
            format!("« {word} » touche à une donnée sensible : ne ciblez personne ainsi."),
            format!("{word:?} touches on sensitive data: target nobody that way."),
        )
    }));
    if file.from.name.is_empty() {
        out.push(Finding::warning(
            "sender_without_name",
            "L'expéditeur n'a pas de nom : écrivez « from = \"Nom <adresse>\" ».",
            "The sender has no name: write `from = \"Name <address>\"` (FR-4).",
        ));
    }
    out.extend(subject_findings(&file.subject));
    out
}

fn subject_findings(subject: &str) -> Vec<Finding> {
    let mut out = Vec::new();
    let lower = subject.to_lowercase();
    if ["re:", "re :", "fwd:", "fw:", "tr:", "tr :"].iter().any(|start| lower.starts_with(start)) {
        out.push(Finding::warning(
            "subject_false_reply",
            "L'objet se fait passer pour une réponse ou un transfert.",
            "The subject pretends to be a reply or a forwarded message (US-1).",
        ));
    }
    let letters: Vec<char> = subject.chars().filter(|c| c.is_alphabetic()).collect();
    if letters.len() >= 12 && !subject.contains("{{") && letters.iter().all(|c| c.is_uppercase()) {
        out.push(Finding::warning("subject_shouts", "L'objet est tout en majuscules.", "The subject is all capitals."));
    }
    out
}

/// Findings about a message as it arrives.
pub(super) fn size_findings(message: &Rendered) -> Vec<Finding> {
    let mut out = Vec::new();
    if message.html.len() > GMAIL_CLIPS_AT_BYTES {
        let kb = message.html.len() / 1024;
        out.push(Finding::warning(
            "html_too_large",
            format!("Le HTML pèse {kb} ko : Gmail coupe à 102 ko, et le lien de désinscription avec."),
            format!("The HTML is {kb} kB: Gmail cuts at 102 kB, and the unsubscribe link with it."),
        ));
    }
    if message.subject.chars().count() > LONG_SUBJECT_CHARS {
        out.push(Finding::warning(
            "subject_too_long",
            format!("L'objet dépasse {LONG_SUBJECT_CHARS} caractères."),
            format!("The subject is longer than {LONG_SUBJECT_CHARS} characters."),
        ));
    }
    out
}

fn promotion(text: &str) -> Option<String> {
    word_starting_with(text, &PROMOTION).or_else(|| percentage_off(text))
}

/// `-20 %`, `−20%`.
fn percentage_off(text: &str) -> Option<String> {
    let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let mut rest = squeezed.as_str();
    while let Some(at) = rest.find(['-', '−', '–']) {
        let behind = rest[at..].chars().next().map_or("", |sign| &rest[at + sign.len_utf8()..]);
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        if (1..=3).contains(&digits) && behind[digits..].starts_with('%') {
            return Some(format!("-{} %", &behind[..digits]));
        }
        rest = behind;
    }
    None
}

/// The first word, or words, of the text that starts like one of these.
fn word_starting_with(text: &str, beginnings: &[&str]) -> Option<String> {
    let lower = text.to_lowercase();
    let mut found: Option<(usize, &str)> = None;
    for beginning in beginnings {
        let hit = lower
            .match_indices(beginning)
            .find(|(at, _)| !lower[..*at].chars().next_back().is_some_and(char::is_alphanumeric));
        if let Some((at, _)) = hit
            && found.is_none_or(|(best, _)| at < best)
        {
            found = Some((at, beginning));
        }
    }
    let (at, beginning) = found?;
    Some(format!("{beginning}{}", rest_of_word(&lower[at + beginning.len()..])))
}

fn rest_of_word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len())]
}
