//! The sentences that every message carries, in French and English.

use super::{Frozen, Injected};
use crate::domain::{
    campaigns::CampaignKind,
    contacts::SourceKind,
    eligibility::Basis,
    lang::{Lang, french_of, french_that},
};

/// Who sends; advertising is named as such (FR-4, FR-9, US-2).
pub(super) fn identity(frozen: &Frozen, lang: Lang) -> String {
    let sender = sender(frozen);
    let behalf = match frozen.controller.name.trim() {
        name if name.is_empty() || name == frozen.sender_name => String::new(),
        name => lang.pick(format!(", pour {name}"), format!(", on behalf of {name}")),
    };
    let (email, of) = (&frozen.sender_email, french_of(sender));
    match frozen.kind {
        CampaignKind::Service => {
            lang.pick(format!("Message {of} ({email}){behalf}."), format!("Message from {sender} ({email}){behalf}."))
        }
        CampaignKind::Marketing | CampaignKind::Repermission => lang.pick(
            format!("Message publicitaire {of} ({email}){behalf}."),
            format!("Advertising message from {sender} ({email}){behalf}."),
        ),
    }
}

fn sender(frozen: &Frozen) -> &str {
    if frozen.sender_name.is_empty() { &frozen.sender_email } else { &frozen.sender_name }
}

/// Why the person gets this message: the basis, in one sentence that names the product.
pub(super) fn reason(frozen: &Frozen, basis: Basis, lang: Lang) -> String {
    let (sender, product) = (sender(frozen), &frozen.product_name);
    match basis {
        Basis::Consent => lang.pick(
            format!("Vous recevez ce message parce que vous avez accepté de recevoir par e-mail des informations sur {product}."),
            format!("You receive this message because you agreed to be sent information about {product} by email."),
        ),
        Basis::SoftOptIn => lang.pick(
            format!("Vous recevez ce message parce que vous êtes client {} et {} est semblable à ce que vous avez acheté.", french_of(sender), french_that(product)),
            format!("You receive this message because you are a customer of {sender} and {product} is similar to what you bought."),
        ),
        Basis::LegitimateInterestB2b => lang.pick(
            format!("Vous recevez ce message à titre professionnel, parce {} se rapporte à votre métier (intérêt légitime).", french_that(product)),
            format!("You receive this message as a professional, because {product} relates to your work (legitimate interest)."),
        ),
        Basis::GenericAddress => lang.pick(
            format!("Vous recevez ce message au sujet de {product} parce que cette adresse est l'adresse générale de votre organisation."),
            format!("You receive this message about {product} because this is the general address of your organisation."),
        ),
        Basis::CorporateSubscriber => lang.pick(
            format!("Vous recevez ce message au sujet de {product} parce que cette adresse est celle d'une société."),
            format!("You receive this message about {product} because this is the address of a company."),
        ),
        Basis::ImpliedConsent => lang.pick(
            format!("Vous recevez ce message au sujet de {product} en raison de votre relation avec {sender} ou de votre activité (consentement tacite)."),
            format!("You receive this message about {product} because of your relationship with {sender} or your business role (implied consent)."),
        ),
        Basis::OptOutUs => lang.pick(
            format!("Vous recevez cette publicité pour {product} parce que vous ne l'avez pas refusée ; vous pouvez le faire ci-dessous."),
            format!("You receive this advertisement for {product} because you have not opted out; you can do so below."),
        ),
        Basis::Service => lang.pick(
            format!("Vous recevez ce message de service en raison de votre relation avec {sender} au sujet de {product}."),
            format!("You receive this service message because of your relationship with {sender} about {product}."),
        ),
    }
}

/// Where the address comes from (GDPR 14(2)(f)).
pub(super) fn source(injected: &Injected<'_>, lang: Lang) -> String {
    let words = source_in_words(injected.source, injected.source_kind, lang);
    match injected.collected_at {
        Some(date) => lang.pick(
            format!("Source de votre adresse : {words} (recueillie le {}).", date.strftime("%d/%m/%Y")),
            format!("Source of your address: {words} (collected on {date})."),
        ),
        None => lang.pick(format!("Source de votre adresse : {words}."), format!("Source of your address: {words}.")),
    }
}

/// Where an address comes from: in the words of the import, else by its kind.
pub(super) fn source_in_words(words: Option<&str>, kind: SourceKind, lang: Lang) -> String {
    let words = words.map(str::trim).filter(|s| !s.is_empty());
    words.map_or_else(|| kind_of_source(kind, lang).to_owned(), str::to_owned)
}

fn kind_of_source(kind: SourceKind, lang: Lang) -> &'static str {
    match kind {
        SourceKind::DirectForm => lang.pick("un formulaire que vous avez rempli", "a form that you filled in"),
        SourceKind::Purchase => lang.pick("un de vos achats", "one of your purchases"),
        SourceKind::BusinessCard => lang.pick("votre carte de visite", "your business card"),
        SourceKind::Event => lang.pick("une rencontre lors d'un événement", "a meeting at an event"),
        SourceKind::Partner => lang.pick("un partenaire", "a partner"),
        SourceKind::PurchasedList => lang.pick("une liste achetée", "a purchased list"),
        SourceKind::PublicSource => lang.pick("une source publique", "a public source"),
        SourceKind::Unknown => lang.pick("inconnue", "unknown"),
    }
}

