//! Field ownership: `managedFields`, kept on every write, and server-side apply.
//!
//! Source of the rules: `sigs.k8s.io/structured-merge-diff/merge/update.go`,
//! `k8s.io/apimachinery/pkg/util/managedfields/internal`. Entries of another API version than the request's are compared
//! by the same paths, which holds for every built-in kind whose versions share their field names.

pub mod set;
pub mod walk;

#[cfg(test)]
mod tests;

use crate::names::f;
use crate::schema::Type;
use crate::value::{Value, object};
use set::{Element, Place, Set};

/// At most so many `Update` entries; the oldest are merged beyond.
const UPDATE_ENTRIES_MAX: usize = 10;
/// Who owns what was there before the first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The annotation of client-side apply.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One writer's fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Who.
    pub manager: String,
    /// By apply, or by any other verb.
    pub apply: bool,
    /// In which version.
    pub api_version: String,
    /// Through which subresource.
    pub subresource: String,
    /// When last.
    pub time: Option<String>,
    /// What.
    pub fields: Set,
}

impl Entry {
    /// Whether two entries are of the same writer: an applier has one entry whatever the version.
    fn same(&self, other: &Entry) -> bool {
        self.manager == other.manager
            && self.apply == other.apply
            && self.subresource == other.subresource
            && (self.apply || self.api_version == other.api_version)
    }

    fn to_value(&self) -> Value {
        let mut v = Value::object();
        if !self.manager.is_empty() {
            v.set(f::manager, self.manager.as_str());
        }
        v.set(f::operation, if self.apply { "Apply" } else { "Update" });
        v.set(f::apiVersion, self.api_version.as_str());
        if let Some(t) = &self.time {
            v.set(f::time, t.as_str());
        }
        v.set(f::fieldsType, "FieldsV1");
        v.set(f::fieldsV1, self.fields.to_value());
        if !self.subresource.is_empty() {
            v.set(f::subresource, self.subresource.as_str());
        }
        v
    }

    fn from_value(v: &Value, i: usize) -> Result<Entry, String> {
        let apply = match v.at(f::operation).str() {
            "Apply" => true,
            "Update" => false,
            _ => return Err("operation must be `Apply` or `Update`".into()),
        };
        let api_version = v.at(f::apiVersion).str().to_string();
        if api_version.is_empty() {
            return Err("apiVersion must not be empty".into());
        }
        match v.at(f::fieldsType).str() {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {i}")),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {i}")),
        }
        let fields = match v.at(f::fieldsV1) {
            Value::Null => Set::new(),
            fields => Set::from_value(fields)?,
        };
        Ok(Entry {
            manager: v.at(f::manager).str().into(),
            apply,
            api_version,
            subresource: v.at(f::subresource).str().into(),
            time: v.at(f::time).as_str().map(String::from),
            fields,
        })
    }
}

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The manager's name.
    pub manager: &'a str,
    /// The version written in.
    pub api_version: &'a str,
    /// The subresource written through.
    pub subresource: &'a str,
    /// Now, as RFC 3339.
    pub now: &'a str,
    /// Fields that a write through here never owns (status on the main resource, all but status on `/status`).
    pub reset: &'a Set,
}

/// Why an apply did not happen.
#[derive(Debug, PartialEq)]
pub enum ApplyError {
    /// Others own fields: (manager's description, path).
    Conflicts(Vec<(String, String)>),
    /// The configuration does not fit its type.
    Type(String),
}

/// The entries of an object; an error if they are malformed.
pub fn entries(object: &Value) -> Result<Vec<Entry>, String> {
    object
        .at(f::metadata)
        .at(f::managedFields)
        .items()
        .iter()
        .enumerate()
        .map(|(i, v)| Entry::from_value(v, i))
        .collect()
}

