//! What the columns of an old file are: their names held against the values that stand there, and what
//! else in them speaks of refusals or of consumers.

use jiff::tz::TimeZone;

use super::read::{Context, How, ReadColumn, ReadError};
use crate::{
    domain::{
        contacts::ContactKind,
        import::{
            columns::{self, ColumnError, Columns, ConsentPart, Field, Mapping},
            dates::Evidence,
            headers::{self, KindName},
            lines::Line,
            vocabulary::{self as words, fold, look_up},
        },
    },
    pipeline::import::{ImportError, records::Record},
};

/// What cells say that are read as something else, or as nothing: no flag and no odd word drops it.
#[derive(Debug, Default)]
pub struct Overheard {
    refusals: Vec<(usize, Refusing)>,
    consumers: Vec<(usize, Option<KindName>)>,
}

impl Overheard {
    /// Adds to a line what its other cells say: the stricter holds, whatever was said for all lines.
    pub fn add(&self, cells: &[&str], line: &mut Line) {
        if line.refusals.unsubscribed.is_none() && self.refusals.iter().any(|refusing| refuses(*refusing, cells)) {
            // Nobody knows since when: it stands for ever (SUP-6).
            line.refusals.unsubscribed = Some(None);
        }
        if self.consumers.iter().any(|(index, named)| is_consumer(*named, cells.get(*index).copied())) {
            line.facts.kind = Some(ContactKind::Consumer);
        }
    }

    /// The columns from which refusals are taken.
    pub fn refusing<'h>(&self, header: &'h [String]) -> impl Iterator<Item = &'h String> {
        self.refusals.iter().map(|(index, _)| &header[*index])
    }
}

fn is_consumer(named: Option<KindName>, cell: Option<&str>) -> bool {
    let value = cell.unwrap_or_default().trim();
    let said = |yes| look_up(words::YES_NO, value) == Ok(Some(yes));
    headers::speaks_of_consumer(value)
        || match named {
            Some(KindName::Business) => said(false),
            Some(KindName::Consumer) => said(true),
            Some(KindName::Words) | None => false,
        }
}

fn refuses((index, how): (usize, Refusing), cells: &[&str]) -> bool {
    let value = cells.get(index).map_or("", |cell| cell.trim());
    match how {
        Refusing::Word => headers::speaks_of_refusal(value),
        Refusing::Note => headers::speaks_of_refusal(value) || headers::tells_of_refusal(value),
        Refusing::WrittenNo => {
            matches!(look_up(words::CONSENT, value), Ok(Some(state)) if state.is_refusal())
                || headers::speaks_of_refusal(value)
        }
        Refusing::Name => !value.is_empty() && look_up(words::REFUSAL, value) != Ok(Some(false)),
    }
}

/// How a column besides `unsubscribed_at` says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusing {
    /// It is named like one: whatever stands there and is no "no" is a refusal.
    Name,
    /// It is named like one of consent, and is not read: a no that stands there is one.
    WrittenNo,
    /// It holds words that mean nothing else.
    Word,
    /// It is read as nothing, and its notes speak of refusals.
    Note,
}

/// What the values of each column are like.
pub struct Survey {
    /// Records seen.
    pub lines: u64,
    columns: Vec<Surveyed>,
}

struct Surveyed {
    /// Fields that its name suggests, and how many values can be read so.
    candidates: Vec<(Field, u64)>,
    /// Known by a canonical name or by `--map`.
    known: bool,
    /// Known by `--map`.
    mapped: bool,
    ignored: bool,
    filled: u64,
    addresses: u64,
    refusals: u64,
    /// Notes that speak of refusals.
    notes: u64,
    /// Values that say that somebody is a consumer.
    consumers: u64,
    kind_named: Option<KindName>,
    evidence: Evidence,
}

impl Survey {
    /// A survey of columns of these names, nothing seen yet.
    pub fn of(header: &[String], how: &How, context: Context<'_>) -> Result<Survey, ReadError> {
        let mapping = &how.options.mapping;
        let mut columns = Vec::new();
        for name in header {
            let mapped = mapping.map.iter().any(|(column, _)| fold(column) == fold(name));
            let known =
                mapped || !matches!(Field::named(name, context.products), Err(ColumnError::UnknownField { .. }));
            let mut candidates = Vec::new();
            if !known {
                for field in headers::candidates(name) {
                    let field = match *field {
                        "consent" => Field::Consent(context.product.to_owned(), ConsentPart::State),
                        field => Field::named(field, context.products).map_err(ImportError::Columns)?,
                    };
                    candidates.push((field, 0));
                }
            }
            columns.push(Surveyed {
                candidates,
                known,
                mapped,
                ignored: mapping.ignore.iter().any(|column| fold(column) == fold(name)),
                filled: 0,
                addresses: 0,
                refusals: 0,
                notes: 0,
                consumers: 0,
                kind_named: headers::kind_named(name),
                evidence: Evidence::default(),
            });
        }
        Ok(Survey { lines: 0, columns })
    }

