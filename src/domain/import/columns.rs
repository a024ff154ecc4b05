//! Which column of a file holds what. Decided before anything is written: a column that is not
//! known, mapped or ignored is an error, never dropped in silence.

use std::{collections::BTreeMap, fmt};

use super::vocabulary::fold;

/// What a column may hold: the canonical import columns of product.md section 3.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the column of its name")]
pub enum Field {
    Email,
    Kind,
    LegalForm,
    Relationship,
    FirstName,
    LastName,
    Company,
    JobTitle,
    Country,
    Language,
    TimeZone,
    Source,
    SourceKind,
    CollectedAt,
    Informed,
    Similar,
    SameEntity,
    RefusalOffered,
    RelationshipEnd,
    LastActivity,
    LastActivityAt,
    Tracking,
    UnsubscribedAt,
    /// `consent_<product>` and its companions.
    Consent(String, ConsentPart),
}

/// What a consent column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsentPart {
    /// `consent_<product>`.
    State,
    /// `consent_<product>_at`.
    At,
    /// `consent_<product>_proof`.
    Proof,
    /// `consent_<product>_evidence`.
    Evidence,
}

const FIELDS: [(&str, Field); 23] = [
    ("email", Field::Email),
    ("kind", Field::Kind),
    ("legal_form", Field::LegalForm),
    ("relationship", Field::Relationship),
    ("first_name", Field::FirstName),
    ("last_name", Field::LastName),
    ("company", Field::Company),
    ("job_title", Field::JobTitle),
    ("country", Field::Country),
    ("language", Field::Language),
    ("time_zone", Field::TimeZone),
    ("source", Field::Source),
    ("source_kind", Field::SourceKind),
    ("collected_at", Field::CollectedAt),
    ("informed", Field::Informed),
    ("similar", Field::Similar),
    ("same_entity", Field::SameEntity),
    ("refusal_offered", Field::RefusalOffered),
    ("relationship_end", Field::RelationshipEnd),
    ("last_activity", Field::LastActivity),
    ("last_activity_at", Field::LastActivityAt),
    ("tracking", Field::Tracking),
    ("unsubscribed_at", Field::UnsubscribedAt),
];

impl Field {
    /// The field of a canonical name; `products` are the slugs that exist.
    pub fn named(name: &str, products: &[String]) -> Result<Field, ColumnError> {
        let folded = fold(name);
        if let Some((_, field)) = FIELDS.iter().find(|(name, _)| *name == folded) {
            return Ok(field.clone());
        }
        let Some(rest) = folded.strip_prefix("consent_") else {
            return Err(ColumnError::UnknownField { name: name.trim().to_owned() });
        };
        // A product may be called "x_at": its name as a whole comes first.
        let product = |slug: &str| products.iter().find(|p| fold(p) == slug).cloned();
        let parts = [
            ("", ConsentPart::State),
            ("_at", ConsentPart::At),
            ("_proof", ConsentPart::Proof),
            ("_evidence", ConsentPart::Evidence),
        ];
        let found = parts.iter().find_map(|(end, part)| Some((product(rest.strip_suffix(end)?)?, *part)));
        found.map(|(slug, part)| Field::Consent(slug, part)).ok_or_else(|| {
            let slug = parts[1..].iter().find_map(|(end, _)| rest.strip_suffix(end)).unwrap_or(rest);
            ColumnError::UnknownProduct { column: name.trim().to_owned(), slug: slug.to_owned() }
        })
    }

    /// Its values are dates, or may be: they count as evidence of the order of day and month.
    pub fn is_dated(&self) -> bool {
        matches!(
            self,
            Field::CollectedAt
                | Field::Informed
                | Field::RelationshipEnd
                | Field::LastActivityAt
                | Field::UnsubscribedAt
                | Field::Consent(_, ConsentPart::At)
        )
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Field::Consent(product, part) = self {
            let end = match part {
                ConsentPart::State => "",
                ConsentPart::At => "_at",
                ConsentPart::Proof => "_proof",
                ConsentPart::Evidence => "_evidence",
            };
            return write!(f, "consent_{product}{end}");
        }
        let (name, _) = FIELDS.iter().find(|(_, field)| field == self).expect("every other field is in the table");
        f.write_str(name)
    }
}

/// What the operator says about the columns of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// `--map col=field`.
    pub map: Vec<(String, String)>,
    /// `--default field=value`: the value of an empty or missing cell.
    pub default: Vec<(String, String)>,
    /// `--ignore col`.
    pub ignore: Vec<String>,
}

