//! Which language a page speaks.

use axum::http::{HeaderMap, header};

use crate::domain::lang::Lang;

/// The language a reader asks for: the switch of the page (`?lang=`), else the person's own, else the
/// browser's, else the sender's.
pub fn choose(query: Option<&str>, person: Option<&str>, headers: &HeaderMap, default: Lang) -> Lang {
    let switched = query.and_then(|q| {
        form_urlencoded::parse(q.as_bytes()).find(|(name, _)| name == "lang").and_then(|(_, tag)| Lang::from_tag(&tag))
    });
    switched.or_else(|| person.and_then(Lang::from_tag)).or_else(|| accepted(headers)).unwrap_or(default)
}

/// The best of our languages in `Accept-Language` (RFC 9110 section 12.5.4); the first of equals.
fn accepted(headers: &HeaderMap) -> Option<Lang> {
    let mut best: Option<(Lang, f32)> = None;
    let lines = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    for range in lines.flat_map(|line| line.split(',')).take(32) {
        let mut parts = range.split(';').map(str::trim);
        let Some(lang) = parts.next().and_then(Lang::from_tag) else { continue };
        let weight = parts.find_map(|p| p.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if weight > 0.0 && best.is_none_or(|(_, w)| weight > w) {
            best = Some((lang, weight));
        }
    }
    best.map(|(lang, _)| lang)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn browser(accept: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, accept.parse().unwrap())])
    }

    #[test]
    fn the_switch_then_the_person_then_the_browser_then_the_sender() {
        let headers = browser("en-GB,en;q=0.9");
        assert_eq!(choose(Some("a=b&lang=fr"), Some("en"), &headers, Lang::En), Lang::Fr);
        assert_eq!(choose(Some("lang=klingon"), Some("fr_FR"), &headers, Lang::En), Lang::Fr);
        assert_eq!(choose(None, Some(""), &headers, Lang::Fr), Lang::En);
        assert_eq!(choose(None, None, &browser("de, es;q=0.5"), Lang::Fr), Lang::Fr);
    }

    #[test]
    fn the_browsers_weights_count() {
        assert_eq!(accepted(&browser("en;q=0.3, fr-CH;q=0.8, de")), Some(Lang::Fr));
        assert_eq!(accepted(&browser("fr;q=0, en;q=0.1")), Some(Lang::En));
        assert_eq!(accepted(&browser("fr, en")), Some(Lang::Fr));
        assert_eq!(accepted(&browser("*;q=;;,,=")), None);
    }
}
