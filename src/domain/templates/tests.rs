use minijinja::context;
use proptest::prelude::*;

use super::*;
use crate::domain::located::position;

/// Scans, writes the template anew and renders it.
fn render_as(source: &str, escape: Escape, first_name: &str) -> String {
    let scan = scan(source, false).unwrap_or_else(|e| panic!("{source}: {e:?}"));
    let template: String = scan
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text, _) => text,
            Piece::Tag(tag) => tag.canonical.as_str(),
        })
        .collect();
    let mut engine = Engine::new();
    engine.add("t", escape, &template).unwrap();
    let contact = context! { first_name => first_name, company => "Été & Fils", country => "FR", email => "a@b.example",
    last_name => "", job_title => "", language => "" };
    let values = context! { contact => contact, product => context! { name => "CRM", slug => "crm" },
    sender => context! { name => "S", email => "s@b.example" }, campaign => context! { slug => "c", subject => "Objet" } };
    engine.render("t", escape, &values).unwrap()
}

fn render(source: &str) -> String {
    render_as(source, Escape::None, "Zoé")
}

fn error(source: &str) -> (u32, u32, String) {
    let errors = scan(source, false).expect_err(source);
    let (line, column) = position(source, errors[0].offset);
    (line, column, errors[0].message.clone())
}

#[test]
fn what_a_marketer_needs_works() {
    for (template, expected) in [
        ("Bonjour {{ contact.first_name }} !", "Bonjour Zoé !"),
        ("{{ contact.last_name | default('vous') }}", "vous"),
        ("{{contact.last_name|d(\"l'équipe\")}}", "l'équipe"),
        ("{{ contact.last_name | default(contact.company) | upper }}", "ÉTÉ & FILS"),
        ("{{ contact.last_name or contact.first_name }}", "Zoé"),
        ("{% if contact.last_name %}M.{% elif contact.country == 'FR' %}Bonjour{% else %}Hello{% endif %}", "Bonjour"),
        ("{% if contact.country in ['FR', 'BE'] and not contact.last_name %}oui{% endif %}", "oui"),
        ("{{ 'France' if contact.country == 'FR' else 'ailleurs' }}", "France"),
        ("{{ 'rien' if contact.country == 'DE' }}.", "."),
        ("{% for x in ['a', 'b'] %}{{ loop.index }}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}", "1a, 2b"),
        ("{{ contact.company | urlencode }}", "%C3%89t%C3%A9%20%26%20Fils"),
        ("{{ contact.company | truncate(4) }}", "Été…"),
        ("{{ 'JEAN-PIERRE' | title }} {{ 'éTé' | capitalize }}", "Jean-Pierre Été"),
        ("{{ contact.first_name | first }}.{{ contact.first_name | length }}", "Z.3"),
        ("{{ contact.company is containing('&') }}", "True"),
        ("{% if contact.last_name is not defined %}sans nom{% endif %}", "sans nom"),
        ("a{# une note {{ rien }} #}b", "ab"),
        ("a\n{%- if contact.country -%}\n b \n{%- endif %}", "ab"),
        ("{{ product.name }} {{ sender.name }} {{ campaign.subject }}", "CRM S Objet"),
        ("un { seul } et 100 % et }} et %}", "un { seul } et 100 % et }} et %}"),
        ("{{ '}} {% \\' \\\\ \"' }}", "}} {% ' \\ \""),
        ("{{ contact.job_title }}", ""),
    ] {
        assert_eq!(render(template), expected, "{template}");
    }
}

#[test]
fn a_blank_field_gets_the_default_and_a_missing_one_never_fails() {
    for blank in ["", "  ", "\t"] {
        assert_eq!(render_as("{{ contact.first_name | default('bonjour') }}", Escape::None, blank), "bonjour");
    }
}

#[test]
fn names_are_text_in_html_whatever_they_hold() {
    let template = "<a href=\"https://e.example/{{ contact.first_name }}\">{{ contact.first_name }}</a>";
    let html = render_as(template, Escape::Html, "<script>alert('x')</script> O'Brien & \"Co\"/…");
    let name = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; O&#39;Brien &amp; &quot;Co&quot;/…";
    assert_eq!(html, format!("<a href=\"https://e.example/{name}\">{name}</a>"));
    assert_eq!(render_as("{{ contact.first_name | escape | e }}", Escape::Html, "<b>"), "&lt;b&gt;");
    assert_eq!(render_as("{{ contact.first_name | escape }}", Escape::None, "<b>"), "<b>");
    assert_eq!(render_as("{{ contact.first_name | default('<i>') }}", Escape::Html, ""), "&lt;i&gt;");
    assert_eq!(render_as("{{ contact.first_name }}", Escape::None, "{{ contact.email }}"), "{{ contact.email }}");
}