/// Where each field of a file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Number of columns of the file.
    pub width: usize,
    /// Position of each field, and the name that the file gives it.
    pub of_field: BTreeMap<Field, Place>,
    /// Value of a field where its cell is empty or missing.
    pub defaults: BTreeMap<Field, String>,
    /// Columns without a name: nothing may stand there.
    pub nameless: Vec<usize>,
}

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Counted from 0.
    pub index: usize,
    /// As the header names it.
    pub name: String,
}

/// What is wrong with the columns of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// Two columns have one name.
    #[error("line 1: two columns are called {name:?}; rename one, or remove it")]
    Twice {
        /// The name.
        name: String,
    },
    /// Two columns hold one field.
    #[error("columns {first:?} and {second:?} both hold {field}; pass --ignore for one of them")]
    SameField {
        /// The field.
        field: String,
        /// One column.
        first: String,
        /// The other.
        second: String,
    },
    /// Columns that are not known.
    #[error("line 1: {}", unknown_columns(.0))]
    Unknown(Vec<(String, Option<&'static str>)>),
    /// No column holds the address.
    #[error("no column holds the address: name one \"email\", or pass --map COLUMN=email{}",
            .guess.as_ref().map(|g| format!(" (perhaps --map {g:?}=email)")).unwrap_or_default())]
    NoEmail {
        /// A column that may be meant.
        guess: Option<String>,
    },
    /// A field that does not exist.
    #[error("{name:?} is no field of a contact; the fields are {}, and for each product consent_PRODUCT, \
             consent_PRODUCT_at, consent_PRODUCT_proof, consent_PRODUCT_evidence",
            FIELDS.map(|(name, _)| name).join(", "))]
    UnknownField {
        /// What was written.
        name: String,
    },
    /// A consent about a product that does not exist.
    #[error("column {column:?}: there is no product {slug:?}; add it with: ouinon product add {slug}")]
    UnknownProduct {
        /// The column.
        column: String,
        /// The product it seems to name.
        slug: String,
    },
    /// A companion of a consent without the consent.
    #[error("column consent_{product} is missing: consent_{product}_at, _proof and _evidence say nothing without it")]
    NoState {
        /// The product.
        product: String,
    },
    /// `--map` names a column that the file does not have.
    #[error("--map {column}: the file has no such column; it has {}", .header.join(", "))]
    NoColumn {
        /// What was written.
        column: String,
        /// What the file has.
        header: Vec<String>,
    },
    /// `--ignore` or `--map` would drop refusals.
    #[error("column {column:?} holds refusals; an import never leaves them out")]
    Refusals {
        /// The column.
        column: String,
    },
    /// `--ignore` of a column that the file has not.
    #[error("--ignore {}: the file has no such column; the nearest is {nearest:?}", quoted(column))]
    NotThere {
        /// What was to be ignored.
        column: String,
        /// The column with the most similar name.
        nearest: String,
    },
    /// `--default email=…`.
    #[error("--default email: an address has no default")]
    DefaultEmail,
}

