//! Configuration, database and clock.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use secrecy::ExposeSecret;

use super::{Notes, both};
use crate::{
    clock::Clock,
    config::{Config, ConfigError},
    store::{
        Db, OpenError,
        inspect::{self, Engine},
    },
};

/// Free space under which the database may soon be unable to record a refusal.
const SCARCE: u64 = 200 * 1024 * 1024;
/// Free space that should be looked at.
const LITTLE: u64 = 2 * 1024 * 1024 * 1024;
/// A clock that shows an earlier day is wrong: this program did not exist.
const BORN: &str = "2026-11-01T00:00:00Z";
/// Two clocks that differ by more milliseconds are not both right.
const DRIFT: i64 = 60_000;

impl Notes {
    pub(super) fn unreadable_configuration(&mut self, error: &ConfigError) {
        self.error(
            "config",
            "",
            both(error.to_string(), error.to_string()),
            both(
                "corrigez ce réglage (ouinon.toml les explique tous) : rien d'autre n'a pu être examiné",
                "mend this setting (ouinon.toml explains them all): nothing else could be looked at",
            ),
        );
    }

    pub(super) fn configuration(&mut self, config: &Config) {
        self.ok("config", "", both("la configuration se lit", "the configuration can be read"));
        let c = &config.controller;
        let missing: Vec<&str> = [
            ("controller.name", &c.name),
            ("controller.postal_address", &c.postal_address),
            ("controller.contact", &c.contact),
        ]
        .into_iter()
        .filter(|(_, value)| value.is_empty())
        .map(|(name, _)| name)
        .collect();
        if missing.is_empty() {
            return self.ok(
                "config.controller",
                "",
                both(
                    "nom, adresse et contact du responsable sont réglés",
                    "the controller's name, address and contact are set",
                ),
            );
        }
        let missing = missing.join(", ");
        self.warning(
            "config.controller",
            "",
            both(format!("non réglé : {missing}"), format!("not set: {missing}")),
            both(
                "réglez-les dans ouinon.toml : un message dit qui l'envoie et où écrire ; sans adresse postale, les contacts US et CA sont bloqués (US-2, CA-5)",
                "set them in ouinon.toml: a message says who sends it and where to write; without a postal address, contacts in US and CA are blocked (US-2, CA-5)",
            ),
        );
    }

    /// The database, when it can be worked with as it is.
    pub(super) async fn database(&mut self, config: &Config) -> Option<Db> {
        let url = config.database.url.expose_secret();
        let db = match inspect::connect(url).await {
            Ok(db) => db,
            Err(error) => {
                self.error(
                    "database",
                    "",
                    both(
                        format!("la base ne s'ouvre pas : {error}"),
                        format!("the database cannot be opened: {error}"),
                    ),
                    match error {
                        OpenError::File { .. } => both(
                            "vérifiez database.url ; pour une nouvelle installation, `ouinon init` crée la base",
                            "check database.url; for a new installation `ouinon init` makes the database",
                        ),
                        _ => both(
                            "vérifiez database.url, et que le serveur répond et laisse entrer ce compte",
                            "check database.url, and that the server answers and lets this account in",
                        ),
                    },
                );
                return None;
            }
        };
        let sound = self.engine(&db).await & self.migrations(&db).await;
        self.place(&db);
        if sound {
            Some(db)
        } else {
            db.close().await;
            None
        }
    }

    async fn engine(&mut self, db: &Db) -> bool {
        let looked = async {
            let engine = inspect::engine(db).await?;
            inspect::try_writing(db).await.map(|()| engine)
        };
        match looked.await {
            Ok(Engine { version, lax, .. }) if lax.is_empty() => {
                self.ok(
                    "database",
                    "",
                    both(
                        format!("{version} répond et se laisse écrire"),
                        format!("{version} answers and can be written to"),
                    ),
                );
            }
            Ok(Engine { version, lax, .. }) => {
                let lax = lax.join(", ");
                self.warning(
                    "database",
                    "",
                    both(format!("{version} répond, avec {lax}"), format!("{version} answers, with {lax}")),
                    both(
                        format!(
                            "mettez {lax} à on : un refus auquel on a répondu doit survivre à une panne de courant"
                        ),
                        format!("set {lax} to on: a refusal that was answered must survive a power cut"),
                    ),
                );
            }
            Err(error) if inspect::is_no_database(&error) => {
                self.error(
                    "database",
                    "",
                    both(
                        format!("le fichier n'est pas une base SQLite, ou il est abîmé : {error}"),
                        format!("the file is no SQLite database, or it is damaged: {error}"),
                    ),
                    both(
                        "vérifiez database.url ; si c'est le bon fichier, restaurez-le de sa sauvegarde",
                        "check database.url; if it is the right file, restore it from its backup",
                    ),
                );
                return false;
            }
            Err(error) => {
                self.error(
                    "database",
                    "",
                    both(format!("la base ne se laisse pas écrire : {error}"), format!("the database cannot be written to: {error}")),
                    both(
                        "donnez à ce compte les droits d'écriture, et vérifiez que la base n'est ni pleine, ni en lecture seule, ni un serveur secondaire",
                        "give this account the right to write, and check that the database is neither full, nor read-only, nor a standby",
                    ),
                );
                return false;
            }
        }
        true
    }

