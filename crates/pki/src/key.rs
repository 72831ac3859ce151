//! Private keys: ECDSA on P-256, which every Kubernetes client reads and which takes microseconds to make.

use crate::{Error, der, pem};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use std::fmt;

/// A private key on P-256.
pub struct PrivateKey {
    pkcs8: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl PrivateKey {
    /// A new key from the machine's random source.
    ///
    /// # Errors
    /// If that source fails.
    pub fn generate() -> Result<Self, Error> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| Error::Crypto)?;
        Self::from_pkcs8(document.as_ref().to_vec())
    }

    /// Reads a `PRIVATE KEY` PEM block (PKCS #8).
    ///
    /// # Errors
    /// If it is not one, or not a P-256 key.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::from_pkcs8(pem::pem_to_der("PRIVATE KEY", text)?)
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &SystemRandom::new())
            .map_err(|_| Error::Crypto)?;
        Ok(Self { pkcs8, pair })
    }

    /// The key as a `PRIVATE KEY` PEM block.
    pub fn to_pem(&self) -> String {
        pem::der_to_pem("PRIVATE KEY", &self.pkcs8)
    }

    /// The public key as a DER SubjectPublicKeyInfo.
    pub fn public_key_info(&self) -> Vec<u8> {
        let algorithm = der::sequence(&[&der::oid(der::EC_PUBLIC_KEY), &der::oid(der::PRIME256V1)]);
        der::sequence(&[&algorithm, &der::bits(self.pair.public_key().as_ref(), 0)])
    }

    /// `content`, its algorithm and its signature, as certificates and requests wrap them.
    pub(crate) fn wrap_signed(&self, content: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.pair.sign(&SystemRandom::new(), content).map_err(|_| Error::Crypto)?;
        let algorithm = der::sequence(&[&der::oid(der::ECDSA_SHA256)]);
        Ok(der::sequence(&[content, &algorithm, &der::bits(signature.as_ref(), 0)]))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(P-256)")
    }
}
