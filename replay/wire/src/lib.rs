//! ANS-104 data items and bundles, tags, ids, deep hash, signatures, JWK.
