//! Ed25519 as `@noble/ed25519` 1.x decides it, the library behind `arbundles`.
//!
//! For a key `A`, a signature `R ‖ S` and a message `m`, with `B` the base point and `L` its order:
//! - `A` and `R` may be any encoding whose `y`, reduced mod `2^255 − 19`, is on the curve: non-canonical `y` and "negative
//!   zero" included, for `R` also points of small order. `S` must be below `L`.
//! - `k = SHA-512(R ‖ A ‖ m) mod L` over the encodings as transmitted, but with the sign bit cleared where `x = 0`.
//! - The signature holds if `8·(S·B − k·A − R)` is the neutral element.
//!
//! This is ZIP-215 but for the sign bit of `x = 0`, and for keys of small order. noble takes those; they are refused here,
//! since one signature by such a key holds for many messages. Neither `verify` nor `verify_strict` of `ed25519-dalek`
//! agrees with noble: both compare `R` without the cofactor.
//!
//! noble's point addition fails for two points that differ by one of order 4. No honest signature gets there, but the
//! holder of a secret key can add such a point to a *wrong* signature on purpose, and noble takes it; here it is wrong.
//!
//! **Invariant:** the rule above decides which messages exist, hence it can never change.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;
use sha2::{Digest as _, Sha512};

use super::Failure;

/// Checks an Ed25519 signature over `message` by the rule that decides items of types 2, 4, 5 and 6.
///
/// # Determinism
///
/// As `@noble/ed25519` 1.x, but for keys of small order, which are refused; neither `verify` nor `verify_strict` of
/// `ed25519-dalek` agrees.
#[must_use]
pub fn verify_ed25519(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    verify(key, message, signature).is_ok()
}

/// Checks one signature; `key` has 32 bytes, `signature` 64.
pub(super) fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Failure> {
    let (r, s) = signature.split_at(32);
    let (a, a_bytes) = decode(key).ok_or(Failure::Owner)?;
    if a.is_small_order() {
        return Err(Failure::Owner);
    }
    let (r, r_bytes) = decode(r).ok_or(Failure::Signature)?;
    let s = s.try_into().expect("a signature has 64 bytes");
    let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)).ok_or(Failure::Signature)?;
    let k = Sha512::new().chain_update(r_bytes).chain_update(a_bytes).chain_update(message).finalize();
    let k = Scalar::from_bytes_mod_order_wide(&k.into());
    let difference = EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &-a, &s) - r;
    if difference.mul_by_cofactor() == EdwardsPoint::identity() { Ok(()) } else { Err(Failure::Signature) }
}

/// The point, and its encoding as it is hashed.
fn decode(encoded: &[u8]) -> Option<(EdwardsPoint, [u8; 32])> {
    let mut bytes: [u8; 32] = encoded.try_into().ok()?;
    let point = CompressedEdwardsY(bytes).decompress()?;
    if point == -point {
        // Only the two points with x = 0 are their own negatives: their sign bit says nothing.
        bytes[31] &= 0x7f;
    }
    Some((point, bytes))
}
