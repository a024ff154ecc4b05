//! Each basis and reason in one sentence that a marketer or a recipient understands.

use super::{Basis, Reason};
use crate::domain::lang::Lang;

impl Basis {
    /// Why the message may be sent, in one sentence.
    pub fn sentence(self, lang: Lang) -> &'static str {
        let (fr, en) = match self {
            Basis::Consent => (
                "La personne a dit oui à ce produit, et la preuve en est conservée.",
                "The person said yes to this product, and the proof is kept.",
            ),
            Basis::SoftOptIn => (
                "C'est un client de la même entité, pour une offre analogue, à qui la possibilité de refuser a été donnée dès la collecte.",
                "This is a customer of the same entity, for a similar offer, who could refuse from the start.",
            ),
            Basis::LegitimateInterestB2b => (
                "La personne est sollicitée comme professionnelle, au sujet de sa profession, et peut refuser à tout moment.",
                "The person is written to as a professional, about their profession, and can refuse at any time.",
            ),
            Basis::GenericAddress => (
                "C'est l'adresse générique d'une entreprise, qui peut refuser à tout moment.",
                "This is a company's role address, and the company can refuse at any time.",
            ),
            Basis::CorporateSubscriber => (
                "C'est l'adresse d'une société britannique, qui peut refuser à tout moment.",
                "This is the address of a British company, which can refuse at any time.",
            ),
            Basis::ImpliedConsent => (
                "La loi canadienne admet ici un consentement tacite : achat ou demande récents, ou adresse professionnelle publiée ou remise.",
                "Canadian law accepts implied consent here: a recent purchase or inquiry, or a business address published or handed over.",
            ),
            Basis::OptOutUs => (
                "La loi des États-Unis permet d'écrire tant que la personne n'a pas refusé.",
                "United States law allows mail until the person refuses.",
            ),
            Basis::Service => (
                "C'est un message de service, sans publicité, lié à la relation de la personne avec l'expéditeur.",
                "This is a service message without advertising, part of the person's relation with the sender.",
            ),
        };
        lang.pick(fr, en)
    }
}

