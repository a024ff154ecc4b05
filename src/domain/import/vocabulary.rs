//! The words of a file, in English and French, and what they mean. A word that is not here is refused.

use unicode_normalization::UnicodeNormalization;

use crate::domain::{
    consents::{ConsentState, Proof},
    contacts::{ActivityKind, ContactKind, LegalForm, Relationship, SourceKind, TrackingConsent},
};

/// The meanings of the words of one column. `None`: the word says that nothing is known.
pub type Vocabulary<T> = &'static [(Option<T>, &'static [&'static str])];

/// A text without case and accents, its words joined by one underscore: how words and column names
/// are compared.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut push = |c: char| {
        if c.is_whitespace() || matches!(c, '-' | '_' | '\'' | '’' | '\u{2010}' | '\u{2011}') {
            if !folded.is_empty() && !folded.ends_with('_') {
                folded.push('_');
            }
        } else {
            folded.push(c);
        }
    };
    if text.is_ascii() {
        text.chars().for_each(|c| push(c.to_ascii_lowercase()));
    } else {
        let bare = text.nfkd().filter(|c| !unicode_normalization::char::is_combining_mark(*c));
        bare.flat_map(char::to_lowercase).for_each(push);
    }
    while folded.ends_with('_') {
        folded.pop();
    }
    folded
}

/// Looks a word up. The error lists one word for each meaning.
pub fn look_up<T: Copy>(vocabulary: Vocabulary<T>, text: &str) -> Result<Option<T>, String> {
    let word = fold(text);
    let entry = vocabulary.iter().find(|(_, words)| words.contains(&word.as_str()));
    entry.map(|(meaning, _)| *meaning).ok_or_else(|| {
        let known: Vec<&str> =
            vocabulary.iter().filter_map(|(meaning, words)| meaning.and(words.first())).copied().collect();
        format!("{:?} is not one of {}", shown(text), known.join(", "))
    })
}