#[test]
fn an_unknown_field_is_an_error_where_it_stands_with_the_nearest_one() {
    let (line, column, message) = error("Bonjour,\n\nChère {{ contact.first_nam }}");
    assert_eq!((line, column), (3, 10));
    assert!(message.contains("contact.first_nam (did you mean \"first_name\"?)"), "{message}");
    assert!(error("{{ first_name }}").2.contains("write contact.first_name"));
    assert!(error("{{ contcat.first_name }}").2.contains("did you mean \"contact\"?"));
    assert!(error("{{ contact }}").2.contains("alone says nothing"));
    assert!(error("{% if contact.vip %}x{% endif %}").2.contains("no field contact.vip"));
    assert!(error("{{ contact.first_name | uper }}").2.contains("did you mean \"upper\"?"));
    assert!(error("{{ loop.index }}").2.contains("no variable \"loop\""));
    assert!(scan("{{ campaign.subject }}", true).unwrap_err()[0].message.contains("cannot contain itself"));
}

#[test]
fn every_mistake_of_a_template_is_reported() {
    let errors = scan("{{ contact.a }} {{ contact.b }}\n{% set x = 1 %} {{ contact.c", false).unwrap_err();
    assert_eq!(errors.len(), 4, "{errors:#?}");
}

/// What ran or doubled memory elsewhere (268 MB from one line), and every way out of the sandbox.
#[test]
fn bombs_and_ways_out_are_refused_when_written_not_when_sent() {
    for bomb in [
        "{{ '%200000000d' | format }}",
        "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(25) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{{ 'x' | indent(100000000) }}",
        "{{ 'xx' | replace('x', 'xxxxxxxxxxxxxxxxxxxxxxx') }}",
        "{{ 'x' * 200000000 }}",
        "{{ 'a' ~ 'b' }}",
        "{{ 'a' + 'b' }}",
        "{{ 9 ** 9 }}",
        "{{ ['a'] | join('b') }}",
        "{% for a in range(1000000) %}{% endfor %}",
        "{% for a in contact.company %}x{% endfor %}",
        "{% for a in ['x', contact.company] %}x{% endfor %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% block x %}{% endblock %}",
        "{% macro m() %}{{ m() }}{% endmacro %}",
        "{% raw %}{{ x }}{% endraw %}",
        "{% filter upper %}x{% endfilter %}",
        "{% autoescape false %}x{% endautoescape %}",
        "{% do contact.x() %}",
        "{% with x = 1 %}{% endwith %}",
        "{{ contact.first_name | safe }}",
        "{{ contact.first_name.__class__ }}",
        "{{ contact['first_name'] }}",
        "{{ contact.first_name[0] }}",
        "{{ contact.first_name[0:9] }}",
        "{{ 'x'.upper() }}",
        "{{ ['x'].append('y') }}",
        "{{ range(10) }}",
        "{{ dict(a=1) }}",
        "{{ {'a': 1} }}",
        "{{ debug() }}",
        "{{ self.body() }}",
        "{{ ouinon.footer }}",
        "{{ contact.first_name | default }}",
        "{{ contact.first_name | default('a', true) }}",
        "{{ contact.first_name | default(value='a') }}",
        "{{ contact.first_name | upper('x') }}",
        "{{ 1 in 5 }}",
        "{{ 1 in contact.company | length }}",
        "{{ 'x' is divisibleby(0) }}",
        "{{ 1 / 0 }}",
        "{{ 1 % 0 }}",
        "{{ -1 }}",
        "{{ 99999999999999999999 }}",
        "{{ }}",
        "{% %}",
        "{{ contact.first_name",
        "{% if contact.first_name %}x",
        "{% endif %}",
        "{% if x = 1 %}{% endif %}",
        "{% else %}",
        "{% for x in ['a'] %}{% else %}{% endfor %}",
        "{% for contact in ['a'] %}{% endfor %}",
        "{% if contact.first_name %}{% endfor %}",
        "{{ contact.first_name | }}",
        "{{ contact.first_name 'x' }}",
        "{{ ( contact.first_name }}",
        "{{ 'x }}",
        "{{{ contact.first_name }}}",
        "{# sans fin",
    ] {
        assert!(scan(bomb, false).is_err(), "{bomb}");
    }
}