impl Reason {
    /// Why the message must not be sent, in one sentence.
    pub fn sentence(self, lang: Lang) -> &'static str {
        let (fr, en) = match self {
            Reason::DataInvalidAddress => (
                "Ce qui est enregistré n'est pas une adresse électronique.",
                "What is recorded is not an email address.",
            ),
            Reason::DataInvalidDate => (
                "Une date de la fiche est illisible, ou la date de collecte est dans le futur.",
                "A date of the contact cannot be read, or the collection date lies in the future.",
            ),
            Reason::RegimeUnknown => (
                "Le pays de la personne est inconnu ou n'a pas de règles ici ; dans le doute, rien n'est envoyé.",
                "The person's country is unknown or has no rules here; in doubt, nothing is sent.",
            ),
            Reason::CampaignMissingIdentity => {
                ("Le message ne dit pas qui l'envoie.", "The message does not say who sends it.")
            }
            Reason::CampaignMissingOptout => (
                "Le message n'offre aucun moyen de ne plus en recevoir.",
                "The message offers no way to stop receiving more.",
            ),
            Reason::CampaignMissingPostal => (
                "Le message ne donne pas l'adresse postale que la loi de ce pays exige.",
                "The message lacks the postal address that the law of this country requires.",
            ),
            Reason::CampaignSectorBanned => (
                "La prospection des particuliers par courriel est interdite dans ce secteur, même avec leur accord.",
                "Prospecting consumers by email is forbidden in this sector, even with their consent.",
            ),
            Reason::CampaignNotService => (
                "Le message contient de la publicité : ce n'est pas un message de service.",
                "The message holds advertising: it is not a service message.",
            ),
            Reason::SuppressedHash => (
                "Cette adresse est sur la liste d'opposition, conservée sous forme d'empreinte.",
                "This address is on the suppression list, kept there as a keyed hash.",
            ),
            Reason::SuppressedGlobal => {
                ("La personne a refusé toute prospection.", "The person refused all marketing mail.")
            }
            Reason::SuppressedComplaint => {
                ("La personne a signalé un message comme indésirable.", "The person reported a message as spam.")
            }
            Reason::SuppressedDomain => (
                "L'organisation de cette adresse a refusé tout envoi à son domaine.",
                "The organisation of this address refused all mail to its domain.",
            ),
            Reason::SuppressedProduct => {
                ("La personne a refusé les messages sur ce produit.", "The person refused mail about this product.")
            }
            Reason::SuppressedHardBounce => (
                "La boîte n'existe pas : un envoi précédent a été refusé définitivement.",
                "The mailbox does not exist: an earlier message was refused for good.",
            ),
            Reason::ServiceNoRelation => (
                "La personne n'est pas cliente : un message de service n'a pas d'objet.",
                "The person is not a customer: there is no service to write about.",
            ),
            Reason::ConsentWithdrawn => (
                "La personne a dit non à ce produit, ou est revenue sur son accord.",
                "The person said no to this product, or took back their yes.",
            ),
            Reason::RetentionExpired => (
                "La personne ne s'est pas manifestée depuis trop longtemps : la durée de conservation est passée.",
                "The person has not been in touch for too long: the retention period is over.",
            ),
            Reason::RetentionUnknown => (
                "Aucune date n'est connue : rien ne montre que la durée de conservation est respectée.",
                "No date is known: nothing shows that the retention period is kept.",
            ),
            Reason::SourceUnknown => (
                "Personne ne sait d'où vient cette adresse, et la personne a le droit de le savoir.",
                "Nobody knows where this address comes from, and the person has a right to know.",
            ),
            Reason::Art14NoticeMissing => (
                "L'adresse n'a pas été collectée auprès de la personne, et le message ne dit pas d'où elle vient ni quels sont ses droits.",
                "The address was not collected from the person, and the message does not state its source and the person's rights.",
            ),
            Reason::InfoOverdue => (
                "L'adresse a été obtenue d'un tiers il y a plus d'un mois sans que la personne en soit informée.",
                "The address was obtained from others more than a month ago and the person was not told.",
            ),
            Reason::NotInformed => (
                "La personne n'a pas été informée, à la collecte, de l'usage de son adresse.",
                "The person was not told at collection what the address would be used for.",
            ),
            Reason::RepermissionCooldown => (
                "La question a déjà été posée à cette personne il y a peu.",
                "This person was asked the same question not long ago.",
            ),
            Reason::PausedByPerson => (
                "La personne a demandé à ne rien recevoir pendant un temps.",
                "The person asked to receive nothing for a while.",
            ),
            Reason::Sunset => (
                "L'expéditeur n'écrit plus aux personnes inactives depuis longtemps ; ce n'est pas un refus de leur part.",
                "The sender no longer writes to people who have long been inactive; they did not refuse.",
            ),
            Reason::NotProfessionRelated => (
                "Le sujet n'est pas lié à la profession de la personne, qui n'a pas donné son accord.",
                "The subject is not related to the person's profession, and they have not agreed.",
            ),
            Reason::ConsentUnproven => (
                "Un accord est enregistré, mais sans preuve recevable.",
                "A yes is recorded, but without a proof that counts.",
            ),
            Reason::ConsentPending => (
                "La personne n'a pas encore confirmé son inscription.",
                "The person has not confirmed the subscription yet.",
            ),
            Reason::ConsentPartnerUnnamed => (
                "L'accord a été recueilli par un partenaire qui ne nommait pas l'expéditeur.",
                "The consent was collected by a partner who did not name the sender.",
            ),
            Reason::SoftOptinOtherEntity => (
                "La personne est cliente d'une autre entité que celle qui envoie.",
                "The person is a customer of another entity than the one that sends.",
            ),
            Reason::SoftOptinNotSimilar => (
                "L'offre n'est pas analogue à ce que la personne a acheté.",
                "The offer is not similar to what the person bought.",
            ),
            Reason::SoftOptinNoNotice => (
                "La personne n'a pas pu refuser la prospection au moment de la collecte.",
                "The person could not refuse marketing when the address was collected.",
            ),
            Reason::NoConsent => (
                "La personne n'a pas donné son accord, et aucune règle de son pays n'en dispense.",
                "The person has not agreed, and no rule of their country does without.",
            ),
        };
        lang.pick(fr, en)
    }
}
