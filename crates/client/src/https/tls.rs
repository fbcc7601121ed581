//! TLS settings from a configuration.

use crate::error::Error;
use crate::kubeconfig::Config;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::sync::Arc;

/// The client's side of TLS, offering `protocols`.
pub fn config(config: &Config, protocols: &[&[u8]]) -> Result<Arc<rustls::ClientConfig>, Error> {
    let wrong = |what: &str, e: &dyn std::fmt::Display| Error::Config(format!("{what}: {e}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong("TLS", &e))?;
    let builder = if config.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
    } else {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(config.authorities.as_deref().unwrap_or_default()) {
            let certificate = certificate.map_err(|e| wrong("the authority's certificate", &e))?;
            roots.add(certificate).map_err(|e| wrong("the authority's certificate", &e))?;
        }
        if roots.is_empty() {
            return Err(Error::Config("no certificate authority is given for the server".into()));
        }
        builder.with_root_certificates(roots)
    };
    let mut tls = match (&config.certificate, &config.key) {
        (Some(chain), Some(key)) => {
            let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
            let chain = chain.map_err(|e| wrong("the client's certificate", &e))?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| wrong("the client's key", &e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| wrong("the client's certificate", &e))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(Error::Config("a client certificate needs its key, and a key its certificate".into())),
    };
    tls.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(tls))
}

/// `insecure-skip-tls-verify`: the user asked for it.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