/// A value as a message shows it: short.
pub fn shown(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `yes` and `no`, as people and spreadsheets write them.
pub const YES_NO: Vocabulary<bool> = &[
    (Some(true), &["yes", "oui", "true", "vrai", "1", "x", "y", "o", "✓"]),
    (Some(false), &["no", "non", "false", "faux", "0", "n"]),
    (None, UNKNOWN),
];

/// `unsubscribed_at`, where it is no date: whether the person refused.
pub const REFUSAL: Vocabulary<bool> = &[
    (
        Some(true),
        &[
            "yes",
            "oui",
            "true",
            "vrai",
            "1",
            "x",
            "y",
            "o",
            "✓",
            "stop",
            "unsubscribed",
            "opt_out",
            "optout",
            "refused",
            "refuse",
            "refusee",
            "desinscrit",
            "desinscrite",
            "desabonne",
            "desabonnee",
        ],
    ),
    (
        Some(false),
        &[
            "no",
            "non",
            "false",
            "faux",
            "0",
            "n",
            "never",
            "jamais",
            // What a column of states says of those who have not refused.
            "actif",
            "active",
            "abonne",
            "abonnee",
            "inscrit",
            "inscrite",
            "subscribed",
        ],
    ),
];

/// `kind`.
pub const KIND: Vocabulary<ContactKind> = &[
    (
        Some(ContactKind::Business),
        &["business", "b2b", "b_to_b", "btob", "professionnel", "professionnelle", "professional", "pro", "entreprise"],
    ),
    (
        Some(ContactKind::Consumer),
        &[
            "consumer",
            "b2c",
            "b_to_c",
            "btoc",
            "particulier",
            "particuliere",
            "particuliers",
            "part",
            "part.",
            "partic",
            "partic.",
            "individual",
            "individuel",
            "individuelle",
            "private_individual",
            "personne_physique",
            "grand_public",
            "consommateur",
            "consommatrice",
        ],
    ),
    (None, UNKNOWN),
];

/// `legal_form`.
pub const LEGAL_FORM: Vocabulary<LegalForm> = &[
    (
        Some(LegalForm::Corporate),
        &[
            "corporate",
            "company",
            "societe",
            "limited",
            "ltd",
            "plc",
            "llp",
            "limited_company",
            "government",
            "sa",
            "sas",
            "sasu",
            "sarl",
            "eurl",
            "gmbh",
            "inc",
            "association",
            "administration",
        ],
    ),
    (
        Some(LegalForm::SoleTrader),
        &[
            "sole_trader",
            "partnership",
            "entreprise_individuelle",
            "entrepreneur_individuel",
            "ei",
            "eirl",
            "micro_entreprise",
            "micro_entrepreneur",
            "auto_entreprise",
            "auto_entrepreneur",
        ],
    ),
    (Some(LegalForm::Consumer), &["consumer", "particulier", "particuliere", "consommateur"]),
    (None, UNKNOWN),
];

/// `relationship`.
pub const RELATIONSHIP: Vocabulary<Relationship> = &[
    (Some(Relationship::Prospect), &["prospect", "prospecte", "lead"]),
    (Some(Relationship::Negotiation), &["negotiation", "negociation", "en_negociation", "devis", "quote", "inquiry"]),
    (
        Some(Relationship::AccountOnly),
        &["account_only", "account", "compte", "compte_seul", "compte_gratuit", "free_account"],
    ),
    (Some(Relationship::Customer), &["customer", "client", "cliente"]),
    (
        Some(Relationship::FormerCustomer),
        &[
            "former_customer",
            "ancien_client",
            "ancienne_cliente",
            "ex_client",
            "ex_cliente",
            "former_client",
            "ex_customer",
            "past_customer",
        ],
    ),
    (Some(Relationship::Partner), &["partner", "partenaire"]),
    (None, UNKNOWN),
];

/// `source_kind`.
pub const SOURCE_KIND: Vocabulary<SourceKind> = &[
    (Some(SourceKind::DirectForm), &["direct_form", "form", "formulaire"]),
    (Some(SourceKind::Purchase), &["purchase", "achat", "commande", "order"]),
    (Some(SourceKind::BusinessCard), &["business_card", "carte_de_visite"]),
    (Some(SourceKind::Event), &["event", "evenement", "salon"]),
    (Some(SourceKind::Partner), &["partner", "partenaire"]),
    (Some(SourceKind::PurchasedList), &["purchased_list", "liste_achetee", "fichier_achete"]),
    (Some(SourceKind::PublicSource), &["public_source", "public", "source_publique"]),
    // Written out, it is a statement like any other: nobody knows.
    (Some(SourceKind::Unknown), UNKNOWN),
];

/// `last_activity`.
pub const ACTIVITY: Vocabulary<ActivityKind> = &[
    (Some(ActivityKind::Click), &["click", "clic"]),
    (Some(ActivityKind::Reply), &["reply", "reponse", "answer"]),
    (Some(ActivityKind::Purchase), &["purchase", "achat", "commande", "order"]),
    (Some(ActivityKind::Login), &["login", "connexion"]),
    (Some(ActivityKind::Form), &["form", "formulaire"]),
    (Some(ActivityKind::Open), &["open", "ouverture"]),
    (Some(ActivityKind::Other), &["other", "autre"]),
    (None, UNKNOWN),
];

/// `consent_<product>`. A written no is an answer: the person refused.
pub const CONSENT: Vocabulary<ConsentState> = &[
    (
        Some(ConsentState::Granted),
        &[
            "granted",
            "yes",
            "oui",
            "true",
            "vrai",
            "1",
            "x",
            "y",
            "o",
            "accorde",
            "donne",
            "accepte",
            "accepted",
            "given",
            "opt_in",
            "optin",
            "subscribed",
            "inscrit",
        ],
    ),
    (
        Some(ConsentState::Refused),
        &["refused", "refuse", "no", "non", "false", "faux", "0", "n", "denied", "declined", "opt_out", "optout"],
    ),
    (
        Some(ConsentState::Withdrawn),
        &[
            "withdrawn",
            "retire",
            "revoked",
            "revoque",
            "unsubscribed",
            "desinscrit",
            "desinscrite",
            "desabonne",
            "desabonnee",
            "non_abonne",
            "non_abonnee",
            "non_inscrit",
            "non_inscrite",
            "stop",
        ],
    ),
    (Some(ConsentState::Pending), &["pending", "en_attente", "attente"]),
    (None, UNKNOWN),
];

/// `tracking`.
pub const TRACKING: Vocabulary<TrackingConsent> = &[
    (
        Some(TrackingConsent::Granted),
        &["granted", "yes", "oui", "true", "vrai", "1", "x", "y", "o", "accorde", "accepte"],
    ),
    (
        Some(TrackingConsent::Withdrawn),
        &["withdrawn", "retire", "revoked", "refused", "refuse", "no", "non", "false", "faux", "0", "n"],
    ),
    (None, UNKNOWN),
];

/// `consent_<product>_proof`.
pub const PROOF: Vocabulary<Proof> = &[
    (Some(Proof::Full), &["full", "complete", "complet"]),
    (Some(Proof::Doi), &["doi", "double_opt_in", "double_optin", "double_consentement"]),
    (Some(Proof::PartnerNamed), &["partner_named", "partenaire_nomme"]),
    (Some(Proof::PartnerUnnamed), &["partner_unnamed", "partenaire_non_nomme"]),
    (Some(Proof::None), &["none", "no", "non", "aucune", "aucun", "sans"]),
    (None, &["unknown", "inconnu", "inconnue", "na", "n/a"]),
];

const UNKNOWN: &[&str] = &["unknown", "none", "inconnu", "inconnue", "aucun", "aucune", "na", "n/a", "?"];

/// A language tag as it is stored: `fr`, `en-GB`. Reads names too.
pub fn language(text: &str) -> Result<String, String> {
    let folded = fold(text);
    if let Some((tag, _)) = LANGUAGES.iter().find(|(_, names)| names.contains(&folded.as_str())) {
        return Ok((*tag).to_owned());
    }
    let (primary, region) = folded.split_once('_').unwrap_or((&folded, ""));
    let letters = |s: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_lowercase())
    };
    match region {
        _ if !letters(primary, 2..=3) => Err(format!("{:?} is not a language tag such as fr or en-GB", shown(text))),
        "" => Ok(primary.to_owned()),
        region if letters(region, 2..=2) => Ok(format!("{primary}-{}", region.to_ascii_uppercase())),
        _ => Err(format!("{:?} is not a language tag such as fr or en-GB", shown(text))),
    }
}

