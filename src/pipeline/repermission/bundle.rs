//! An evidence bundle: members, a checkpoint that names each with its size and SHA-256, and an Ed25519
//! signature of the checkpoint. Whoever has the file can check it, without a secret and without us.
//!
//! It is a ZIP that any program opens, written in one way only: nothing compressed, no time, no comment.
//! So the container is checked too, byte for byte, by writing it anew from its members.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::keys::AuditKey;

/// A member of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, a relative path.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl Member {
    /// A member of text.
    pub fn new(name: &str, bytes: impl Into<Vec<u8>>) -> Member {
        Member { name: name.to_owned(), bytes: bytes.into() }
    }
}

/// What is signed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    format: String,
    plan: String,
    signed_at: String,
    public_key: String,
    members: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    bytes: u64,
    sha256: String,
}

/// What a check found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verified {
    /// Every byte is the one that was signed, and by the key that was asked for, if one was.
    pub valid: bool,
    /// What is wrong.
    pub problems: Vec<String>,
    /// The plan that it proves.
    pub plan: String,
    /// When it was signed, in the signer's words.
    pub signed_at: String,
    /// The key that signed.
    pub public_key: String,
    /// Names of the members.
    pub members: Vec<String>,
}

const FORMAT: &str = "ouinon-evidence-1";
const CHECKPOINT: &str = "checkpoint.json";
const SIGNATURE: &str = "signature.txt";

/// A public key as it is published: `ed25519:` and base64.
pub fn published(key: &AuditKey) -> String {
    format!("ed25519:{}", STANDARD.encode(key.public()))
}

/// Writes a bundle of these members; None when it is too large for its format (4 GiB).
pub fn seal(plan: &str, signed_at: &str, mut members: Vec<Member>, key: &AuditKey) -> Option<Vec<u8>> {
    let checkpoint = Checkpoint {
        format: FORMAT.to_owned(),
        plan: plan.to_owned(),
        signed_at: signed_at.to_owned(),
        public_key: published(key),
        members: members.iter().map(listed).collect(),
    };
    let checkpoint = serde_json::to_vec_pretty(&checkpoint).expect("texts can be written as JSON");
    let signature = format!("{}\n", STANDARD.encode(key.sign(&checkpoint)));
    members.push(Member { name: CHECKPOINT.to_owned(), bytes: checkpoint });
    members.push(Member::new(SIGNATURE, signature));
    pack(&members)
}

/// Checks a bundle. `expected`: the key that its sender publishes; without it, the check says which key
/// signed, and whoever trusts that key trusts the bundle.
pub fn verify(bytes: &[u8], expected: Option<&str>) -> Verified {
    let mut verified = Verified::default();
    match check(bytes, expected, &mut verified) {
        Ok(()) => verified.valid = verified.problems.is_empty(),
        Err(problem) => verified.problems.push(problem),
    }
    verified
}

fn check(bytes: &[u8], expected: Option<&str>, verified: &mut Verified) -> Result<(), String> {
    let members =
        unpack(bytes).ok_or("this is no evidence file, or it was packed anew: it is not as it was written")?;
    verified.members = members.iter().map(|member| member.name.clone()).collect();
    let find = |name: &str| members.iter().find(|member| member.name == name).ok_or(format!("{name} is missing"));
    let (signed, signature) = (&find(CHECKPOINT)?.bytes, &find(SIGNATURE)?.bytes);
    let checkpoint: Checkpoint = serde_json::from_slice(signed).map_err(|_| format!("{CHECKPOINT} cannot be read"))?;
    verified.plan.clone_from(&checkpoint.plan);
    verified.signed_at.clone_from(&checkpoint.signed_at);
    verified.public_key.clone_from(&checkpoint.public_key);
    if checkpoint.format != FORMAT {
        return Err(format!("its format is {:?}; this program reads {FORMAT}", checkpoint.format));
    }
    if expected.is_some_and(|key| key.trim() != checkpoint.public_key) {
        verified.problems.push("it is signed by another key than the one that was asked for".to_owned());
    }
    if !is_signed(&checkpoint.public_key, signed, signature) {
        verified.problems.push(format!("the signature of {CHECKPOINT} does not hold"));
    }
    let told: Vec<Listed> =
        members.iter().filter(|m| m.name != CHECKPOINT && m.name != SIGNATURE).map(listed).collect();
    for member in &told {
        match checkpoint.members.iter().find(|listed| listed.name == member.name) {
            None => verified.problems.push(format!("{} is not of it: it was added", member.name)),
            Some(listed) if listed != member => verified.problems.push(format!("{} was changed", member.name)),
            Some(_) => {}
        }
    }
    for listed in checkpoint.members.iter().filter(|listed| told.iter().all(|member| member.name != listed.name)) {
        verified.problems.push(format!("{} is missing", listed.name));
    }
    if told != checkpoint.members && verified.problems.is_empty() {
        verified.problems.push("its members are not in their order, or one stands there twice".to_owned());
    }
    if pack(&members).as_deref() != Some(bytes) && verified.problems.is_empty() {
        verified.problems.push("something outside the members was changed".to_owned());
    }
    Ok(())
}

fn is_signed(public_key: &str, signed: &[u8], signature: &[u8]) -> bool {
    let key = public_key.strip_prefix("ed25519:").and_then(|key| STANDARD.decode(key).ok());
    let signature = std::str::from_utf8(signature).ok().and_then(|text| STANDARD.decode(text.strip_suffix('\n')?).ok());
    match (key, signature) {
        (Some(key), Some(signature)) => UnparsedPublicKey::new(&ED25519, key).verify(signed, &signature).is_ok(),
        _ => false,
    }
}

