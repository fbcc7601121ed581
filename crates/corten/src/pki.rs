//! Certificates: the cluster's own authority, and what it signs. Keys are ECDSA P-256 and stay in files of mode 0600.

use crate::paths;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// The key.
    pub key: String,
}

/// The cluster's authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as PEM.
    pub cert: String,
}

/// Seconds for which a certificate holds.
const CERTIFICATE_LIFE: i64 = 365 * 24 * 3600;
/// The authority outlives what it signs.
const AUTHORITY_LIFE: i64 = 10 * CERTIFICATE_LIFE;

fn validity(params: &mut CertificateParams, now: i64, life: i64) {
    let at = |unix: i64| {
        let text = api::time::format_seconds(unix);
        let part = |range: std::ops::Range<usize>| text.get(range).and_then(|t| t.parse::<i32>().ok()).unwrap_or(1);
        rcgen::date_time_ymd(part(0..4), part(5..7) as u8, part(8..10) as u8)
    };
    // From yesterday: clocks differ.
    params.not_before = at(now - 24 * 3600);
    params.not_after = at(now + life);
}

impl Authority {
    /// Loads the authority in `dir`, or makes it.
    pub fn open(dir: &Path, now: i64) -> Result<Authority, String> {
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !key_path.exists() {
            let key = KeyPair::generate().map_err(|e| format!("make the authority's key: {e}"))?;
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, "corten-ca");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages =
                vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
            validity(&mut params, now, AUTHORITY_LIFE);
            let cert = params.self_signed(&key).map_err(|e| format!("make the authority: {e}"))?;
            paths::write(&cert_path, cert.pem().as_bytes(), false)?;
            paths::write(&key_path, key.serialize_pem().as_bytes(), true)?;
        }
        let cert = paths::read(&cert_path)?;
        let key = KeyPair::from_pem(&paths::read(&key_path)?).map_err(|e| format!("{}: {e}", key_path.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&cert, key).map_err(|e| format!("{}: {e}", cert_path.display()))?;
        Ok(Authority { issuer, cert })
    }

    /// A certificate for a client: the name is its user, the organizations its groups.
    pub fn client(&self, name: &str, groups: &[&str], now: i64) -> Result<Pair, String> {
        self.sign(name, groups, &[], &[], Usage::ClientAuth, now)
    }

    /// A certificate for a server.
    pub fn server(&self, name: &str, names: &[String], addresses: &[IpAddr], now: i64) -> Result<Pair, String> {
        self.sign(name, &[], names, addresses, Usage::ServerAuth, now)
    }

    fn sign(
        &self,
        name: &str,
        groups: &[&str],
        names: &[String],
        addresses: &[IpAddr],
        usage: Usage,
        now: i64,
    ) -> Result<Pair, String> {
        let fail = |e: rcgen::Error| format!("make the certificate of {name}: {e}");
        let key = KeyPair::generate().map_err(fail)?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(fail)?;
        params.subject_alt_names.extend(addresses.iter().map(|a| SanType::IpAddress(*a)));
        params.distinguished_name.push(DnType::CommonName, name);
        for g in groups {
            params.distinguished_name.push(DnType::OrganizationName, *g);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![usage];
        validity(&mut params, now, CERTIFICATE_LIFE);
        let cert = params.signed_by(&key, &self.issuer).map_err(fail)?;
        Ok(Pair { cert: cert.pem(), key: key.serialize_pem() })
    }

    /// A pair kept in files, made again when its names change or less than a quarter of its life is left.
    ///
    /// Beside it, `<file>.names` says for which names and until when it holds; it is there only if the pair is whole.
    pub fn kept(
        &self,
        dir: &Path,
        file: &str,
        make: impl FnOnce() -> Result<Pair, String>,
        names: &str,
        now: i64,
    ) -> Result<Pair, String> {
        let at = |end: &str| dir.join(format!("{file}.{end}"));
        let (cert, key, stamp) = (at("crt"), at("key"), at("names"));
        let holds = |s: &str| {
            s.rsplit_once("\nuntil ").is_some_and(|(n, until)| {
                n == names && until.trim().parse().is_ok_and(|t: i64| t - now > CERTIFICATE_LIFE / 4)
            })
        };
        if paths::read(&stamp).is_ok_and(|s| holds(&s)) {
            return Ok(Pair { cert: paths::read(&cert)?, key: paths::read(&key)? });
        }
        let pair = make()?;
        if let Err(e) = std::fs::remove_file(&stamp)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(format!("remove {}: {e}", stamp.display()));
        }
        paths::write(&cert, pair.cert.as_bytes(), false)?;
        paths::write(&key, pair.key.as_bytes(), true)?;
        paths::write(&stamp, format!("{names}\nuntil {}", now + CERTIFICATE_LIFE).as_bytes(), false)?;
        Ok(pair)
    }
}

