//! Where a server is and who we are to it.

use super::Plugin;
use crate::TransportError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use std::fmt;
use std::path::PathBuf;

/// All that is needed to reach a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://HOST:PORT`, perhaps with a path: `https://127.0.0.1:9443/spaces/wds1`.
    pub server: String,
    /// The CAs that may have signed the server's certificate, in PEM; the system's when absent.
    pub ca: Option<Vec<u8>>,
    /// Who we are.
    pub credential: Credential,
    /// Accept any certificate. Whoever is in between can then read and change everything.
    pub insecure: bool,
    /// The name expected in the server's certificate when it is not the host of the address.
    pub server_name: Option<String>,
}

impl Endpoint {
    /// The path of the server's address, without a slash at its end: the prefix of a space.
    pub fn path(&self) -> String {
        Address::parse(&self.server).map(|address| address.path).unwrap_or_default()
    }
}

/// How a client proves who it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credential {
    /// Anonymous.
    #[default]
    None,
    /// A client certificate, in PEM.
    Certificate {
        /// The certificate, followed by intermediates if any.
        certificate: Vec<u8>,
        /// Its private key.
        key: Vec<u8>,
    },
    /// A client certificate in files, read for each new connection.
    CertificateFiles {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A bearer token.
    Token(String),
    /// A bearer token in a file that may be rewritten at any time.
    TokenFile(PathBuf),
    /// Name and password, which some proxies in front of API servers ask for.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A program that gives a token or a certificate.
    Plugin(Plugin),
}

/// Secrets stay out of logs.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Certificate { .. } => f.write_str("Certificate"),
            Self::CertificateFiles { certificate, .. } => write!(f, "CertificateFiles({})", certificate.display()),
            Self::Token(_) => f.write_str("Token"),
            Self::TokenFile(file) => write!(f, "TokenFile({})", file.display()),
            Self::Basic { user, .. } => write!(f, "Basic({user})"),
            Self::Plugin(plugin) => write!(f, "Plugin({})", plugin.command.display()),
        }
    }
}

pub(super) fn bearer(token: &str) -> Result<HeaderValue, TransportError> {
    secret(&format!("Bearer {token}"), "the bearer token")
}

pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, TransportError> {
    secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))), "the password")
}

fn secret(text: &str, what: &str) -> Result<HeaderValue, TransportError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| TransportError::Unusable(format!("{what} holds characters that no HTTP header may hold")))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An address taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    /// Whether the scheme is https.
    pub(super) tls: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port, as they stand in a URI.
    pub(super) authority: String,
    /// Without a slash at the end.
    pub(super) path: String,
}

impl Address {
    pub(super) fn parse(server: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("the server address {server:?} {why}: expected https://HOST:PORT");
        let uri: http::Uri = server.trim().parse().map_err(|_| bad("is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad("has no scheme")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("has no host"))?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self {
            tls,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: format!("{host}:{port}"),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(server: &str, expected: &str) {
        let seen = match Address::parse(server) {
            Ok(a) => format!("{} {} {} {} {}", a.tls, a.host, a.port, a.authority, a.path),
            Err(error) => error,
        };
        assert!(seen.starts_with(expected), "{server}: {seen}");
    }

    #[test]
    fn addresses() {
        check("https://127.0.0.1:9443/spaces/wds1/", "true 127.0.0.1 9443 127.0.0.1:9443 /spaces/wds1");
        check("https://example.org", "true example.org 443 example.org:443 ");
        check("http://localhost:8001/", "false localhost 8001 localhost:8001 ");
        check("https://[::1]:6443", "true ::1 6443 [::1]:6443 ");
        check("127.0.0.1:6443", "the server address \"127.0.0.1:6443\"");
        check("ftp://a", "the server address \"ftp://a\" has no scheme");
        check("", "the server address \"\"");
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", Endpoint { credential: Credential::Token("s3cret".into()), ..Endpoint::default() });
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(bearer("a\nb").is_err());
        assert!(bearer("abc").unwrap().is_sensitive());
        assert_eq!(basic("a", "b").unwrap(), "Basic YTpi");
    }
}
