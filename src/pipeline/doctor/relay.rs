//! The mail server: can be reached, encrypts, shows a certificate for its name, lets us in. Nothing is sent.

use std::net::IpAddr;

use super::{Notes, both, nothing, resolver};
use crate::{
    config::Config,
    mail::{
        dns::DnsError,
        smtp::{ConnectError, Connection, Server, Timeouts},
    },
    pipeline::preview,
};

const CONNECT: &str = "smtp.connect";
const TLS: &str = "smtp.tls";
const AUTH: &str = "smtp.auth";

impl Notes {
    pub(super) async fn relay(&mut self, config: &Config) {
        let server = match preview::server_of(config) {
            Ok(server) => server,
            Err(error) => {
                self.error(
                    CONNECT,
                    "",
                    both(error.to_string(), error.to_string()),
                    both(
                        "réglez smtp.url dans ouinon.toml ou OUINON_SMTP_URL : smtps://utilisateur:motdepasse@serveur",
                        "set smtp.url in ouinon.toml or OUINON_SMTP_URL: smtps://user:password@host",
                    ),
                );
                let why = || both("aucun serveur de messagerie utilisable", "no mail server that can be used");
                self.skipped(TLS, "", why());
                self.skipped(AUTH, "", why());
                return;
            }
        };
        let about = server.to_string();
        let timeouts = Timeouts {
            connect: std::time::Duration::from_secs(10),
            command: std::time::Duration::from_secs(30),
            ..Timeouts::default()
        };
        match Connection::open(&server, timeouts).await {
            Ok(connection) => {
                self.ok(
                    CONNECT,
                    &about,
                    both("le serveur répond et nous salue (EHLO)", "the server answers and greets us (EHLO)"),
                );
                self.encryption(&server, &about, connection.is_encrypted());
                match server.user() {
                    Some(_) => self.ok(
                        AUTH,
                        &about,
                        both("l'utilisateur et le mot de passe sont acceptés", "user and password are accepted"),
                    ),
                    None => self.skipped(AUTH, &about, both("aucun utilisateur n'est réglé", "no user is configured")),
                }
                connection.quit().await;
            }
            Err(error) => self.closed(&about, &error),
        }
        self.reverse_dns(config, &server).await;
    }

    fn encryption(&mut self, server: &Server, about: &str, encrypted: bool) {
        if encrypted && server.is_loopback() && !server.demands_tls() {
            return self.ok(
                TLS,
                about,
                both(
                    "chiffré ; sur cette machine, le certificat n'est pas exigé",
                    "encrypted; on this machine no certificate is asked for",
                ),
            );
        }
        if encrypted {
            return self.ok(
                TLS,
                about,
                both(
                    "chiffré, avec un certificat valable pour ce nom",
                    "encrypted, with a certificate that is valid for this name",
                ),
            );
        }
        if server.is_loopback() {
            return self.ok(
                TLS,
                about,
                both("en clair, sans quitter cette machine", "in the clear, without leaving this machine"),
            );
        }
        self.warning(
            TLS,
            about,
            both(
                "le serveur n'offre pas STARTTLS : les messages circulent en clair",
                "the server offers no STARTTLS: messages travel in the clear",
            ),
            both(
                "activez TLS sur le serveur, ou écrivez smtps:// s'il l'offre sur le port 465",
                "switch TLS on at the server, or write smtps:// if it offers that on port 465",
            ),
        );
    }

