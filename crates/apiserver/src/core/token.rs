//! Service account tokens: JSON web tokens signed with ECDSA P-256 (ES256). Claims as upstream writes them.
//!
//! Source: `k8s.io/kubernetes/pkg/serviceaccount/claims.go`.

use api::{Value, json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};

/// The key that signs tokens.
pub struct Signer {
    pair: EcdsaKeyPair,
    id: String,
}

impl Signer {
    /// A new key, as PKCS #8.
    pub fn generate() -> Result<Vec<u8>, String> {
        let doc = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| "the system gave no random bytes".to_string())?;
        Ok(doc.as_ref().to_vec())
    }

    /// From PKCS #8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Signer, String> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new())
            .map_err(|e| format!("the service account key is no P-256 key in PKCS #8: {e}"))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, pair.public_key().as_ref());
        Ok(Signer { id: B64.encode(digest.as_ref()), pair })
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Value) -> Result<String, String> {
        let head = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, self.id);
        let text = format!("{}.{}", B64.encode(head), B64.encode(json::to_string(claims)));
        let signature =
            self.pair.sign(&SystemRandom::new(), text.as_bytes()).map_err(|_| "signing failed".to_string())?;
        Ok(format!("{text}.{}", B64.encode(signature.as_ref())))
    }

    /// The claims of a token that this key signed.
    pub fn verify(&self, token: &str) -> Option<Value> {
        let (text, signature) = token.rsplit_once('.')?;
        let (head, body) = text.split_once('.')?;
        let head = json::parse(&B64.decode(head).ok()?).ok()?;
        if head.at("alg").str() != "ES256" {
            return None;
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        key.verify(text.as_bytes(), &B64.decode(signature).ok()?).ok()?;
        json::parse(&B64.decode(body).ok()?).ok()
    }

    /// The public key as a JSON web key, for `/openid/v1/jwks`.
    pub fn jwk(&self) -> String {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (B64.encode(&point[1..33]), B64.encode(&point[33..65]));
        format!(r#"{{"use":"sig","kty":"EC","kid":"{}","crv":"P-256","alg":"ES256","x":"{x}","y":"{y}"}}"#, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_verified_and_nothing_else() {
        let signer = Signer::from_pkcs8(&Signer::generate().expect("random")).expect("key");
        let claims = api::value::object([("sub", "system:serviceaccount:d:a".into())]);
        let token = signer.sign(&claims).expect("signed");
        assert_eq!(signer.verify(&token), Some(claims));
        let other = Signer::from_pkcs8(&Signer::generate().expect("random")).expect("key");
        assert_eq!(other.verify(&token), None);
        assert_eq!(signer.verify(&token.replace('.', "..")), None);
    }
}
