//! What the columns of an old file mean, where nobody says: names that such files use, in French and
//! English, held against the values that stand there.
//!
//! A name alone proves nothing. A column is read as a field only when every value in it can be read so,
//! and a column that nobody reads but that speaks of refusals is never left out.

use jiff::tz::TimeZone;

use super::{
    columns::{ConsentPart, Field},
    countries,
    dates::{self, DateOrder, Order},
    vocabulary::{self as words, fold, look_up},
};
use crate::domain::{address::Address, contacts::ContactKind};

/// The fields that a column of this name may hold, the likeliest first. A consent column without a product
/// is about the product that the list is sorted for: its candidate is `consent`.
pub fn candidates(name: &str) -> &'static [&'static str] {
    let name = plain(name);
    if let Some((_, fields)) = NAMES.iter().find(|(names, _)| names.contains(&name.as_str())) {
        return fields;
    }
    if begins(&name, REFUSAL_STEMS) {
        return &["unsubscribed_at"];
    }
    if begins(&name, CONSENT_STEMS) { &["consent"] } else { &[] }
}

/// A name as it is compared: folded, `/` and `.` between its words too, `(e)` left out.
fn plain(name: &str) -> String {
    let name = fold(&name.replace(['.', '/'], " ").replace("(e)", ""));
    name.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

/// Whether a word of the name begins so.
fn begins(name: &str, stems: &[&str]) -> bool {
    let at_a_word = |stem: &&str| name.match_indices(*stem).any(|(at, _)| at == 0 || name.as_bytes()[at - 1] == b'_');
    stems.iter().any(at_a_word)
}

/// Words that a column of refusals has in its name, whatever else stands there.
const REFUSAL_STEMS: &[&str] = &[
    "desinscri",
    "desabonn",
    "unsub",
    "opt_out",
    "optout",
    "opted_out",
    "black",
    "blocklist",
    "liste_noire",
    "liste_rouge",
    "oppos",
    "ne_pas_contacter",
    "ne_plus",
    "do_not_",
    "dnc",
    "robinson",
    "stop_",
    "refus_",
    "retrait_du_consentement",
    "retrait_consentement",
    "npai",
    "bounce",
    "cleaned",
    "plainte",
    "complain",
    "spam",
];

/// Words that a column of consent has in its name: a no that stands there is a refusal.
const CONSENT_STEMS: &[&str] =
    &["optin", "opt_in", "consent", "newsletter", "abonn", "accepte_", "accepts_", "subscri", "inscrit"];

/// What a column says by its name of who is a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindName {
    /// Its words are kinds: professional, consumer.
    Words,
    /// A yes is a professional, a no a consumer.
    Business,
    /// A yes is a consumer.
    Consumer,
}

/// What a column of this name says of who is a consumer, if it is about nothing else.
pub fn kind_named(name: &str) -> Option<KindName> {
    let name = plain(name);
    let known = |names: &[&str]| names.contains(&name.as_str());
    if known(&[
        "professionnel",
        "professional",
        "pro",
        "is_business",
        "is_pro",
        "is_professional",
        "est_pro",
        "b2b",
        "btob",
    ]) {
        return Some(KindName::Business);
    }
    if known(&["particulier", "particuliers", "consumer", "is_consumer", "b2c", "btoc", "consommateur"]) {
        return Some(KindName::Consumer);
    }
    let words = [
        "kind",
        "type",
        "type_de_contact",
        "type_contact",
        "contact_type",
        "contact_kind",
        "type_client",
        "type_de_client",
        "client_type",
        "customer_type",
        "customer_group",
        "b2b_b2c",
        "btob_btoc",
        "pro_part",
        "pro_particulier",
        "typologie",
    ];
    known(&words).then_some(KindName::Words)
}

/// Whether a column of this name says in what relation people stand to the sender.
pub fn names_relationship(name: &str) -> bool {
    ["relationship", "relation", "statut_client", "type_de_relation"].contains(&plain(name).as_str())
}

/// Whether a value says by itself, in any column, that somebody is a consumer.
pub fn speaks_of_consumer(value: &str) -> bool {
    value.len() < 24
        && value.chars().next().is_some_and(|c| "bcgip".contains(c.to_ascii_lowercase()))
        && look_up(words::KIND, value) == Ok(Some(ContactKind::Consumer))
}