    /// Which step failed, and with it which are not known.
    fn closed(&mut self, about: &str, error: &ConnectError) {
        let finding = both(error.to_string(), error.to_string());
        let later = || both("la connexion n'est pas allée jusque-là", "the connection did not get that far");
        let reached = || both("le serveur répond", "the server answers");
        match error {
            ConnectError::Tls { .. }
            | ConnectError::TlsNotOffered(_)
            | ConnectError::Injection(_)
            | ConnectError::Roots(_) => {
                self.ok(CONNECT, about, reached());
                self.error(
                    TLS,
                    about,
                    finding,
                    both(
                        "corrigez le certificat du serveur (nom, validité), donnez son autorité privée dans smtp.ca_file, ou écrivez smtps:// pour le port 465 et smtp:// pour les autres",
                        "mend the server's certificate (name, validity), name its private authority in smtp.ca_file, or write smtps:// for port 465 and smtp:// for others",
                    ),
                );
                self.skipped(AUTH, about, later());
            }
            ConnectError::AuthNotOffered(_) => self.not_let_in(
                about,
                finding,
                "le serveur n'offre ni PLAIN ni LOGIN : utilisez son port de soumission (587 ou 465)",
                "the server offers neither PLAIN nor LOGIN: use its submission port (587 or 465)",
            ),
            ConnectError::Refused { stage, .. } if *stage == crate::domain::replies::Stage::Auth => self.not_let_in(
                about,
                finding,
                "vérifiez l'utilisateur et le mot de passe de smtp.url (les signes spéciaux s'écrivent %XX)",
                "check user and password in smtp.url (special signs are written %XX)",
            ),
            _ => {
                self.error(
                    CONNECT,
                    about,
                    finding,
                    both(
                        "vérifiez l'hôte et le port de smtp.url, le pare-feu, et que le serveur accepte cette machine",
                        "check host and port of smtp.url, the firewall, and that the server accepts this machine",
                    ),
                );
                self.skipped(TLS, about, later());
                self.skipped(AUTH, about, later());
            }
        }
    }

    fn not_let_in(&mut self, about: &str, finding: super::Both, fr: &str, en: &str) {
        self.ok(CONNECT, about, both("le serveur répond", "the server answers"));
        self.ok(
            TLS,
            about,
            both("la conversation est privée comme demandé", "the conversation is as private as asked for"),
        );
        self.error(AUTH, about, finding, both(fr, en));
    }

    /// The name of the server's address (Gmail and others ask for forward and reverse DNS that agree).
    /// The address that mail leaves from may be another: a hint, never an error.
    async fn reverse_dns(&mut self, config: &Config, server: &Server) {
        let id = "smtp.ptr";
        let about = server.host().to_owned();
        let literal = server.host().parse::<IpAddr>().ok();
        if server.is_loopback() || literal.is_some_and(is_private) {
            let why = both(
                "le relais est chez vous : l'adresse d'où part le courrier n'est pas connue ici",
                "the relay is your own: the address that mail leaves from is not known here",
            );
            return self.skipped(id, &about, why);
        }
        let looked = async {
            let dns = resolver(config).map_err(DnsError::Failed)?;
            let addresses = match literal {
                Some(ip) => vec![ip],
                None => dns.a(server.host()).await?,
            };
            let Some(ip) = addresses.into_iter().find(|ip| !is_private(*ip)) else { return Ok::<_, DnsError>(None) };
            for name in nothing(dns.ptr(ip).await)? {
                if nothing(dns.a(&name).await)?.contains(&ip) {
                    return Ok(Some((ip, Some(name))));
                }
            }
            Ok(Some((ip, None)))
        };
        match looked.await {
            Ok(Some((ip, Some(name)))) => self.ok(id, &about, both(format!("{ip} et {name} se répondent"), format!("{ip} and {name} agree"))),
            Ok(Some((ip, None))) => drop(self.warning(
                id,
                &about,
                both(format!("{ip} n'a pas de nom (PTR) qui mène à elle"), format!("{ip} has no name (PTR) that leads back to it")),
                both(
                    "si le courrier part de cette adresse, demandez à son hébergeur un PTR vers le nom du serveur : Gmail et d'autres l'exigent",
                    "if mail leaves from this address, have its host set a PTR to the server's name: Gmail and others demand it",
                ),
            )),
            Ok(None) => self.skipped(id, &about, both("le relais n'a pas d'adresse publique", "the relay has no public address")),
            Err(error) => self.skipped(id, &about, both(error.to_string(), error.to_string())),
        }
    }
}

/// Not an address of the public network.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || (ip.segments()[0] & 0xFE00) == 0xFC00
                || (ip.segments()[0] & 0xFFC0) == 0xFE80
        }
    }
}