/// Certificates in PEM.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| format!("no certificate: {e:?}"))
}

/// A key in PEM.
pub fn key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| format!("no private key: {e:?}"))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(pem: &str) -> Result<Arc<rustls::RootCertStore>, String> {
    let mut store = rustls::RootCertStore::empty();
    for c in certificates(pem)? {
        store.add(c).map_err(|e| format!("authority: {e}"))?;
    }
    Ok(Arc::new(store))
}

/// A server's TLS: client certificates are asked for and checked against `client_ca`, but not demanded.
pub fn server_config(pair: &Pair, client_ca: Option<&str>) -> Result<Arc<rustls::ServerConfig>, String> {
    let builder = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = match client_ca {
        Some(pem) => {
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots(pem)?, provider())
                .allow_unauthenticated()
                .build()
                .map_err(|e| e.to_string())?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates(&pair.cert)?, key(&pair.key)?).map_err(|e| e.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client's TLS.
pub fn client_config(ca: &str, pair: &Pair) -> Result<Arc<rustls::ClientConfig>, String> {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let config = builder
        .with_root_certificates(roots(ca)?)
        .with_client_auth_cert(certificates(&pair.cert)?, key(&pair.key)?)
        .map_err(|e| e.to_string())?;
    Ok(Arc::new(config))
}

/// The key that signs service account tokens, kept in a file.
pub fn signer(path: &Path) -> Result<apiserver::Signer, String> {
    if !path.exists() {
        let der = apiserver::Signer::generate()?;
        paths::write(path, &pem("PRIVATE KEY", &der), true)?;
    }
    let text = paths::read(path)?;
    let key = key(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    apiserver::Signer::from_pkcs8(key.secret_der()).map_err(|e| format!("{}: {e}", path.display()))
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|c| std::str::from_utf8(c).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}

/// The key that encrypts secrets at rest, kept outside the data directory.
pub fn encryption_key(path: &PathBuf) -> Result<[u8; 32], String> {
    if !path.exists() {
        let mut key = [0_u8; 32];
        platform::rng::secret(&mut key);
        paths::write(path, &key, true)?;
    }
    let bytes = std::fs::read(path).map_err(|e| format!("read {}: {e}", path.display()))?;
    bytes.try_into().map_err(|_| format!("{} is no key of 32 bytes", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_pair_is_renewed_in_time_and_when_names_change() {
        let dir = std::env::temp_dir().join(format!("corten-pki-{}", std::process::id()));
        let now = 1_800_000_000;
        let authority = Authority::open(&dir, now).expect("an authority");
        let kept = |names: &str, now: i64| {
            let pair = authority.kept(&dir, "a", || authority.client("a", &[], now), names, now);
            pair.expect("a pair").cert
        };
        let first = kept("a", now);
        assert_eq!(kept("a", now + CERTIFICATE_LIFE / 2), first);
        let renewed = kept("a", now + CERTIFICATE_LIFE * 4 / 5);
        assert_ne!(renewed, first, "its end is near");
        assert_ne!(kept("b", now + CERTIFICATE_LIFE * 4 / 5), renewed, "other names");
        std::fs::remove_dir_all(&dir).expect("remove");
    }
}