/// Whether a value can be read as this field; an empty one can.
pub fn reads(field: &Field, value: &str, tz: &TimeZone) -> bool {
    let value = value.trim();
    if value.is_empty() {
        return true;
    }
    let date = |text: &str| {
        let order = |order| dates::read(text, Order::Said(order), tz).is_ok();
        text.starts_with("0000-00-00")
            || text.eq_ignore_ascii_case("null")
            || order(DateOrder::Dmy)
            || order(DateOrder::Mdy)
    };
    match field {
        Field::Email => Address::parse(value).is_ok(),
        Field::Kind => look_up(words::KIND, value).is_ok(),
        Field::LegalForm => look_up(words::LEGAL_FORM, value).is_ok(),
        Field::Relationship => look_up(words::RELATIONSHIP, value).is_ok(),
        Field::SourceKind => look_up(words::SOURCE_KIND, value).is_ok(),
        Field::LastActivity => look_up(words::ACTIVITY, value).is_ok(),
        Field::Tracking => look_up(words::TRACKING, value).is_ok(),
        Field::Country => countries::code(value).is_some(),
        Field::Language => words::language(value).is_ok(),
        Field::TimeZone => TimeZone::get(value).is_ok(),
        Field::Informed => look_up(words::YES_NO, value).is_ok() || date(value),
        Field::Similar | Field::SameEntity | Field::RefusalOffered => look_up(words::YES_NO, value).is_ok(),
        Field::UnsubscribedAt => look_up(words::REFUSAL, value).is_ok() || date(value),
        Field::CollectedAt | Field::RelationshipEnd | Field::LastActivityAt => date(value),
        Field::Consent(_, ConsentPart::State) => look_up(words::CONSENT, value).is_ok(),
        Field::Consent(_, ConsentPart::At) => date(value),
        Field::Consent(_, ConsentPart::Proof) => look_up(words::PROOF, value).is_ok(),
        Field::FirstName | Field::LastName | Field::Company | Field::JobTitle | Field::Source => true,
        Field::Consent(_, ConsentPart::Evidence) => true,
    }
}

/// Whether a value says by itself, in any column, that somebody wants no mail.
pub fn speaks_of_refusal(value: &str) -> bool {
    // Words that mean nothing else; `non` or `x` mean anything.
    value.len() < 40
        && value.chars().next().is_some_and(|c| REFUSAL_STARTS.contains(&c.to_ascii_lowercase()) || !c.is_ascii())
        && {
            let word = fold(value);
            REFUSALS.contains(&word.as_str())
        }
}

/// Whether a note of some length says so: `a demandé à ne plus être contacté`. For columns that are read as
/// nothing else; where in doubt, it does.
pub fn tells_of_refusal(note: &str) -> bool {
    let told = || {
        let note = fold(note);
        TOLD.iter().any(|words| note.contains(words)) || note.split(|c: char| !c.is_alphanumeric()).any(|w| w == "stop")
    };
    note.len() > 3 && note.len() < 2000 && told()
}

const TOLD: [&str; 17] = [
    "desinscri",
    "desabonn",
    "non_abonne",
    "non_inscrit",
    "unsubscri",
    "opt_out",
    "opted_out",
    "ne_plus_contact",
    "ne_plus_etre",
    "ne_plus_recevoir",
    "plus_de_mail",
    "ne_pas_contact",
    "do_not_contact",
    "do_not_email",
    "droit_d_opposition",
    "s_oppose",
    "not_to_be_contacted",
];

const REFUSAL_STARTS: [char; 10] = ['d', 'u', 'o', 's', 'r', 'b', 'n', 'p', 'h', 'c'];

const REFUSALS: [&str; 34] = [
    "non_abonne",
    "non_abonnee",
    "non_inscrit",
    "non_inscrite",
    "plainte",
    "spam",
    "complaint",
    "complained",
    "bounce",
    "bounced",
    "hard_bounce",
    "npai",
    "desinscrit",
    "desinscrite",
    "desabonne",
    "desabonnee",
    "desinscription",
    "desabonnement",
    "unsubscribed",
    "unsubscribe",
    "opt_out",
    "optout",
    "opted_out",
    "stop",
    "stop_mail",
    "stop_pub",
    "oppose",
    "opposee",
    "opposition",
    "refus",
    "blackliste",
    "blacklist",
    "blacklisted",
    "ne_plus_contacter",
];