/// The right to object, said apart from everything else (GDPR 21(4)).
pub(super) fn right_to_object(frozen: &Frozen, lang: Lang) -> String {
    let contact = rights_contact(frozen);
    lang.pick(
        format!("Vous pouvez à tout moment vous opposer, sans frais ni motif, à l'utilisation de vos données pour la prospection : par le lien ci-dessus ou auprès de {contact}."),
        format!("You can object at any time, free of charge and without giving a reason, to the use of your data for direct marketing: by the link above or by writing to {contact}."),
    )
}

fn rights_contact(frozen: &Frozen) -> &str {
    frozen.controller.contact.as_deref().unwrap_or(&frozen.sender_email)
}

/// The notice of articles 13 and 14, point by point (GD-3); the source is given apart.
pub(super) fn notice(frozen: &Frozen, basis: Basis, country: Option<&str>, lang: Lang) -> Vec<(&'static str, String)> {
    let controller = match frozen.controller.name.trim() {
        "" => sender(frozen),
        name => name,
    };
    let address = frozen.controller.postal_address.as_deref().map(one_line).filter(|a| !a.is_empty());
    let who = address.map_or_else(|| controller.to_owned(), |address| format!("{controller}, {address}"));
    let product = &frozen.product_name;
    let contact = rights_contact(frozen);
    let months = frozen.controller.retention_months.unwrap_or(36);
    vec![
        (lang.pick("Responsable du traitement", "Controller"), format!("{who} ({contact})")),
        (
            lang.pick("Finalité", "Purpose"),
            lang.pick(
                format!("vous informer par e-mail sur {product}"),
                format!("to inform you by email about {product}"),
            ),
        ),
        (lang.pick("Base légale", "Legal basis"), legal_basis(basis, lang).to_owned()),
        (
            lang.pick("Données", "Data"),
            lang.pick(
                "adresse e-mail et, s'ils sont connus, nom, société, fonction, pays et langue".to_owned(),
                "email address and, where known, name, company, job title, country and language".to_owned(),
            ),
        ),
        (
            lang.pick("Destinataires", "Recipients"),
            lang.pick(
                "nos équipes et les prestataires qui acheminent nos messages".to_owned(),
                "our staff and the providers that carry our messages".to_owned(),
            ),
        ),
        (
            lang.pick("Durée de conservation", "Retention"),
            lang.pick(
                format!("{months} mois après votre dernier contact ; votre refus est gardé pour être respecté"),
                format!("{months} months after your last contact; a refusal is kept so that it is respected"),
            ),
        ),
        (
            lang.pick("Vos droits", "Your rights"),
            lang.pick(
                format!(
                    "accès, rectification, effacement, limitation, opposition{} : {contact} ; nous répondons dans un délai d'un mois",
                    consent_rights(basis, lang)
                ),
                format!(
                    "access, rectification, erasure, restriction, objection{}: {contact}; we answer within one month",
                    consent_rights(basis, lang)
                ),
            ),
        ),
        (lang.pick("Réclamation", "Complaints"), authority(country, lang).to_owned()),
    ]
}

fn legal_basis(basis: Basis, lang: Lang) -> &'static str {
    match basis {
        Basis::Consent | Basis::ImpliedConsent => lang.pick("votre consentement", "your consent"),
        Basis::SoftOptIn => lang.pick(
            "notre intérêt légitime à informer nos clients de produits semblables",
            "our legitimate interest in telling customers about similar products",
        ),
        Basis::LegitimateInterestB2b | Basis::GenericAddress | Basis::CorporateSubscriber | Basis::OptOutUs => lang
            .pick(
                "notre intérêt légitime à faire connaître nos offres aux professionnels",
                "our legitimate interest in making our offers known",
            ),
        Basis::Service => {
            lang.pick("l'exécution de notre contrat avec vous", "the performance of our contract with you")
        }
    }
}

fn consent_rights(basis: Basis, lang: Lang) -> &'static str {
    match basis {
        Basis::Consent => lang.pick(
            ", portabilité, retrait du consentement à tout moment",
            ", portability, withdrawal of consent at any time",
        ),
        _ => "",
    }
}

/// Where one complains, by the person's country.
fn authority(country: Option<&str>, lang: Lang) -> &'static str {
    match country.map(str::to_ascii_uppercase).as_deref() {
        Some("FR") => lang.pick("auprès de la CNIL (www.cnil.fr)", "with the CNIL (www.cnil.fr)"),
        Some("GB" | "UK") => lang.pick("auprès de l'ICO (ico.org.uk)", "with the ICO (ico.org.uk)"),
        _ => lang.pick(
            "auprès de l'autorité de protection des données de votre pays",
            "with the data protection authority of your country",
        ),
    }
}

/// A postal address on one line.
pub(super) fn one_line(address: &str) -> String {
    address.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(", ")
}
