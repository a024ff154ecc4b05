//! The keys: there, for our eyes alone, and those of the database.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{Notes, both};
use crate::{
    app::App,
    config::Config,
    keys::{self, KeyError, Keys},
    store::{self, Db},
};

impl Notes {
    /// The keys, when they are those of the database.
    pub(super) async fn keys(&mut self, config: &Config, db: Option<&Db>) -> Option<Keys> {
        let folder = App::keys_folder(config);
        let about = folder.display().to_string();
        let keys = match Keys::read(&folder) {
            Ok(keys) => keys,
            Err(KeyError::Io { path, source }) if source.kind() == std::io::ErrorKind::NotFound => {
                let is_lost = match db {
                    Some(db) => noted(db).await.is_ok_and(|noted| keys::is_written_with(&path, &noted)),
                    None => false,
                };
                let path = path.display();
                let way_out = if is_lost {
                    both(
                        "restaurez ce fichier de sa sauvegarde, ou copiez-le d'une machine qui travaille avec cette base : elle a été écrite avec lui",
                        "restore this file from its backup, or copy it from a host that works with this database: it was written with it",
                    )
                } else {
                    both(
                        "restaurez les clés de leur sauvegarde ; pour une nouvelle installation, `ouinon init` les fait",
                        "restore the keys from their backup; for a new installation `ouinon init` makes them",
                    )
                };
                self.error(
                    "keys",
                    &about,
                    both(format!("{path} n'existe pas"), format!("{path} does not exist")),
                    way_out,
                );
                return None;
            }
            Err(error) => {
                self.error(
                    "keys",
                    &about,
                    both(error.to_string(), error.to_string()),
                    both("restaurez les clés de leur sauvegarde", "restore the keys from their backup"),
                );
                return None;
            }
        };
        self.modes(&folder);
        let Some(db) = db else {
            self.skipped(
                "keys",
                &about,
                both(
                    "lues, mais la base à laquelle les comparer ne s'ouvre pas",
                    "read, but the database to compare them with cannot be opened",
                ),
            );
            return None;
        };
        match noted(db).await {
            Ok(noted) => match keys.compare(&folder, &noted) {
                Ok(()) => {
                    let n = keys.fingerprints.len();
                    self.ok(
                        "keys",
                        &about,
                        both(format!("{n} clés, celles de la base"), format!("{n} keys, those of the database")),
                    );
                    Some(keys)
                }
                Err(error) => {
                    self.error(
                        "keys",
                        &about,
                        both(error.to_string(), error.to_string()),
                        both(
                            "mettez ici les clés des autres machines ou de la sauvegarde : aucun processus ne démarre avec d'autres",
                            "put the keys of the other hosts or of the backup here: no process starts with others",
                        ),
                    );
                    None
                }
            },
            Err(error) => {
                self.error(
                    "keys",
                    &about,
                    both(format!("base : {error}"), format!("database: {error}")),
                    both("voir la base", "see to the database"),
                );
                None
            }
        }
    }

    fn modes(&mut self, folder: &Path) {
        let mut open = Vec::new();
        readable_by_others(folder, 4, &mut open);
        let about = folder.display().to_string();
        if open.is_empty() {
            return self.ok("keys.modes", &about, both("lisibles par nous seuls", "readable by us alone"));
        }
        open.truncate(5);
        let list = open.join(", ");
        self.error(
            "keys.modes",
            &about,
            both(
                format!("d'autres comptes de la machine peuvent lire : {list}"),
                format!("other accounts of the machine can read: {list}"),
            ),
            both(
                format!("chmod -R go-rwx {about} ; qui les lit peut signer vos messages et forger vos liens"),
                format!("chmod -R go-rwx {about}; whoever reads them can sign your mail and forge your links"),
            ),
        );
    }
}

/// What the database notes of its keys.
async fn noted(db: &Db) -> store::Result<Vec<(String, String)>> {
    store::keys::all(&mut db.read().await?).await
}

/// The files below a folder that group or others can read.
fn readable_by_others(folder: &Path, depth: usize, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        if meta.is_dir() && depth > 0 {
            readable_by_others(&entry.path(), depth - 1, found);
        } else if meta.is_file() && meta.permissions().mode() & 0o077 != 0 {
            let name = entry.file_name();
            // Neither the lock nor the name of a selector is a secret.
            if name != ".lock" && name != "selector" {
                found.push(format!("{} ({:o})", entry.path().display(), meta.permissions().mode() & 0o777));
            }
        }
    }
    found.sort();
}
