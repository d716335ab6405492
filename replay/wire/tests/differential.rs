//! Thousands of valid and damaged items get the same answer here and from npm arbundles, but for the exceptions that the
//! crate's page names, and each of those shows up.
//!
//! How: all items are made from one seed, written to `arbundles.mjs` in one go, and its answers compared in order. Whatever
//! both accept must also read the same. A difference is an error unless our reason for refusing is a named exception.

#![allow(clippy::disallowed_methods, reason = "where Node packages lie comes from outside")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic and say what it saw")]

mod common;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ao_wire::{DataItem, ItemBuilder, Limits, SignatureType, Signer, Tag, VerifyError, WireError, b64u, encode_tags};
use common::{Parts, Random, sign, wallet, workspace};
use k256::elliptic_curve::PrimeField as _;
use serde::Deserialize;

const SEED: u64 = 0x616f_2d77_6972_6501;

/// Types that the tests can sign raw; type 1 goes through the crate's own signer.
const RAW_TYPES: [SignatureType; 6] = {
    use SignatureType::*;
    [Ed25519, Ethereum, Solana, InjectedAptos, MultiAptos, TypedEthereum]
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    accepted: bool,
    id: Option<String>,
    owner: Option<String>,
    target: Option<String>,
    anchor: Option<String>,
    tags: Option<Vec<(String, String)>>,
    data: Option<String>,
    deep_hash: Option<String>,
}

#[test]
fn arbundles_agrees_on_valid_and_damaged_items() {
    let cases = cases(&mut Random(SEED));
    assert!(cases.len() >= 2_000, "{} items", cases.len());
    let answers = ask_arbundles(&cases);
    assert_eq!(answers.len(), cases.len());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, ((name, bytes), answer)) in cases.iter().zip(&answers).enumerate() {
        let item = DataItem::parse_with(bytes, &Limits::ARBUNDLES);
        let verdict = match (&item, answer.accepted) {
            (Err(_), false) => "both refuse",
            (Err(error), true) => exception(error).unwrap_or_else(|| panic!("{index} {name}: {error}")),
            (Ok(item), accepted) => match (item.verify(), accepted) {
                (Err(_), false) => "both refuse",
                (Ok(()), true) => {
                    assert_reads_alike(item, answer, &format!("{index} {name}"));
                    "both accept"
                }
                (Ok(()), false) => panic!("{index} {name}: only arbundles refuses"),
                (Err(VerifyError::NoSigner), true) => "6 nobody signed",
                (Err(VerifyError::Owner(_)), true) if *name == "small order" => "7 small order",
                (Err(error), true) => panic!("{index} {name}: {error}"),
            },
        };
        *seen.entry(verdict).or_default() += 1;
    }
    eprintln!("{} items of seed {SEED:#x}: {seen:?}", cases.len());
    assert!(seen["both accept"] > 500 && seen["both refuse"] > 500);
    assert_eq!(seen.len(), 2 + 7, "every exception shows up");
}

/// The exception by which this parse error may differ.
fn exception(error: &WireError) -> Option<&'static str> {
    Some(match error {
        WireError::PresenceByte { .. } => "1 presence byte",
        WireError::Truncated {
            field: "signature" | "owner" | "target" | "anchor" | "tag count" | "tag bytes", ..
        } => "2 cut before the tags",
        WireError::Truncated { field: "tags", .. } => "3 tag bytes past the end",
        WireError::TagCount { header: 0, .. } => "4 tag count of zero",
        WireError::Truncated { field, .. } if field.starts_with("tag ") => "5 not Avro",
        WireError::Trailing { field: "tags", .. }
        | WireError::NegativeLength { .. }
        | WireError::Overlong { .. }
        | WireError::BlockBytes { .. } => "5 not Avro",
        _ => return None,
    })
}

