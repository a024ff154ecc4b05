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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (n, en) in [(0, "0"), (999, "999"), (1072, "1,072"), (-123, "-123"), (-12345, "-12,345")] {
            assert_eq!(Lang::En.number(n), en);
            assert_eq!(Lang::Fr.number(n), en.replace(',', "\u{202F}"));
        }
        assert_eq!(Lang::En.number(1_000_000_usize), "1,000,000");
    }
}