/// Names of columns, folded, and the fields they may hold.
const NAMES: &[(&[&str], &[&str])] = &[
    (
        &[
            "e_mail",
            "mail",
            "courriel",
            "adresse_email",
            "adresse_e_mail",
            "adresse_mail",
            "adresse_electronique",
            "email_address",
            "e_mail_address",
            "email_pro",
            "email_professionnel",
            "mail_pro",
            "emails",
            "mel",
            "adresse",
            "address",
        ],
        &["email"],
    ),
    (&["prenom", "prenoms", "firstname", "first", "given_name", "givenname"], &["first_name"]),
    (&["nom", "nom_de_famille", "lastname", "last", "surname", "family_name"], &["last_name"]),
    (
        &[
            "societe",
            "entreprise",
            "raison_sociale",
            "organisation",
            "organization",
            "company_name",
            "organisme",
            "structure",
            "etablissement",
        ],
        &["company"],
    ),
    (&["fonction", "poste", "job", "role", "jobtitle", "position", "intitule_du_poste"], &["job_title"]),
    (&["titre", "title"], &["job_title"]),
    (&["pays", "country_code", "code_pays", "pays_iso"], &["country"]),
    (&["langue", "lang", "locale", "language_code"], &["language"]),
    (
        &[
            "type",
            "b2b",
            "b2b_b2c",
            "categorie",
            "segment",
            "contact_kind",
            "type_de_contact",
            "type_contact",
            "type_client",
            "type_de_client",
            "client_type",
            "contact_type",
            "customer_type",
            "customer_group",
            "btob",
            "btob_btoc",
            "typologie",
            "marche",
            "cible",
            "qualite",
            "profil",
            "pro_part",
            "pro_particulier",
            "nature",
        ],
        &["kind", "relationship"],
    ),
    (&["forme_juridique", "statut_juridique"], &["legal_form"]),
    (
        &["relation", "statut", "status", "etat", "stage", "statut_client", "statut_commercial", "client"],
        &["relationship", "unsubscribed_at", "kind"],
    ),
    (&["origine", "provenance", "origin", "lead_source", "source_du_contact", "canal"], &["source_kind", "source"]),
    (&["type_de_source", "source_type", "type_source"], &["source_kind"]),
    (
        &[
            "date_de_collecte",
            "date_collecte",
            "collecte_le",
            "collecte",
            "collected",
            "collection_date",
            "inscrit_le",
            "date_inscription",
            "date_d_inscription",
            "inscription",
            "created_at",
            "created",
            "creation_date",
            "date_de_creation",
            "date_creation",
            "cree_le",
            "date_d_ajout",
            "date_ajout",
            "ajoute_le",
            "optin_date",
            "opt_in_date",
            "date_optin",
            "date_opt_in",
            "subscribed_at",
            "subscription_date",
            "signup_date",
            "date_entree",
            "date_d_entree",
            "date",
        ],
        &["collected_at"],
    ),
    (&["informe", "informee", "information", "info_given", "rgpd", "mention_rgpd"], &["informed"]),
    (&["produit_analogue", "analogue", "similar_products"], &["similar"]),
    (&["meme_entite", "meme_societe"], &["same_entity"]),
    (&["refus_propose", "opposition_proposee", "softoptin_notice"], &["refusal_offered"]),
    (
        &["fin_de_relation", "fin_relation", "date_fin", "fin_de_contrat", "date_de_resiliation", "resilie_le"],
        &["relationship_end"],
    ),
    (&["derniere_activite", "derniere_action", "last_action", "activite"], &["last_activity", "last_activity_at"]),
    (
        &[
            "date_derniere_activite",
            "date_de_derniere_activite",
            "dernier_contact",
            "date_dernier_contact",
            "date_du_dernier_contact",
            "last_contact",
            "last_contact_at",
            "last_seen",
        ],
        &["last_activity_at"],
    ),
    (&["stop", "refus", "refuse_le", "date_refus", "hasoptedoutofemail"], &["unsubscribed_at"]),
    (&["accord"], &["consent"]),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_written_as_they_are_compared_and_lead_to_fields() {
        let products = ["crm".to_owned()];
        let mut seen = std::collections::BTreeSet::new();
        for (names, fields) in NAMES {
            for name in *names {
                assert_eq!(fold(name), *name);
                assert!(seen.insert(*name), "{name} stands twice");
                assert!(Field::named(name, &products).is_err(), "{name} is canonical already");
            }
            for field in *fields {
                assert!(*field == "consent" || Field::named(field, &products).is_ok(), "{field}");
            }
        }
        for (name, field) in [
            ("Prénom", "first_name"),
            ("Date d'inscription", "collected_at"),
            ("E-mail", "email"),
            ("Désinscrit le", "unsubscribed_at"),
            ("Raison sociale", "company"),
        ] {
            assert_eq!(candidates(name), [field], "{name}");
        }
        assert!(candidates("Téléphone").is_empty());
        for refusing in [
            "Désinscrit(e)",
            "Liste noire",
            "Liste d'opposition",
            "Stop email",
            "Ne pas contacter",
            "DNC",
            "Unsubscribed from all email",
            "EMAIL_BLACKLISTED",
            "UNSUB_TIME",
            "date_unsub",
            "Retrait du consentement",
            "NPAI",
            "Hard bounce",
            "Plainte",
            "Robinson",
        ] {
            assert_eq!(candidates(refusing), ["unsubscribed_at"], "{refusing}");
        }
        for consenting in ["OPTIN_EMAIL", "Accepte la prospection", "Consentement RGPD", "Newsletter pro"] {
            assert_eq!(candidates(consenting), ["consent"], "{consenting}");
        }
        assert_eq!(candidates("Refus proposé"), ["refusal_offered"], "the offer to refuse is no refusal");
    }

    #[test]
    fn a_consumer_is_known_by_names_and_words() {
        for (name, kind) in [
            ("Type de client", Some(KindName::Words)),
            ("B2B/B2C", Some(KindName::Words)),
            ("Pro/Part", Some(KindName::Words)),
            ("Is_business", Some(KindName::Business)),
            ("Particulier", Some(KindName::Consumer)),
            ("Ville", None),
        ] {
            assert_eq!(kind_named(name), kind, "{name}");
        }
        for word in ["particulier", "B2C", "Part.", "Partic.", "grand public", "personne physique", "individuel"] {
            assert!(speaks_of_consumer(word), "{word}");
        }
        assert!(!speaks_of_consumer("professionnel") && !speaks_of_consumer("Paris"));
    }

    #[test]
    fn a_note_tells_of_a_refusal() {
        for note in [
            "désabonné le 3 mars 2025",
            "a demandé à ne plus être contacté",
            "Ne plus contacter !",
            "m'a dit STOP",
            "droit d'opposition exercé",
            "désinscrit le 12/03/2025",
        ] {
            assert!(tells_of_refusal(note), "{note}");
        }
        assert!(!tells_of_refusal("vu au salon de Lyon") && !tells_of_refusal("Christopher"));
    }

    #[test]
    fn values_prove_what_a_name_suggests() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        for (field, value, expected) in [
            (Field::Relationship, "Ancien client", true),
            (Field::Relationship, "désabonné", false),
            (Field::UnsubscribedAt, "désabonné", true),
            (Field::UnsubscribedAt, "abonné", true),
            (Field::UnsubscribedAt, "12/03/2024", true),
            (Field::UnsubscribedAt, "peut-être", false),
            (Field::CollectedAt, "45734", true),
            (Field::CollectedAt, "hier", false),
            (Field::Email, "a@b.example", true),
            (Field::Email, "12 rue des Lilas", false),
            (Field::Country, "France", true),
        ] {
            assert_eq!(reads(&field, value, &paris), expected, "{field} {value}");
        }
        for word in REFUSALS {
            assert!(speaks_of_refusal(word), "{word}");
        }
        assert!(speaks_of_refusal("Désabonné") && speaks_of_refusal("STOP"));
        assert!(!speaks_of_refusal("non") && !speaks_of_refusal("Paris"));
    }

    proptest! {
        #[test]
        fn no_name_and_no_value_panics(name in ".{0,24}", value in ".{0,48}") {
            let paris = TimeZone::get("Europe/Paris").unwrap();
            for field in candidates(&name) {
                if let Ok(field) = Field::named(field, &[]) {
                    reads(&field, &value, &paris);
                }
            }
            speaks_of_refusal(&value);
        }
    }
}
