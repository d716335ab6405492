//! Arweave wallets: RSA private keys as JSON Web Keys.
//!
//! **Invariant:** a [`Jwk`] holds a key whose numbers fit together; the library checked it.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use serde::{Deserialize, Serialize};

use crate::signature::{PrivateKey, PrivateParts};
use crate::{Id, b64u};

/// A wallet: RSA private key with the exponent 65537.
///
/// `Debug` shows the address, never the key.
#[derive(Clone)]
pub struct Jwk {
    fields: Fields,
    modulus: Vec<u8>,
}

/// The JSON object, numbers in big-endian base64url.
#[derive(Clone, Serialize, Deserialize)]
struct Fields {
    kty: String,
    n: String,
    e: String,
    d: String,
    p: String,
    q: String,
    dp: String,
    dq: String,
    qi: String,
}

/// JSON that is no wallet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// Not a JSON object with the nine text fields of an RSA private key.
    #[error("not a JSON object with the fields kty, n, e, d, p, q, dp, dq, qi")]
    Json(#[source] serde_json::Error),
    /// A field that must have one certain value has another.
    #[error("field {field} is not {expected:?}")]
    Unsupported {
        /// Name of the field.
        field: &'static str,
        /// The only value taken.
        expected: &'static str,
    },
    /// A number is not base64url.
    #[error("field {field} is not base64url")]
    Base64 {
        /// Name of the field.
        field: &'static str,
        /// What the decoder says.
        #[source]
        source: b64u::DecodeError,
    },
    /// The crypto library made no key.
    #[error("no key could be made")]
    Generate,
    /// The numbers don't fit together.
    #[error("the numbers are not those of one RSA key")]
    Inconsistent,
}

impl Jwk {
    /// A new wallet of 4096 bits, from the operating system's randomness. Takes about a second.
    ///
    /// # Errors
    ///
    /// [`JwkError::Generate`].
    pub fn generate() -> Result<Jwk, JwkError> {
        let key = KeyPair::generate(KeySize::Rsa4096).map_err(|_| JwkError::Generate)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).map_err(|_| JwkError::Generate)?;
        let numbers = private_numbers(der.as_ref()).ok_or(JwkError::Generate)?;
        let [n, e, d, p, q, dp, dq, qi] = numbers.map(b64u::encode);
        let fields = Fields { kty: "RSA".into(), n, e, d, p, q, dp, dq, qi };
        Jwk::parse(serde_json::to_vec(&fields).map_err(JwkError::Json)?)
    }

    /// Reads a wallet file. Fields beyond the nine of an RSA private key are ignored.
    ///
    /// # Errors
    ///
    /// Anything but a consistent RSA private key with exponent 65537.
    pub fn parse(json: impl AsRef<[u8]>) -> Result<Jwk, JwkError> {
        let fields: Fields = serde_json::from_slice(json.as_ref()).map_err(JwkError::Json)?;
        if fields.kty != "RSA" {
            return Err(JwkError::Unsupported { field: "kty", expected: "RSA" });
        }
        if fields.e != "AQAB" {
            return Err(JwkError::Unsupported { field: "e", expected: "AQAB" });
        }
        let modulus = number("n", &fields.n)?;
        let jwk = Jwk { fields, modulus };
        jwk.private_key()?;
        Ok(jwk)
    }

    /// The wallet file: compact JSON of the nine fields.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.fields).expect("a struct of strings is JSON")
    }

    /// The public modulus, big-endian: the owner of items that it signs.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The wallet's address.
    pub fn address(&self) -> Id {
        Id::sha256(&self.modulus)
    }

    pub(crate) fn private_key(&self) -> Result<PrivateKey, JwkError> {
        let fields = &self.fields;
        let (d, p, q) = (number("d", &fields.d)?, number("p", &fields.p)?, number("q", &fields.q)?);
        let (dp, dq, qi) = (number("dp", &fields.dp)?, number("dq", &fields.dq)?, number("qi", &fields.qi)?);
        let parts = PrivateParts { n: &self.modulus, d: &d, p: &p, q: &q, dp: &dp, dq: &dq, qi: &qi };
        PrivateKey::new(&parts).ok_or(JwkError::Inconsistent)
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk").field("address", &self.address()).finish_non_exhaustive()
    }
}

