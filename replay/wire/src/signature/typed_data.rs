//! EIP-712 typed data as `arbundles` asks wallets to sign it, checked as ethers 5 checks it.
//!
//! Domain `{name: "Bundlr", version: "1"}`, primary type `Bundlr(bytes Transaction hash,address address)`. The owner is an
//! address in text: `0x` and 40 hex digits, all in one case or with EIP-55's capitals.
//!
//! ethers recovers the key with `elliptic` 6, which takes `r` and `s` of any size: `r` modulo the field prime as the
//! x-coordinate and modulo the order in the equation, `s` modulo the order, high `s` too. `v` is 0, 1 or at least 27;
//! odd (or 0) means an even `y`.
//!
//! **Invariant:** the owner is compared as an address, so its text's case does not decide who signed.

use k256::elliptic_curve::bigint::U256;
use k256::elliptic_curve::group::Group as _;
use k256::elliptic_curve::ops::Reduce as _;
use k256::elliptic_curve::point::DecompressPoint as _;
use k256::elliptic_curve::sec1::ToSec1Point as _;
use k256::{AffinePoint, ProjectivePoint, Scalar};
use sha3::{Digest as _, Keccak256};

use super::{Failure, ethereum};
use crate::deep_hash::DeepHash;

/// The prime of secp256k1's field.
const FIELD_PRIME: U256 = U256::from_be_hex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f");

/// Checks one signature; `owner` has 42 bytes, `signature` 65.
pub(super) fn verify(owner: &[u8], hash: &DeepHash, signature: &[u8]) -> Result<(), Failure> {
    let address = parse_address(owner).ok_or(Failure::Owner)?;
    let odd = match signature[64] {
        0 => false,
        1 => true,
        2..27 => return Err(Failure::Signature),
        v => v % 2 == 0,
    };
    let signer = recover(&digest(hash, &address), &signature[..32], &signature[32..64], odd);
    if signer == Some(address) { Ok(()) } else { Err(Failure::Signature) }
}

/// The address in the text `owner`.
fn parse_address(owner: &[u8]) -> Option<[u8; 20]> {
    let text = std::str::from_utf8(owner).ok()?;
    let digits = text.strip_prefix("0x")?.as_bytes();
    let mut address = [0; 20];
    if digits.len() != 40 {
        return None;
    }
    for (byte, pair) in address.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    let mixed = digits.iter().any(u8::is_ascii_uppercase) && digits.iter().any(u8::is_ascii_lowercase);
    if mixed && ethereum::checksummed(&address) != text {
        return None;
    }
    Some(address)
}

/// The EIP-712 digest of the deep hash and the signer's address.
fn digest(hash: &DeepHash, address: &[u8; 20]) -> [u8; 32] {
    let keccak = |bytes: &[u8]| Keccak256::digest(bytes);
    let domain = Keccak256::new()
        .chain_update(keccak(b"EIP712Domain(string name,string version)"))
        .chain_update(keccak(b"Bundlr"))
        .chain_update(keccak(b"1"))
        .finalize();
    let value = Keccak256::new()
        .chain_update(keccak(b"Bundlr(bytes Transaction hash,address address)"))
        .chain_update(keccak(hash))
        .chain_update([0; 12])
        .chain_update(address)
        .finalize();
    Keccak256::new().chain_update(b"\x19\x01").chain_update(domain).chain_update(value).finalize().into()
}

/// The address whose key made `(r, s)` over `digest`, if any.
fn recover(digest: &[u8; 32], r: &[u8], s: &[u8], odd: bool) -> Option<[u8; 20]> {
    let [digest, r, s] = [digest, r, s].map(U256::from_be_slice);
    let x = if r >= FIELD_PRIME { r.wrapping_sub(&FIELD_PRIME) } else { r };
    let point = AffinePoint::decompress(&x.to_be_bytes().into(), u8::from(odd).into());
    let point = ProjectivePoint::from(Option::<AffinePoint>::from(point)?);
    let r_inverse = Option::<Scalar>::from(Scalar::reduce(&r).invert())?;
    let key =
        ProjectivePoint::GENERATOR * (-Scalar::reduce(&digest) * r_inverse) + point * (Scalar::reduce(&s) * r_inverse);
    if key.is_identity().into() {
        return None;
    }
    Some(ethereum::address(&key.to_affine().to_sec1_point(false).as_bytes()[1..]))
}
