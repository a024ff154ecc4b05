//! HTML character references, as far as mail uses them.

/// Latin-1 by name, from U+00A0 to U+00FF (HTML 4).
const LATIN_1: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn \
    sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde \
    Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde \
    Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil \
    egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave \
    uacute ucirc uuml yacute thorn yuml";

const OTHERS: [(&str, char); 36] = [
    ("colon", ':'),
    ("Tab", '\t'),
    ("NewLine", '\n'),
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("OElig", 'Œ'),
    ("oelig", 'œ'),
    ("Scaron", 'Š'),
    ("scaron", 'š'),
    ("Yuml", 'Ÿ'),
    ("ensp", '\u{2002}'),
    ("emsp", '\u{2003}'),
    ("thinsp", '\u{2009}'),
    ("zwnj", '\u{200c}'),
    ("zwj", '\u{200d}'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("sbquo", '‚'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("bdquo", '„'),
    ("dagger", '†'),
    ("bull", '•'),
    ("hellip", '…'),
    ("permil", '‰'),
    ("lsaquo", '‹'),
    ("rsaquo", '›'),
    ("euro", '€'),
    ("trade", '™'),
    ("rarr", '→'),
    ("larr", '←'),
];

/// The text that HTML text or an attribute's raw value stands for.
pub(super) fn decode(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match reference(rest) {
            Some((c, length)) => {
                out.push(c);
                rest = &rest[length..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The character of the reference at the start of `text`, and the reference's length.
fn reference(text: &str) -> Option<(char, usize)> {
    let name = text[1..].bytes().take(32).take_while(|b| b.is_ascii_alphanumeric() || *b == b'#').count();
    let body = &text[1..1 + name];
    let length = 1 + name + usize::from(text[1 + name..].starts_with(';'));
    if let Some(number) = body.strip_prefix('#') {
        let code: u32 = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        let c = char::from_u32(code).filter(|c| *c != '\0').unwrap_or('\u{fffd}');
        return Some((c, length));
    }
    named(body).map(|c| (c, length))
}

fn named(name: &str) -> Option<char> {
    let latin_1 = LATIN_1.split_ascii_whitespace().position(|n| n == name);
    let latin_1 = latin_1.and_then(|i| char::from_u32(0xA0 + i as u32));
    latin_1.or_else(|| OTHERS.iter().find(|(n, _)| *n == name).map(|(_, c)| *c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_characters_and_stray_ampersands_stay() {
        assert_eq!(decode("&Eacute;t&eacute; &agrave; l&rsquo;&oelig;uvre&nbsp;: 5&euro;"), "Été à l’œuvre\u{a0}: 5€");
        assert_eq!(decode("a&#233;&#xE9;&#x1F600;&lt;b&gt;&yuml;"), "aéé😀<b>ÿ");
        assert_eq!(decode("?a=1&b=2&amp;c=3 & d &;"), "?a=1&b=2&c=3 & d &;");
        assert_eq!(decode("&#0;&#xFFFFFFFF;&#;&#x;"), "\u{fffd}\u{fffd}&#;&#x;");
        assert_eq!(decode("java&#115;cript&colon;"), "javascript:");
    }
}