fn number(field: &'static str, text: &str) -> Result<Vec<u8>, JwkError> {
    b64u::decode(text).map_err(|source| JwkError::Base64 { field, source })
}

/// The eight numbers of an RSA private key in PKCS#8 (RFC 5208, RFC 8017 A.1.2), without leading zeros.
fn private_numbers(pkcs8: &[u8]) -> Option<[&[u8]; 8]> {
    let mut info = der(&mut &*pkcs8, 0x30)?;
    let (_version, _algorithm) = (der(&mut info, 0x02)?, der(&mut info, 0x30)?);
    let mut key = der(&mut der(&mut info, 0x04)?, 0x30)?;
    let _version = der(&mut key, 0x02)?;
    let mut numbers = [&[][..]; 8];
    for number in &mut numbers {
        let padded = der(&mut key, 0x02)?;
        *number = &padded[padded.iter().take_while(|byte| **byte == 0).count()..];
    }
    Some(numbers)
}

/// The content of the next DER value, which has this tag.
fn der<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[found, length], mut after) = rest.split_first_chunk::<2>()?;
    let mut length = usize::from(length);
    if length >= 0x80 {
        let (bytes, behind) = after.split_at_checked(length - 0x80).filter(|(bytes, _)| bytes.len() <= 4)?;
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        after = behind;
    }
    let (content, behind) = after.split_at_checked(length)?;
    *rest = behind;
    (found == tag).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALLET: &str = include_str!("../../../fixtures/vectors/keys/user.json");

    #[test]
    fn a_wallet_written_and_read_again_is_the_same() {
        let jwk = Jwk::parse(WALLET).unwrap();
        assert_eq!(jwk.modulus().len(), 512);
        let again = Jwk::parse(jwk.to_json()).unwrap();
        assert_eq!(again.address(), jwk.address());
        assert_eq!(again.to_json(), jwk.to_json());
    }

    #[test]
    fn a_generated_wallet_is_one_that_signs() {
        let jwk = Jwk::generate().unwrap();
        let item = crate::ItemBuilder::default().build(&crate::Signer::arweave(&jwk).unwrap()).unwrap();
        crate::DataItem::parse(&item).unwrap().verify().unwrap();
    }

    #[test]
    fn debug_output_keeps_the_secret() {
        let jwk = Jwk::parse(WALLET).unwrap();
        assert_eq!(format!("{jwk:?}"), format!("Jwk {{ address: {}, .. }}", jwk.address()));
    }

    #[test]
    fn what_is_no_wallet_is_refused_by_field() {
        let change = |field: &str, value: &str| {
            let mut json: serde_json::Value = serde_json::from_str(WALLET).unwrap();
            json[field] = value.into();
            Jwk::parse(json.to_string()).unwrap_err()
        };
        assert!(matches!(Jwk::parse("{}").unwrap_err(), JwkError::Json(_)));
        assert!(matches!(change("kty", "EC"), JwkError::Unsupported { field: "kty", .. }));
        assert!(matches!(change("e", "Aw"), JwkError::Unsupported { field: "e", .. }));
        assert!(matches!(change("qi", "a+b"), JwkError::Base64 { field: "qi", .. }));
        assert!(matches!(change("d", "AAAA"), JwkError::Inconsistent));
        assert!(matches!(change("n", ""), JwkError::Inconsistent));
        let other_prime: serde_json::Value = serde_json::from_str(WALLET).unwrap();
        assert!(matches!(change("q", other_prime["p"].as_str().unwrap()), JwkError::Inconsistent));
    }
}