    async fn migrations(&mut self, db: &Db) -> bool {
        let id = "database.migrations";
        match inspect::migrations(db).await {
            Ok(found) if !found.unknown.is_empty() => {
                let newest = found.unknown.last().copied().unwrap_or_default();
                self.error(
                    id,
                    "",
                    both(
                        format!("la base est plus récente que ce programme (migration {newest})"),
                        format!("the database is newer than this program (migration {newest})"),
                    ),
                    both(
                        "installez la version du programme qui l'a migrée, ou une plus récente",
                        "install the version of the program that migrated it, or a later one",
                    ),
                );
                false
            }
            Ok(found) if !found.pending.is_empty() => {
                let n = found.pending.len();
                self.warning(
                    id,
                    "",
                    both(format!("{n} migration(s) attendent"), format!("{n} migration(s) are pending")),
                    both(
                        "sauvegardez la base, puis lancez `ouinon init` ou `ouinon serve`, qui les appliquent ; relancez ensuite doctor",
                        "back the database up, then run `ouinon init` or `ouinon serve`, which apply them; then run doctor again",
                    ),
                );
                false
            }
            Ok(found) => {
                let n = found.applied;
                self.ok(
                    id,
                    "",
                    both(format!("les {n} migrations sont appliquées"), format!("all {n} migrations are applied")),
                );
                true
            }
            Err(error) => {
                self.error(
                    id,
                    "",
                    both(
                        format!("les migrations ne se lisent pas : {error}"),
                        format!("the migrations cannot be read: {error}"),
                    ),
                    both(
                        "vérifiez que database.url désigne bien la base d'Ouinon",
                        "check that database.url names Ouinon's own database",
                    ),
                );
                false
            }
        }
    }

