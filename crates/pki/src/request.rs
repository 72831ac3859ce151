//! PKCS #10 signing requests.

use crate::{Error, PrivateKey, Subject, authority, der, pem};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// A signing request whose signature was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Who it asks to be.
    pub subject: Subject,
    /// DNS names and IP addresses that it asks for.
    pub names: Vec<String>,
    /// DER SubjectPublicKeyInfo of its key.
    pub public_key_info: Vec<u8>,
}

impl Request {
    /// Reads a `CERTIFICATE REQUEST` PEM block and checks that its key signed it.
    ///
    /// # Errors
    /// If it cannot be read, or the signature is wrong.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let bytes = pem::pem_to_der("CERTIFICATE REQUEST", text)?;
        let (_, request) = X509CertificationRequest::from_der(&bytes)
            .map_err(|error| Error::Unreadable { what: "certificate signing request", problem: error.to_string() })?;
        request.verify_signature().map_err(|_| Error::BadSignature)?;
        let mut names = Vec::new();
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(alternative) = extension {
                names.extend(alternative.general_names.iter().filter_map(general_name));
            }
        }
        let info = &request.certification_request_info;
        Ok(Self { subject: authority::subject(&info.subject), names, public_key_info: info.subject_pki.raw.to_vec() })
    }
}

fn general_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(dns) => Some((*dns).to_owned()),
        GeneralName::IPAddress([a, b, c, d]) => Some(format!("{a}.{b}.{c}.{d}")),
        GeneralName::IPAddress(bytes) => {
            let bytes: [u8; 16] = (*bytes).try_into().ok()?;
            Some(std::net::Ipv6Addr::from(bytes).to_string())
        }
        _ => None,
    }
}

/// Makes a signing request, as PEM.
///
/// # Errors
/// If the machine's random source fails.
pub fn new_request(key: &PrivateKey, subject: &Subject, names: &[String]) -> Result<String, Error> {
    let attributes = if names.is_empty() {
        Vec::new()
    } else {
        let alternative = der::extension(der::SUBJECT_ALT_NAME, false, &der::alternative_names(names));
        let extensions = der::tlv(der::SET, &der::sequence(&[&alternative]));
        der::sequence(&[&der::oid(der::EXTENSION_REQUEST), &extensions])
    };
    let content = der::sequence(&[
        &der::integer(&[0]), // version 1
        &der::name(subject),
        &key.public_key_info(),
        &der::tlv(0xa0, &attributes),
    ]);
    Ok(pem::der_to_pem("CERTIFICATE REQUEST", &key.wrap_signed(&content)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_makes() {
        let key = PrivateKey::generate().unwrap();
        let subject = Subject {
            common_name: "system:open-cluster-management:c1:a1".into(),
            organizations: vec!["system:open-cluster-management:c1".into(), "managed-clusters".into()],
        };
        for names in [vec![], vec!["a.example".to_owned(), "10.0.0.1".to_owned()]] {
            let request = Request::from_pem(&new_request(&key, &subject, &names).unwrap()).unwrap();
            assert_eq!(request, Request { subject: subject.clone(), names, public_key_info: key.public_key_info() });
        }
        let forged = new_request(&key, &subject, &[]).unwrap();
        let mut der = pem::pem_to_der("CERTIFICATE REQUEST", &forged).unwrap();
        let at = der.windows(2).position(|pair| pair == b"c1").unwrap();
        der[at] = b'd';
        assert_eq!(Request::from_pem(&pem::der_to_pem("CERTIFICATE REQUEST", &der)), Err(Error::BadSignature));
    }
}
