//! Certificate authorities, and what they issue.

use crate::{Error, PrivateKey, Subject, der, pem};
use api::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Clocks of clusters differ: a certificate is valid from a little before it was made.
const BACKDATED: Duration = Duration::from_secs(300);

/// A certificate authority: a self-signed certificate and its key, both PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// The CA's certificate.
    pub certificate: String,
    /// The CA's private key.
    pub key: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What a certificate may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Usage {
    Client,
    Server,
}

/// What to issue.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    /// Who it is about.
    pub subject: &'a Subject,
    /// DNS names and IP addresses.
    pub names: &'a [String],
    /// What it may be used for.
    pub usage: Usage,
    /// DER SubjectPublicKeyInfo of its key.
    pub public_key_info: &'a [u8],
    /// When it is issued.
    pub now: Timestamp,
    /// How long it is valid.
    pub validity: Duration,
}

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    /// If the machine's random source fails.
    pub fn generate(common_name: &str, now: Timestamp, validity: Duration) -> Result<Self, Error> {
        let key = PrivateKey::generate()?;
        let subject = Subject { common_name: common_name.into(), organizations: Vec::new() };
        let info = key.public_key_info();
        let extensions = [
            der::extension(der::BASIC_CONSTRAINTS, true, &der::sequence(&[&der::boolean(true)])),
            // keyCertSign, cRLSign, digitalSignature
            der::extension(der::KEY_USAGE, true, &der::bits(&[0b1000_0110], 1)),
            der::extension(der::SUBJECT_KEY_ID, false, &der::tlv(der::OCTETS, &key_id(&info))),
        ]
        .concat();
        let content = certificate(&subject, &subject, &info, now, validity, &extensions)?;
        let certificate = pem::der_to_pem("CERTIFICATE", &key.wrap_signed(&content)?);
        Ok(Self { certificate, key: key.to_pem() })
    }

    /// Issues a certificate, as PEM.
    ///
    /// # Errors
    /// If the authority's own certificate or key cannot be read.
    pub fn issue(&self, leaf: &Leaf<'_>) -> Result<String, Error> {
        let key = PrivateKey::from_pem(&self.key)?;
        let issuer = Peer::from_pem(&self.certificate)?.subject;
        let usage = match leaf.usage {
            Usage::Client => der::CLIENT_AUTH,
            Usage::Server => der::SERVER_AUTH,
        };
        let authority_key = der::tlv(0x80, &key_id(&key.public_key_info()));
        let mut extensions = [
            der::extension(der::BASIC_CONSTRAINTS, true, &der::sequence(&[])),
            // digitalSignature, keyEncipherment
            der::extension(der::KEY_USAGE, true, &der::bits(&[0b1010_0000], 5)),
            der::extension(der::EXTENDED_KEY_USAGE, false, &der::sequence(&[&der::oid(usage)])),
            der::extension(der::AUTHORITY_KEY_ID, false, &der::sequence(&[&authority_key])),
        ]
        .concat();
        if !leaf.names.is_empty() {
            extensions.extend(der::extension(der::SUBJECT_ALT_NAME, false, &der::alternative_names(leaf.names)));
        }
        let content = certificate(leaf.subject, &issuer, leaf.public_key_info, leaf.now, leaf.validity, &extensions)?;
        Ok(pem::der_to_pem("CERTIFICATE", &key.wrap_signed(&content)?))
    }

    /// Issues a certificate for a new key: certificate and key, both PEM.
    ///
    /// # Errors
    /// As [`Authority::issue`], or if the machine's random source fails.
    pub fn issue_with_key(
        &self,
        subject: &Subject,
        names: &[String],
        usage: Usage,
        now: Timestamp,
        validity: Duration,
    ) -> Result<(String, String), Error> {
        let key = PrivateKey::generate()?;
        let info = key.public_key_info();
        let certificate = self.issue(&Leaf { subject, names, usage, public_key_info: &info, now, validity })?;
        Ok((certificate, key.to_pem()))
    }

    /// Whether this authority signed a certificate (DER).
    pub fn has_issued(&self, certificate: &[u8]) -> bool {
        let Ok(authority) = pem::pem_to_der("CERTIFICATE", &self.certificate) else { return false };
        let Ok((_, authority)) = X509Certificate::from_der(&authority) else { return false };
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
        certificate.issuer() == authority.subject()
            && certificate.verify_signature(Some(authority.public_key())).is_ok()
    }
}