fn assert_reads_alike(item: &DataItem<'_>, answer: &Answer, name: &str) {
    let optional = |field: Option<&[u8; 32]>| field.map_or(String::new(), b64u::encode);
    let tags = item.tags().map(|tag| (tag.name_str().into_owned(), tag.value_str().into_owned())).collect();
    assert_eq!(answer.id, Some(item.id().to_string()), "{name}");
    assert_eq!(answer.owner, Some(b64u::encode(item.owner())), "{name}");
    assert_eq!(answer.target, Some(optional(item.target())), "{name}");
    assert_eq!(answer.anchor, Some(optional(item.anchor())), "{name}");
    assert_eq!(answer.tags, Some(tags), "{name}");
    assert_eq!(answer.data, Some(b64u::encode(item.data())), "{name}");
    assert_eq!(answer.deep_hash, Some(b64u::encode(item.deep_hash())), "{name}");
}

/// Runs the script beside this file over all items. Without Node or the packages the test fails: parity is not optional.
fn ask_arbundles(cases: &[Case]) -> Vec<Answer> {
    let modules = std::env::var_os("AORTA_NODE_MODULES")
        .map_or_else(|| workspace().join("target/node/node_modules"), PathBuf::from);
    let mut node = Command::new("node")
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/arbundles.mjs"))
        .env("NODE_PATH", modules)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs Node 20 on PATH");
    let mut input = Vec::new();
    for (_, bytes) in cases {
        input.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        input.extend_from_slice(bytes);
    }
    // The script answers only after its input has ended, so this can't block on a full pipe.
    let sent = node.stdin.take().unwrap().write_all(&input);
    let output = node.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "arbundles.mjs failed; are its packages installed (tests/node/setup.sh)? {sent:?}"
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What was done to an item, and its bytes.
type Case = (&'static str, Vec<u8>);

fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    let wallet = Signer::arweave(&wallet("user")).unwrap();
    let valid: Vec<_> = (0..700)
        .map(|index| match index % 8 {
            0 => arweave_item(random, &wallet),
            kind => parts(random, RAW_TYPES[kind % 6]).signed(),
        })
        .collect();
    for item in &valid {
        cases.push(("bit flip", flip_bit(random, item)));
        // Where most of the rules are: behind the owner, before the data.
        cases.push(("header flip", flip_header_bit(random, item)));
    }
    for item in valid.iter().step_by(3) {
        cases.push(("cut", item[..random.below(item.len())].to_vec()));
        let extra = random.below(40) + 1;
        cases.push(("extended", [&item[..], &random.bytes(extra)].concat()));
    }
    cases.extend(valid.into_iter().map(|item| ("valid", item)));
    for _ in 0..40 {
        for signature_type in RAW_TYPES {
            cases.push(("unsigned header", unsigned_header(random, signature_type)));
        }
        cases.push(("legal tags", legal_tags(random)));
        cases.push(("legal tags", legal_tags(random)));
        cases.push(("illegal tags", illegal_tags(random)));
        cases.push(("illegal tags", illegal_tags(random)));
    }
    for _ in 0..12 {
        scheme_edges(random, &mut cases);
    }
    cases
}

fn random_tags(random: &mut Random) -> Vec<(Vec<u8>, Vec<u8>)> {
    let count = if random.chance(20) { 200 } else { random.below(6) };
    let mut text = |most: usize| {
        let len = random.below(most + 1);
        match random.below(3) {
            0 => random.bytes(len),
            1 => "ö日🜁".repeat(len).into_bytes().into_iter().take(len).collect(),
            _ => vec![b'a' + len as u8 % 26; len],
        }
    };
    (0..count).map(|_| (text(12), text(if count > 6 { 12 } else { 90 }))).collect()
}

fn encode(tags: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    encode_tags(tags.iter().map(|(name, value)| Tag { name, value }))
}

fn parts(random: &mut Random, signature_type: SignatureType) -> Parts {
    let tags = random_tags(random);
    let raw_tags = encode(&tags);
    let optional = |random: &mut Random| {
        if random.chance(2) { (0, vec![]) } else { (1, random.bytes(32)) }
    };
    let (target, anchor) = (optional(random), optional(random));
    let data = random.below(200);
    Parts {
        signature_type,
        owner: common::owner(signature_type),
        target,
        anchor,
        tag_count: tags.len() as u64,
        tag_bytes: raw_tags.len() as u64,
        raw_tags,
        data: random.bytes(data),
    }
}

fn arweave_item(random: &mut Random, wallet: &Signer) -> Vec<u8> {
    let parts = parts(random, SignatureType::Arweave);
    let optional = |(presence, bytes): &(u8, Vec<u8>)| (*presence == 1).then(|| bytes[..].try_into().unwrap());
    let tags = random_tags(random);
    let tags = tags.iter().map(|(name, value)| Tag { name, value }).collect();
    let (target, anchor) = (optional(&parts.target), optional(&parts.anchor));
    ItemBuilder { target, anchor, tags, data: &parts.data }.build(wallet).unwrap()
}

fn flip_bit(random: &mut Random, item: &[u8]) -> Vec<u8> {
    let mut out = item.to_vec();
    let bit = random.below(out.len() * 8);
    out[bit / 8] ^= 1 << (bit % 8);
    out
}

fn flip_header_bit(random: &mut Random, item: &[u8]) -> Vec<u8> {
    let parsed = DataItem::parse(item).unwrap();
    let start = 2 + parsed.signature().len() + parsed.owner().len();
    let end = item.len() - parsed.data().len();
    let mut out = item.to_vec();
    out[start + random.below(end - start)] ^= 1 << random.below(8);
    out
}

/// A valid item whose unsigned bytes are changed in one of the ways that leave the signed content alone.
fn unsigned_header(random: &mut Random, signature_type: SignatureType) -> Vec<u8> {
    let mut parts = parts(random, signature_type);
    match random.below(4) {
        0 => {
            parts.target = (0, vec![]);
            let signed = parts.hash();
            parts.target.0 = 2 + random.below(254) as u8;
            parts.item(&sign(signature_type, &parts.owner, &signed))
        }
        1 => {
            parts.data.clear();
            parts.tag_bytes += 1 + random.below(100) as u64;
            parts.signed()
        }
        2 => {
            parts.tag_count = random.below(3) as u64;
            parts.signed()
        }
        _ => {
            parts = Parts { raw_tags: vec![], tag_bytes: 0, tag_count: 0, data: vec![], ..parts };
            let mut item = parts.signed();
            item.truncate(item.len() - 1 - random.below(15));
            item
        }
    }
}

fn long(out: &mut Vec<u8>, number: i64, pad: usize) {
    let mut value = (number << 1 ^ number >> 63) as u64;
    let start = out.len();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    for _ in 0..pad.min(10 - (out.len() - start)) {
        *out.last_mut().unwrap() |= 0x80;
        out.push(0);
    }
}

/// An item whose tags come in several blocks, with sizes and padded numbers here and there.
fn legal_tags(random: &mut Random) -> Vec<u8> {
    let signature_type = RAW_TYPES[random.below(6)];
    let mut parts = parts(random, signature_type);
    let tags: Vec<_> = random_tags(random).into_iter().take(9).collect();
    let mut raw = Vec::new();
    let mut rest = &tags[..];
    let pad = |random: &mut Random| {
        if random.chance(3) { 1 + random.below(8) } else { 0 }
    };
    while !rest.is_empty() {
        let (block, tail) = rest.split_at(1 + random.below(rest.len()));
        rest = tail;
        let mut body = Vec::new();
        for bytes in block.iter().flat_map(|(name, value)| [name, value]) {
            long(&mut body, bytes.len() as i64, pad(random));
            body.extend_from_slice(bytes);
        }
        if random.chance(2) {
            long(&mut raw, block.len() as i64, pad(random));
        } else {
            long(&mut raw, -(block.len() as i64), pad(random));
            long(&mut raw, body.len() as i64, pad(random));
        }
        raw.extend_from_slice(&body);
    }
    long(&mut raw, 0, pad(random));
    parts.tag_count = tags.len() as u64;
    parts.tag_bytes = raw.len() as u64;
    parts.raw_tags = raw;
    parts.signed()
}

/// An item truly signed over a tag section that no Avro writer makes.
fn illegal_tags(random: &mut Random) -> Vec<u8> {
    let signature_type = RAW_TYPES[random.below(6)];
    let mut parts = parts(random, signature_type);
    let (raw, count): (&[u8], u64) = match random.below(7) {
        0 => (&[2, 2, b'a', 2, b'b'], 1),
        1 => (&[2, 2, b'a', 2, b'b', 0, 0, 1, 2], 1),
        2 => (&[1, 99, 2, b'a', 2, b'b', 0], 1),
        3 => (&[2, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 0], 1),
        4 => (&[2, 2, b'a', 1, 0], 1),
        5 => (&[2, 2, b'a', 200, 1, b'b', 0], 1),
        _ => (&[4, 0, 0], 2),
    };
    parts.raw_tags = raw.to_vec();
    parts.tag_bytes = raw.len() as u64;
    parts.tag_count = count;
    parts.signed()
}

/// Signatures at the limits of their schemes.
fn scheme_edges(random: &mut Random, cases: &mut Vec<Case>) {
    let order_minus = |scalar: &[u8]| -> [u8; 32] {
        let scalar = k256::Scalar::from_repr(<[u8; 32]>::try_from(scalar).unwrap().into()).unwrap();
        (-scalar).to_bytes().into()
    };
    for signature_type in [SignatureType::Ethereum, SignatureType::TypedEthereum] {
        let parts = parts(random, signature_type);
        let good = sign(signature_type, &parts.owner, &parts.hash());
        let mut high = good.clone();
        high[32..64].copy_from_slice(&order_minus(&good[32..64]));
        cases.push(("high s", parts.item(&high)));
        high[64] ^= 7;
        cases.push(("high s, other v", parts.item(&high)));
        for v in [0, 1, 2, 26, 27, 28, 29, 30, 255] {
            let mut other = good.clone();
            other[64] = v;
            cases.push(("v", parts.item(&other)));
        }
        for range in [0..32, 32..64] {
            let mut zero = good.clone();
            zero[range.clone()].fill(0);
            cases.push(("zero scalar", parts.item(&zero)));
            zero[range].fill(0xff);
            cases.push(("scalar above the order", parts.item(&zero)));
        }
    }

    for first in [2, 5, 6, 7] {
        let mut parts = parts(random, SignatureType::Ethereum);
        parts.owner[0] = first;
        cases.push(("hybrid key", parts.signed()));
    }
    let mut off_curve = parts(random, SignatureType::Ethereum);
    off_curve.owner[64] ^= 2;
    cases.push(("key off the curve", off_curve.signed()));

    let address = String::from_utf8(common::owner(SignatureType::TypedEthereum)).unwrap();
    let key = common::owner(SignatureType::Ethereum);
    let mut item = parts(random, SignatureType::Ethereum);
    item.owner = key;
    let checksummed = DataItem::parse(&item.signed()).unwrap().owner_address();
    let wrong_case = format!("{}{}", &checksummed[..30], checksummed[30..].to_uppercase());
    let upper = format!("0x{}", address[2..].to_uppercase());
    for text in [&checksummed, &upper, &wrong_case, &upper.replace("0x", "0X"), &address.replace("0x", "00")] {
        let mut parts = parts(random, SignatureType::TypedEthereum);
        parts.owner = text.as_bytes().to_vec();
        cases.push(("address", parts.signed()));
    }

    let multi = parts(random, SignatureType::MultiAptos);
    let mut signature = sign(SignatureType::MultiAptos, &multi.owner, &multi.hash());
    signature[2048] |= 0x40;
    cases.push(("bit without a signature", multi.item(&signature)));
    signature[2048..].fill(0);
    cases.push(("empty bitmap", multi.item(&signature)));

    let mut small = parts(random, SignatureType::Ed25519);
    small.owner = [&[1][..], &[0; 31]].concat();
    let identity = [&small.owner[..], &[0; 32]].concat();
    cases.push(("small order", small.item(&identity)));
}
