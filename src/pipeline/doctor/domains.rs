//! A sender's domain: the key that signs its mail and what DNS says of it, and where its bounces go.

use super::{Notes, Status, both, nothing, resolver};
use crate::{
    app::App,
    config::Config,
    domain::address::covering_domains,
    keys::dkim::{self, DkimFiles},
    mail::{
        dkim::{DnsRecord, KeyError, Signer},
        dns::{DnsError, Resolver},
        published::{
            dkim::{Published, look},
            dmarc, spf,
        },
    },
};

const KEY: &str = "dkim.key";
const RECORD: &str = "dkim.record";

impl Notes {
    pub(super) async fn domains(&mut self, config: &Config, app: Option<&App>, domains: &[String]) {
        if domains.is_empty() {
            let why = both(
                "aucune campagne ni clé DKIM ne nomme de domaine ; `ouinon doctor DOMAINE` en examine un",
                "no campaign and no DKIM key names a domain; `ouinon doctor DOMAIN` looks at one",
            );
            self.skipped("domains", "", why);
            return self.one_click(app, "example.org", "", None).await;
        }
        let dns = resolver(config);
        for domain in domains {
            let signer = self.signing_key(config, domain);
            match &dns {
                Ok(dns) => {
                    // Where DNS fails once, its other answers would only take time.
                    let _ = self.published(dns, domain, signer.as_ref()).await;
                }
                Err(error) => self.dns_fails(domain, error),
            }
            self.one_click(app, domain, domain, signer.as_ref()).await;
        }
    }

    async fn published(&mut self, dns: &Resolver, domain: &str, signer: Option<&Signer>) -> Result<(), ()> {
        let answered = async {
            self.records(dns, signer).await?;
            self.spf(domain, &spf::look(dns, domain).await?);
            let found = dmarc::look(dns, domain).await?;
            self.dmarc(dns, domain, signer, &found).await?;
            self.exchangers(dns, domain).await
        };
        if let Err(error) = answered.await {
            self.dns_fails(domain, &error.to_string());
            return Err(());
        }
        Ok(())
    }

    fn dns_fails(&mut self, domain: &str, error: &str) {
        self.error(
            "dns",
            domain,
            both(format!("ce que le domaine publie n'est pas connu : {error}"), format!("what the domain publishes is not known: {error}")),
            both(
                "vérifiez /etc/resolv.conf et le pare-feu, ou nommez un serveur qui répond : dns = \"ADRESSE\" dans ouinon.toml",
                "check /etc/resolv.conf and the firewall, or name a server that answers: dns = \"ADDRESS\" in ouinon.toml",
            ),
        );
    }

    /// The key that signs mail from the domain: its own, or the nearest parent's (H-3, H-4).
    fn signing_key(&mut self, config: &Config, domain: &str) -> Option<Signer> {
        let folder = App::keys_folder(config);
        let files: Option<DkimFiles> =
            covering_domains(domain).find_map(|domain| dkim::of_domain(&folder, domain).ok().flatten());
        let Some(files) = files else {
            self.warning(
                KEY,
                domain,
                both("aucune clé DKIM ici : le message part sans signature, à moins que le relais signe", "no DKIM key here: mail leaves unsigned, unless the relay signs"),
                both(
                    format!("`ouinon dkim new {domain}` en fait une et montre les enregistrements ; sans signature, le bouton de désinscription n'apparaît pas (OC-2)"),
                    format!("`ouinon dkim new {domain}` makes one and prints the records; without a signature the unsubscribe button is not shown (OC-2)"),
                ),
            );
            return None;
        };
        match Signer::from_files(&files.domain, &files.selector, &files.rsa, &files.ed25519) {
            Ok(signer) => {
                let (selector, by) = (&files.selector, &files.domain);
                self.ok(
                    KEY,
                    domain,
                    both(
                        format!("signé par {by}, sélecteur {selector}"),
                        format!("signed by {by}, selector {selector}"),
                    ),
                );
                Some(signer)
            }
            Err(error) => {
                // With a weak one mail leaves unsigned, as it does without any (H05).
                let status = if matches!(error, KeyError::Weak(_)) { Status::Warning } else { Status::Error };
                let way_out = both(
                    format!(
                        "faites une nouvelle clé : `ouinon dkim new {} --selector NOUVEAU`, et publiez ses enregistrements",
                        files.domain
                    ),
                    format!(
                        "make a new key: `ouinon dkim new {} --selector NEW`, and publish its records",
                        files.domain
                    ),
                );
                self.note(KEY, domain, status, both(error.to_string(), error.to_string()), Some(way_out));
                None
            }
        }
    }