fn listed(member: &Member) -> Listed {
    let digest = Sha256::digest(&member.bytes);
    Listed {
        name: member.name.clone(),
        bytes: member.bytes.len() as u64,
        sha256: digest.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

/// What both headers of a member share: version 2.0, UTF-8 names, stored, 1980-01-01 00:00.
const SHARED: [u8; 10] = [20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];

/// The container (APPNOTE 6.3, without anything that is optional).
fn pack(members: &[Member]) -> Option<Vec<u8>> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let offset = u32::try_from(out.len()).ok()?;
        let size = u32::try_from(member.bytes.len()).ok()?;
        let name = u16::try_from(member.name.len()).ok()?;
        let mut header = SHARED.to_vec();
        header.extend_from_slice(&crc32(&member.bytes).to_le_bytes());
        header.extend_from_slice(&size.to_le_bytes());
        header.extend_from_slice(&size.to_le_bytes());
        header.extend_from_slice(&name.to_le_bytes());
        header.extend_from_slice(&[0, 0]);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&header);
        out.extend_from_slice(member.name.as_bytes());
        out.extend_from_slice(&member.bytes);
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&header);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(member.name.as_bytes());
    }
    let count = u16::try_from(members.len()).ok()?.to_le_bytes();
    let start = u32::try_from(out.len()).ok()?.to_le_bytes();
    let size = u32::try_from(directory.len()).ok()?.to_le_bytes();
    out.append(&mut directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    for part in [&count[..], &count, &size, &start, &[0, 0]] {
        out.extend_from_slice(part);
    }
    Some(out)
}

/// The members of a container that [`pack`] wrote; None for any other.
fn unpack(bytes: &[u8]) -> Option<Vec<Member>> {
    const HEADER: usize = 30;
    let mut members = Vec::new();
    let mut at = 0;
    while bytes.get(at..at + 4)? == b"PK\x03\x04" {
        let number =
            |from: usize| Some(u32::from_le_bytes(bytes.get(at + from..at + from + 4)?.try_into().ok()?) as usize);
        let short =
            |from: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at + from..at + from + 2)?.try_into().ok()?)));
        let (size, name) = (number(18)?, short(26)?);
        let start = at.checked_add(HEADER)?;
        let name_bytes = bytes.get(start..start.checked_add(name)?)?;
        let body = start + name;
        let body_bytes = bytes.get(body..body.checked_add(size)?)?;
        members.push(Member { name: std::str::from_utf8(name_bytes).ok()?.to_owned(), bytes: body_bytes.to_vec() });
        at = body + size;
    }
    Some(members)
}

/// CRC-32 as ZIP has it.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0u32; 256];
        let mut n = 0;
        while n < 256 {
            let (mut value, mut bit) = (n as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[n] = value;
            n += 1;
        }
        table
    };
    !bytes.iter().fold(!0u32, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn sealed() -> Vec<u8> {
        let members = vec![
            Member::new("plan.json", "{}"),
            Member::new("decisions.csv", "file,line\n1,2\n"),
            Member::new("wording/é.md", "Bonjour"),
        ];
        seal("rp-1", "2026-11-18T09:00:00Z", members, &AuditKey::new([7; 32])).unwrap()
    }

    #[test]
    fn a_bundle_verifies_and_other_programs_read_it() {
        let bytes = sealed();
        let verified = verify(&bytes, None);
        assert!(verified.valid, "{verified:?}");
        assert_eq!(verified.members, ["plan.json", "decisions.csv", "wording/é.md", CHECKPOINT, SIGNATURE]);
        assert!(verify(&bytes, Some(&published(&AuditKey::new([7; 32])))).valid);
        let other = verify(&bytes, Some(&published(&AuditKey::new([8; 32]))));
        assert!(!other.valid && other.problems[0].contains("another key"));
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        let mut text = String::new();
        archive.by_name("decisions.csv").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "file,line\n1,2\n");
    }

    #[test]
    fn no_byte_can_be_changed_added_or_taken_away() {
        let bytes = sealed();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(!verify(&changed, None).valid, "byte {at}");
        }
        for end in 0..bytes.len() {
            assert!(!verify(&bytes[..end], None).valid, "cut at {end}");
        }
        assert!(!verify(&[bytes.as_slice(), b"x"].concat(), None).valid);
        assert!(!verify(&[], None).valid);
    }

    #[test]
    fn members_cannot_be_added_removed_swapped_or_signed_by_somebody_else() {
        let members = unpack(&sealed()).unwrap();
        let told = |members: &[Member]| verify(&pack(members).unwrap(), None).problems.join("; ");
        let mut more = members.clone();
        more.insert(1, Member::new("extra.txt", "x"));
        assert!(told(&more).contains("extra.txt is not of it"));
        let mut fewer = members.clone();
        fewer.remove(1);
        assert!(told(&fewer).contains("decisions.csv is missing"));
        let mut twice = members.clone();
        twice.insert(0, members[0].clone());
        assert!(told(&twice).contains("twice"));
        let mut swapped = members.clone();
        swapped.swap(0, 1);
        assert!(told(&swapped).contains("order"));
        let mut changed = members.clone();
        changed[1].bytes = b"file,line\n1,3\n".to_vec();
        assert!(told(&changed).contains("decisions.csv was changed"));
        // Whoever signs anew with a key of their own is found by the published key alone.
        let forged = seal("rp-1", "2026-11-18T09:00:00Z", changed[..3].to_vec(), &AuditKey::new([9; 32])).unwrap();
        assert!(verify(&forged, None).valid && !verify(&forged, Some(&published(&AuditKey::new([7; 32])))).valid);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_verify(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
            prop_assert!(!verify(&bytes, None).valid);
            let good = sealed();
            let mixed = [&good[..cut.index(good.len())], &bytes].concat();
            prop_assert!(!verify(&mixed, None).valid || mixed == good);
        }
    }
}