    /// Looks at a record.
    pub fn look(&mut self, record: &Record, tz: &TimeZone) {
        self.lines += 1;
        // A faulty record's cells may stand under other names than theirs.
        if record.fault.is_some() {
            return;
        }
        for (index, column) in self.columns.iter_mut().enumerate() {
            let value = record.cell(index).trim();
            if value.is_empty() {
                continue;
            }
            column.filled += 1;
            column.evidence.add(value);
            column.refusals += u64::from(headers::speaks_of_refusal(value));
            column.consumers += u64::from(is_consumer(column.kind_named, Some(value)));
            if !column.known || column.mapped {
                column.notes += u64::from(headers::tells_of_refusal(value));
            }
            if !column.known {
                column.addresses += u64::from(value.contains('@') && headers::reads(&Field::Email, value, tz));
                for (field, count) in &mut column.candidates {
                    *count += u64::from(headers::reads(field, value, tz));
                }
            }
        }
    }

    /// What each column is read as.
    pub fn decide(&mut self, header: &[String], how: &How, context: Context<'_>) -> Result<Found, ReadError> {
        let given = &how.options.mapping;
        let has = |column: &String| header.iter().any(|name| name == column || fold(name) == fold(column));
        let mut mapping = Mapping {
            map: given.map.iter().filter(|(column, _)| has(column)).cloned().collect(),
            default: given.default.clone(),
            ignore: Vec::new(),
        };
        let mapped = mapping.map.iter().map(|(column, _)| column.clone()).collect();
        let (guessed, also) = self.guess(header, &mapping, context);
        let read_as: Vec<Option<Field>> = header
            .iter()
            .map(|name| {
                let guess = guessed.iter().find(|(guess, _)| guess == name).map(|(_, field)| field.clone());
                guess.or_else(|| said_field(name, &mapping, context))
            })
            .collect();
        self.check_defaults(header, &mapping.default, &read_as, context)?;
        let overheard =
            Overheard { refusals: self.refusing(header, &read_as, also), consumers: self.consumers(&read_as) };
        let left_out: Vec<String> = (0..header.len())
            .filter(|index| {
                let column = &self.columns[*index];
                let is_read = column.known || guessed.iter().any(|(guess, _)| *guess == header[*index]);
                !header[*index].trim().is_empty() && (!is_read || column.ignored)
            })
            .map(|index| header[index].clone())
            .collect();
        mapping.map.extend(guessed.iter().map(|(column, field)| (column.clone(), field.to_string())));
        mapping.ignore.clone_from(&left_out);
        let columns = columns::resolve(header, &mapping, context.products).map_err(ImportError::Columns)?;
        let dated = columns.of_field.iter().filter(|(field, _)| field.is_dated()).map(|(_, place)| place.index);
        let evidence = dated.fold(Evidence::default(), |sum, index| sum.and(self.columns[index].evidence));
        let guessed = guessed.into_iter().map(|(name, _)| name).collect();
        Ok(Found { columns, evidence, guessed, left_out, mapped, overheard })
    }

    /// The fields of columns that nobody named, each field once; and further columns that are refusals.
    fn guess(&self, header: &[String], mapping: &Mapping, context: Context<'_>) -> (Vec<(String, Field)>, Vec<usize>) {
        let known = header.iter().zip(&self.columns).filter(|(_, column)| column.known);
        let mut taken: Vec<Field> = known.filter_map(|(name, _)| said_field(name, mapping, context)).collect();
        let (mut guessed, mut also) = (Vec::new(), Vec::new());
        for (index, column) in self.columns.iter().enumerate() {
            if column.known || column.ignored || header[index].trim().is_empty() {
                continue;
            }
            let Some(field) = column.field() else { continue };
            if !taken.contains(&field) {
                taken.push(field.clone());
                guessed.push((header[index].clone(), field));
            } else if field == Field::UnsubscribedAt {
                also.push(index);
            }
        }
        if !taken.contains(&Field::Email) {
            let mut likely =
                (0..header.len()).filter(|i| self.columns[*i].is_mostly_addresses() && !header[*i].trim().is_empty());
            if let (Some(only), None) = (likely.next(), likely.next()) {
                guessed.retain(|(column, _)| *column != header[only]);
                guessed.push((header[only].clone(), Field::Email));
            }
        }
        (guessed, also)
    }

