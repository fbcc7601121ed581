//! What lies under which key in etcd.
//!
//! An object lies under its own key, as upstream's API server would write it, so that both can use one etcd. What Corten
//! knows besides (who wrote it, when it expires) lies beside it: `/corten.dev/meta/<key>` with the object, and, for
//! deletions, which leave no such place, in the one key `/corten.dev/commit`. Both are written in the object's transaction,
//! and both carry the transaction's number, by which a write whose answer was lost is found again.

use crate::proto::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Event, EventType, KeyValue, Operand, Operation,
    PutRequest, RequestOp, TxnRequest,
};
use bytes::Bytes;
use platform::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Change, Commit, Expected, Meta, Revision, Seal, SealError, Sealed};

const META: &str = "/corten.dev/meta";
const COMMIT: &str = "/corten.dev/commit";
const SEALED: &[u8] = b"corten:sealed:v1:";

/// Which keys of etcd are ours.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Stands before every key.
    pub root: String,
    /// Keys of the store begin with this.
    pub prefix: String,
}

/// What is known of a write, as it is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct Kept {
    /// The transaction.
    #[serde(rename = "txn")]
    pub number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rv_at: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    wall: i64,
    user: String,
    component: String,
    request: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<u64>,
    schema: u32,
    media_type: String,
}

impl Kept {
    fn of(meta: &Meta, number: u64, rv_at: Option<u32>, expires: Option<WallTime>) -> Kept {
        Kept {
            number,
            rv_at,
            expires: expires.map(WallTime::unix_nanos),
            wall: meta.wall.unix_nanos(),
            user: meta.user.clone(),
            component: meta.component.clone(),
            request: meta.request_id.clone(),
            cause: meta.cause.map(|r| r.0),
            schema: meta.schema,
            media_type: meta.media_type.clone(),
        }
    }

    fn meta(&self) -> Meta {
        Meta {
            wall: WallTime::from_unix_nanos(self.wall),
            user: self.user.clone(),
            component: self.component.clone(),
            request_id: self.request.clone(),
            cause: self.cause.map(Revision),
            schema: self.schema,
            media_type: self.media_type.clone(),
        }
    }

    fn bytes(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    fn read(bytes: &[u8]) -> Option<Kept> {
        serde_json::from_slice(bytes).ok()
    }
}

/// All changes of one revision that concern the store.
#[derive(Debug, Default)]
pub struct Step {
    /// In the order in which they were made.
    pub changes: Vec<Change>,
    /// Who made them.
    pub meta: Meta,
    /// The transaction's number, if Corten wrote it.
    pub number: Option<u64>,
}

impl Layout {
    /// The first key and the end of everything under the root.
    pub fn everything(&self) -> (Vec<u8>, Vec<u8>) {
        if self.root.is_empty() { (vec![0], vec![0]) } else { prefix_range(&self.root) }
    }

    /// The first key and the end of the objects' keys.
    pub fn objects(&self) -> (Vec<u8>, Vec<u8>) {
        prefix_range(&format!("{}{}", self.root, self.prefix))
    }

    /// The first key and the end of what is kept beside them.
    pub fn kept(&self) -> (Vec<u8>, Vec<u8>) {
        prefix_range(&format!("{}{META}{}", self.root, self.prefix))
    }

    fn object_key(&self, key: &str) -> Bytes {
        Bytes::from(format!("{}{key}", self.root))
    }

    fn meta_key(&self, key: &str) -> Bytes {
        Bytes::from(format!("{}{META}{key}", self.root))
    }

    /// The store's key of an object's key in etcd.
    pub fn key_of<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let key = std::str::from_utf8(key).ok()?.strip_prefix(&*self.root)?;
        (key.starts_with(&self.prefix) && !key.starts_with("/corten.dev/")).then_some(key)
    }

