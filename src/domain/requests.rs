//! What a person may ask of the operator (GD-4): a copy, a correction, an erasure.

use jiff::civil::Date;

use super::{dates::add_months, lang::Lang, words::words};

words! {
    /// What is asked for.
    RequestKind {
        /// A copy of everything that is known (GDPR 15, 20).
        Copy = "copy",
        /// A correction (GDPR 16).
        Correction = "correction",
        /// An erasure (GDPR 17).
        Erasure = "erasure",
    }
}

impl RequestKind {
    /// In the middle of a sentence about a request: "asked for …".
    pub fn name(self, lang: Lang) -> &'static str {
        match self {
            RequestKind::Copy => lang.pick("une copie de vos données", "a copy of your data"),
            RequestKind::Correction => lang.pick("une correction", "a correction"),
            RequestKind::Erasure => lang.pick("l’effacement de vos données", "the erasure of your data"),
        }
    }
}

/// The last day for an answer: one month (GDPR 12(3)), counted as RET-5 counts.
pub fn due_on(received: Date) -> Date {
    add_months(received, 1)
}

/// The longest correction that is read, in characters.
pub const MAX_CHARS: usize = 1_000;
/// Corrections of one person that may be open at once; all further ones say nothing new.
pub const MAX_OPEN_CORRECTIONS: usize = 5;

/// What a person wrote, as it is kept: lines without control characters, at most [`MAX_CHARS`].
pub fn tidy(text: &str) -> String {
    let lines = text.lines().map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>());
    let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n").trim().chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_month_later_or_the_last_day_of_a_shorter_month() {
        assert_eq!(due_on(date(2026, 11, 18)), date(2026, 12, 18));
        assert_eq!(due_on(date(2027, 1, 31)), date(2027, 2, 28));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_short_and_clean(text in "(\\PC|[\\r\\n\\t\\x00\\x1b]){0,1500}") {
            let kept = tidy(&text);
            prop_assert!(kept.chars().count() <= MAX_CHARS);
            prop_assert!(kept.chars().all(|c| c == '\n' || !c.is_control()));
        }
    }
}
