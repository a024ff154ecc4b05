//! A DNS server of the story's own: it answers from a few lines of zone, over UDP and TCP, and the
//! resolver that asks it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use ouinon::mail::dns::{DnsError, Resolver};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

/// Answers until dropped.
pub struct Dns {
    /// Where it answers.
    pub at: SocketAddr,
    zone: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

const UDP_ROOM: usize = 1232;

impl Dns {
    /// Serves `zone`: lines `NAME TYPE VALUE`, where TYPE is A, AAAA, MX, TXT, PTR or CNAME, or one of
    /// FAIL (SERVFAIL) and SILENT (no answer at all), which need no value.
    pub async fn start(zone: &str) -> Dns {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            // The same number may be taken for TCP: then another.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("bound")).await {
                break (udp, tcp);
            }
        };
        let at = udp.local_addr().expect("bound");
        let zone = Arc::new(Mutex::new(zone.to_owned()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answerer = {
            let (zone, asked) = (zone.clone(), asked.clone());
            move |question: &[u8], room: usize| answer(&zone.lock().unwrap(), question, room, &asked)
        };
        let by_udp = tokio::spawn({
            let answerer = answerer.clone();
            async move {
                let mut buffer = [0; 4096];
                while let Ok((n, from)) = udp.recv_from(&mut buffer).await {
                    if let Some(bytes) = answerer(&buffer[..n], UDP_ROOM) {
                        let _ = udp.send_to(&bytes, from).await;
                    }
                }
            }
        });
        let by_tcp = tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                while let Ok(length) = stream.read_u16().await {
                    let mut question = vec![0; length.into()];
                    if stream.read_exact(&mut question).await.is_err() {
                        break;
                    }
                    let Some(bytes) = answerer(&question, usize::from(u16::MAX)) else { break };
                    let _ = stream.write_u16(bytes.len() as u16).await;
                    let _ = stream.write_all(&bytes).await;
                }
            }
        });
        Dns { at, zone, asked, tasks: vec![by_udp, by_tcp] }
    }

    /// Another zone from now on.
    pub fn publish(&self, zone: &str) {
        zone.clone_into(&mut self.zone.lock().unwrap());
    }

    /// What was asked so far, as `NAME TYPE`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn kind(code: u16) -> &'static str {
    match code {
        1 => "A",
        5 => "CNAME",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        _ => "?",
    }
}