#[test]
fn nesting_loops_and_lengths_have_limits() {
    let nested = |depth: usize| "{% if contact.company %}".repeat(depth) + &"{% endif %}".repeat(depth);
    assert!(scan(&nested(MAX_NESTING), false).is_ok());
    assert!(scan(&nested(MAX_NESTING + 1), false).is_err());
    let brackets = format!("{{{{ {}'x'{} }}}}", "(".repeat(300), ")".repeat(300));
    assert!(scan(&brackets, false).is_err());
    let nots = format!("{{{{ {} contact.company }}}}", "not ".repeat(399));
    assert!(scan(&nots, false).is_err());
    let items = vec!["'x'"; 100].join(",");
    let twice = format!("{{% for a in [{items}] %}}{{% for b in [{items}] %}}X{{% endfor %}}{{% endfor %}}");
    assert_eq!(render(&twice.replace('X', "x")), "x".repeat(10_000));
    assert!(scan(&twice.replace('X', "{{ a }}{{ b }}"), false).is_err(), "too much work");
    assert!(scan(&twice.replace('X', &"x".repeat(300)), false).is_err(), "too much output");
    let thrice = format!("{{% for c in ['x'] %}}{twice}{{% endfor %}}");
    assert!(scan(&thrice, false).is_err());
    assert!(scan(&"{{ 'x' }}".repeat(MAX_TAGS + 1), false).is_err());
    assert!(scan(&"x".repeat(MAX_SOURCE_BYTES + 1), false).is_err());
    assert!(scan(&format!("{{{{ '{}' }}}}", "x".repeat(MAX_STRING_BYTES + 1)), false).is_err());
    assert!(scan(&format!("{{{{ 'x' {} }}}}", "| urlencode ".repeat(9)), false).is_err());
}

#[test]
fn the_longest_allowed_loop_has_fuel_enough() {
    let items = vec!["1"; 100].join(",");
    let template =
        format!("{{% for a in [{items}] %}}{{% for b in [{items}] %}}{{{{ b }}}}{{% endfor %}}{{% endfor %}}");
    assert_eq!(render(&template).len(), 10_000);
}

#[test]
fn a_field_that_may_be_missing_is_noticed_unless_something_stands_in_for_it() {
    let missing =
        |source: &str| scan(source, false).unwrap().without_fallback.into_iter().map(|(f, _)| f).collect::<Vec<_>>();
    assert_eq!(missing("{{ contact.first_name }} {{ contact.company | upper }}"), ["first_name", "company"]);
    for fine in [
        "{{ contact.first_name | default('x') }}",
        "{{ contact.first_name or 'x' }}",
        "{{ contact.first_name if contact.first_name else 'x' }}",
        "{% if contact.first_name %}{{ contact.first_name }}{% endif %}",
        "{% if contact.country %}{% if contact.company %}{{ contact.company }}{% endif %}{% endif %}",
        "{{ contact.email }} {{ product.name }} {{ sender.name }}",
    ] {
        assert!(missing(fine).is_empty(), "{fine}");
    }
}

fn tag_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{{ ".to_owned()),
        Just(" }}".to_owned()),
        Just("{% if ".to_owned()),
        Just(" %}".to_owned()),
        Just("{% endif %}".to_owned()),
        Just("{% for x in ['a'] %}".to_owned()),
        Just("{% endfor %}".to_owned()),
        Just("{%- else -%}".to_owned()),
        Just("contact.first_name".to_owned()),
        Just(" | default('x')".to_owned()),
        Just(" is defined ".to_owned()),
        Just(" in ['a', 'b'] ".to_owned()),
        Just(" not ".to_owned()),
        Just(" and ".to_owned()),
        Just("'té\\'xte'".to_owned()),
        Just("(".to_owned()),
        Just(")".to_owned()),
        Just("{# ".to_owned()),
        Just(" #}".to_owned()),
        "\\PC{0,4}",
        "[-~+*{}%#\"'\\\\\n]{1,3}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|v| v.concat())
}

/// The engine takes it for the test's argument, and says so when the mail goes out.
#[test]
fn nothing_stands_behind_a_test() {
    for behind in ["not", "not true", "contact.company", "'x'", "5", "- 5", "['a']", "if true", "in 'x'"] {
        let source = format!("{{{{ contact.company is defined {behind} }}}}");
        assert!(scan(&source, false).is_err(), "{source}");
    }
    assert_eq!(render("{{ 'a' if contact.company is defined and true else 'b' }}"), "a");
    assert_eq!(render("{{ 'a' if (contact.company is not containing('x')) == true else 'b' }}"), "a");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn any_text_is_refused_or_renders(source in tag_like()) {
        if scan(&source, false).is_ok() {
            for name in ["", "Zoé"] {
                render_as(&source, Escape::Html, name);
                render_as(&source, Escape::None, name);
            }
        }
    }

    #[test]
    fn expressions_that_are_allowed_never_fail(
        left in "(contact\\.(first_name|company)|'[a-z]{0,3}'|5|\\['a', 'b'\\]|none|true)",
        sign in "(==|!=|<|<=|>|>=|and|or|in|not in|is defined and|\\| upper ==|\\| truncate\\('x'\\) or|\\| length <|if)",
        right in "(contact\\.(country|job_title)|'[a-z]{0,3}'|5|\\['a', 5\\]|none|\\('x' \\| first\\)|not 5)",
        filter in "( \\| (upper|lower|title|capitalize|trim|length|first|last|truncate\\((3|'x'|contact\\.company)\\)|urlencode|e))?",
    ) {
        let source = format!("{{{{ {left} {sign} {right}{filter} }}}}");
        if scan(&source, false).is_ok() {
            render_as(&source, Escape::Html, "");
        }
    }
}
