//! Arweave wallets: RSA private keys as JSON Web Keys.
//!
//! *Not here:* generating keys.
//!
//! **Invariant:** a [`Jwk`] holds a key whose numbers fit together; the library checked it.

use std::fmt;

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
    /// The numbers don't fit together.
    #[error("the numbers are not those of one RSA key")]
    Inconsistent,
}

impl Jwk {
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