fn answer(zone: &str, question: &[u8], room: usize, asked: &Mutex<Vec<String>>) -> Option<Vec<u8>> {
    let (mut at, mut name) = (12, String::new());
    while question[at] != 0 {
        let length = usize::from(question[at]);
        name.push_str(&String::from_utf8_lossy(&question[at + 1..at + 1 + length]).to_lowercase());
        name.push('.');
        at += 1 + length;
    }
    let code = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    asked.lock().unwrap().push(format!("{} {}", name.trim_end_matches('.'), kind(code)));
    let records: Vec<(String, &str, &str)> = zone
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let (owner, rest) = line.split_once(' ')?;
            let (kind, value) = rest.trim_start().split_once(' ').unwrap_or((rest, ""));
            Some((format!("{}.", owner.trim_end_matches('.').to_lowercase()), kind, value.trim()))
        })
        .collect();
    let here = |name: &str, kind: &str| -> Vec<String> {
        let fits = records.iter().filter(|(owner, k, _)| owner == name && *k == kind);
        fits.map(|(_, _, value)| (*value).to_owned()).collect()
    };
    if !here(&name, "SILENT").is_empty() {
        return None;
    }
    let mut answers = Vec::new();
    let mut owner = name.clone();
    while let Some(target) = here(&owner, "CNAME").pop() {
        answers.push(record(&owner, 5, encoded(&target)));
        owner = format!("{}.", target.trim_end_matches('.'));
    }
    for value in here(&owner, kind(code)) {
        answers.push(record(&owner, code, data(code, &value)));
    }
    let exists = records.iter().any(|(o, _, _)| *o == owner || o.ends_with(&format!(".{owner}")));
    let failed = !here(&name, "FAIL").is_empty();
    let outcome: u8 = if failed {
        2
    } else if exists || !answers.is_empty() {
        0
    } else {
        3
    };
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&question[..2]);
    bytes.extend_from_slice(&[0x81, 0x80 | outcome, 0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
    bytes.extend_from_slice(&question[12..at + 5]);
    answers.iter().for_each(|answer| bytes.extend_from_slice(answer));
    if bytes.len() > room {
        // Truncated: to be asked again over TCP.
        bytes.truncate(at + 5);
        bytes[2] |= 2;
        bytes[7] = 0;
    }
    Some(bytes)
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn record(owner: &str, code: u16, data: Vec<u8>) -> Vec<u8> {
    let mut bytes = encoded(owner);
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
    bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

fn data(code: u16, value: &str) -> Vec<u8> {
    match code {
        15 => {
            let (preference, host) = value.split_once(' ').expect("MX: preference and host");
            let mut bytes = preference.parse::<u16>().expect("a preference").to_be_bytes().to_vec();
            bytes.extend(encoded(host));
            bytes
        }
        16 => value.as_bytes().chunks(255).flat_map(|s| [&[s.len() as u8], s].concat()).collect(),
        1 | 28 => match value.parse().expect("an address") {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        },
        _ => encoded(value),
    }
}

#[tokio::test]
async fn the_resolver_says_what_is_published() {
    let long = "x".repeat(2000);
    let dns = Dns::start(&format!(
        "news.example MX 20 mx2.news.example\n\
         news.example MX 10 MX1.news.example\n\
         news.example TXT v=spf1 -all\n\
         news.example TXT another\n\
         bare.example A 192.0.2.1\n\
         bare.example AAAA 2001:db8::1\n\
         null.example MX 0 .\n\
         long.example TXT {long}\n\
         alias.example CNAME news.example\n\
         1.2.0.192.in-addr.arpa PTR mail.news.example\n"
    ))
    .await;
    let resolver = Resolver::new(Some(dns.at)).unwrap();
    let mx = |found: Vec<ouinon::mail::dns::Mx>| {
        found.iter().map(|mx| format!("{} {}", mx.preference, mx.host)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(mx(resolver.mx("News.Example").await.unwrap()), "10 mx1.news.example, 20 mx2.news.example");
    assert_eq!(mx(resolver.mx("null.example").await.unwrap()), "0 ", "a null MX has no name");
    assert_eq!(resolver.mx("bare.example").await, Ok(vec![]), "the domain exists, without an exchanger");
    assert_eq!(resolver.mx("nowhere.example").await, Err(DnsError::NoSuchName));
    let mut texts = resolver.txt("alias.example.").await.unwrap();
    texts.sort();
    assert_eq!(texts, ["another", "v=spf1 -all"], "an alias is followed");
    assert_eq!(resolver.txt("long.example").await.unwrap(), [long], "strings are put together; TCP when too long");
    let addresses: Vec<String> = resolver.a("bare.example").await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(resolver.ptr("192.0.2.1".parse().unwrap()).await.unwrap(), ["mail.news.example"]);
    assert_eq!(resolver.txt("no name").await.map_err(|e| e.to_string()), Err("\"no name\" is no domain name".into()));
    let before = dns.asked().len();
    resolver.mx("news.example").await.unwrap();
    assert_eq!(dns.asked().len(), before, "an answer is kept for its TTL");
}

/// Nothing is known then: neither that there is a record, nor that there is none.
#[tokio::test]
async fn who_does_not_answer_is_told_from_who_says_no() {
    let dns = Dns::start("broken.example FAIL\nsilent.example SILENT\n").await;
    let resolver = Resolver::new(Some(dns.at)).unwrap();
    for domain in ["broken.example", "silent.example"] {
        let answer = tokio::time::timeout(Duration::from_secs(60), resolver.mx(domain)).await.expect("it gives up");
        assert!(matches!(answer, Err(DnsError::Failed(_))), "{domain}: {answer:?}");
    }
    dns.publish("broken.example MX 10 mx.example\n");
    assert_eq!(resolver.mx("broken.example").await.unwrap().len(), 1, "a failure is not kept");
}
