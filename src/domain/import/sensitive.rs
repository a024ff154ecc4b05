//! Sensitive words in free text: health, pregnancy, union, religion, politics, origin, sex life,
//! judgement of the person (product.md section 2). Minimisation: such a line is refused.
//!
//! Whole words only, and no professions: the list is short on purpose, so that what it stops is clear.

use std::{collections::HashMap, sync::LazyLock};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// A phrase of the list, by its words.
struct Phrase {
    words: Vec<&'static str>,
    harmless: bool,
}

/// Phrases by their first word, the longest first.
static PHRASES: LazyLock<HashMap<&'static str, Vec<Phrase>>> = LazyLock::new(|| {
    let mut phrases: HashMap<&'static str, Vec<Phrase>> = HashMap::new();
    for line in include_str!("sensitive_words.txt").lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        let (harmless, text) = line.strip_prefix('!').map_or((false, line), |text| (true, text));
        let words: Vec<&'static str> = text.split_ascii_whitespace().collect();
        phrases.entry(words[0]).or_default().push(Phrase { words, harmless });
    }
    phrases.values_mut().for_each(|list| list.sort_by_key(|p| std::cmp::Reverse(p.words.len())));
    phrases
});

/// The first sensitive word or phrase of a text, as the list writes it (without accents).
pub fn find(text: &str) -> Option<String> {
    let bare: String = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect();
    let words: Vec<&str> = bare.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let mut at = 0;
    while at < words.len() {
        let here = PHRASES.get(words[at]).into_iter().flatten().find(|p| words[at..].starts_with(&p.words));
        match here {
            Some(phrase) if !phrase.harmless => return Some(phrase.words.join(" ")),
            Some(phrase) => at += phrase.words.len(),
            None => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensitive_word_is_found_as_a_whole_word_of_either_language() {
        for (text, word) in [
            ("Rencontrée au salon, enceinte de 6 mois", "enceinte"),
            ("CANCER du sein", "cancer"),
            ("déléguée syndicale CGT", "deleguee syndicale"),
            ("Gay", "gay"),
            ("she is pregnant!", "pregnant"),
            ("mauvais payeur", "mauvais payeur"),
            ("Témoin de Jéhovah", "temoin de jehovah"),
            ("HIV-positive", "hiv positive"),
        ] {
            assert_eq!(find(text).as_deref(), Some(word), "{text}");
        }
    }

    #[test]
    fn professions_and_parts_of_words_are_not_sensitive() {
        for text in [
            "Médecin du travail",
            "Oncologue, Centre de lutte contre le cancer",
            "Infirmière en psychiatrie",
            "Responsable santé et sécurité au travail",
            "Référent handicap",
            "Union européenne des PME",
            "Caisse primaire d'assurance maladie",
            "Consultant",
            "Conseiller en gestion",
            "Syndic de copropriété",
            "Institut du monde arabe",
            "Salon de l'agriculture 2025, carte de visite",
            "Formulaire du site, page contact",
            "Gayet et fils",
            "",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }

    #[test]
    fn the_list_is_written_as_it_is_compared() {
        for phrase in PHRASES.values().flatten() {
            for word in &phrase.words {
                assert!(word.chars().all(|c| c.is_ascii_lowercase()), "{word}");
            }
        }
    }
}
