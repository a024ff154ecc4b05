//! The two languages that recipients and marketers read.

use super::words::words;

words! {
    /// A language of pages, messages and sentences.
    Lang {
        /// French.
        Fr = "fr",
        /// English.
        En = "en",
    }
}

impl Lang {
    /// The language that a tag like `fr`, `fr-CA`, `fr_FR.UTF-8` or `en-GB` asks for, if it is one of ours.
    pub fn from_tag(tag: &str) -> Option<Lang> {
        let primary = tag.split(['-', '_', '.']).next().unwrap_or_default();
        Lang::ALL.iter().copied().find(|l| l.as_str().eq_ignore_ascii_case(primary))
    }

    /// The text in this language.
    pub fn pick<T>(self, fr: T, en: T) -> T {
        match self {
            Lang::Fr => fr,
            Lang::En => en,
        }
    }

    /// A whole number with its thousands apart: a narrow no-break space in French, a comma in English.
    pub fn number(self, n: impl std::fmt::Display) -> String {
        let digits = n.to_string();
        let first = digits.find(|c: char| c.is_ascii_digit()).unwrap_or(digits.len());
        let mut out = String::new();
        for (i, c) in digits.char_indices() {
            if i > first && (digits.len() - i).is_multiple_of(3) {
                out.push(self.pick('\u{202F}', ','));
            }
            out.push(c);
        }
        out
    }
}

/// A name after « de »: « d’Atelier », « de Société ».
pub fn french_of(name: &str) -> String {
    if elides(name) { format!("d’{name}") } else { format!("de {name}") }
}

/// A name after « que »: « qu’Atelier », « que Société ».
pub fn french_that(name: &str) -> String {
    if elides(name) { format!("qu’{name}") } else { format!("que {name}") }
}

fn elides(name: &str) -> bool {
    let first = name.chars().next().and_then(|c| c.to_lowercase().next()).unwrap_or(' ');
    "aàâäeéèêëiîïoôöuùûüœæ".contains(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vowel_elides() {
        assert_eq!((french_of("Atelier"), french_of("Élan")), ("d’Atelier".to_owned(), "d’Élan".to_owned()));
        assert_eq!((french_of("Société"), french_of("")), ("de Société".to_owned(), "de ".to_owned()));
        assert_eq!(
            (french_that("Atelier"), french_that("Société")),
            ("qu’Atelier".to_owned(), "que Société".to_owned())
        );
    }

    #[test]
    fn thousands_stand_apart() {
        for (n, en) in [(0, "0"), (999, "999"), (1072, "1,072"), (-123, "-123"), (-12345, "-12,345")] {
            assert_eq!(Lang::En.number(n), en);
            assert_eq!(Lang::Fr.number(n), en.replace(',', "\u{202F}"));
        }
        assert_eq!(Lang::En.number(1_000_000_usize), "1,000,000");
    }
}