const LANGUAGES: &[(&str, &[&str])] = &[
    ("fr", &["francais", "francaise", "french", "fra", "fre"]),
    ("en", &["anglais", "anglaise", "english", "eng"]),
    ("de", &["allemand", "allemande", "german", "deutsch"]),
    ("es", &["espagnol", "espagnole", "spanish", "espanol"]),
    ("it", &["italien", "italienne", "italian", "italiano"]),
    ("nl", &["neerlandais", "neerlandaise", "dutch", "nederlands"]),
    ("pt", &["portugais", "portugaise", "portuguese", "portugues"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_without_case_accents_and_spaces() {
        for (text, folded) in [
            (" Société  Générale ", "societe_generale"),
            ("E-mail", "e_mail"),
            ("Ancien client", "ancien_client"),
            ("L’adresse", "l_adresse"),
            ("--", ""),
            ("ﬁn", "fin"),
        ] {
            assert_eq!(fold(text), folded);
        }
    }

    #[test]
    fn every_canonical_word_is_read_as_itself() {
        for word in ContactKind::ALL {
            assert_eq!(look_up(KIND, word.as_str()), Ok(Some(*word)));
        }
        for word in LegalForm::ALL.iter().filter(|w| **w != LegalForm::Unknown) {
            assert_eq!(look_up(LEGAL_FORM, word.as_str()), Ok(Some(*word)));
        }
        for word in Relationship::ALL {
            assert_eq!(look_up(RELATIONSHIP, word.as_str()), Ok(Some(*word)));
        }
        for word in SourceKind::ALL {
            assert_eq!(look_up(SOURCE_KIND, word.as_str()), Ok(Some(*word)));
        }
        for word in ActivityKind::ALL {
            assert_eq!(look_up(ACTIVITY, word.as_str()), Ok(Some(*word)));
        }
        for word in ConsentState::ALL {
            assert_eq!(look_up(CONSENT, word.as_str()), Ok(Some(*word)));
        }
        for word in Proof::ALL {
            assert_eq!(look_up(PROOF, word.as_str()), Ok(Some(*word)));
        }
        assert_eq!(look_up(TRACKING, "none"), Ok(None));
    }

    #[test]
    fn a_word_has_one_meaning_in_its_column() {
        fn once<T>(vocabulary: Vocabulary<T>) {
            let words: Vec<&str> = vocabulary.iter().flat_map(|(_, words)| *words).copied().collect();
            for (i, word) in words.iter().enumerate() {
                assert_eq!(fold(word), *word);
                assert!(!words[..i].contains(word), "{word}");
            }
        }
        once(YES_NO);
        once(REFUSAL);
        once(KIND);
        once(LEGAL_FORM);
        once(RELATIONSHIP);
        once(SOURCE_KIND);
        once(ACTIVITY);
        once(CONSENT);
        once(TRACKING);
        once(PROOF);
    }

    #[test]
    fn other_words_are_refused_with_the_known_ones() {
        assert_eq!(
            look_up(KIND, "Personne morale"),
            Err("\"Personne morale\" is not one of business, consumer".to_owned())
        );
        assert_eq!(look_up(RELATIONSHIP, "Ancien client"), Ok(Some(Relationship::FormerCustomer)));
        assert_eq!(look_up(YES_NO, "VRAI"), Ok(Some(true)));
    }

    #[test]
    fn languages_are_tags_or_names() {
        for (text, tag) in [("FR", "fr"), ("en_GB", "en-GB"), ("fr-ca", "fr-CA"), ("Français", "fr"), ("English", "en")]
        {
            assert_eq!(language(text).as_deref(), Ok(tag));
        }
        for text in ["f", "fr-", "martien", "12", "fr-FR-x", "é"] {
            assert_eq!(language(text).is_err(), text != "fr-", "{text}");
        }
    }
}