    /// How each column that is not read as refusals says no, if it does. `also`: those that are refusals by
    /// their names, beside the one that is read so.
    fn refusing(&self, header: &[String], read_as: &[Option<Field>], also: Vec<usize>) -> Vec<(usize, Refusing)> {
        let mut refusing: Vec<_> = also.iter().map(|index| (*index, Refusing::Name)).collect();
        for (index, (column, field)) in self.columns.iter().zip(read_as).enumerate() {
            let reads_refusals = matches!(field, Some(Field::UnsubscribedAt | Field::Consent(..)));
            if reads_refusals && !column.ignored || also.contains(&index) {
                continue;
            }
            // Notes stay notes when a flag says that they are the source.
            let notes = [Field::Source, Field::Company, Field::JobTitle];
            let is_read =
                !column.ignored && field.as_ref().is_some_and(|field| !(column.mapped && notes.contains(field)));
            let named = headers::candidates(&header[index]);
            if named == ["unsubscribed_at"] && column.filled > 0 {
                refusing.push((index, Refusing::Name));
            } else if named == ["consent"] {
                refusing.push((index, Refusing::WrittenNo));
            } else if column.notes > 0 && !is_read {
                refusing.push((index, Refusing::Note));
            } else if column.refusals > 0 {
                refusing.push((index, Refusing::Word));
            }
        }
        refusing
    }

    /// The columns that speak of consumers, and are not names of people.
    fn consumers(&self, read_as: &[Option<Field>]) -> Vec<(usize, Option<KindName>)> {
        let is_name = |field: &Field| [Field::Email, Field::FirstName, Field::LastName].contains(field);
        let columns = self.columns.iter().zip(read_as).enumerate();
        columns
            .filter(|(_, (column, field))| column.consumers > 0 && !field.as_ref().is_some_and(is_name))
            .map(|(index, (column, _))| (index, column.kind_named))
            .collect()
    }

    /// Nobody is a professional, or a customer, by a default where the file has a column that says who is, and
    /// that column is not read (RP-5).
    fn check_defaults(
        &self,
        header: &[String],
        defaults: &[(String, String)],
        read_as: &[Option<Field>],
        context: Context<'_>,
    ) -> Result<(), ReadError> {
        for (field, value) in defaults {
            let Ok(field) = Field::named(field, context.products) else { continue };
            let loosens = match field {
                Field::Kind => look_up(words::KIND, value) == Ok(Some(ContactKind::Business)),
                Field::Relationship => look_up(words::RELATIONSHIP, value).is_ok_and(|meaning| meaning.is_some()),
                _ => false,
            };
            let unread = (0..header.len()).find(|index| {
                let column = &self.columns[*index];
                let says = match field {
                    Field::Kind => column.kind_named.is_some(),
                    _ => headers::names_relationship(&header[*index]),
                };
                let is_read = !column.ignored && read_as[*index].as_ref() == Some(&field);
                column.filled > 0 && says && !is_read
            });
            if let Some(index) = unread.filter(|_| loosens) {
                return Err(ReadError::DefaultOver {
                    field: field.to_string(),
                    value: value.clone(),
                    column: header[index].clone(),
                });
            }
        }
        Ok(())
    }
}

/// The field that a column is by its own name or by `--map`.
fn said_field(name: &str, mapping: &Mapping, context: Context<'_>) -> Option<Field> {
    let mapped = mapping.map.iter().find(|(column, _)| column == name || fold(column) == fold(name));
    Field::named(mapped.map_or(name, |(_, field)| field), context.products).ok()
}

impl Surveyed {
    /// The first field that its values can be read as. A name with one meaning bears a few bad values,
    /// whose lines are then refused; one with several must be proven by all of them.
    fn field(&self) -> Option<Field> {
        if let [(field, read)] = self.candidates.as_slice() {
            let sure = *field == Field::UnsubscribedAt || read * 2 >= self.filled;
            return Some(field.clone()).filter(|_| sure);
        }
        let all = self.candidates.iter().find(|(_, read)| *read == self.filled && self.filled > 0);
        // A few odd words do not make professionals of consumers: their lines are refused, the others read.
        let most = || {
            let likely = |(field, read): &&(Field, u64)| {
                let who = *field == Field::Kind || *field == Field::Relationship;
                who && *read * 2 >= self.filled && *read > 0 && self.refusals == 0
            };
            self.candidates.iter().filter(likely).max_by_key(|(_, read)| *read)
        };
        all.or_else(most).map(|(field, _)| field.clone())
    }

    fn is_mostly_addresses(&self) -> bool {
        !self.known && !self.ignored && self.addresses > 0 && self.addresses * 2 >= self.filled
    }
}

/// What a survey found.
pub struct Found {
    /// Where each field stands.
    pub columns: Columns,
    /// What the dates prove of their order.
    pub evidence: Evidence,
    guessed: Vec<String>,
    /// Columns that are not read.
    pub left_out: Vec<String>,
    /// Columns of `--map`.
    pub mapped: Vec<String>,
    /// What the other cells say.
    pub overheard: Overheard,
}

impl Found {
    /// What each column is read as.
    pub fn read_columns(&self) -> Vec<ReadColumn> {
        let mut columns: Vec<_> = self.columns.of_field.iter().collect();
        columns.sort_by_key(|(_, place)| place.index);
        columns
            .into_iter()
            .map(|(field, place)| ReadColumn {
                column: place.name.clone(),
                field: field.to_string(),
                guessed: self.guessed.contains(&place.name),
            })
            .collect()
    }
}