/// Writes entries into an object.
pub fn set_entries(object: &mut Value, mut entries: Vec<Entry>) {
    let metadata = object.entry(f::metadata).make_map();
    if entries.is_empty() {
        metadata.remove(f::managedFields);
        return;
    }
    entries.sort_by(|a, b| {
        let time = |e: &Entry| e.time.as_deref().and_then(crate::time::parse_seconds).unwrap_or_default();
        (!a.apply, time(a), &a.manager, &a.api_version, &a.subresource).cmp(&(
            !b.apply,
            time(b),
            &b.manager,
            &b.api_version,
            &b.subresource,
        ))
    });
    metadata.set(f::managedFields, entries.iter().map(Entry::to_value).collect::<Vec<_>>());
}

/// The paths that nobody owns: what the server itself writes into metadata.
fn stripped() -> &'static Set {
    static SET: std::sync::LazyLock<Set> = std::sync::LazyLock::new(|| {
        let mut set = Set::new();
        let path = |names: &[&str]| names.iter().map(|n| Element::Field((*n).into())).collect::<Vec<_>>();
        for name in ["apiVersion", "kind", "metadata"] {
            set.insert(&path(&[name]));
        }
        for name in [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        ] {
            set.insert(&path(&["metadata", name]));
        }
        set
    });
    &SET
}

/// A set of whole top-level members, for [`Writer::reset`].
pub fn members(names: &[&str]) -> Set {
    let mut set = Set::new();
    for name in names {
        let path: Vec<Element> = name.split('/').map(|n| Element::Field(n.into())).collect();
        set.insert(&path);
    }
    set
}

/// Takes ownership away from everyone else who owns what changed; who owns nothing more is gone.
fn take_over(others: &mut Vec<Entry>, changed: &Set, removed: &Set, except: Option<&Entry>) {
    for e in others.iter_mut().filter(|e| except.is_none_or(|x| !x.same(e))) {
        e.fields.subtract(changed);
        e.fields.subtract(removed);
    }
    others.retain(|e| !e.fields.is_empty());
}

/// Ownership after `new` replaced `live` by any verb but apply. `live` is an empty object for a create.
/// The entries that `new` carries are taken as the client's wish (that is how they can be edited), else those of `live`.
pub fn update(live: &Value, new: &mut Value, ty: &'static Type, create: bool, w: Writer) {
    // An empty list clears the entries and ends tracking; through a subresource they cannot be touched.
    let cleared = w.subresource.is_empty()
        && matches!(new.at(f::metadata).get(f::managedFields), Some(Value::List(l)) if l.is_empty() || (l.len() == 1 && l[0].as_map().is_none_or(crate::value::Map::is_empty)));
    let mut managed = if cleared {
        Vec::new()
    } else {
        let own = if w.subresource.is_empty() { entries(new).ok().filter(|e| !e.is_empty()) } else { None };
        own.unwrap_or_else(|| entries(live).unwrap_or_default())
    };
    if let Some(m) = new.get_mut(f::metadata) {
        m.remove(f::managedFields);
    }
    if managed.is_empty() && !create {
        return; // not tracked
    }
    let mut diff = walk::compare(live, new, Place::root(ty));
    diff.without(w.reset);
    diff.removed.subtract(entries_themselves());
    let mut fields = diff.modified;
    fields.add(diff.added);
    take_over(&mut managed, &fields, &diff.removed, None);
    fields.subtract(stripped());
    if !fields.is_empty() {
        let entry = Entry {
            manager: w.manager.into(),
            apply: false,
            api_version: w.api_version.into(),
            subresource: w.subresource.into(),
            time: Some(w.now.into()),
            fields,
        };
        match managed.iter_mut().find(|e| e.same(&entry)) {
            Some(old) => {
                old.fields.add(entry.fields);
                old.time = entry.time;
            }
            None => managed.push(entry),
        }
    }
    managed.retain(|e| !e.fields.is_empty());
    cap(&mut managed);
    set_entries(new, managed);
}

/// Where the entries stand: a comparison with what has none yet does not speak of them.
fn entries_themselves() -> &'static Set {
    static SET: std::sync::LazyLock<Set> = std::sync::LazyLock::new(|| members(&["metadata/managedFields"]));
    &SET
}

