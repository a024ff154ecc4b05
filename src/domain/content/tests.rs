use super::*;

const AUTUMN: &str = r#"+++
slug = "autumn-crm"
product = "crm"
profession_related = true
subject = "Votre CRM, {{ contact.first_name | default('bonjour') }}"
from = "Société Exemple <actu@news.example>"
+++
Bonjour {{ contact.first_name | default('à vous') }},

{% if contact.company %}
Votre équipe chez **{{ contact.company }}** va gagner du temps.
{% endif %}

1. Un
2. [Voir la démo](https://exemple.example/demo?n={{ contact.first_name | urlencode }}&s=2)

> Citation
> suite

L'équipe
"#;

#[test]
fn smoke() {
    let file = crate::domain::campaign_file::CampaignFile::parse(AUTUMN, None).unwrap();
    let frozen = freeze(
        &file,
        "CRM",
        &Controller {
            name: "Exemple SAS".into(),
            postal_address: Some("1 rue X\n75001 Paris".into()),
            ..Default::default()
        },
    )
    .unwrap();
    println!("{}\n======\n{}\n{:#?}", frozen.html, frozen.text, frozen.findings);
    let message = Message::new(frozen).unwrap();
    let contact = MergeContact {
        email: "m@x.example".into(),
        first_name: Some("O'Brien & <b>".into()),
        company: Some("Été".into()),
        ..Default::default()
    };
    let injected = Injected {
        basis: Basis::LegitimateInterestB2b,
        unsubscribe_url: "https://u.example/o/T?a=1&b=2",
        preferences_url: None,
        why_url: Some("https://w.example"),
        source: Some("Salon"),
        source_kind: SourceKind::Partner,
        collected_at: None,
        test: true,
    };
    let r = message.render(&contact, &injected).unwrap();
    println!("=====\n{}\n{}\n======\n{}", r.subject, r.html, r.text);
}
