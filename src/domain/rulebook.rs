//! The rules behind the decisions, for readers: `rules.toml`, read once.
//!
//! What the software applies and where it comes from; never legal advice.

use std::{collections::HashMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

use super::{lang::Lang, words::words};

static BOOK: LazyLock<Book> =
    LazyLock::new(|| toml::from_str(include_str!("rules.toml")).expect("rules.toml is checked by a test"));

/// Every rule, in the order of the book.
pub fn all() -> &'static [Rule] {
    &BOOK.rule
}

/// The rule of this id; either case.
pub fn find(id: &str) -> Option<&'static Rule> {
    all().iter().find(|rule| rule.id.eq_ignore_ascii_case(id))
}

/// Ids of the rules behind a basis or reason, whatever the regime; the deciding one first.
pub fn rules_of(code: &str) -> &'static [&'static str] {
    BOOK.codes.get(code).map_or(&[], Vec::as_slice)
}

/// One rule: an article, a decision of a court or regulator, a doctrine, or a choice of the product.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `FR-1`, `SUP-7` …
    pub id: &'static str,
    /// Title for readers of French.
    pub title_fr: &'static str,
    /// Title for readers of English.
    pub title_en: &'static str,
    /// What it asks, in French.
    pub summary_fr: &'static str,
    /// What it asks, in English.
    pub summary_en: &'static str,
    /// How well its source was verified.
    pub evidence: Evidence,
    /// How binding it is.
    pub class: Class,
    /// Where it is written.
    pub source: &'static str,
}

impl Rule {
    /// The title.
    pub fn title(&self, lang: Lang) -> &'static str {
        lang.pick(self.title_fr, self.title_en)
    }

    /// What the rule asks.
    pub fn summary(&self, lang: Lang) -> &'static str {
        lang.pick(self.summary_fr, self.summary_en)
    }
}

words! {
    /// How well the source of a rule was verified (rules section 0).
    Evidence {
        /// The primary text was read.
        Primary = "P",
        /// A secondary source that quotes or sums it up was read.
        Secondary = "S",
        /// Known published text, not read again.
        Known = "K",
        /// No law and no standard: a choice of this software.
        Product = "Product",
    }
}

impl Evidence {
    /// What the label means.
    pub fn meaning(self, lang: Lang) -> &'static str {
        let (fr, en) = match self {
            Evidence::Primary => ("texte d'origine lu", "primary text read"),
            Evidence::Secondary => ("lu chez une source qui le cite", "read in a source that quotes it"),
            Evidence::Known => ("texte connu, non relu", "known text, not read again"),
            Evidence::Product => ("choix de ce logiciel", "choice of this software"),
        };
        lang.pick(fr, en)
    }
}

words! {
    /// How binding a rule is.
    Class {
        /// Binding text.
        Law = "law",
        /// Decision of a court or a regulator.
        Case = "case",
        /// Doctrine of a regulator.
        Guidance = "guidance",
        /// Our choice.
        Product = "product",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
struct Book {
    codes: HashMap<&'static str, Vec<&'static str>>,
    rule: Vec<Rule>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::{
        eligibility::{Basis, Reason},
        regimes,
    };

    fn codes() -> Vec<&'static str> {
        Basis::ALL.iter().map(|b| b.as_str()).chain(Reason::ALL.iter().map(|r| r.as_str())).collect()
    }

    #[test]
    fn ids_are_unique_and_nothing_is_empty() {
        let mut seen = HashSet::new();
        for rule in all() {
            assert!(seen.insert(rule.id), "{} stands twice", rule.id);
            for text in [rule.title_fr, rule.title_en, rule.summary_fr, rule.summary_en, rule.source] {
                assert!(!text.trim().is_empty(), "{} has an empty text", rule.id);
            }
        }
    }

    #[test]
    fn the_rules_of_the_specification_are_all_there() {
        let families: [(&str, u32); 18] = [
            ("FR", 9),
            ("GD", 9),
            ("RET", 10),
            ("SUP", 11),
            ("TRK", 9),
            ("PAR", 1),
            ("SVC", 3),
            ("GB", 3),
            ("DE", 3),
            ("EU", 1),
            ("US", 4),
            ("CA", 5),
            ("DATA", 1),
            ("REG", 1),
            ("RP", 9),
            ("PAUSE", 1),
            ("SUNSET", 1),
            ("FR-3b", 0),
        ];
        for (family, count) in families {
            let ids = (1..=count).map(|n| format!("{family}-{n}")).chain((count == 0).then(|| family.to_owned()));
            for id in ids {
                assert!(find(&id).is_some(), "{id} is not in the book");
            }
        }
    }

    #[test]
    fn every_code_cites_rules_that_exist_in_general_and_in_every_regime() {
        let known: HashSet<_> = codes().into_iter().collect();
        for code in &known {
            assert!(!rules_of(code).is_empty(), "{code} cites no rule");
        }
        assert!(BOOK.codes.keys().all(|code| known.contains(code)));
        let mut cited: Vec<&str> = BOOK.codes.values().flatten().copied().collect();
        for regime in regimes::all() {
            for (code, rules) in &regime.cites {
                let code = code.strip_suffix("@repermission").unwrap_or(code);
                assert!(known.contains(code), "{} cites for {code}", regime.id);
                assert!(!rules.is_empty());
                cited.extend(rules);
            }
            cited.extend(regime.permissions.iter().flat_map(|permission| &permission.rules));
            assert!(regime.permissions.iter().all(|permission| !permission.rules.is_empty()));
        }
        for id in cited {
            assert!(all().iter().any(|rule| rule.id == id), "{id} is cited and not in the book");
        }
    }

    #[test]
    fn every_code_has_a_sentence_in_both_languages_and_every_reason_a_remedy() {
        let one_sentence = |text: &str| text.len() > 20 && text.ends_with('.') && !text.contains('\n');
        for lang in Lang::ALL {
            let mut seen = HashSet::new();
            for basis in Basis::ALL {
                assert!(one_sentence(basis.sentence(*lang)) && seen.insert(basis.sentence(*lang)), "{basis} {lang}");
            }
            for reason in Reason::ALL {
                assert!(one_sentence(reason.sentence(*lang)) && seen.insert(reason.sentence(*lang)), "{reason} {lang}");
                assert!(one_sentence(reason.remedy(*lang)), "{reason} {lang}");
            }
        }
        assert!(Reason::ALL.iter().all(|r| r.sentence(Lang::Fr) != r.sentence(Lang::En)));
        assert!(Reason::ALL.iter().all(|r| r.remedy(Lang::Fr) != r.remedy(Lang::En)));
    }
}
