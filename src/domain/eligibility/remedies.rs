//! What would change a block: for `ouinon explain` and the pages. None of it goes round a refusal.

use super::Reason;
use crate::domain::lang::Lang;

impl Reason {
    /// What would have to change for this reason to fall, in one or two sentences. Another reason
    /// may stand behind it.
    pub fn remedy(self, lang: Lang) -> &'static str {
        let (fr, en) = match self {
            Reason::DataInvalidAddress => (
                "Corriger l'adresse, si la personne l'a donnée autrement ; ne rien deviner.",
                "Correct the address, if the person gave it differently; guess nothing.",
            ),
            Reason::DataInvalidDate => {
                ("Corriger la date d'après le document d'origine.", "Correct the date from the original document.")
            }
            Reason::RegimeUnknown => (
                "Renseigner le pays de la personne, si ses règles sont connues ici.",
                "Record the person's country, if its rules are known here.",
            ),
            Reason::CampaignMissingIdentity => (
                "Indiquer dans le message le nom et l'adresse de l'expéditeur.",
                "State the sender's name and address in the message.",
            ),
            Reason::CampaignMissingOptout => {
                ("Mettre le lien de désinscription dans le message.", "Put the unsubscribe link in the message.")
            }
            Reason::CampaignMissingPostal => {
                ("Configurer l'adresse postale de l'expéditeur.", "Configure the sender's postal address.")
            }
            Reason::CampaignSectorBanned => (
                "Rien pour un particulier. Un professionnel enregistré comme tel peut être écrit.",
                "Nothing for a consumer. A professional recorded as such may be written to.",
            ),
            Reason::CampaignNotService => (
                "Retirer toute publicité du message, ou en faire une campagne de prospection.",
                "Remove all advertising from the message, or make it a marketing campaign.",
            ),
            Reason::SuppressedHash | Reason::SuppressedGlobal | Reason::SuppressedProduct => (
                "Un refus de la personne ne se lève que par elle : une inscription plus récente à ce produit, confirmée par double opt-in. Une entrée faite par l'opérateur se lève à la main, avec un motif écrit.",
                "A refusal by the person is lifted only by the person: a later subscription to this product, confirmed by double opt-in. An entry made by an operator is lifted by hand, with a written reason.",
            ),
            Reason::SuppressedDomain => (
                "Si l'organisation a refusé, seule une inscription plus récente de la personne, confirmée par double opt-in, vaut pour elle. Une entrée faite par l'opérateur se lève à la main, avec un motif écrit.",
                "If the organisation refused, only a later subscription of the person, confirmed by double opt-in, counts, for that person. An entry made by an operator is lifted by hand, with a written reason.",
            ),
            Reason::SuppressedComplaint => (
                "Rien d'automatique : un opérateur peut lever l'entrée à la main, avec un motif écrit, si la plainte était une erreur.",
                "Nothing automatic: an operator may lift the entry by hand, with a written reason, if the complaint was a mistake.",
            ),
            Reason::SuppressedHardBounce => (
                "Vérifier l'adresse avec la personne ; si la boîte existe, un opérateur lève l'entrée avec un motif écrit.",
                "Check the address with the person; if the mailbox exists, an operator lifts the entry with a written reason.",
            ),
            Reason::ServiceNoRelation => (
                "Enregistrer la relation si elle existe : client, ancien client ou compte.",
                "Record the relation if there is one: customer, former customer or account.",
            ),
            Reason::ConsentWithdrawn => (
                "Seule la personne peut revenir sur son refus : une inscription plus récente à ce produit, confirmée par double opt-in.",
                "Only the person can undo the refusal: a later subscription to this product, confirmed by double opt-in.",
            ),
            Reason::RetentionExpired => (
                "Un contact venant de la personne : clic, réponse, achat, connexion ou formulaire. Sinon, effacer la fiche.",
                "A contact coming from the person: click, reply, purchase, login or form. Otherwise erase the contact.",
            ),
            Reason::RetentionUnknown => (
                "Retrouver et enregistrer la date de collecte ou du dernier contact de la personne. Sinon, effacer la fiche.",
                "Find and record the date of collection or of the person's last contact. Otherwise erase the contact.",
            ),
            Reason::SourceUnknown => (
                "Retrouver et enregistrer d'où vient l'adresse. Sinon, effacer la fiche.",
                "Find and record where the address comes from. Otherwise erase the contact.",
            ),
            Reason::Art14NoticeMissing => (
                "Mettre dans le message l'information complète de l'article 14, avec la source.",
                "Put the full article 14 notice in the message, with the source.",
            ),
            Reason::InfoOverdue => (
                "Informer la personne autrement et l'enregistrer ; pour un professionnel en France, une campagne de repermission avec l'information complète convient.",
                "Inform the person by other means and record it; for a professional in France, a re-permission campaign with the full notice will do.",
            ),
            Reason::NotInformed => (
                "Enregistrer l'information si elle a été donnée ; pour un professionnel en France, une campagne de repermission avec l'information complète convient.",
                "Record the information if it was given; for a professional in France, a re-permission campaign with the full notice will do.",
            ),
            Reason::RepermissionCooldown => (
                "Attendre la fin du délai entre deux demandes.",
                "Wait until the silence between two questions is over.",
            ),
            Reason::PausedByPerson => (
                "Attendre la date que la personne a choisie ; elle seule peut la changer.",
                "Wait for the date that the person chose; only the person can change it.",
            ),
            Reason::Sunset => (
                "Tout contact venant de la personne, ou un autre réglage d'inactivité.",
                "Any contact coming from the person, or another inactivity setting.",
            ),
            Reason::NotProfessionRelated => (
                "Un sujet lié à la profession de la personne, ou son accord prouvé.",
                "A subject related to the person's profession, or their proven consent.",
            ),
            Reason::ConsentUnproven => (
                "Retrouver la preuve (qui, quand, comment, quel texte) et l'enregistrer, ou un double opt-in de la personne. Ne pas demander par courriel.",
                "Find the proof (who, when, how, which text) and record it, or a double opt-in by the person. Do not ask by email.",
            ),
            Reason::ConsentPending => (
                "La personne doit confirmer par le lien qu'elle a reçu.",
                "The person must confirm through the link they received.",
            ),
            Reason::ConsentPartnerUnnamed => (
                "Un accord qui nomme l'expéditeur, ou un double opt-in de la personne.",
                "A consent that names the sender, or a double opt-in by the person.",
            ),
            Reason::SoftOptinOtherEntity => (
                "Envoyer au nom de l'entité qui a vendu, ou l'accord prouvé de la personne.",
                "Send in the name of the entity that sold, or the person's proven consent.",
            ),
            Reason::SoftOptinNotSimilar => (
                "Une offre analogue à l'achat, ou l'accord prouvé de la personne.",
                "An offer similar to the purchase, or the person's proven consent.",
            ),
            Reason::SoftOptinNoNotice => (
                "L'accord prouvé de la personne ; offrir désormais le refus dès la collecte.",
                "The person's proven consent; from now on, offer the refusal at collection.",
            ),
            Reason::NoConsent => (
                "L'accord prouvé de la personne à ce produit, recueilli ailleurs que par courriel : demander un accord par courriel est déjà de la prospection.",
                "The person's proven consent to this product, collected otherwise than by email: to ask for consent by email is already marketing.",
            ),
        };
        lang.pick(fr, en)
    }
}
