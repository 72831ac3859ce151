//! The TLS configuration of an endpoint.

use super::{Credential, Endpoint};
use crate::TransportError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;

/// Where systems keep the CAs that they trust; the first that exists counts.
const SYSTEM_CAS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// Reads what the endpoint names and makes a configuration that prefers HTTP/2. `given` is the client certificate and
/// key (PEM) of a credential program.
pub(super) fn config(endpoint: &Endpoint, given: Option<&(Vec<u8>, Vec<u8>)>) -> Result<ClientConfig, TransportError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |cause: String| TransportError::Unusable(cause);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|cause| unusable(format!("TLS: {cause}")))?;
    let builder = if endpoint.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    } else {
        builder.with_root_certificates(roots(endpoint)?)
    };
    let pair = match &endpoint.credential {
        Credential::Certificate { certificate, key } => Some((certificate.clone(), key.clone())),
        Credential::CertificateFiles { certificate, key } => Some((read(certificate)?, read(key)?)),
        _ => given.cloned(),
    };
    let mut config = match pair {
        Some((certificate, key)) => {
            let chain = certificates(&certificate)
                .filter(|chain| !chain.is_empty())
                .ok_or_else(|| unusable("the client certificate is not a PEM certificate".into()))?;
            let key = PrivateKeyDer::from_pem_slice(&key)
                .map_err(|cause| unusable(format!("the client key is not a PEM private key: {cause}")))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|cause| unusable(format!("the client certificate and key cannot be used: {cause}")))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(endpoint: &Endpoint) -> Result<RootCertStore, TransportError> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = &endpoint.ca {
        let chain = certificates(pem).unwrap_or_default();
        let (added, _) = roots.add_parsable_certificates(chain);
        if added == 0 {
            let server = &endpoint.server;
            return Err(TransportError::Unusable(format!("the CA given for {server} holds no PEM certificate")));
        }
        return Ok(roots);
    }
    for file in SYSTEM_CAS {
        if let Ok(pem) = std::fs::read(file) {
            roots.add_parsable_certificates(certificates(&pem).unwrap_or_default());
            return Ok(roots);
        }
    }
    Err(TransportError::Unusable(format!(
        "no CA is given for {}, and this system has none: give the server's CA",
        endpoint.server
    )))
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()
}

fn read(file: &Path) -> Result<Vec<u8>, TransportError> {
    std::fs::read(file)
        .map_err(|cause| TransportError::Unusable(format!("cannot read the credential {}: {cause}", file.display())))
}

/// Accepts any server, because the user said `insecure-skip-tls-verify`.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
