use super::*;

fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    if !file.is_empty() {
        std::fs::write(folder.path().join(FILE), file).unwrap();
    }
    Config::load(folder.path(), env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// Why a configuration is refused, in the words that the operator reads.
fn refused(file: &str, env: &[(&str, &str)]) -> String {
    load(file, env).map(|_| ()).expect_err("this configuration is refused").to_string()
}

fn shown(secret: &SecretString) -> &str {
    use secrecy::ExposeSecret;
    secret.expose_secret()
}

#[test]
fn an_empty_folder_is_a_sqlite_file_under_ouinon_data() {
    let folder = tempfile::tempdir().unwrap();
    for config in [Config::of_folder(folder.path()), Config::load(folder.path(), std::iter::empty()).unwrap()] {
        assert_eq!(config.data_dir, folder.path().join("ouinon-data"));
        assert_eq!(
            shown(&config.database.url),
            format!("sqlite:{}", folder.path().join("ouinon-data/ouinon.db").display())
        );
        assert!(config.smtp.url.is_none() && config.smtp.rate_per_minute.is_none());
        assert_eq!(config.controller.time_zone.iana_name(), Some("Europe/Paris"));
        assert!(!config.unsubscribe.one_click_product_only);
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let file = "[controller]\nname = 'File'\ntime_zone = 'America/Montreal'\n[smtp]\nconnections = 3\n";
    let config = load(file, &[("OUINON_CONTROLLER_NAME", "Environment"), ("HOME", "/nowhere")]).unwrap();
    assert_eq!(config.controller.name, "Environment");
    assert_eq!(config.controller.time_zone.iana_name(), Some("America/Montreal"));
    assert_eq!(config.smtp.connections, 3);
}

#[test]
fn an_empty_variable_takes_the_files_value_away() {
    let file = "[smtp]\nurl = 'smtp://localhost'\n";
    assert!(load(file, &[("OUINON_SMTP_URL", "")]).unwrap().smtp.url.is_none());
}

#[test]
fn another_file_is_read_where_the_environment_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("other.toml"), "[controller]\nname = 'Other'").unwrap();
    let env = |path: &str| std::iter::once(("OUINON_CONFIG".to_owned(), path.to_owned()));
    assert_eq!(Config::load(folder.path(), env("other.toml")).unwrap().controller.name, "Other");
    let error = Config::load(folder.path(), env("gone.toml")).unwrap_err().to_string();
    assert!(error.contains("gone.toml"), "{error}");
}

#[test]
fn what_is_no_setting_is_refused_by_its_name() {
    assert!(refused("", &[("OUINON_SMPT_URL", "smtp://x")]).contains("OUINON_SMPT_URL"));
    let error = refused("[smtp]\nulr = 'smtp://x'\n", &[]);
    assert!(error.contains(FILE) && error.contains("line 2, column 1") && error.contains("ulr"), "{error}");
    assert!(refused("[smpt]\n", &[]).contains("smpt"));
    for not_a_setting in ["OUINON_LOG", "OUINON_TEST_POSTGRES_URL", "OUINON_TEST_PYTHON"] {
        load("", &[(not_a_setting, "anything")]).unwrap();
    }
}

#[test]
fn a_bad_value_is_refused_with_the_setting_and_the_way_out() {
    let cases = [
        ("OUINON_DATABASE_URL", "mysql://x", "database.url", "sqlite:PATH"),
        ("OUINON_SMTP_CONNECTIONS", "many", "smtp.connections", "number"),
        ("OUINON_SMTP_CONNECTIONS", "0", "smtp", "at least 1"),
        ("OUINON_SMTP_CONNECTIONS", "4294967295", "smtp.connections", "1 to 1000"),
        ("OUINON_SMTP_RATE_PER_MINUTE", "0", "smtp", "at least 1"),
        ("OUINON_SMTP_FEEDBACK_SENDER_ID", "abc", "smtp.feedback_sender_id", "5 to 15"),
        ("OUINON_SMTP_FEEDBACK_SENDER_ID", "with space", "smtp.feedback_sender_id", "5 to 15"),
        ("OUINON_DNS", "resolver.example", "dns", "127.0.0.1:5353"),
        ("OUINON_PUBLIC_PROXIES", "10.0.0.1, proxy", "public.proxies", "no IP address"),
        ("OUINON_CONTROLLER_TIME_ZONE", "Paris", "controller.time_zone", "Europe/Paris"),
        ("OUINON_CONTROLLER_LANGUAGE", "de", "controller.language", "fr or en"),
        ("OUINON_UNSUBSCRIBE_ONE_CLICK_SCOPE", "campaign", "unsubscribe.one_click_scope", "global or product"),
        ("OUINON_RULES_RETENTION_MONTHS", "-1", "rules.retention_months", "number"),
    ];
    for (name, value, setting, way_out) in cases {
        let error = refused("", &[(name, value)]);
        assert!(error.starts_with(&format!("{setting}: ")) && error.contains(way_out), "{name}={value}: {error}");
    }
}

