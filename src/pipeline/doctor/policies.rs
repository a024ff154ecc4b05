//! What a domain says of its mail to those who receive it: SPF and DMARC.

use super::{Notes, both, nothing};
use crate::mail::{
    dkim::Signer,
    dns::{DnsError, Resolver},
    published::{
        dmarc::{Found, Policy},
        spf::{End, Fault, LOOKUPS, Spf, VOIDS},
    },
};

impl Notes {
    /// SPF of the envelope's sender, which is of this domain (H-4).
    pub(super) fn spf(&mut self, domain: &str, spf: &Spf) {
        let id = "spf";
        let Some(record) = &spf.record else {
            let (finding, way_out) = (
                both("aucun enregistrement SPF", "no SPF record"),
                both(
                    "publiez un TXT qui nomme votre relais (il indique son include:) et finit par ~all ou -all, par exemple celui-ci",
                    "publish a TXT that names your relay (it says its include:) and ends in ~all or -all, such as this",
                ),
            );
            return self.warning(id, domain, finding, way_out).publish(domain, "TXT", "v=spf1 include:_spf.RELAY ~all");
        };
        let lookups = spf.lookups;
        let fault = spf.faults.first().map(|fault| match fault {
            Fault::Several(n) => (
                both(
                    format!("{n} enregistrements SPF sous un nom : une erreur pour les destinataires"),
                    format!("{n} SPF records under one name: an error to receivers"),
                ),
                both("n'en laissez qu'un, avec les termes de tous", "leave one, with the terms of all"),
            ),
            Fault::Syntax(term, at) => (
                both(
                    format!("le terme {term:?} de {at} ne se lit pas"),
                    format!("the term {term:?} of {at} cannot be read"),
                ),
                both(
                    "corrigez ce terme : une faute annule tout l'enregistrement",
                    "mend this term: one fault undoes the whole record",
                ),
            ),
            Fault::NoRecordAt(at) => (
                both(
                    format!("il inclut {at}, qui n'a pas d'enregistrement SPF"),
                    format!("it includes {at}, which has no SPF record"),
                ),
                both(
                    format!("retirez ce terme, ou publiez un SPF sous {at}"),
                    format!("take this term out, or publish SPF under {at}"),
                ),
            ),
            Fault::Loop(at) => (
                both(format!("il s'inclut lui-même par {at}"), format!("it includes itself by way of {at}")),
                both(
                    format!("retirez le terme qui ramène à {at}"),
                    format!("take out the term that leads back to {at}"),
                ),
            ),
        });
        if let Some((finding, way_out)) = fault {
            self.error(id, domain, finding, way_out);
        } else if lookups > LOOKUPS {
            self.error(
                id,
                domain,
                both(format!("il coûte {lookups} recherches DNS ou plus ; au-delà de {LOOKUPS}, c'est une erreur (RFC 7208, 4.6.4)"), format!("it costs {lookups} DNS lookups or more; above {LOOKUPS} it is an error (RFC 7208, 4.6.4)")),
                both("retirez des include: qui ne servent plus, ou remplacez-les par ip4: et ip6:", "take out include: terms no longer used, or write ip4: and ip6: in their place"),
            );
        } else if spf.end == End::Pass {
            self.error(
                id,
                domain,
                both(
                    "il finit par +all : le monde entier peut envoyer en votre nom",
                    "it ends in +all: the whole world may send in your name",
                ),
                both("remplacez +all par ~all", "write ~all in place of +all"),
            )
            .publish(domain, "TXT", ending_in(record, "~all"));
        } else if spf.end == End::Neutral {
            self.warning(
                id,
                domain,
                both(
                    "il ne dit rien des autres expéditeurs (pas de ~all ni de -all)",
                    "it says nothing of other senders (neither ~all nor -all)",
                ),
                both("terminez-le par ~all", "end it with ~all"),
            )
            .publish(domain, "TXT", ending_in(record, "~all"));
        } else if spf.voids > VOIDS {
            let voids = spf.voids;
            self.warning(
                id,
                domain,
                both(
                    format!(
                        "{voids} de ses noms n'existent pas ; au-delà de {VOIDS}, des destinataires y voient une erreur"
                    ),
                    format!("{voids} of its names do not exist; above {VOIDS}, some receivers see an error"),
                ),
                both(
                    "retirez les termes a: et mx: qui ne mènent à rien",
                    "take out the a: and mx: terms that lead nowhere",
                ),
            );
        } else {
            let relay = "vérifiez que votre relais en fait partie";
            self.ok(
                id,
                domain,
                both(
                    format!("{lookups} recherches DNS sur {LOOKUPS} ; {relay}"),
                    format!("{lookups} DNS lookups of {LOOKUPS}; make sure that your relay is among them"),
                ),
            );
        }
    }

