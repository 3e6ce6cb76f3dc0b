//! TLS for registries of the tests that speak it themselves.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "tests report by panicking, and each has a copy")]

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{path::Path, sync::Arc};

/// TLS of a server with the certificate of `support::certificates`, that speaks one protocol.
pub fn server_tls(dir: &Path, protocol: &str) -> Arc<ServerConfig> {
    distribution::install_crypto();
    let chain = CertificateDer::pem_file_iter(dir.join("server.pem")).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![protocol.into()];
    Arc::new(config)
}
