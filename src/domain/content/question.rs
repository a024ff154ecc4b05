//! The question of a re-permission: yes and no of equal weight, put in like the footer, so that no text
//! of a marketer can leave out or dress up either (RP-8).

use super::{Frozen, Injected};
use crate::domain::{eligibility::Basis, lang::Lang, templates::escape_html};

/// The question itself: whatever a marketer writes above it, nobody gets answers without it.
fn asked(frozen: &Frozen, lang: Lang) -> String {
    let product = &frozen.product_name;
    lang.pick(
        format!("Souhaitez-vous que nous continuions à vous écrire au sujet de {product} ?"),
        format!("Would you like us to go on writing to you about {product}?"),
    )
}

/// The two answers, alike but for their words.
fn labels(lang: Lang) -> [&'static str; 2] {
    [
        lang.pick("Oui, continuez à m'écrire", "Yes, go on writing to me"),
        lang.pick("Non, ne m'écrivez plus", "No, stop writing to me"),
    ]
}

/// What silence means: that depends on the ground on which the person may be written to at all.
fn silence(frozen: &Frozen, basis: Basis, lang: Lang) -> String {
    let product = &frozen.product_name;
    match basis {
        Basis::LegitimateInterestB2b | Basis::GenericAddress | Basis::CorporateSubscriber => lang.pick(
            format!("Sans réponse, nous pourrons encore vous écrire à titre professionnel au sujet de {product}, et vous pourrez refuser à tout moment. Nous ne vous reposerons pas cette question avant six mois."),
            format!("If you do not answer, we may still write to you as a professional about {product}, and you can refuse at any time. We will not ask this question again for six months."),
        ),
        _ => lang.pick(
            format!("Votre silence ne vaut pas accord : sans réponse, aucun consentement ne sera enregistré au sujet de {product}. Nous ne vous reposerons pas cette question avant six mois."),
            format!("Your silence is no consent: if you do not answer, no consent about {product} will be recorded. We will not ask this question again for six months."),
        ),
    }
}

/// Both answers lead to a page where one press gives them: a link that a machine fetches answers nothing.
fn explanation(lang: Lang) -> &'static str {
    lang.pick(
        "Chaque lien ouvre une page où un seul appui donne la réponse.",
        "Each link opens a page where one press gives the answer.",
    )
}

pub(super) fn html(frozen: &Frozen, injected: &Injected<'_>, lang: Lang) -> String {
    let Some(url) = injected.answer_url else { return String::new() };
    let mut out = format!(
        "<div lang=\"{lang}\" style=\"display: block !important; visibility: visible !important; max-width: 600px; margin: 0 auto !important; \
         padding: 8px 32px 16px; font-family: -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; font-size: 16px !important; \
         line-height: 1.5; opacity: 1 !important;\">\n"
    );
    out.push_str("<p style=\"margin: 0 0 14px !important; font-weight: bold;\">");
    push(&mut out, &asked(frozen, lang));
    out.push_str("</p>\n");
    for (label, answer) in labels(lang).into_iter().zip(["yes", "no"]) {
        out.push_str(
            "<p style=\"margin: 0 0 10px !important;\"><a style=\"display: block !important; padding: 12px 16px; border: 2px solid #57606a; \
             border-radius: 6px; text-align: center; font-weight: bold; color: inherit !important; text-decoration: underline !important;\" href=\"",
        );
        push(&mut out, &format!("{url}?answer={answer}"));
        out.push_str("\">");
        push(&mut out, label);
        out.push_str("</a></p>\n");
    }
    out.push_str("<p style=\"margin: 0 0 8px !important; font-size: 14px;\">");
    push(&mut out, &format!("{} {}", explanation(lang), silence(frozen, injected.basis, lang)));
    out.push_str("</p>\n</div>\n");
    out
}

pub(super) fn text(frozen: &Frozen, injected: &Injected<'_>, lang: Lang) -> String {
    let Some(url) = injected.answer_url else { return String::new() };
    let [yes, no] = labels(lang);
    let lines = lang.pick(" :", ":");
    format!(
        "{}\n\n{yes}{lines}\n{url}?answer=yes\n\n{no}{lines}\n{url}?answer=no\n\n{} {}\n\n",
        asked(frozen, lang),
        explanation(lang),
        silence(frozen, injected.basis, lang)
    )
}

fn push(out: &mut String, text: &str) {
    escape_html(out, text).expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without its address and its words, one answer looks exactly like the other.
    #[test]
    fn yes_and_no_weigh_the_same() {
        for lang in [Lang::Fr, Lang::En] {
            let [yes, no] = labels(lang);
            assert!(yes.chars().count().abs_diff(no.chars().count()) <= 4, "{yes} / {no}");
        }
    }
}
