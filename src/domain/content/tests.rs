use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::domain::{campaign_file::CampaignFile, located::Problems};

const UNSUBSCRIBE: &str = "https://u.exemple.example/o/JETON?a=1&b=2";

const AUTUMN: &str = r#"+++
slug = "autumn-crm"
product = "crm"
kind = "marketing"
profession_related = true
subject = "Votre CRM, {{ contact.first_name | default('bonjour') }}"
from = "Société Exemple <actu@news.example>"
language = "fr"
+++
# Un CRM qui se fait oublier

Bonjour {{ contact.first_name | default('à vous') }},

{% if contact.company %}
Votre équipe chez **{{ contact.company }}** y gagne une heure par jour :
{% endif %}

1. vos contacts sont à jour ;
2. vos relances partent seules.

[Voir la démonstration](https://exemple.example/demo?de={{ contact.first_name | urlencode }}&v=2)

> « Enfin un outil calme. »
> — une cliente

| Offre | Prix |
|-------|------|
| Solo  | 9 €  |

À bientôt,\
L'équipe
"#;

fn controller() -> Controller {
    Controller {
        name: "Exemple SAS".into(),
        postal_address: Some("1 rue de l'Essai\n75001 Paris".into()),
        contact: Some("dpo@exemple.example".into()),
        retention_months: None,
    }
}

fn try_freeze(text: &str) -> Result<Frozen, Problems> {
    freeze(&CampaignFile::parse(text, None)?, "CRM Exemple", &controller())
}

fn message(text: &str) -> Message {
    Message::new(try_freeze(text).unwrap_or_else(|e| panic!("{e}"))).unwrap()
}

fn campaign(keys: &str, body: &str) -> String {
    let subject = if keys.contains("subject") { "" } else { "subject = \"Bonjour\"\n" };
    format!("+++\nslug = \"s\"\nproduct = \"crm\"\nfrom = \"Exemple <a@b.example>\"\n{subject}{keys}\n+++\n{body}")
}

fn marie() -> MergeContact {
    let some = |s: &str| Some(s.to_owned());
    MergeContact {
        email: "marie@atelier.example".into(),
        first_name: some("Marie"),
        last_name: some("Durand"),
        company: some("L'Atelier & Fils"),
        job_title: None,
        country: some("FR"),
        language: some("fr"),
    }
}

fn injected() -> Injected<'static> {
    Injected {
        basis: Basis::LegitimateInterestB2b,
        unsubscribe_url: UNSUBSCRIBE,
        preferences_url: None,
        why_url: None,
        view_url: None,
        answer_url: None,
        source: Some("Salon de Lyon 2025"),
        source_kind: SourceKind::Event,
        collected_at: Some(date(2025, 3, 18)),
        test: false,
        tracks: Tracks::default(),
    }
}

