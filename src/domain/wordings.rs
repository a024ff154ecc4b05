//! The texts that a yes is said to, and what a proof says of them (GD-2).

use std::fmt;

use sha2::{Digest, Sha256};

use super::lang::{Lang, french_of, french_that};

/// A text as it is shown, with what finds it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What it is for: [`form`], [`PREFERENCES`] or [`TRACKING`].
    pub name: String,
    /// The language it is in.
    pub lang: Lang,
    /// The text.
    pub text: String,
}

impl Shown {
    /// SHA-256 of the text, in hexadecimal.
    pub fn hash(&self) -> String {
        Sha256::digest(self.text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Name of the text about choosing products in the preferences.
pub const PREFERENCES: &str = "preferences";
/// Name of the text about individual tracking.
pub const TRACKING: &str = "tracking";
/// The longest text that an operator may choose, in characters.
pub const MAX_CHARS: usize = 2_000;

/// Name of the text of a product's form.
pub fn form(product: &str) -> String {
    format!("form:{product}")
}

/// The program's own text of a form: who writes, about what, and how it ends.
pub fn of_form(product: &str, product_name: &str, sender: &str, lang: Lang) -> Shown {
    let of = french_of(sender);
    let text = lang.pick(
        format!(
            "J’accepte de recevoir par e-mail des informations {of} sur {product_name}. Je peux me désabonner \
             à tout moment, par le lien qui se trouve dans chaque message."
        ),
        format!(
            "I agree to be sent information about {product_name} by email from {sender}. I can unsubscribe at any \
             time, by the link in each message."
        ),
    );
    Shown { name: form(product), lang, text }
}

/// The text above the products in the preferences.
pub fn of_preferences(sender: &str, lang: Lang) -> Shown {
    let of = french_of(sender);
    let text = lang.pick(
        format!("En cochant un sujet, j’accepte de recevoir par e-mail des informations {of} sur ce sujet."),
        format!("By ticking a subject I agree to be sent information about it by email from {sender}."),
    );
    Shown { name: PREFERENCES.to_owned(), lang, text }
}

/// The text of the box about individual tracking; a yes of its own, apart from mail (TRK-5).
pub fn of_tracking(sender: &str, lang: Lang) -> Shown {
    let that = french_that(sender);
    let text = lang.pick(
        format!(
            "J’accepte {that} sache si j’ouvre ses messages et sur quels liens je clique, pour mesurer leur \
             intérêt. Ce n’est pas nécessaire pour les recevoir."
        ),
        format!(
            "I agree that {sender} learns whether I open its messages and which links I follow, to measure their \
             interest. It is not needed to receive them."
        ),
    );
    Shown { name: TRACKING.to_owned(), lang, text }
}

/// What a consent given on a page is proven by, on one line: how, which text, and when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence<'a> {
    /// The page: `preferences`, `form` …
    pub page: &'a str,
    /// Name of the text.
    pub wording: &'a str,
    /// Its version.
    pub version: i64,
    /// Its language.
    pub lang: &'a str,
    /// Its hash.
    pub hash: &'a str,
    /// Further facts, each a word and its value.
    pub facts: &'a [(&'a str, String)],
}

impl fmt::Display for Evidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Evidence { page, wording, version, lang, hash, facts } = self;
        write!(f, "page={page} wording={wording} version={version} language={lang} sha256={hash}")?;
        facts.iter().try_for_each(|(word, value)| write!(f, " {word}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_by_its_hash_and_names_who_writes_about_what() {
        for lang in [Lang::Fr, Lang::En] {
            let shown = of_form("crm", "Le CRM", "Société Exemple", lang);
            assert!(shown.text.contains("Le CRM") && shown.text.contains("Société Exemple"));
            assert_eq!(shown.hash().len(), 64);
            assert_ne!(shown.hash(), of_form("crm", "Le CRM", "Autre", lang).hash());
            assert_ne!(of_tracking("Société Exemple", lang).hash(), of_preferences("Société Exemple", lang).hash());
        }
    }

    #[test]
    fn an_evidence_is_one_line_of_words() {
        let facts = [("asked", "2026-11-18T09:00:00Z".to_owned())];
        let evidence =
            Evidence { page: "form", wording: "form:crm", version: 2, lang: "fr", hash: "ab12", facts: &facts };
        assert_eq!(
            evidence.to_string(),
            "page=form wording=form:crm version=2 language=fr sha256=ab12 asked=2026-11-18T09:00:00Z"
        );
    }
}