    /// Where a SQLite file lies: on this machine, with room, for us alone.
    fn place(&mut self, db: &Db) {
        let Db::Lite { path, .. } = db else {
            let (fr, en) = (
                "l'espace du serveur PostgreSQL se surveille sur le serveur",
                "the room of the PostgreSQL server is watched on the server",
            );
            return self.skipped("database.space", "", both(fr, en));
        };
        let about = path.display().to_string();
        match fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777) {
            Ok(mode) if mode & 0o077 != 0 => {
                self.warning(
                    "database.mode",
                    &about,
                    both(
                        format!("d'autres comptes de la machine peuvent lire le fichier (mode {mode:o})"),
                        format!("other accounts of the machine can read the file (mode {mode:o})"),
                    ),
                    both(
                        format!("chmod 600 {about} : les adresses y sont en clair"),
                        format!("chmod 600 {about}: addresses stand in it as they are"),
                    ),
                );
            }
            _ => self.ok(
                "database.mode",
                &about,
                both("le fichier n'est lisible que par nous", "the file can be read by us alone"),
            ),
        }
        self.file_system(path, &about);
        self.space(path, &about);
    }

    /// SQLite in WAL mode shares memory between processes: on a network file system it breaks.
    fn file_system(&mut self, path: &Path, about: &str) {
        let id = "database.file_system";
        match file_system_kind(path) {
            Some(Kind::Network(name)) => {
                self.error(
                    id,
                    about,
                    both(
                        format!("le fichier est sur un système de fichiers réseau ({name})"),
                        format!("the file is on a network file system ({name})"),
                    ),
                    both(
                        "mettez-le sur un disque de cette machine, ou passez à PostgreSQL : SQLite s'y corromprait",
                        "put it on a disk of this machine, or change to PostgreSQL: SQLite would be corrupted there",
                    ),
                );
            }
            Some(Kind::Unclear(name)) => {
                self.warning(
                    id,
                    about,
                    both(
                        format!("on ne sait pas si {name} est local"),
                        format!("whether {name} is local is not known"),
                    ),
                    both(
                        "assurez-vous que le fichier est sur un disque de cette machine",
                        "make sure that the file is on a disk of this machine",
                    ),
                );
            }
            Some(Kind::Local) => {
                self.ok(id, about, both("le fichier est sur un disque local", "the file is on a local disk"))
            }
            None => self.skipped(
                id,
                about,
                both(
                    "cette machine ne dit pas de quel système de fichiers il s'agit",
                    "this machine does not say what file system it is",
                ),
            ),
        }
    }

    fn space(&mut self, path: &Path, about: &str) {
        let id = "database.space";
        let Ok(stat) = rustix::fs::statvfs(path) else {
            return self.skipped(
                id,
                about,
                both(
                    "cette machine ne dit pas combien de place il reste",
                    "this machine does not say how much room is left",
                ),
            );
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let megabytes = free / (1024 * 1024);
        let finding = both(format!("{megabytes} Mo libres"), format!("{megabytes} MB free"));
        let way_out = both(
            "faites de la place : sans place, plus aucun refus ne s'enregistre et l'envoi s'arrête",
            "make room: without it no refusal can be recorded, and sending stops",
        );
        match free {
            0..SCARCE => drop(self.error(id, about, finding, way_out)),
            SCARCE..LITTLE => drop(self.warning(id, about, finding, way_out)),
            _ => self.ok(id, about, finding),
        }
    }

    pub(super) async fn clock(&mut self, clock: &Clock, db: Option<&Db>) {
        let now = clock.now();
        let born: jiff::Timestamp = BORN.parse().expect("an instant of the program's own");
        let way_out = both(
            "mettez la machine à l'heure (chrony, systemd-timesyncd) : consentements, refus et envois en dépendent",
            "set the machine's clock (chrony, systemd-timesyncd): consents, refusals and sending depend on it",
        );
        if now < born {
            self.error(
                "clock",
                "",
                both(
                    format!("il est {now} à cette machine : c'est le passé"),
                    format!("this machine says {now}: that is past"),
                ),
                way_out,
            );
            return;
        }
        let others = match db {
            Some(db) => {
                async { Ok::<_, sqlx::Error>((inspect::engine(db).await?.clock, inspect::newest_instant(db).await?)) }
                    .await
                    .ok()
            }
            None => None,
        };
        let millis = now.as_millisecond();
        match others {
            Some((Some(theirs), _)) if (theirs - millis).abs() > DRIFT => {
                let seconds = (theirs - millis) / 1000;
                self.error(
                    "clock",
                    "",
                    both(
                        format!("l'horloge de la base a {seconds} s d'avance sur celle d'ici"),
                        format!("the database's clock is {seconds} s ahead of the one here"),
                    ),
                    way_out,
                );
            }
            Some((_, newest)) if newest > millis + DRIFT => {
                let seconds = (newest - millis) / 1000;
                self.error(
                    "clock",
                    "",
                    both(
                        format!("la base contient un événement de dans {seconds} s"),
                        format!("the database holds an event that lies {seconds} s ahead"),
                    ),
                    way_out,
                );
            }
            _ => self.ok("clock", "", both(format!("il est {now}"), format!("it is {now}"))),
        }
    }
}

enum Kind {
    Local,
    Network(&'static str),
    Unclear(&'static str),
}

/// By the magic numbers of statfs(2).
#[cfg(target_os = "linux")]
fn file_system_kind(path: &Path) -> Option<Kind> {
    let magic = rustix::fs::statfs(path).ok()?.f_type as u32;
    Some(match magic {
        0x6969 => Kind::Network("NFS"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Kind::Network("SMB"),
        0x5346_414F | 0x6B41_4653 => Kind::Network("AFS"),
        0x00C3_6400 => Kind::Network("Ceph"),
        0x0BD0_0BD0 => Kind::Network("Lustre"),
        0x0102_1997 => Kind::Network("9P"),
        0x6573_5546 => Kind::Unclear("FUSE"),
        _ => Kind::Local,
    })
}

#[cfg(not(target_os = "linux"))]
fn file_system_kind(_: &Path) -> Option<Kind> {
    None
}