    /// DMARC, which Gmail, Yahoo and Microsoft demand of whoever sends much (rules 5.3).
    pub(super) async fn dmarc(
        &mut self,
        dns: &Resolver,
        domain: &str,
        signer: Option<&Signer>,
        found: &Found,
    ) -> Result<(), DnsError> {
        let id = "dmarc";
        let name = format!("_dmarc.{domain}");
        let example = format!("v=DMARC1; p=none; rua=mailto:dmarc@{domain}");
        let record = match found {
            Found::Record(record) => record,
            Found::Nothing => {
                self.error(
                    id,
                    domain,
                    both("aucun enregistrement DMARC, ni ici ni au-dessus : Gmail, Yahoo et Microsoft refusent les envois en nombre", "no DMARC record, here or above: Gmail, Yahoo and Microsoft refuse bulk mail"),
                    both("publiez cet enregistrement TXT", "publish this TXT record"),
                )
                .publish(name, "TXT", example);
                return Ok(());
            }
            Found::Several(at, n) => {
                self.error(
                    id,
                    domain,
                    both(
                        format!("{n} enregistrements DMARC sous {at} : aucun ne compte"),
                        format!("{n} DMARC records under {at}: none counts"),
                    ),
                    both(format!("n'en laissez qu'un sous _dmarc.{at}"), format!("leave one under _dmarc.{at}")),
                );
                return Ok(());
            }
            Found::Unreadable(at) => {
                self.error(
                    id,
                    domain,
                    both(
                        format!("le texte sous _dmarc.{at} ne commence pas par v=DMARC1"),
                        format!("the text under _dmarc.{at} does not begin with v=DMARC1"),
                    ),
                    both("publiez cet enregistrement TXT", "publish this TXT record"),
                )
                .publish(name, "TXT", example);
                return Ok(());
            }
        };
        let Some(policy) = record.policy else {
            self.error(
                id,
                domain,
                both(format!("sans p= lisible : {}", record.text), format!("without a readable p=: {}", record.text)),
                both("écrivez p=none, p=quarantine ou p=reject", "write p=none, p=quarantine or p=reject"),
            );
            return Ok(());
        };
        let (at, p) = (&record.at, policy.as_str());
        if let Some(signer) = signer
            && record.strict_dkim
            && signer.domain() != domain
        {
            let by = signer.domain();
            self.error(
                id,
                domain,
                both(
                    format!("adkim=s, mais la signature est de {by} : elle ne s'aligne pas sur {domain}"),
                    format!("adkim=s, but the signature is by {by}: it is not aligned with {domain}"),
                ),
                both(
                    format!("`ouinon dkim new {domain}`, ou retirez adkim=s"),
                    format!("`ouinon dkim new {domain}`, or take adkim=s out"),
                ),
            );
        } else if signer.is_none() && policy != Policy::None {
            self.warning(
                id,
                domain,
                both(format!("p={p}, et rien n'est signé ici : si le relais ne signe pas pour {domain}, le courrier est refusé"), format!("p={p}, and nothing is signed here: unless the relay signs for {domain}, mail is refused")),
                both(format!("`ouinon dkim new {domain}`, ou vérifiez la signature du relais avec `ouinon campaign test`"), format!("`ouinon dkim new {domain}`, or check the relay's signature with `ouinon campaign test`")),
            );
        } else if record.reports.is_empty() {
            self.warning(
                id,
                domain,
                both(
                    format!("p={p} (sous {at}), sans adresse de rapports (rua=)"),
                    format!("p={p} (under {at}), without an address for reports (rua=)"),
                ),
                both(
                    "ajoutez rua=mailto:ADRESSE : les rapports disent qui envoie en votre nom",
                    "add rua=mailto:ADDRESS: reports say who sends in your name",
                ),
            );
        } else if let Some(stranger) = self.unwilling(dns, at, &record.reports).await? {
            let permission = format!("{at}._report._dmarc.{stranger}");
            self.warning(
                id,
                domain,
                both(
                    format!("p={p}, mais {stranger} n'accepte pas les rapports de {at}"),
                    format!("p={p}, but {stranger} does not accept reports about {at}"),
                ),
                both(
                    "publiez cet enregistrement TXT chez lui, ou donnez une adresse de votre domaine",
                    "publish this TXT record there, or give an address of your own domain",
                ),
            )
            .publish(permission, "TXT", "v=DMARC1");
        } else {
            self.ok(
                id,
                domain,
                both(format!("p={p} (sous {at}), rapports demandés"), format!("p={p} (under {at}), reports asked for")),
            );
        }
        Ok(())
    }

    /// A domain that reports are to go to and that has not agreed (RFC 7489 section 7.1).
    async fn unwilling(&self, dns: &Resolver, at: &str, reports: &[String]) -> Result<Option<String>, DnsError> {
        for uri in reports {
            let Some(address) = uri.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("mailto:")).map(|_| &uri[7..])
            else {
                continue;
            };
            let host = address.rsplit('@').next().unwrap_or_default().split(['!', '?']).next().unwrap_or_default();
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            let related = |a: &str, b: &str| a == b || a.ends_with(&format!(".{b}"));
            if host.is_empty() || related(&host, at) || related(at, &host) {
                continue;
            }
            let texts = nothing(dns.txt(&format!("{at}._report._dmarc.{host}")).await)?;
            if !texts.iter().any(|text| text.trim_start().starts_with("v=DMARC1")) {
                return Ok(Some(host));
            }
        }
        Ok(None)
    }
}

/// The record with another end.
fn ending_in(record: &str, end: &str) -> String {
    let kept = record
        .split(' ')
        .filter(|term| !term.is_empty() && !["all", "+all", "?all"].contains(&term.to_ascii_lowercase().as_str()));
    format!("{} {end}", kept.collect::<Vec<_>>().join(" "))
}
