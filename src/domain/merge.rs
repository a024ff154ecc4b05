//! What a template may say about a person.

use serde::{Deserialize, Serialize};

/// The merge fields of one contact: `contact.first_name` and so on in a template.
///
/// None and blank are the same thing there: `default(…)` replaces both. `S` is text that is had, or borrowed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MergeContact<S = String> {
    /// The address the message goes to.
    pub email: S,
    /// First name.
    pub first_name: Option<S>,
    /// Last name.
    pub last_name: Option<S>,
    /// Company.
    pub company: Option<S>,
    /// Job title.
    pub job_title: Option<S>,
    /// ISO code of the country.
    pub country: Option<S>,
    /// Language tag; also chooses the language of the injected parts when the campaign states none.
    pub language: Option<S>,
}

impl MergeContact {
    /// Names of the fields after `contact.`, in the order in which messages list them.
    pub const FIELDS: &'static [&'static str] =
        &["first_name", "last_name", "company", "job_title", "country", "language", "email"];
}

impl<S: AsRef<str>> MergeContact<S> {
    /// The value of a field, without surrounding space; None when it is blank or no field.
    pub fn get(&self, field: &str) -> Option<&str> {
        let value = match field {
            "email" => Some(&self.email),
            "first_name" => self.first_name.as_ref(),
            "last_name" => self.last_name.as_ref(),
            "company" => self.company.as_ref(),
            "job_title" => self.job_title.as_ref(),
            "country" => self.country.as_ref(),
            "language" => self.language.as_ref(),
            _ => None,
        };
        value.map(|value| value.as_ref().trim()).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_that_is_offered_can_be_read() {
        let some = |s: &str| Some(s.to_owned());
        let contact = MergeContact {
            email: "a@b.example".into(),
            first_name: some("a"),
            last_name: some("b"),
            company: some("c"),
            job_title: some("d"),
            country: some("e"),
            language: some("f"),
        };
        assert!(MergeContact::FIELDS.iter().all(|field| contact.get(field).is_some()));
        assert_eq!(MergeContact { first_name: some("  "), ..contact }.get("first_name"), None);
    }
}
