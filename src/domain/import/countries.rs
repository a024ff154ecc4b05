//! Countries of an import: ISO 3166-1 alpha-2 codes of either case, and the names of the nearest ones.

use super::vocabulary::fold;

/// The code of a country, upper case; None when no country is meant by the text.
pub fn code(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if text.len() == 2 && text.is_ascii() {
        let upper = text.to_ascii_uppercase();
        if let Some(code) = CODES.split_ascii_whitespace().find(|code| *code == upper) {
            return Some(code);
        }
    }
    let name = fold(text);
    NAMES.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(code, _)| *code)
}

const CODES: &str =
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
     CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
     FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
     JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
     MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
     PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
     TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

const NAMES: &[(&str, &[&str])] = &[
    ("FR", &["france"]),
    ("DE", &["allemagne", "germany", "deutschland"]),
    ("BE", &["belgique", "belgium", "belgie"]),
    ("CH", &["suisse", "switzerland", "schweiz"]),
    ("LU", &["luxembourg"]),
    ("GB", &["royaume_uni", "united_kingdom", "uk", "great_britain", "grande_bretagne", "angleterre", "england"]),
    ("IE", &["irlande", "ireland"]),
    ("ES", &["espagne", "spain"]),
    ("IT", &["italie", "italy"]),
    ("PT", &["portugal"]),
    ("NL", &["pays_bas", "netherlands"]),
    ("AT", &["autriche", "austria"]),
    ("DK", &["danemark", "denmark"]),
    ("SE", &["suede", "sweden"]),
    ("FI", &["finlande", "finland"]),
    ("NO", &["norvege", "norway"]),
    ("PL", &["pologne", "poland"]),
    ("CZ", &["tchequie", "czechia", "republique_tcheque", "czech_republic"]),
    ("GR", &["grece", "greece"]),
    ("US", &["etats_unis", "united_states", "usa", "united_states_of_america"]),
    ("CA", &["canada"]),
    ("MC", &["monaco"]),
    ("MA", &["maroc", "morocco"]),
    ("TN", &["tunisie", "tunisia"]),
    ("DZ", &["algerie", "algeria"]),
    ("SN", &["senegal"]),
    ("CI", &["cote_d_ivoire", "ivory_coast"]),
    ("RO", &["roumanie", "romania"]),
    ("HU", &["hongrie", "hungary"]),
    ("BG", &["bulgarie", "bulgaria"]),
    ("HR", &["croatie", "croatia"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_read_and_nothing_else() {
        for (text, expected) in [
            ("FR", Some("FR")),
            ("fr", Some("FR")),
            (" De ", Some("DE")),
            ("France", Some("FR")),
            ("États-Unis", Some("US")),
            ("UK", Some("GB")),
            ("Côte d'Ivoire", Some("CI")),
            ("XX", None),
            ("EU", None),
            ("F", None),
            ("", None),
            ("Atlantide", None),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
        assert_eq!(CODES.split_ascii_whitespace().count(), 249);
        for (listed, names) in NAMES {
            assert_eq!(code(listed), Some(*listed));
            assert!(names.iter().all(|name| fold(name) == *name));
        }
    }
}
