//! What a missing fact would change: the decision run again with the fact supplied.
//!
//! It says what is worth looking for in drawers and contracts. Nobody may write down a fact that is not
//! so, and nothing here does: a supplied fact lives as long as the estimate.

use jiff::civil::Date;

use crate::domain::{
    consents::{ConsentEvent, ConsentState, Proof},
    contacts::{ContactKind, SourceKind},
    dates::{Dated, When},
    eligibility::Person,
    lang::Lang,
    words::words,
};

words! {
    /// A fact that a list may lack.
    Fact {
        /// When the address was collected, or the person last made contact (RET-1).
        Date = "date",
        /// Where the address comes from (GD-3).
        Source = "source",
        /// The country, and with it the law (REG-1).
        Country = "country",
        /// Whether the person is written to as a professional.
        Kind = "kind",
        /// That the person was informed (GD-3).
        Information = "information",
        /// The proof of a consent that is only claimed (GD-2).
        Proof = "proof",
    }
}

impl Fact {
    /// Whether nobody has stated this fact of the person. `kind_stated`: some line says consumer or business.
    pub fn is_missing(self, person: &Person, kind_stated: bool, product: &str) -> bool {
        match self {
            Fact::Date => [person.collected_at, person.relationship_end, person.last_activity_at]
                .iter()
                .all(|d| d.known().is_none()),
            Fact::Source => person.source == SourceKind::Unknown,
            Fact::Country => person.regime.is_empty(),
            Fact::Kind => person.kind == ContactKind::Consumer && !kind_stated,
            Fact::Information => !person.informed,
            Fact::Proof => person.consents.iter().any(|event| claims(event, product)),
        }
    }

    /// The person as they would be known if the fact were: the most usual value of it.
    pub fn supply(self, person: &mut Person, product: &str, today: Date) {
        match self {
            Fact::Date => person.collected_at = Dated::At(When::Date(today)),
            Fact::Source => person.source = SourceKind::DirectForm,
            Fact::Country => person.regime = "FR".to_owned(),
            Fact::Kind => person.kind = ContactKind::Business,
            Fact::Information => person.informed = true,
            Fact::Proof => {
                let midnight = today.to_zoned(jiff::tz::TimeZone::UTC).map(|z| z.timestamp()).unwrap_or_default();
                for event in person.consents.iter_mut().filter(|event| claims(event, product)) {
                    event.proof = Proof::Full;
                    event.at = event.at.or(Some(midnight));
                }
            }
        }
    }

    /// What would have to be shown, to follow "if you can show …".
    pub fn to_be_shown(self, lang: Lang) -> &'static str {
        match self {
            Fact::Date => lang.pick(
                "la date de collecte, ou du dernier contact venu de la personne (dans la durée de conservation),",
                "the date of collection, or of the last contact from the person (within the retention period),",
            ),
            Fact::Source => lang.pick("l'origine (un formulaire, par exemple)", "the source (a form, for example)"),
            Fact::Country => lang.pick("le pays (la France, par exemple)", "the country (France, for example)"),
            Fact::Kind => lang.pick("la qualité de professionnel", "that they are professionals"),
            Fact::Information => lang.pick("que la personne a été informée", "that the person was informed"),
            Fact::Proof => lang.pick("la preuve de l'accord", "the proof of the consent"),
        }
    }
}

fn claims(event: &ConsentEvent, product: &str) -> bool {
    event.state == ConsentState::Granted
        && event.product.as_deref() == Some(product)
        && !matches!(event.proof, Proof::Full | Proof::Doi | Proof::PartnerNamed)
}
