//! Whom we trust where TLS is spoken, and who we are.

use crate::hosts::Tls;
use model::{Error, Result};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, InconsistentKeys, RootCertStore,
    SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use std::{error::Error as StdError, fs, path::Path, sync::Arc};

/// The configuration of connections that `tls` asks for, with HTTP/2 before HTTP/1.1.
pub(crate) fn config(tls: &Tls) -> Result<ClientConfig> {
    let builder = ClientConfig::builder();
    let provider = Arc::clone(builder.crypto_provider());
    let pairs = tls.client.iter();
    let identities = pairs.map(|(certificate, key)| identity(certificate, key.as_deref(), &provider).map(Arc::new));
    let identities = Identities(identities.collect::<Result<_>>()?);
    let (roots, given) = roots(tls)?;
    let builder = if tls.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else if given.is_empty() {
        builder.with_root_certificates(roots)
    } else {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let webpki = webpki.map_err(|error| invalid("use CA certificates".into(), error))?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Known { webpki, given }))
    };
    let mut config = builder.with_client_cert_resolver(Arc::new(identities));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Whom we trust, and which of their certificates we were given. A system may have no authorities: plain HTTP needs
/// none, and over TLS nobody is trusted.
fn roots(tls: &Tls) -> Result<(RootCertStore, Vec<CertificateDer<'static>>)> {
    let (mut roots, mut given) = (RootCertStore::empty(), Vec::new());
    for path in &tls.authorities {
        let what = || format!("load CA certificate {}", path.display());
        let certificates = certificates(&read(path)?).map_err(|error| invalid(what(), error))?;
        if roots.add_parsable_certificates(certificates.iter().cloned()).0 == 0 {
            return Err(invalid(what(), "there is none in it"));
        }
        given.extend(certificates);
    }
    if !tls.exclusive {
        let system = rustls_native_certs::load_native_certs();
        for error in system.errors {
            tracing::debug!(%error, "the system's authorities");
        }
        roots.add_parsable_certificates(system.certs);
    }
    Ok((roots, given))
}

fn identity(certificate: &Path, key: Option<&Path>, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let what = || format!("load client certificate {}", certificate.display());
    let pem = read(certificate)?;
    let chain = certificates(&pem).map_err(|error| invalid(what(), error))?;
    let key = PrivateKeyDer::from_pem_slice(&key.map_or(Ok(pem), read)?).map_err(|error| invalid(what(), error))?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| invalid(what(), error))?;
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        Err(
            error @ (TlsError::NoCertificatesPresented | TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)),
        ) => Err(invalid(what(), error)),
        // What rustls does not understand, such as a certificate of version 1, the other side may.
        _ => Ok(identity),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

fn invalid(what: String, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::invalid_argument(what).caused_by(cause)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::io(format!("read {}", path.display()), error))
}

/// Who we are.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identities {
    /// The first whose signature the other side can check, by one of the authorities that it names, if it names any.
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // A certificate has the name of who issued it as the hint has it, byte for byte.
        let names = |certificate: &CertificateDer<'_>, authority: &[u8]| {
            !authority.is_empty() && certificate.windows(authority.len()).any(|bytes| bytes == authority)
        };
        let is_known = |identity: &CertifiedKey| {
            let issued_by = |authority| identity.cert.iter().any(|certificate| names(certificate, authority));
            authorities.is_empty() || authorities.iter().any(|authority| issued_by(authority))
        };
        let is_fit =
            |identity: &&Arc<CertifiedKey>| identity.key.choose_scheme(schemes).is_some() && is_known(identity);
        self.0.iter().find(is_fit).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Trusts authorities, and who shows a certificate of theirs as its own: `openssl req -x509` makes one that serves as
/// both, which Go's crypto/x509 believes, but webpki does not.
#[derive(Debug)]
struct Known {
    webpki: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        match self.webpki.verify_server_cert(certificate, chain, name, ocsp, now) {
            // It is valid at this time: that was looked at before.
            Err(error) if is_authority(&error) && self.given.contains(certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Whether a certificate was refused because it is an authority's.
fn is_authority(error: &TlsError) -> bool {
    let TlsError::InvalidCertificate(CertificateError::Other(cause)) = error else { return false };
    matches!(cause.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Takes everybody for whom we want to speak to.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