#[test]
fn the_text_part_reads_like_a_letter() {
    let rendered = message(AUTUMN).render(&marie(), &injected()).unwrap();
    assert_eq!(rendered.subject, "Votre CRM, Marie");
    let expected = "\
Un CRM qui se fait oublier

Bonjour Marie,

Votre équipe chez L'Atelier & Fils y gagne une heure par jour :

1. vos contacts sont à jour ;
2. vos relances partent seules.

Voir la démonstration (https://exemple.example/demo?de=Marie&v=2)

> « Enfin un outil calme. » — une cliente

Offre Prix
Solo 9 €

À bientôt,
L'équipe

----------

Vous recevez ce message à titre professionnel, parce que CRM Exemple se rapporte à votre métier (intérêt légitime).

Se désinscrire (https://u.exemple.example/o/JETON?a=1&b=2) : sans compte, sans motif, sans frais.

Vous pouvez à tout moment vous opposer, sans frais ni motif, à l'utilisation de vos données pour la prospection : par \
le lien ci-dessus ou auprès de dpo@exemple.example.

Message publicitaire de Société Exemple (actu@news.example), pour Exemple SAS. Adresse postale : 1 rue de l'Essai, \
75001 Paris.
";
    assert_eq!(rendered.text, expected);
}

#[test]
fn the_html_part_says_the_same_and_escapes_what_people_are_called() {
    let rendered = message(AUTUMN).render(&marie(), &injected()).unwrap();
    for part in [
        "<html lang=\"fr\">",
        "<title>Votre CRM, Marie</title>",
        "<p>Bonjour Marie,</p>",
        "<strong>L&#39;Atelier &amp; Fils</strong>",
        "href=\"https://exemple.example/demo?de=Marie&amp;v=2\">Voir la démonstration</a>",
        "href=\"https://u.exemple.example/o/JETON?a=1&amp;b=2\">Se désinscrire</a>",
        "Message publicitaire de Société Exemple (actu@news.example), pour Exemple SAS.",
        "1 rue de l&#39;Essai, 75001 Paris",
    ] {
        assert!(rendered.html.contains(part), "{part}\n{}", rendered.html);
    }
    assert!(!rendered.html.contains("{{") && !rendered.html.contains("{%") && !rendered.html.contains("ozq"));
    let hostile = MergeContact { first_name: Some("<script>alert(1)</script> O'Brien".into()), ..marie() };
    let rendered = message(AUTUMN).render(&hostile, &injected()).unwrap();
    assert!(rendered.html.contains("Bonjour &lt;script&gt;alert(1)&lt;/script&gt; O&#39;Brien,"));
    assert!(rendered.html.contains("de=%3Cscript%3Ealert%281%29%3C%2Fscript%3E%20O%27Brien&amp;v=2"));
    assert!(rendered.text.contains("Bonjour <script>alert(1)</script> O'Brien,"));
}

#[test]
fn a_contact_of_whom_little_is_known_gets_a_whole_letter_too() {
    let bare = MergeContact { email: "info@atelier.example".to_owned(), ..MergeContact::default() };
    let rendered = message(AUTUMN).render(&bare, &injected()).unwrap();
    assert_eq!(rendered.subject, "Votre CRM, bonjour");
    assert!(rendered.text.contains("\n\nBonjour à vous,\n\n1. vos contacts"), "{}", rendered.text);
    assert!(!rendered.html.contains("y gagne une heure"));
}

#[test]
fn the_campaign_of_the_manual_can_be_sent_and_its_bare_greeting_is_noticed() {
    let file = AUTUMN.replace(" | default('à vous')", "");
    let frozen = try_freeze(&file).unwrap();
    let finding = frozen.findings.iter().find(|f| f.code == "field_without_fallback").unwrap();
    assert_eq!(finding.level, Level::Warning);
    assert!(
        finding.message(Lang::En).starts_with("Line 12, column 12: contact.first_name may be missing"),
        "{finding:?}"
    );
    let bare = MergeContact { email: "info@atelier.example".to_owned(), ..MergeContact::default() };
    assert!(Message::new(frozen).unwrap().render(&bare, &injected()).unwrap().text.contains("Bonjour ,"));
    assert!(try_freeze(AUTUMN).unwrap().findings.iter().all(|f| f.level == Level::Warning));
}

#[test]
fn an_unknown_field_is_an_error_of_create_with_line_and_column_of_the_file() {
    let text =
        campaign("subject = \"Bonjour {{ contact.prenom }}\"", "Un\n\n{{ contact.first_nam }} et {% set x = 1 %}");
    let problems = try_freeze(&text).unwrap_err().0;
    let shown: Vec<String> = problems.iter().map(|p| p.to_string()).collect();
    assert!(shown[0].starts_with("line 5, column 23: subject: there is no field contact.prenom"), "{shown:?}");
    assert!(
        shown[1]
            .starts_with("line 9, column 4: body: there is no field contact.first_nam (did you mean \"first_name\"?)"),
        "{shown:?}"
    );
    assert!(shown[2].starts_with("line 9, column 31: body: `set` is not allowed"), "{shown:?}");
}

#[test]
fn a_name_cannot_add_a_header() {
    for name in ["Bob\r\nBcc: victim@example.com", "Bob\nX: y", "Bob\0"] {
        let contact = MergeContact { first_name: Some(name.into()), ..marie() };
        assert_eq!(message(AUTUMN).render(&contact, &injected()), Err(RenderError::HeaderInjection), "{name:?}");
    }
    let contact = MergeContact { first_name: Some("Bob\u{7}\u{2028}\tA".into()), ..marie() };
    assert_eq!(message(AUTUMN).render(&contact, &injected()).unwrap().subject, "Votre CRM, Bob A");
}

#[test]
fn every_basis_is_explained_in_both_languages_and_names_the_product() {
    let message = message(&AUTUMN.replace("language = \"fr\"\n", ""));
    let mut seen = std::collections::BTreeSet::new();
    for basis in Basis::ALL {
        for (language, receive, stop) in
            [("fr", "Vous recevez", "Se désinscrire"), ("en-GB", "You receive", "Unsubscribe")]
        {
            let contact = MergeContact { language: Some(language.into()), ..marie() };
            let rendered = message.render(&contact, &Injected { basis: *basis, ..injected() }).unwrap();
            let (_, footer) = rendered.text.split_once("----------\n\n").unwrap();
            let reason = footer.lines().next().unwrap();
            assert!(reason.starts_with(receive) && reason.contains("CRM Exemple"), "{basis} {reason}");
            assert!(footer.contains(&format!("{stop} ({UNSUBSCRIBE})")), "{footer}");
            assert!(rendered.html.contains(&format!(">{stop}</a>")));
            assert!(seen.insert(reason.to_owned()), "two bases say {reason}");
        }
    }
}

#[test]
fn the_language_of_the_footer_is_the_campaigns_or_the_contacts() {
    let lang = |keys: &str, language: Option<&str>| {
        let contact = MergeContact { language: language.map(str::to_owned), ..marie() };
        try_freeze(&campaign(keys, "Texte")).unwrap().lang(&contact)
    };
    assert_eq!(lang("language = \"en\"", Some("fr")), Lang::En);
    assert_eq!(lang("", Some("en-US")), Lang::En);
    assert_eq!(lang("", Some("de")), Lang::En);
    assert_eq!(lang("", None), Lang::Fr);
}

#[test]
fn the_source_is_told_to_those_whose_address_came_from_somebody_else() {
    let message = message(AUTUMN);
    let footer = |injected| message.render(&marie(), &injected).unwrap().text;
    assert!(!footer(injected()).contains("Salon de Lyon"));
    let partner = Injected { source_kind: SourceKind::Partner, ..injected() };
    assert!(footer(partner).contains("Source de votre adresse : Salon de Lyon 2025 (recueillie le 18/03/2025)."));
    let silent = Injected { source: None, collected_at: None, ..partner };
    assert!(footer(silent).contains("Source de votre adresse : un partenaire."));
}

#[test]
fn the_full_notice_has_every_point_of_articles_13_and_14() {
    let message = message(&campaign("art14_notice = true\nkind = \"repermission\"", "Voulez-vous continuer ?"));
    for (language, points) in [
        (
            "fr",
            [
                "Responsable du traitement : Exemple SAS, 1 rue",
                "Finalité :",
                "Base légale : notre intérêt légitime",
                "Données :",
                "Destinataires :",
                "Durée de conservation : 36 mois",
                "Vos droits : accès, rectification, effacement",
                "Réclamation : auprès de la CNIL",
                "Source de votre adresse : Salon de Lyon 2025",
            ],
        ),
        (
            "en",
            [
                "Controller: Exemple SAS, 1 rue",
                "Purpose:",
                "Legal basis: our legitimate interest",
                "Data:",
                "Recipients:",
                "Retention: 36 months",
                "Your rights: access, rectification, erasure",
                "Complaints: with the CNIL",
                "Source of your address: Salon de Lyon 2025",
            ],
        ),
    ] {
        let contact = MergeContact { language: Some(language.into()), ..marie() };
        let rendered = message.render(&contact, &injected()).unwrap();
        for point in points {
            assert!(rendered.text.contains(point), "{point}\n{}", rendered.text);
            assert!(rendered.html.contains(point), "{point} in HTML");
        }
    }
    let without = self::message(&campaign("", "Texte")).render(&marie(), &injected()).unwrap();
    assert!(!without.text.contains("Base légale"));
}

fn asking(body: &str) -> String {
    campaign("art14_notice = true\nkind = \"repermission\"", body)
}

/// RP-7: what follows a person, comes from elsewhere or could hide the question refuses the launch.
#[test]
fn a_question_is_plain() {
    let faults = |text: &str| {
        let findings = try_freeze(text).unwrap_or_else(|e| panic!("{e}")).findings;
        let errors = findings.into_iter().filter(|f| f.level == Level::Error);
        errors.map(|f| (f.code, f.fr, f.en)).collect::<Vec<_>>()
    };
    for (body, code) in [
        ("<img src=\"https://t.example/q.gif?u={{ contact.email }}\" width=1 height=1>", "own_pixel"),
        ("![](https://t.example/q.gif?e={{ contact.email }})", "remote_picture"),
        ("![logo](https://t.example/logo.png)", "remote_picture"),
        ("<img alt=\"a\" srcset=\"https://t.example/a 2x\">", "remote_picture"),
        ("[voir](https://shop.example/promo?u={{ contact.email }})", "field_in_link_not_encoded"),
        ("[voir](https://shop.example/?u={{ contact.email | urlencode }})", "field_in_link_not_encoded"),
        ("Voir https://shop.example/?u={{ contact.email }}", "field_in_link_not_encoded"),
        ("<div style=\"background:url(https://t.example/a)\">x</div>", "remote_picture"),
        ("<div style=\"background:u\\72l(https://t.example/a)\">x</div>", "hidden_content"),
        ("<table background=\"https://t.example/a\"><tr><td>x</td></tr></table>", "remote_picture"),
        ("<style>p { display: none !important }</style>", "external_resource"),
        ("<link rel=\"stylesheet\" href=\"https://t.example/a.css\">", "external_resource"),
        ("<div style=\"display:none\"><div><div>", "hidden_content"),
        ("<div>\n\nx", "element_left_open"),
        ("<div/>\n\nx", "element_left_open"),
        ("x</div></div>", "element_left_open"),
        ("{% if contact.company %}\n\n<div>\n\n{% endif %}\n\nx\n\n</div>", "element_left_open"),
        ("<p>x", "element_left_open"),
        ("<b><i>x</b></i>", "element_left_open"),
        ("<div hidden>x</div>", "hidden_content"),
        ("<div style=\"position:fixed;top:0\">x</div>", "hidden_content"),
        ("<div style=\"margin-bottom:-900px\">x</div>", "hidden_content"),
        ("<div style=\"padding-bottom:5000px\">x</div>", "hidden_content"),
        ("<div style=\"padding-bottom:90vh\">x</div>", "hidden_content"),
        ("<p style=\"font-size:1px\">x</p>", "hidden_content"),
        ("<p style=\"color:transparent\">x</p>", "hidden_content"),
        ("x <!--[if mso]><div style=\"display:none\"><![endif]-->", "hidden_content"),
        ("<details>\n<summary>x</summary>y\n</details>", "not_plain"),
        ("<div data-x=\"1\">x</div>", "not_plain"),
    ] {
        for (before, line) in [("", 0), ("Bonjour,\n\ntrès **bien**.\n\n", 4)] {
            let text = asking(&format!("{before}{body}"));
            let found = faults(&text);
            let first = text.lines().count() - format!("{before}{body}").lines().count() + 1;
            let Some((_, fr, en)) = found.iter().find(|(c, ..)| c == code) else { panic!("{body}: {found:?}") };
            let (french, english) = (format!("Ligne {}", first + line), format!("Line {}", first + line));
            let in_place = fr.starts_with(&french) && en.starts_with(&english);
            assert!(
                in_place || body.contains("{% if") || body.contains("\n<summary>"),
                "{body}: {fr} {en} ({first} {line})"
            );
        }
        assert!(
            !try_freeze(&campaign("", body))
                .unwrap()
                .findings
                .iter()
                .any(|f| f.level == Level::Error && f.code != "body_empty"),
            "{body}"
        );
    }
    for body in [
        "Bonjour {{ contact.first_name | default('') }},\n\n*Nous* rangeons. [Nos règles](https://e.example/r)\n\n> a\n\n- b\n- c\n\n| a | b |\n|---|---|\n| 1 | 2 |",
        "<p style=\"margin: 0 0 1em; font: bold 14px/1.5 Arial, sans-serif; color: #123456\">x<br>y</p>",
        "{% if contact.company %}\n<b>{{ contact.company }}</b>\n{% else %}\n<i>x</i>\n{% endif %}",
        "1 < 2 et {{ contact.first_name | default('') }}/{{ contact.last_name | default('') }} \u{2014} a&b",
        "<table width=\"100%\" cellpadding=\"0\"><tr><td align=\"center\">x</td></tr></table>",
    ] {
        assert_eq!(faults(&asking(body)), [], "{body}");
    }
}

/// Whatever is written above, the question stands between it and its answers, in both parts.
#[test]
fn the_question_is_always_put() {
    let message = message(&asking("Texte court"));
    let injected = Injected { answer_url: Some("https://e.example/a/JETON"), ..injected() };
    for (language, question, yes) in [
        ("fr", "Souhaitez-vous que nous continuions à vous écrire au sujet de CRM Exemple ?", "Oui, continuez"),
        ("en", "Would you like us to go on writing to you about CRM Exemple?", "Yes, go on"),
    ] {
        let contact = MergeContact { language: Some(language.into()), ..marie() };
        let rendered = message.render(&contact, &injected).unwrap();
        for part in [rendered.html, rendered.text] {
            let place = |words: &str| part.find(words).unwrap_or_else(|| panic!("{words} in {part}"));
            assert!(place("Texte court") < place(question) && place(question) < place(yes), "{part}");
        }
    }
}

#[test]
fn the_right_to_object_stands_apart() {
    let rendered = message(AUTUMN).render(&marie(), &injected()).unwrap();
    assert!(rendered.text.contains("\n\nVous pouvez à tout moment vous opposer"));
    assert!(rendered.html.contains("<strong>Vous pouvez à tout moment vous opposer"));
}

#[test]
fn a_service_message_is_not_called_advertising() {
    let text = campaign("kind = \"service\"\nhas_promo = false", "Votre facture est prête.");
    let rendered = message(&text).render(&marie(), &Injected { basis: Basis::Service, ..injected() }).unwrap();
    assert!(rendered.text.contains("Message d’Exemple (a@b.example)"));
    assert!(rendered.text.contains("Refuser nos messages publicitaires (https://u.exemple.example"));
    assert!(!rendered.text.contains("publicitaire d") && !rendered.text.contains("vous opposer"));
}

#[test]
fn a_test_send_says_so_everywhere() {
    let rendered = message(AUTUMN).render(&marie(), &Injected { test: true, ..injected() }).unwrap();
    assert_eq!(rendered.subject, "[TEST] Votre CRM, Marie");
    assert!(rendered.text.starts_with("*** TEST :"));
    assert!(rendered.html.contains("ses liens ne changent rien"));
}

const NEWSLETTER: &str = r##"<!DOCTYPE html>
<html><head><title>Lettre</title><style>p { color: #333 }</style></head>
<body bgcolor="#ffffff">
<!--[if mso]><table><tr><td>Outlook</td></tr></table><![endif]-->
<table role="presentation">
{% if contact.company %}
<tr><td>Pour {{ contact.company }}</td></tr>
{% endif %}
<tr><td><a href="https://exemple.example/?n={{ contact.first_name | urlencode }}&amp;s=1">D&eacute;couvrir</a><br>Fin</td></tr>
</table>
<img src="https://exemple.example/a.png" alt="Un atelier">
</body></html>
"##;

#[test]
fn an_html_document_keeps_its_form_and_gets_the_footer_inside_its_body() {
    let message = message(&campaign("", NEWSLETTER));
    let rendered = message.render(&marie(), &injected()).unwrap();
    assert!(rendered.html.starts_with("<!DOCTYPE html>\n<html><head><title>Lettre</title>"), "{}", rendered.html);
    assert!(rendered.html.contains("<tr><td>Pour L&#39;Atelier &amp; Fils</td></tr>"));
    assert!(rendered.html.contains("?n=Marie&amp;s=1\">D&eacute;couvrir</a>"));
    assert!(rendered.html.find(">Se désinscrire</a>").unwrap() < rendered.html.find("</body>").unwrap());
    let expected =
        "Pour L'Atelier & Fils\nDécouvrir (https://exemple.example/?n=Marie&s=1)\nFin\n\nUn atelier\n\n----------";
    assert!(rendered.text.starts_with(expected), "{}", rendered.text);
    let bare = MergeContact { company: None, ..marie() };
    let rendered = message.render(&bare, &injected()).unwrap();
    assert!(rendered.text.starts_with("Découvrir"), "a condition holds in the text part too: {}", rendered.text);
    assert!(!rendered.html.contains("Pour"));
}

#[test]
fn an_html_fragment_is_put_into_our_layout() {
    let file = CampaignFile::parse(&campaign("format = \"html\"", "<p>Bonjour</p>"), None).unwrap();
    let frozen = freeze(&file, "CRM", &controller()).unwrap();
    assert!(frozen.html.starts_with("<!DOCTYPE html>") && frozen.html.contains("<p>Bonjour</p>"));
}

#[test]
fn what_runs_or_lies_in_a_body_is_refused() {
    for (body, message) in [
        ("<script>alert(1)</script>", "<script> is not allowed"),
        ("<ScRiPt src=x></ScRiPt>", "<script> is not allowed"),
        ("<p onclick=\"x()\">a</p>", "attribute onclick"),
        ("<img src=\"https://e.example/a.png\" alt=\"\" ONERROR='x()'>", "attribute onerror"),
        ("<a href=\"javascript:alert(1)\">a</a>", "scheme `javascript:`"),
        ("<a href=\" java&#10;script&colon;alert(1)\">a</a>", "scheme `javascript:`"),
        ("<a href=\"vbscript:x\">a</a>", "scheme `vbscript:`"),
        ("<a href=\"data:text/html,x\">a</a>", "scheme `data:`"),
        ("[a](javascript:alert(1))", "scheme `javascript:`"),
        ("<form action=\"https://e.example\"></form>", "<form> is not allowed"),
        ("<iframe src=\"https://e.example\"></iframe>", "<iframe> is not allowed"),
        ("<meta http-equiv=\"Refresh\" content=\"0\">", "refresh"),
        ("<p style=\"width: expr\\ession(alert(1))\">a</p>", "not allowed in a style"),
        ("<style>@import 'https://e.example/x.css';</style>", "not allowed in a style"),
        ("<style>p { color: {{ contact.company }} }</style>", "<style>"),
        ("<a href=\"{{ contact.company }}\">a</a>", "must start with its scheme"),
        (
            "<a href=\"{% if contact.company %}https://a.example{% else %}javascript:x{% endif %}\">a</a>",
            "must start with its scheme",
        ),
        ("<a href={{ contact.company }}>a</a>", "between quotes"),
        ("<p title={{ contact.company }}>a</p>", "between quotes"),
        ("<p {{ contact.company }}>a</p>", "inside a quoted value"),
        ("<p {% if contact.company %}class=\"a\"{% endif %}>a</p>", "inside a quoted value"),
        ("<{{ contact.company }}>a", ""),
        ("<!-- pas fermé", "left open"),
        ("<p>a</p><style>p {", "left open"),
        ("<p>a</p><a href=\"https://e.example>", "left open"),
        ("a\n\n<body>b</body>", "do not belong in Markdown"),
    ] {
        match try_freeze(&campaign("", body)) {
            Err(problems) => assert!(problems.to_string().contains(message), "{body}: {problems}"),
            Ok(frozen) => assert!(message.is_empty(), "{body} was accepted: {}", frozen.html),
        }
    }
}

#[test]
fn the_footer_cannot_be_put_under_a_condition() {
    let body = NEWSLETTER.replace("</body>", "{% if contact.job_title %}</body>{% endif %}");
    assert!(try_freeze(&campaign("", &body)).unwrap_err().to_string().contains("could be left out"));
    assert!(try_freeze(&campaign("", "<html><p>a</p></html>")).unwrap_err().to_string().contains("needs a <body>"));
    let body = NEWSLETTER.replace("</body></html>", "");
    assert!(try_freeze(&campaign("", &body)).unwrap().html.trim_end().ends_with("{{ ouinon.footer }}"));
}

#[test]
fn an_error_in_html_is_found_on_its_line() {
    let body = NEWSLETTER.replace("<br>", "<script>x</script>");
    let problems = try_freeze(&campaign("", &body)).unwrap_err().0;
    assert_eq!((problems[0].line, problems[0].column), (16, 111), "{}", problems[0]);
}

#[test]
fn what_only_looks_like_a_tag_after_markdown_is_text() {
    let message = message(&campaign(
        "",
        "a \\{\\{ contact.email \\}\\} b &#123;{ contact.email }} c &#123;% if %}\n\n&#123;{{ contact.email }}",
    ));
    let rendered = message.render(&marie(), &injected()).unwrap();
    assert!(
        rendered.text.starts_with("a {{ contact.email }} b {{ contact.email }} c {% if %}\n\n"),
        "{}",
        rendered.text
    );
    assert!(rendered.html.contains("a {{ contact.email }} b"), "{}", rendered.html);
}

#[test]
fn a_word_of_ours_in_the_text_is_only_a_word() {
    let rendered =
        message(&campaign("", "ozq0z OZQ1z {{ contact.email }} ozqq0z")).render(&marie(), &injected()).unwrap();
    assert!(rendered.text.starts_with("ozq0z OZQ1z marie@atelier.example ozqq0z\n"), "{}", rendered.text);
}

#[test]
fn conditions_between_paragraphs_and_inside_lines_keep_their_spaces() {
    let body = "Bonjour{% if contact.first_name %} {{ contact.first_name }}{% endif %}, {% if contact.country == 'FR' %}ici{% else %}là{% endif %} !\n\n{% for x in ['un', 'deux'] %}\n- point {{ x }}\n{% endfor %}\n\nFin";
    let text = message(&campaign("", body)).render(&marie(), &injected()).unwrap().text;
    assert!(text.starts_with("Bonjour Marie, ici !\n\n- point un\n\n- point deux\n\nFin\n"), "{text}");
    let html = message(&campaign("", body)).render(&marie(), &injected()).unwrap().html;
    assert!(!html.contains("<p></p>") && html.contains("<li>point deux</li>"), "{html}");
}

fn codes(keys: &str, body: &str) -> Vec<String> {
    try_freeze(&campaign(keys, body)).unwrap().findings.into_iter().map(|f| f.code).collect()
}

#[test]
fn the_lint_sees_what_a_marketer_would_rather_know() {
    for (keys, body, code) in [
        ("", "![](https://e.example/a.png)<img src=\"https://e.example/b.png\">", "image_without_alt"),
        ("", "[a](http://e.example/)", "link_not_https"),
        ("", "[a](/page)", "link_not_absolute"),
        ("", "[Stop](https://e.example/unsubscribe)", "own_unsubscribe_link"),
        ("", "[a](https://e.example/?n={{ contact.email }})", "field_in_link_not_encoded"),
        ("", "<div style=\"Display : none\">x</div>", "hidden_content"),
        ("", "a <img src=\"https://e.example/p.gif\" width=1 height=\"1\" alt=\"\">", "own_pixel"),
        ("", "<link rel=\"stylesheet\" href=\"https://fonts.example/x.css\">\n\na", "external_resource"),
        ("", "", "body_empty"),
        ("", "{{ contact.company }}", "field_without_fallback"),
        ("", "Offre réservée aux femmes enceintes", "sensitive_word"),
        ("kind = \"service\"\nhas_promo = false", "Profitez de nos soldes", "service_looks_promotional"),
        ("kind = \"service\"\nhas_promo = false", "Facture : \u{2212}20 % dès demain", "service_looks_promotional"),
        ("kind = \"service\"", "Votre facture", "service_with_promotion"),
        ("subject = \"RE: votre demande\"", "a", "subject_false_reply"),
        ("subject = \"DERNIÈRE CHANCE\"", "a", "subject_shouts"),
    ] {
        assert!(codes(keys, body).contains(&code.to_owned()), "{code} for {body:?}: {:?}", codes(keys, body));
    }
    assert!(codes("", &"Bonjour à tous. ".repeat(8_000)).contains(&"html_too_large".to_owned()));
    let long = format!("subject = \"{}\"", "très ".repeat(20));
    assert!(codes(&long, "a").contains(&"subject_too_long".to_owned()));
}

#[test]
fn an_ordinary_letter_has_no_findings() {
    assert_eq!(try_freeze(AUTUMN).unwrap().findings, []);
    let body = "Bonjour, voyez [la page](https://e.example/) ou [ici](http://127.0.0.1:8080/x). ![Un atelier](https://e.example/a.png)";
    assert_eq!(codes("kind = \"service\"\nhas_promo = false", body), [""; 0]);
}

#[test]
fn what_is_frozen_survives_storage() {
    let frozen = try_freeze(AUTUMN).unwrap();
    let stored = serde_json::to_string(&frozen).unwrap();
    assert_eq!(serde_json::from_str::<Frozen>(&stored).unwrap(), frozen);
}

#[test]
fn hostile_bodies_of_every_shape_end_soon() {
    for body in [
        ">".repeat(20_000) + " fin",
        "> ".repeat(10_000) + "fin\n\nsuite",
        "<div>".repeat(10_000),
        "<ul><li>".repeat(5_000),
        "<blockquote>".repeat(5_000) + &"a<br>".repeat(3_000),
        "[".repeat(100_000),
        "*a _b ".repeat(60_000),
        "<script>".repeat(20_000),
        (0..4_000).map(|i| format!("[a](http://e{i}.example/) ")).collect(),
        "{{ contact.x }}\n".repeat(20_000),
        "{% if contact.company %}\n\na\n\n{% endif %}\n\n".repeat(900),
        "&#".repeat(20_000),
        "{{".repeat(200_000),
        "{# ".repeat(100_000),
    ] {
        for keys in ["", "format = \"html\""] {
            // Whether it is refused or not: it ends, in bounded memory.
            if let Ok(frozen) = try_freeze(&campaign(keys, &body)) {
                assert!(frozen.html.len() + frozen.text.len() < 40 * body.len() + 20_000);
                assert!(frozen.findings.len() < 200);
            }
        }
    }
}

fn fragment() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{{ contact.first_name }}".to_owned()),
        Just("{% if contact.company %}".to_owned()),
        Just("\n{% endif %}\n".to_owned()),
        Just("\n{% if contact.company %}\n".to_owned()),
        Just("{% endif %}".to_owned()),
        Just("{% for x in ['a'] %}\n".to_owned()),
        Just("{% endfor %}".to_owned()),
        Just("[a](https://e.example/{{ contact.email | urlencode }})".to_owned()),
        Just("<p title=\"".to_owned()),
        Just("\">".to_owned()),
        Just("<!--".to_owned()),
        Just("-->".to_owned()),
        Just("<table><tr><td>".to_owned()),
        Just("\n\n- ".to_owned()),
        Just("```\n".to_owned()),
        "[\\\\{}%#*_`<>&;a \n]{1,6}",
        "\\PC{0,4}",
    ];
    prop::collection::vec(piece, 0..14).prop_map(|v| v.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    #[test]
    fn any_body_is_refused_or_sent_with_its_footer(body in fragment(), name in "\\PC{0,12}") {
        for keys in ["", "format = \"html\""] {
            if let Ok(frozen) = try_freeze(&campaign(keys, &body)) {
                let contact = MergeContact { first_name: Some(name.clone()), company: Some(name.clone()), ..marie() };
                let rendered = Message::new(frozen).unwrap().render(&contact, &injected()).unwrap();
                prop_assert!(rendered.html.contains(">Se désinscrire</a>"));
                prop_assert!(rendered.text.contains(UNSUBSCRIBE));
            }
        }
    }
}