#[test]
fn links_travel_over_https_or_stay_on_this_machine() {
    let url = |url: &str| load("", &[("OUINON_PUBLIC_URL", url)]).map(|config| config.public.url.unwrap());
    let good = [
        ("https://mail.example.org", "https://mail.example.org"),
        ("https://mail.example.org/", "https://mail.example.org"),
        ("https://example.org/mail/", "https://example.org/mail"),
        ("https://example.org:8443", "https://example.org:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ];
    for (given, kept) in good {
        assert_eq!(url(given).unwrap(), kept);
    }
    let bad = [
        "http://mail.example.org",
        "http://192.168.1.10",
        "http://0.0.0.0:8080",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "ftp://example.org",
        "mail.example.org",
        "https://",
        "https://example.org/?a=b",
        "not a url",
    ];
    for given in bad {
        let error = url(given).expect_err(given).to_string();
        assert!(error.starts_with("public.url: "), "{given}: {error}");
    }
}

/// A password reaches no message and no debug output, whatever is wrong around it.
#[test]
fn no_secret_is_ever_shown() {
    const SECRET: &str = "tr0ub4dor";
    let smtp = format!("smtp://user:{SECRET}@mail.example.org:587");
    let database = format!("postgres://ouinon:{SECRET}@db.example.org/ouinon");
    let config = load("", &[("OUINON_SMTP_URL", &smtp), ("OUINON_DATABASE_URL", &database)]).unwrap();
    assert_eq!(config.smtp.url.as_ref().map(shown), Some(smtp.as_str()));
    assert!(!format!("{config:?} {config:#?}").contains(SECRET));

    let broken = [
        format!("[smtp]\nurl = '{smtp}\n"),
        format!("[smtp]\nurl = '{smtp}' connections = 2\n"),
        format!("[smtp]\nurl = ['{smtp}']\n"),
        format!("smtp = '{smtp}'\n"),
        format!("[smtp]\nconnections = '{SECRET}\", \"'\n"),
        format!("[database]\nurl = '{SECRET}'\n"),
    ];
    for file in &broken {
        let error = load(file, &[]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    }
    for name in
        ["OUINON_DATABASE_URL", "OUINON_PUBLIC_URL", "OUINON_SMTP_CONNECTIONS", "OUINON_UNSUBSCRIBE_ONE_CLICK_SCOPE"]
    {
        let error = load("", &[(name, SECRET)]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(SECRET), "{name}: {error:?}");
    }
}

#[test]
fn the_dns_server_is_an_address_with_or_without_port() {
    let at = |text: &str| load("", &[("OUINON_DNS", text)]).unwrap().dns.map(|at| at.to_string());
    assert_eq!(at("127.0.0.1:5353").as_deref(), Some("127.0.0.1:5353"));
    assert_eq!(at("192.0.2.53").as_deref(), Some("192.0.2.53:53"));
    assert_eq!(at("[2001:db8::53]:5353").as_deref(), Some("[2001:db8::53]:5353"));
    assert_eq!(at("2001:db8::53").as_deref(), Some("[2001:db8::53]:53"));
    assert_eq!(at(""), None);
    assert_eq!(load("dns = '127.0.0.1'\n", &[]).unwrap().dns.unwrap().port(), 53);
}

#[test]
fn loopback_is_this_machine_only() {
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1", "[::1]"] {
        assert!(is_loopback(host), "{host}");
    }
    for host in ["example.org", "0.0.0.0", "10.0.0.1", "::", "localhost.example.org", ""] {
        assert!(!is_loopback(host), "{host}");
    }
}