/// What a certificate says of its holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Who holds it.
    pub subject: Subject,
    /// Who issued it.
    pub issuer: Subject,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// Whether it may authenticate a client.
    pub client: bool,
}

impl Peer {
    /// Reads a certificate in DER. Signatures are not checked here.
    ///
    /// # Errors
    /// If it is not one.
    pub fn from_der(bytes: &[u8]) -> Result<Self, Error> {
        let (_, certificate) = X509Certificate::from_der(bytes)
            .map_err(|error| Error::Unreadable { what: "certificate", problem: error.to_string() })?;
        let usage = certificate.extended_key_usage().ok().flatten();
        Ok(Self {
            subject: subject(certificate.subject()),
            issuer: subject(certificate.issuer()),
            not_before: Timestamp::from_seconds(certificate.validity().not_before.timestamp()),
            not_after: Timestamp::from_seconds(certificate.validity().not_after.timestamp()),
            client: usage.is_some_and(|usage| usage.value.client_auth || usage.value.any),
        })
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// If there is none.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::from_der(&pem::pem_to_der("CERTIFICATE", text)?)
    }

    /// Whether the certificate is valid at a time.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// All organizations, however they are grouped (Go writes several into one relative name), and the common name.
pub(crate) fn subject(name: &x509_parser::x509::X509Name<'_>) -> Subject {
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        attribute.as_str().map(str::to_owned).unwrap_or_default()
    };
    Subject {
        common_name: name.iter_common_name().next().map(text).unwrap_or_default(),
        organizations: name.iter_organization().map(text).collect(),
    }
}

fn key_id(public_key_info: &[u8]) -> Vec<u8> {
    digest(&SHA256, public_key_info).as_ref()[..20].to_vec()
}

/// The part of a certificate that is signed (RFC 5280 4.1).
fn certificate(
    subject: &Subject,
    issuer: &Subject,
    public_key_info: &[u8],
    now: Timestamp,
    validity: Duration,
    extensions: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| Error::Crypto)?;
    serial[0] &= 0x7f;
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4_000_000);
    let not_before = Timestamp::from_seconds(now.seconds() - seconds(BACKDATED));
    let not_after = Timestamp::from_seconds(now.seconds() + seconds(validity));
    Ok(der::sequence(&[
        &der::tlv(0xa0, &der::integer(&[2])), // version 3
        &der::integer(&serial),
        &der::sequence(&[&der::oid(der::ECDSA_SHA256)]),
        &der::name(issuer),
        &der::sequence(&[&der::time(not_before), &der::time(not_after)]),
        &der::name(subject),
        public_key_info,
        &der::tlv(0xa3, &der::tlv(der::SEQUENCE, extensions)),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    #[test]
    fn issues_what_it_recognises() {
        let now = Timestamp::from_seconds(1_795_382_640);
        let ours = Authority::generate("wds1", now, 10 * YEAR).unwrap();
        let other = Authority::generate("wds1", now, 10 * YEAR).unwrap();
        let subject = Subject { common_name: "agent".into(), organizations: vec!["a".into(), "b".into(), "c".into()] };
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let (certificate, key) = ours.issue_with_key(&subject, &names, Usage::Client, now, YEAR).unwrap();
        PrivateKey::from_pem(&key).unwrap();
        let peer = Peer::from_pem(&certificate).unwrap();
        assert_eq!(peer.subject, subject);
        assert_eq!(peer.issuer.common_name, "wds1");
        assert!(peer.client && peer.is_valid_at(now));
        assert!(!peer.is_valid_at(Timestamp::from_seconds(now.seconds() + 2 * 365 * 86_400)));
        let der = pem::pem_to_der("CERTIFICATE", &certificate).unwrap();
        assert!(ours.has_issued(&der));
        assert!(!other.has_issued(&der), "the name of the issuer alone proves nothing");
    }
}
