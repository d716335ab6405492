//! What the integration tests share: fixtures, keys of every signature type, and items put together by hand.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses a part; a test may panic")]

use std::path::PathBuf;

use ao_wire::{Jwk, SignatureType, Tag, deep_hash_list};
use ed25519_dalek::Signer as _;
use k256::ecdsa::SigningKey;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use sha3::Keccak256;

/// A file of `fixtures/vectors`, parsed.
pub fn vectors<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&fixture(&format!("vectors/{name}"))).unwrap()
}

pub fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(workspace().join("fixtures").join(name)).unwrap()
}

pub fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn wallet(name: &str) -> Jwk {
    Jwk::parse(fixture(&format!("vectors/keys/{name}.json"))).unwrap()
}

/// The secret that the vectors' script grows from a name.
pub fn seed(name: &str) -> [u8; 32] {
    Sha256::digest(name).into()
}

/// A small generator: a failing seed is the whole bug report.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    pub fn array(&mut self) -> [u8; 32] {
        self.bytes(32).try_into().unwrap()
    }
}

/// Every field of an item on its own, so that each can be wrong.
#[derive(Clone)]
pub struct Parts {
    pub signature_type: SignatureType,
    pub owner: Vec<u8>,
    /// Presence byte and bytes.
    pub target: (u8, Vec<u8>),
    pub anchor: (u8, Vec<u8>),
    pub tag_count: u64,
    pub tag_bytes: u64,
    pub raw_tags: Vec<u8>,
    pub data: Vec<u8>,
}

impl Parts {
    /// What the reference takes for signed.
    pub fn hash(&self) -> [u8; 48] {
        let code = self.signature_type.code().to_string();
        deep_hash_list(&[
            b"dataitem",
            b"1",
            code.as_bytes(),
            &self.owner,
            &self.target.1,
            &self.anchor.1,
            &self.raw_tags,
            &self.data,
        ])
    }

    pub fn item(&self, signature: &[u8]) -> Vec<u8> {
        let mut out = self.signature_type.code().to_le_bytes().to_vec();
        out.extend_from_slice(signature);
        out.extend_from_slice(&self.owner);
        for (presence, bytes) in [&self.target, &self.anchor] {
            out.push(*presence);
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(&self.tag_count.to_le_bytes());
        out.extend_from_slice(&self.tag_bytes.to_le_bytes());
        out.extend_from_slice(&self.raw_tags);
        out.extend_from_slice(&self.data);
        out
    }

    /// The item signed by the test key of its type (not type 1, whose raw operation is private).
    pub fn signed(&self) -> Vec<u8> {
        self.item(&sign(self.signature_type, &self.owner, &self.hash()))
    }
}

/// A signer's secret, the same for all types.
const SECRET: &str = "everybody knows";

pub fn ed25519_key(index: usize) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&seed(&format!("{SECRET} {index}")))
}

pub fn ethereum_key() -> SigningKey {
    SigningKey::from_slice(&seed(SECRET)).unwrap()
}

/// The owner bytes of the test key of this type.
pub fn owner(signature_type: SignatureType) -> Vec<u8> {
    let ethereum = || ethereum_key().verifying_key().to_sec1_point(false).as_bytes().to_vec();
    match signature_type {
        SignatureType::Arweave => wallet("user").modulus().to_vec(),
        SignatureType::Ethereum => ethereum(),
        SignatureType::TypedEthereum => {
            let address = &Keccak256::digest(&ethereum()[1..])[12..];
            format!("0x{}", hex(address)).into_bytes()
        }
        SignatureType::MultiAptos => {
            let keys = (0..32).flat_map(|index| ed25519_key(index).verifying_key().to_bytes());
            keys.chain([3]).collect()
        }
        _ => ed25519_key(0).verifying_key().to_bytes().to_vec(),
    }
}

/// A signature of the test key of this type.
pub fn sign(signature_type: SignatureType, owner: &[u8], hash: &[u8; 48]) -> Vec<u8> {
    let ed25519 = |message: &[u8]| ed25519_key(0).sign(message).to_bytes().to_vec();
    match signature_type {
        SignatureType::Arweave => unreachable!("type 1 is signed by the crate"),
        SignatureType::Ed25519 => ed25519(hash),
        SignatureType::Solana => ed25519(hex(hash).as_bytes()),
        SignatureType::InjectedAptos => ed25519(format!("APTOS\nmessage: {}\nnonce: bundlr", hex(hash)).as_bytes()),
        SignatureType::MultiAptos => {
            let mut out = vec![0; 2052];
            for index in [0, 8, 13, 31] {
                out[index * 64..][..64].copy_from_slice(&ed25519_key(index).sign(hash).to_bytes());
                out[2048 + index / 8] |= 128 >> (index % 8);
            }
            out
        }
        SignatureType::Ethereum => {
            let message = [b"\x19Ethereum Signed Message:\n48", &hash[..]].concat();
            ecdsa(&Keccak256::digest(message).into())
        }
        SignatureType::TypedEthereum => ecdsa(&typed_digest(hash, owner)),
    }
}

/// `r ‖ s ‖ v`.
pub fn ecdsa(digest: &[u8; 32]) -> Vec<u8> {
    let (signature, recovery) = ethereum_key().sign_prehash_recoverable(digest);
    let mut out = signature.to_bytes().to_vec();
    out.push(27 + recovery.to_byte());
    out
}

/// The EIP-712 digest, put together a second time.
pub fn typed_digest(hash: &[u8; 48], owner: &[u8]) -> [u8; 32] {
    let keccak = |bytes: &[u8]| -> [u8; 32] { Keccak256::digest(bytes).into() };
    let types = "EIP712Domain(string name,string version)";
    let domain = keccak(&[keccak(types.as_bytes()), keccak(b"Bundlr"), keccak(b"1")].concat());
    let mut address = [0; 32];
    for (byte, digits) in address[12..].iter_mut().zip(owner[2..].chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    }
    let value = [keccak(b"Bundlr(bytes Transaction hash,address address)"), keccak(hash), address];
    keccak(&[&[0x19, 1], &domain[..], &keccak(&value.concat())[..]].concat())
}

pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Text tags as borrowed ones.
pub fn borrow(tags: &[(String, String)]) -> Vec<Tag<'_>> {
    tags.iter().map(|(name, value)| Tag::new(name, value)).collect()
}
