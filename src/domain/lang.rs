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
}
