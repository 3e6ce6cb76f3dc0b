//! Whom we trust where TLS is spoken, and who we are.

use crate::hosts::Tls;
use model::{Error, Result};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, InconsistentKeys, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
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
    let roots = roots(tls)?;
    let builder = match tls.skip_verify {
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        false => builder.with_root_certificates(roots),
    };
    let mut config = builder.with_client_cert_resolver(Arc::new(identities));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Whom we trust. A system may have no authorities: plain HTTP needs none, and over TLS nobody is trusted.
fn roots(tls: &Tls) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for path in &tls.authorities {
        let what = || format!("load CA certificate {}", path.display());
        let certificates = certificates(&read(path)?).map_err(|error| invalid(what(), error))?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(invalid(what(), "there is none in it"));
        }
    }
    if !tls.exclusive {
        let system = rustls_native_certs::load_native_certs();
        for error in system.errors {
            tracing::debug!(%error, "the system's authorities");
        }
        roots.add_parsable_certificates(system.certs);
    }
    Ok(roots)
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
