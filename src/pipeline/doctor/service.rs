//! The public address: leads to a running service of ours, that knows our keys.

use super::{Notes, both, http};
use crate::{
    app::App,
    config::{Config, is_loopback},
};

pub(super) const URL: &str = "public.url";
pub(super) const READY: &str = "public.ready";

impl Notes {
    pub(super) async fn service(&mut self, config: &Config, app: Option<&App>) {
        let Some(base) = config.public.url.as_deref() else {
            self.error(
                URL,
                "",
                both(
                    "public.url n'est pas réglée : les liens des destinataires ne mènent nulle part (OC-1)",
                    "public.url is not set: recipients' links have nowhere to lead (OC-1)",
                ),
                both(
                    "réglez public.url dans ouinon.toml ou OUINON_PUBLIC_URL : https://…",
                    "set public.url in ouinon.toml or OUINON_PUBLIC_URL: https://…",
                ),
            );
            self.skipped(READY, "", both("pas d'adresse publique", "no public address"));
            return;
        };
        let host = reqwest::Url::parse(base).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        if is_loopback(&host) {
            self.warning(
                URL,
                base,
                both("les liens ne mènent qu'à cette machine", "links lead to this machine only"),
                both(
                    "pour de vrais destinataires, réglez public.url sur une adresse https qui mène ici",
                    "for real recipients, set public.url to an https address that leads here",
                ),
            );
        } else {
            self.ok(URL, base, both("les liens mènent à une adresse https", "links lead to an https address"));
        }
        let _ = app;
        self.ready(base).await;
    }

    async fn ready(&mut self, base: &str) {
        let way_out = both(
            "lancez `ouinon serve` et faites mener l'adresse publique à lui (docs/operations.md montre un proxy) ; un certificat refusé ici l'est aussi chez Gmail",
            "start `ouinon serve` and let the public address lead to it (docs/operations.md shows a proxy); a certificate that is refused here is refused at Gmail too",
        );
        match http::get(&format!("{base}/readyz")).await {
            Ok(answer) if answer.status == 200 && answer.body.contains("ready") => {
                self.ok(
                    READY,
                    base,
                    both("le service répond et sa base aussi", "the service answers, and so does its database"),
                );
            }
            Ok(answer) => {
                let status = answer.status;
                let said = answer
                    .location
                    .map_or_else(|| answer.body.trim().chars().take(200).collect(), |to| format!("→ {to}"));
                self.error(
                    READY,
                    base,
                    both(format!("/readyz répond {status} : {said}"), format!("/readyz answers {status}: {said}")),
                    way_out,
                );
            }
            Err(error) => {
                self.error(
                    READY,
                    base,
                    both(format!("/readyz ne répond pas : {error}"), format!("/readyz does not answer: {error}")),
                    way_out,
                );
            }
        }
    }
}