/// Merges the oldest `Update` entries of a version when there are too many.
fn cap(managed: &mut Vec<Entry>) {
    let mut updates: Vec<usize> = (0..managed.len()).filter(|i| !managed[*i].apply).collect();
    if updates.len() <= UPDATE_ENTRIES_MAX {
        return;
    }
    updates.sort_by_key(|i| {
        let e = &managed[*i];
        (e.time.as_deref().and_then(crate::time::parse_seconds).unwrap_or_default(), e.manager.clone())
    });
    let excess = updates.len() - UPDATE_ENTRIES_MAX;
    // One entry more than the excess goes into the bucket, since the bucket counts itself.
    let mut oldest: Vec<usize> = updates.into_iter().take(excess + 1).collect();
    oldest.sort_unstable();
    let mut buckets: Vec<Entry> = Vec::new();
    for i in oldest.into_iter().rev() {
        let e = managed.remove(i);
        match buckets.iter_mut().find(|b| b.api_version == e.api_version) {
            Some(b) => {
                b.fields.add(e.fields);
                if e.time > b.time {
                    b.time = e.time;
                }
            }
            None => buckets.push(Entry { manager: "ancient-changes".into(), subresource: String::new(), ..e }),
        }
    }
    managed.extend(buckets);
}

/// Server-side apply: `config` (without managedFields) laid over `live`. Answers the new object, entries included, not
/// yet defaulted; `None` if nothing but times would change.
pub fn apply(live: &Value, config: &Value, ty: &'static Type, force: bool, w: Writer) -> Result<Value, ApplyError> {
    match apply_once(live, config, ty, force, w) {
        // kubectl upgrades what it applied from the client side: those fields do not conflict.
        Err(ApplyError::Conflicts(found)) if w.manager == "kubectl" => {
            let allowed = last_applied(live, ty);
            let paths = |p: &str| allowed.iter().any(|a| a == p);
            let left: Vec<(String, String)> = found.into_iter().filter(|(_, p)| !paths(p)).collect();
            if left.is_empty() { apply_once(live, config, ty, true, w) } else { Err(ApplyError::Conflicts(left)) }
        }
        other => other,
    }
    .map(|mut new| {
        let annotated = new.at(f::metadata).at(f::annotations).at(LAST_APPLIED).as_str().is_some_and(|s| !s.is_empty());
        if w.manager == "kubectl" && annotated {
            let mut clean = config.clone();
            if let Some(a) = clean.get_mut(f::metadata).and_then(|m| m.get_mut(f::annotations)) {
                a.remove(LAST_APPLIED);
            }
            crate::canon::sort_deep(&mut clean);
            let text = format!("{}\n", crate::json::to_string(&clean));
            new.entry(f::metadata).entry(f::annotations).set(LAST_APPLIED, text);
        }
        new
    })
}

/// The fields that client-side apply owns: those of the annotation that still have the annotation's value.
fn last_applied(live: &Value, ty: &'static Type) -> Vec<String> {
    let text = live.at(f::metadata).at(f::annotations).at(LAST_APPLIED).str();
    let Ok(mut last) = crate::json::parse(text.as_bytes()) else { return Vec::new() };
    let at = Place::root(ty);
    let mut live = live.clone();
    for v in [&mut last, &mut live] {
        v.remove(f::kind);
        v.remove(f::apiVersion);
    }
    let diff = walk::compare(&last, &live, at);
    let mut set = walk::to_set(&last, at);
    for changed in [&diff.modified, &diff.added, &diff.removed] {
        set.subtract(changed);
    }
    set.paths().iter().map(|p| show(p)).collect()
}

fn show(path: &[Element]) -> String {
    let mut out = String::new();
    path.iter().for_each(|e| e.show(&mut out));
    out
}