fn unknown_columns(columns: &[(String, Option<&'static str>)]) -> String {
    let names: Vec<String> = columns.iter().map(|(name, _)| format!("{name:?}")).collect();
    let remedies: Vec<String> = columns
        .iter()
        .map(|(name, field)| match field {
            Some(field) => format!("--map {}={field}", quoted(name)),
            None => format!("--ignore {}", quoted(name)),
        })
        .collect();
    let (noun, verb) = if names.len() == 1 { ("column", "is") } else { ("columns", "are") };
    format!("{noun} {} {verb} not known; map or ignore each, for example: {}", names.join(", "), remedies.join(" "))
}

/// The column whose name has the fewest letters to change.
fn nearest(name: &str, header: &[String]) -> String {
    let named = header.iter().filter(|column| !column.trim().is_empty());
    named.min_by_key(|column| changes(name, &fold(column))).cloned().unwrap_or_default()
}

/// How many letters must be put in, left out or changed to get from one word to the other.
fn changes(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    if plain { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

/// Decides what each column of `header` holds.
pub fn resolve(header: &[String], mapping: &Mapping, products: &[String]) -> Result<Columns, ColumnError> {
    let names: Vec<String> = header.iter().map(|name| fold(name)).collect();
    let ignored: Vec<String> = mapping.ignore.iter().map(|name| fold(name)).collect();
    check_twice(header, &names, &ignored)?;
    let missing = mapping.ignore.iter().find(|name| !names.contains(&fold(name)));
    if let Some(column) = missing {
        return Err(ColumnError::NotThere { column: column.clone(), nearest: nearest(&fold(column), header) });
    }
    let mapped = mapped(header, &names, mapping, products)?;
    let mut columns =
        Columns { width: header.len(), of_field: BTreeMap::new(), defaults: BTreeMap::new(), nameless: vec![] };
    let mut unknown = Vec::new();
    for (index, name) in header.iter().enumerate() {
        let refusals = names[index] == "unsubscribed_at";
        let field = match mapped.get(&index) {
            Some(field) if refusals && *field != Field::UnsubscribedAt => {
                return Err(ColumnError::Refusals { column: name.clone() });
            }
            Some(field) => field.clone(),
            None if names[index].is_empty() => {
                columns.nameless.push(index);
                continue;
            }
            None if ignored.contains(&names[index]) && refusals => {
                return Err(ColumnError::Refusals { column: name.clone() });
            }
            None if ignored.contains(&names[index]) => continue,
            None => match Field::named(name, products) {
                Ok(field) => field,
                Err(ColumnError::UnknownField { .. }) => {
                    unknown.push((name.clone(), likely(&names[index])));
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        let place = Place { index, name: name.clone() };
        if let Some(other) = columns.of_field.insert(field.clone(), place) {
            return Err(ColumnError::SameField { field: field.to_string(), first: other.name, second: name.clone() });
        }
    }
    if !columns.of_field.contains_key(&Field::Email) {
        let guess = unknown.iter().find(|(_, field)| *field == Some("email")).map(|(name, _)| name.clone());
        return Err(ColumnError::NoEmail { guess });
    }
    if !unknown.is_empty() {
        return Err(ColumnError::Unknown(unknown));
    }
    columns.defaults = defaults(mapping, products)?;
    check_consents(&columns)?;
    Ok(columns)
}

fn check_twice(header: &[String], names: &[String], ignored: &[String]) -> Result<(), ColumnError> {
    let counts = |name: &String| !name.is_empty() && !ignored.contains(name);
    let twice = (1..names.len()).find(|&i| counts(&names[i]) && names[..i].contains(&names[i]));
    twice.map_or(Ok(()), |i| Err(ColumnError::Twice { name: header[i].clone() }))
}

fn mapped(
    header: &[String],
    names: &[String],
    mapping: &Mapping,
    products: &[String],
) -> Result<BTreeMap<usize, Field>, ColumnError> {
    let mut mapped = BTreeMap::new();
    for (column, field) in &mapping.map {
        let field = Field::named(field, products)?;
        let exact = header.iter().position(|name| name == column);
        let index = exact.or_else(|| names.iter().position(|name| *name == fold(column)));
        let index = index.ok_or_else(|| ColumnError::NoColumn { column: column.clone(), header: header.to_vec() })?;
        mapped.insert(index, field);
    }
    Ok(mapped)
}

fn defaults(mapping: &Mapping, products: &[String]) -> Result<BTreeMap<Field, String>, ColumnError> {
    let mut defaults = BTreeMap::new();
    for (field, value) in &mapping.default {
        match Field::named(field, products)? {
            Field::Email => return Err(ColumnError::DefaultEmail),
            field => defaults.insert(field, value.trim().to_owned()),
        };
    }
    Ok(defaults)
}

fn check_consents(columns: &Columns) -> Result<(), ColumnError> {
    for field in columns.of_field.keys().chain(columns.defaults.keys()) {
        if let Field::Consent(product, part) = field
            && *part != ConsentPart::State
        {
            let state = Field::Consent(product.clone(), ConsentPart::State);
            if !columns.of_field.contains_key(&state) && !columns.defaults.contains_key(&state) {
                return Err(ColumnError::NoState { product: product.clone() });
            }
        }
    }
    Ok(())
}

/// The field that a folded column name most likely means; only ever a suggestion.
fn likely(name: &str) -> Option<&'static str> {
    LIKELY.iter().find(|(names, _)| names.contains(&name)).map(|(_, field)| *field)
}

const LIKELY: &[(&[&str], &str)] = &[
    (
        &[
            "e_mail",
            "mail",
            "courriel",
            "adresse",
            "adresse_email",
            "adresse_e_mail",
            "adresse_mail",
            "email_address",
            "address",
            "e_mail_address",
            "mel",
        ],
        "email",
    ),
    (&["prenom", "firstname", "first", "given_name", "givenname"], "first_name"),
    (&["nom", "nom_de_famille", "lastname", "last", "surname", "family_name", "name"], "last_name"),
    (
        &["societe", "entreprise", "raison_sociale", "organisation", "organization", "company_name", "organisme"],
        "company",
    ),
    (&["fonction", "poste", "titre", "title", "job", "role", "jobtitle", "position"], "job_title"),
    (&["pays", "country_code", "code_pays"], "country"),
    (&["langue", "lang", "locale"], "language"),
    (&["fuseau", "fuseau_horaire", "timezone", "tz"], "time_zone"),
    (&["type", "b2b", "categorie", "segment", "contact_kind"], "kind"),
    (&["forme_juridique", "statut_juridique"], "legal_form"),
    (&["relation", "statut", "status", "etat", "stage"], "relationship"),
    (&["origine", "provenance", "origin", "lead_source"], "source"),
    (&["type_de_source", "source_type"], "source_kind"),
    (
        &[
            "date_de_collecte",
            "collecte_le",
            "inscrit_le",
            "date_inscription",
            "date_d_inscription",
            "created_at",
            "created",
            "date_de_creation",
            "cree_le",
            "optin_date",
            "subscribed_at",
            "signup_date",
            "date",
        ],
        "collected_at",
    ),
    (&["informe", "information", "info_given"], "informed"),
    (&["fin_de_relation", "date_de_fin", "end_date"], "relationship_end"),
    (&["derniere_activite", "activity"], "last_activity"),
    (&["date_derniere_activite", "dernier_contact", "last_contact", "last_seen"], "last_activity_at"),
    (&["suivi", "tracking_consent", "pixel"], "tracking"),
    (
        &[
            "desinscrit_le",
            "desinscription",
            "desabonne",
            "desabonne_le",
            "desinscrit",
            "date_desinscription",
            "unsubscribed",
            "unsubscribe_date",
            "optout",
            "opt_out",
            "optout_date",
            "stop",
            "blacklist",
            "liste_noire",
        ],
        "unsubscribed_at",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &str) -> Vec<String> {
        names.split(',').map(str::to_owned).collect()
    }

    fn products() -> Vec<String> {
        vec!["crm".into(), "crm-pro".into(), "x_at".into()]
    }

    fn resolved(names: &str, mapping: &Mapping) -> Result<String, ColumnError> {
        let columns = resolve(&header(names), mapping, &products())?;
        let fields: Vec<String> = columns.of_field.iter().map(|(f, p)| format!("{}:{f}", p.index)).collect();
        Ok(fields.join(" "))
    }

    #[test]
    fn canonical_names_are_known_whatever_their_case_and_spaces() {
        assert_eq!(
            resolved(
                "Email,First Name,consent_crm,Consent_CRM-Pro_at,consent_crm_pro,consent_x_at",
                &Mapping::default()
            ),
            Ok("0:email 1:first_name 2:consent_crm 4:consent_crm-pro 3:consent_crm-pro_at 5:consent_x_at".to_owned())
        );
        for (name, field) in FIELDS {
            assert_eq!(Field::named(name, &[]), Ok(field.clone()));
            assert_eq!(field.to_string(), name);
        }
    }

    #[test]
    fn an_unknown_column_is_refused_with_the_way_out_and_all_of_them_at_once() {
        let error = resolved("email,prénom,notes du commercial,Société", &Mapping::default()).unwrap_err().to_string();
        assert_eq!(
            error,
            "line 1: columns \"prénom\", \"notes du commercial\", \"Société\" are not known; map or ignore each, \
             for example: --map prénom=first_name --ignore 'notes du commercial' --map Société=company"
        );
        let mapping = Mapping {
            map: vec![("Prenom".into(), "first_name".into()), ("Société".into(), "company".into())],
            ignore: vec!["Notes du commercial".into()],
            ..Mapping::default()
        };
        assert_eq!(
            resolved("email,prénom,notes du commercial,Société", &mapping),
            Ok("0:email 1:first_name 3:company".into())
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let plain = Mapping::default();
        let map = |column: &str, field: &str| Mapping { map: vec![(column.into(), field.into())], ..plain.clone() };
        let ignore = |column: &str| Mapping { ignore: vec![column.into()], ..plain.clone() };
        let default = |field: &str| Mapping { default: vec![(field.into(), "x".into())], ..plain.clone() };
        for (names, mapping, part) in [
            ("email,Email", &plain, "two columns are called"),
            ("email,mail", &map("mail", "email"), "both hold email"),
            ("courriel,nom", &plain, "perhaps --map \"courriel\"=email"),
            ("nom", &plain, "no column holds the address"),
            ("email", &map("mail", "email"), "no such column"),
            ("email,x", &map("x", "prenom"), "no field of a contact"),
            ("email,consent_crm_at", &plain, "consent_crm is missing"),
            ("email,consent_other_at", &plain, "ouinon product add other"),
            ("email,unsubscribed_at", &ignore("unsubscribed_at"), "never leaves them out"),
            ("email,unsubscribed_at", &map("unsubscribed_at", "source"), "never leaves them out"),
            ("email", &ignore("email"), "no column holds the address"),
            ("email", &default("email"), "no default"),
            ("email", &default("nonsense"), "no field of a contact"),
        ] {
            let error = resolved(names, mapping).unwrap_err().to_string();
            assert!(error.contains(part), "{names}: {error}");
        }
    }
}