    /// What is published under each selector, beside the key that signs.
    async fn records(&mut self, dns: &Resolver, signer: Option<&Signer>) -> Result<(), DnsError> {
        for record in signer.map(Signer::dns_records).unwrap_or_default() {
            let texts = nothing(dns.txt(&record.name).await)?;
            self.record(&record, &look(&texts, &record.value));
        }
        Ok(())
    }

    fn record(&mut self, record: &DnsRecord, published: &Published) {
        let finding = match published {
            Published::Right { testing: false } => {
                return self.ok(
                    RECORD,
                    &record.name,
                    both("la clé publiée est celle qui signe", "the published key is the one that signs"),
                );
            }
            Published::Right { testing: true } => both(
                "la clé est en essai (t=y) : les destinataires n'en tiennent pas compte",
                "the key is being tested (t=y): receivers take no notice of it",
            ),
            Published::Missing => both("aucune clé n'est publiée", "no key is published"),
            Published::Several(n) => both(
                format!("{n} clés sous ce nom : le résultat est indéfini"),
                format!("{n} keys under this name: the result is undefined"),
            ),
            Published::Revoked => {
                both("la clé publiée est révoquée (p= vide)", "the published key is revoked (empty p=)")
            }
            Published::Other => {
                both("la clé publiée n'est pas celle qui signe", "the published key is not the one that signs")
            }
            Published::Forbids(tag) => both(
                format!("{tag} y interdit l'usage qui en est fait"),
                format!("its {tag} forbids what it is used for"),
            ),
            Published::Unreadable => {
                both("le texte publié n'est pas une clé DKIM", "the published text is no DKIM key")
            }
        };
        let way_out = match published {
            Published::Several(_) => {
                both("ne laissez que cet enregistrement TXT", "leave this TXT record alone under the name")
            }
            _ => both("publiez cet enregistrement TXT", "publish this TXT record"),
        };
        // Some large receivers know no Ed25519: the RSA signature is the one that must hold (H-3).
        let lesser = record.value.contains("k=ed25519") || matches!(published, Published::Right { .. });
        let check = if lesser {
            self.warning(RECORD, &record.name, finding, way_out)
        } else {
            self.error(RECORD, &record.name, finding, way_out)
        };
        check.publish(&record.name, "TXT", &record.value);
    }

    /// Where bounces and answers go; some receivers refuse a sender that cannot be answered.
    async fn exchangers(&mut self, dns: &Resolver, domain: &str) -> Result<(), DnsError> {
        let id = "mx";
        let way_out = || {
            both(
                "publiez un enregistrement MX vers le serveur qui reçoit vos retours",
                "publish an MX record to the server that takes your bounces",
            )
        };
        let found = match dns.mx(domain).await {
            Err(DnsError::NoSuchName) => {
                self.error(
                    id,
                    domain,
                    both("le domaine n'existe pas dans le DNS", "the domain does not exist in DNS"),
                    way_out(),
                )
                .publish(domain, "MX", format!("10 mail.{domain}"));
                return Ok(());
            }
            found => found?,
        };
        if found.iter().any(|mx| mx.host.is_empty()) {
            self.error(
                id,
                domain,
                both(
                    "un MX nul (RFC 7505) : le domaine refuse tout courrier, et ses retours",
                    "a null MX (RFC 7505): the domain takes no mail, nor its bounces",
                ),
                way_out(),
            );
            return Ok(());
        }
        if found.is_empty() {
            if nothing(dns.a(domain).await)?.is_empty() {
                self.error(
                    id,
                    domain,
                    both("ni MX ni adresse : aucun retour n'arrive", "neither MX nor address: no bounce arrives"),
                    way_out(),
                )
                .publish(domain, "MX", format!("10 mail.{domain}"));
            } else {
                self.warning(
                    id,
                    domain,
                    both(
                        "pas de MX : les retours vont à l'adresse même du domaine",
                        "no MX: bounces go to the domain's own address",
                    ),
                    way_out(),
                );
            }
            return Ok(());
        }
        for mx in &found {
            if !nothing(dns.a(&mx.host).await)?.is_empty() {
                let host = &mx.host;
                self.ok(id, domain, both(format!("les retours vont à {host}"), format!("bounces go to {host}")));
                return Ok(());
            }
        }
        let host = found[0].host.clone();
        self.error(
            id,
            domain,
            both(format!("aucun de ses MX n'a d'adresse ({host})"), format!("none of its MX has an address ({host})")),
            way_out(),
        );
        Ok(())
    }
}