fn apply_once(live: &Value, config: &Value, ty: &'static Type, force: bool, w: Writer) -> Result<Value, ApplyError> {
    let at = Place::root(ty);
    let mut config = config.clone();
    config.remove(f::kind);
    config.remove(f::apiVersion);
    let wrong = walk::validate(&config, at);
    if !wrong.is_empty() {
        return Err(ApplyError::Type(if wrong.len() == 1 {
            wrong.into_iter().collect()
        } else {
            format!("errors:\n{}", wrong.iter().map(|e| format!("  {e}")).collect::<Vec<_>>().join("\n"))
        }));
    }
    let mut managed = owned(live, ty, w);
    let merged = walk::merge(Some(live), Some(&config), at)
        .map_err(|e| ApplyError::Type(format!("failed to merge config: {e}")))?
        .unwrap_or_else(Value::object);
    let mut set = walk::to_set(&config, at);
    set.subtract_deep(w.reset);
    set.subtract(stripped());
    let mine = Entry {
        manager: w.manager.into(),
        apply: true,
        api_version: w.api_version.into(),
        subresource: w.subresource.into(),
        time: Some(w.now.into()),
        fields: set,
    };
    let last = match managed.iter().position(|e| e.same(&mine)) {
        Some(i) => Some(std::mem::replace(&mut managed[i], mine.clone())),
        None => {
            managed.push(mine.clone());
            None
        }
    };
    let mut new = match &last {
        // Nothing can have been left out that was applied before; sets of applied configurations have every step to
        // what is in them, so nothing dangles either.
        Some(last) if !last.fields.within(&mine.fields) => prune(merged, &managed, &last.fields, at),
        _ => merged,
    };
    let mut diff = walk::compare(live, &new, at);
    diff.without(w.reset);
    let mut changed = diff.modified;
    changed.add(diff.added);
    conflicts(&managed, &changed, &mine, force)?;
    take_over(&mut managed, &changed, &diff.removed, Some(&mine));
    managed.retain(|e| !e.fields.is_empty());
    // Times move only when the object does.
    if changed.is_empty()
        && diff.removed.is_empty()
        && *live == new
        && let Some(e) = managed.iter_mut().find(|e| e.same(&mine))
    {
        e.time = last.and_then(|l| l.time);
    }
    set_entries(&mut new, managed);
    Ok(new)
}

/// The entries of the live object; fields that nobody owns get an owner of their own.
fn owned(live: &Value, ty: &'static Type, w: Writer) -> Vec<Entry> {
    let mut managed = entries(live).unwrap_or_default();
    if managed.is_empty() {
        let mut empty = object([(f::metadata, Value::object())]);
        crate::canon::canonicalize(&mut empty, ty);
        let mut diff = walk::compare(&empty, live, Place::root(ty));
        diff.without(w.reset);
        let mut fields = diff.modified;
        fields.add(diff.added);
        fields.subtract(stripped());
        if !fields.is_empty() {
            managed.push(Entry {
                manager: BEFORE_FIRST_APPLY.into(),
                apply: false,
                api_version: w.api_version.into(),
                subresource: String::new(),
                time: Some(w.now.into()),
                fields,
            });
        }
    }
    managed
}

fn conflicts(managed: &[Entry], changed: &Set, mine: &Entry, force: bool) -> Result<(), ApplyError> {
    if force {
        return Ok(());
    }
    let mut found = Vec::new();
    for e in managed.iter().filter(|e| !e.same(mine)) {
        for path in e.fields.intersection(changed).paths() {
            let who = crate::errors::go_quote(&e.manager);
            let sub = if e.subresource.is_empty() {
                String::new()
            } else {
                format!(" with subresource {}", crate::errors::go_quote(&e.subresource))
            };
            let how = if e.apply { String::new() } else { format!(" using {}", e.api_version) };
            found.push((format!("{who}{sub}{how}"), show(&path)));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(ApplyError::Conflicts(found)) }
}

/// Removes what the applier applied last time, does not apply now, and nobody else owns.
fn prune(merged: Value, managed: &[Entry], last: &Set, at: Place) -> Value {
    let named = |s: Set| s.with_named_fields(at);
    let last = named(last.clone());
    let all = named(walk::to_set(&merged, at));
    let mut gone = all.clone();
    gone.subtract(&named(walk::to_set(&walk::remove(&merged, &last, at), at)));
    for e in managed {
        gone.subtract(&named(e.fields.clone()));
    }
    let mut dangling = all;
    dangling.subtract(&named(walk::to_set(&walk::remove(&merged, &gone, at), at)));
    walk::remove(&merged, &dangling.intersection(&last), at)
}