    /// The store's key of a key under which something is kept.
    pub fn kept_key_of<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(key).ok()?.strip_prefix(&*self.root)?.strip_prefix(META)
    }

    /// The transaction of a commit.
    pub fn transaction(&self, commit: &Commit, number: u64, seal: &dyn Seal) -> Result<TxnRequest, SealError> {
        let mut txn = TxnRequest::default();
        for expect in &commit.expect {
            txn.compare.push(match expect.state {
                Expected::Absent => self.compare(&expect.key, CompareResult::Equal, Operand::Version(0)),
                Expected::Present => self.compare(&expect.key, CompareResult::Greater, Operand::Version(0)),
                Expected::Revision(r) => {
                    self.compare(&expect.key, CompareResult::Equal, Operand::Mod(r.0.cast_signed()))
                }
            });
        }
        let mut deletes = false;
        for change in &commit.changes {
            match change {
                Change::Put { key, value, rv_at, seal: sealed, expires } => {
                    let value = if *sealed { pack(&seal.seal(key, value)?) } else { value.clone() };
                    txn.success.push(put(self.object_key(key), value));
                    txn.success.push(put(self.meta_key(key), Kept::of(&commit.meta, number, *rv_at, *expires).bytes()));
                }
                Change::Delete { key } => {
                    deletes = true;
                    txn.compare.push(self.compare(key, CompareResult::Greater, Operand::Version(0)));
                    txn.success.push(delete(self.object_key(key)));
                    txn.success.push(delete(self.meta_key(key)));
                }
            }
        }
        if deletes {
            let key = Bytes::from(format!("{}{COMMIT}", self.root));
            txn.success.push(put(key, Kept::of(&commit.meta, number, None, None).bytes()));
        }
        Ok(txn)
    }

    fn compare(&self, key: &str, result: CompareResult, operand: Operand) -> Compare {
        let target = if matches!(operand, Operand::Mod(_)) { CompareTarget::Mod } else { CompareTarget::Version };
        Compare {
            result: result as i32,
            target: target as i32,
            key: self.object_key(key).to_vec(),
            operand: Some(operand),
        }
    }

    /// What the events of one revision mean.
    pub fn step(&self, events: &[Event], seal: &dyn Seal) -> Step {
        let mut kept: BTreeMap<&str, Kept> = BTreeMap::new();
        let mut whole: Option<Kept> = None;
        for kv in events.iter().filter(|e| e.kind == EventType::Put as i32).filter_map(|e| e.kv.as_ref()) {
            if let Some(key) = self.kept_key_of(&kv.key) {
                kept.extend(Kept::read(&kv.value).map(|k| (key, k)));
            } else if std::str::from_utf8(&kv.key).ok().and_then(|k| k.strip_prefix(&*self.root)) == Some(COMMIT) {
                whole = Kept::read(&kv.value);
            }
        }
        let any = whole.as_ref().or_else(|| kept.values().next());
        let mut step =
            Step { meta: any.map(Kept::meta).unwrap_or_default(), number: any.map(|k| k.number), changes: Vec::new() };
        for event in events {
            let Some(kv) = &event.kv else { continue };
            let Some(key) = self.key_of(&kv.key) else { continue };
            step.changes.push(match event.kind == EventType::Delete as i32 {
                true => Change::delete(key),
                false => change_of(key, kv, kept.get(key), seal),
            });
        }
        if step.number.is_none()
            && step.changes.iter().any(|c| matches!(c, Change::Put { value, .. } if value.starts_with(b"k8s\0")))
        {
            step.meta.media_type = "application/vnd.kubernetes.protobuf".into();
        }
        step
    }
}

/// A key's value as a change, opened and ready for its revision.
pub fn change_of(key: &str, kv: &KeyValue, kept: Option<&Kept>, seal: &dyn Seal) -> Change {
    let (value, sealed) = match unpack(&kv.value) {
        Some(sealed) => match seal.unseal(key, &sealed) {
            Ok(plain) => (plain, true),
            Err(error) => {
                tracing::error!(key, "a sealed value cannot be opened: {error}");
                (kv.value.clone(), true)
            }
        },
        None => (kv.value.clone(), false),
    };
    let (value, rv_at) = match kept.and_then(|k| k.rv_at).filter(|at| is_place(&value, *at)) {
        Some(at) => (value, Some(at)),
        None => super::place::prepare(&value),
    };
    let expires = kept.and_then(|k| k.expires).map(WallTime::from_unix_nanos);
    Change::Put { key: Arc::from(key), value, rv_at, seal: sealed, expires }
}

/// Reads what is kept of a key.
pub fn read_kept(bytes: &[u8]) -> Option<(Kept, Meta)> {
    Kept::read(bytes).map(|k| {
        let meta = k.meta();
        (k, meta)
    })
}

fn is_place(value: &[u8], at: u32) -> bool {
    let at = at as usize;
    at > 0 && value.get(at - 1..=at) == Some(b"\"\"")
}

fn put(key: Bytes, value: Bytes) -> RequestOp {
    RequestOp { request: Some(Operation::Put(PutRequest { key, value })) }
}

fn delete(key: Bytes) -> RequestOp {
    RequestOp { request: Some(Operation::Delete(DeleteRangeRequest { key })) }
}

fn pack(sealed: &Sealed) -> Bytes {
    let mut out = Vec::with_capacity(SEALED.len() + 4 + sealed.bytes.len());
    out.extend_from_slice(SEALED);
    out.extend_from_slice(&sealed.key_id.to_be_bytes());
    out.extend_from_slice(&sealed.bytes);
    out.into()
}

fn unpack(value: &Bytes) -> Option<Sealed> {
    let rest = value.strip_prefix(SEALED)?;
    let key_id = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
    Some(Sealed { key_id, bytes: value.slice(SEALED.len() + 4..) })
}

/// A prefix as etcd's range: the first key, and the first one that is not below it any more.
fn prefix_range(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    let start = prefix.as_bytes().to_vec();
    let mut end = start.clone();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return (start, end);
        }
    }
    (start, vec![0])
}
