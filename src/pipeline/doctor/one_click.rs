//! One-click from end to end: a message is made, its own header read, its link posted to.

use super::{Both, Check, Notes, Status, both, http, service};
use crate::{
    app::App,
    domain::{address::Address, campaign_file::CampaignFile, eligibility::Basis},
    mail::{dkim::Signer, dkim_check, reading},
    pipeline::{
        compile::Compiled,
        deliver::prepare::{self, Copy, Permit},
        explain,
    },
    store::products::Product,
};

const ONE_CLICK: &str = "one_click";
/// What our service answers to a one-click POST of a link that changes nothing.
const CHANGES_NOTHING: &str = "nothing was changed";

impl Notes {
    /// Makes a message, reads its own header as a mailbox does, and posts to it in both forms; the link
    /// is that of a copy which changes nothing (OC-1 to OC-5).
    pub(super) async fn one_click(&mut self, app: Option<&App>, domain: &str, about: &str, signer: Option<&Signer>) {
        let failed = |check: &Check| check.id == service::READY && check.status != Status::Ok;
        if self.checks.iter().any(failed) {
            return self.skipped(ONE_CLICK, about, both("le service ne répond pas", "the service does not answer"));
        }
        let Some(app) = app else {
            return self.skipped(
                ONE_CLICK,
                about,
                both("sans base ni clés, aucun message ne se fait", "without database and keys no message can be made"),
            );
        };
        let link = match message_from(app, domain).map(|bytes| one_click_of(&bytes, signer)) {
            Ok(Ok(link)) => link,
            Ok(Err((fr, en))) => {
                self.error(
                    ONE_CLICK,
                    about,
                    both(fr, en),
                    both("c'est une faute du programme : signalez-la", "this is a fault of the program: report it"),
                );
                return;
            }
            Err(error) => {
                self.error(
                    ONE_CLICK,
                    about,
                    both(error.clone(), error),
                    both("corrigez ce réglage, puis relancez doctor", "mend this setting, then run doctor again"),
                );
                return;
            }
        };
        let field = "List-Unsubscribe=One-Click";
        let form =
            "--ouinon\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--ouinon--\r\n";
        for (kind, body) in
            [("application/x-www-form-urlencoded", field), ("multipart/form-data; boundary=ouinon", form)]
        {
            let (fr, en) = match http::post(&link, kind, body).await {
                Ok(a) if a.status == 200 && a.body.contains(CHANGES_NOTHING) && !a.cookie => continue,
                Ok(a) if a.location.is_some() || (300..400).contains(&a.status) => both(
                    format!("une redirection ({}) répond à la désinscription : le refus s'y perd (OC-5)", a.status),
                    format!("a redirect ({}) answers the unsubscribe: the refusal is lost on it (OC-5)", a.status),
                ),
                Ok(a) if a.status == 404 => both(
                    "le service ne reconnaît pas nos liens : d'autres clés, ou un autre chemin",
                    "the service does not know our links: other keys, or another path",
                ),
                Ok(a) => both(
                    format!("la réponse n'est pas celle d'Ouinon ({} à {kind})", a.status),
                    format!("the answer is not Ouinon's ({} to {kind})", a.status),
                ),
                Err(error) => {
                    both(format!("pas de réponse à {kind} : {error}"), format!("no answer to {kind}: {error}"))
                }
            };
            self.error(
                ONE_CLICK,
                about,
                (fr, en),
                both(
                    "faites mener public.url/o/… à `ouinon serve` de cette installation, avec ses clés, POST compris et sans redirection (docs/operations.md)",
                    "let public.url/o/… lead to this installation's `ouinon serve`, with its keys, POST included and without a redirect (docs/operations.md)",
                ),
            );
            return;
        }
        let signed = if signer.is_some() { both(", signature comprise", ", signature included") } else { both("", "") };
        self.ok(
            ONE_CLICK,
            about,
            both(
                format!("le lien d'un message a répondu aux deux formes de POST{}", signed.0),
                format!("the link of a message answered both forms of POST{}", signed.1),
            ),
        );
    }
}

/// A message from the domain whose links change nothing.
fn message_from(app: &App, domain: &str) -> Result<Vec<u8>, String> {
    let sender = format!("doctor@{domain}");
    let text = format!(
        "+++\nslug = \"doctor\"\nproduct = \"doctor\"\nsubject = \"Doctor\"\nfrom = \"Doctor <{sender}>\"\n+++\nDoctor\n"
    );
    let file = CampaignFile::parse(&text, None).map_err(|e| e.to_string())?;
    let product = Product { id: 0, slug: "doctor".into(), name: "Doctor".into(), for_business: true, public: false };
    let campaign = Compiled::about(app, file, product).map_err(|e| e.to_string())?;
    let address = Address::parse(&sender).map_err(|e| e.to_string())?;
    let nobody = explain::nobody(app, &address);
    prepare::message(app, &campaign, &nobody, &Permit::untracked(Basis::Consent), Copy::Preview, app.now())
        .map(|m| m.bytes)
        .map_err(|e| e.to_string())
}

/// The link that a mailbox would post to, from a message whose signatures hold and cover it (OC-2).
fn one_click_of(message: &[u8], signer: Option<&Signer>) -> Result<String, Both> {
    let link = reading::read(message).and_then(|reading| reading.one_click);
    let link = link.ok_or_else(|| {
        both("le message n'offre pas la désinscription en un clic", "the message offers no one-click unsubscribe")
    })?;
    let Some(signer) = signer else { return Ok(link) };
    let records = signer.dns_records();
    let txt = |name: &str| records.iter().find(|record| record.name == name).map(|record| record.value.clone());
    let verdicts = dkim_check::verify(message, txt);
    let covers = |signed: &[String]| {
        ["list-unsubscribe", "list-unsubscribe-post"].iter().all(|name| signed.iter().any(|s| s == name))
    };
    if verdicts.is_empty() || verdicts.iter().any(|v| v.result.is_err() || !covers(&v.signed)) {
        return Err(both(
            "la signature ne couvre pas les en-têtes de désinscription",
            "the signature does not cover the unsubscribe headers",
        ));
    }
    Ok(link)
}
