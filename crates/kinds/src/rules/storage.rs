//! Volumes, claims, classes, drivers.
//!
//! Source: `pkg/apis/core/validation`, `pkg/apis/storage/{v1/defaults.go,validation}`, `pkg/api/persistentvolumeclaim`.

use super::pods::volumes;
use super::{text_default, validation as v};
use api::check::At;
use api::{Value, f, format, go};

// === defaults ===

/// PersistentVolume.
pub fn pv_defaults(p: &mut Value) {
    let spec = p.entry(f::spec);
    text_default(spec, f::persistentVolumeReclaimPolicy, "Retain");
    spec.set_default(f::volumeMode, "Filesystem");
    if let Some(h) = spec.get_mut(f::hostPath).filter(|h| !h.is_null()) {
        h.set_default(f::type_, "");
    }
    text_default(p.entry(f::status), f::phase, "Pending");
}

/// A new volume is pending since now.
pub fn pv_create(p: &mut Value) {
    let now = p.at(f::metadata).at(f::creationTimestamp).clone();
    p.entry(f::status).set(f::phase, "Pending");
    p.entry(f::status).set(f::lastPhaseTransitionTime, now);
}

/// A volume's phase has a time.
pub fn pv_stamp(new: &mut Value, old: &Value, now: &str) {
    let (n, o) = (new.at(f::status), old.at(f::status));
    if n.at(f::phase) != o.at(f::phase) && n.at(f::lastPhaseTransitionTime) == o.at(f::lastPhaseTransitionTime) {
        new.entry(f::status).set(f::lastPhaseTransitionTime, now);
    }
}

/// What is told of a volume.
pub fn volume_warnings(p: &Value) -> Vec<String> {
    let recycled = p.at(f::spec).at(f::persistentVolumeReclaimPolicy).str() == "Recycle";
    let text = "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
    if recycled { vec![text.into()] } else { Vec::new() }
}

/// What is told of a claim.
pub fn claim_warnings(p: &Value) -> Vec<String> {
    const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    if p.at(f::metadata).at(f::annotations).has(CLASS) {
        vec![format!(
            "metadata.annotations[{CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        )]
    } else {
        Vec::new()
    }
}

/// PersistentVolumeClaim.
pub fn pvc_defaults(p: &mut Value) {
    p.entry(f::spec).set_default(f::volumeMode, "Filesystem");
    text_default(p.entry(f::status), f::phase, "Pending");
}

/// A data source of an unknown kind counts as none; the newer and the older field say the same.
pub fn pvc_create(p: &mut Value) {
    let spec = p.entry(f::spec);
    let source = spec.at(f::dataSource);
    let known = match (source.at(f::apiGroup).str(), source.at(f::kind).str()) {
        ("", "PersistentVolumeClaim") => true,
        ("snapshot.storage.k8s.io", "VolumeSnapshot") => true,
        _ => false,
    } && !source.at(f::name).str().is_empty();
    if !known && !source.is_null() {
        spec.remove(f::dataSource);
    }
    match (spec.has(f::dataSource), spec.has(f::dataSourceRef)) {
        (true, false) => {
            let source = spec.at(f::dataSource).clone();
            spec.set(f::dataSourceRef, source);
        }
        (false, true) if spec.at(f::dataSourceRef).at(f::namespace).str().is_empty() => {
            let source = spec.at(f::dataSourceRef).clone();
            spec.set(f::dataSource, source);
        }
        _ => {}
    }
}

/// StorageClass.
pub fn class_defaults(s: &mut Value) {
    s.set_default(f::reclaimPolicy, "Delete");
    s.set_default(f::volumeBindingMode, "Immediate");
}

/// CSIDriver.
pub fn driver_defaults(d: &mut Value) {
    let spec = d.entry(f::spec);
    spec.set_default(f::attachRequired, true);
    for key in [f::podInfoOnMount, f::storageCapacity, f::requiresRepublish, f::seLinuxMount] {
        spec.set_default(key, false);
    }
    spec.set_default(f::fsGroupPolicy, "ReadWriteOnceWithFSType");
    if spec.at(f::volumeLifecycleModes).is_zero() {
        spec.set(f::volumeLifecycleModes, vec!["Persistent".into()]);
    }
}

// === volumes and claims ===

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn access_modes(at: At) {
    let modes = at.v.items();
    for mode in modes.iter().filter(|m| !ACCESS_MODES.contains(&m.str())) {
        at.with(mode).unsupported(ACCESS_MODES);
    }
    if modes.len() > 1 && modes.iter().any(|m| m.str() == "ReadWriteOncePod") {
        at.forbidden("may not use ReadWriteOncePod with other access modes");
    }
}

/// An amount of storage, above zero.
fn storage_amount(at: At) {
    v::whole_if_counted(at, "storage");
    if v::quantity(at.v).is_some_and(|q| q.is_negative() || q.is_zero()) {
        at.invalid("must be greater than zero");
    }
}

/// PersistentVolume.
pub fn volume(p: At) {
    let spec = p.at(f::spec);
    volume_spec(spec, false);
    if spec.get(f::hostPath).at(f::path).str() == "/" && spec.str(f::persistentVolumeReclaimPolicy) == "Recycle" {
        spec.at(f::persistentVolumeReclaimPolicy).forbidden("may not be 'recycle' for a hostPath mount of '/'");
    }
}

/// A volume's spec; `inline` where an attachment carries it.
fn volume_spec(spec: At, inline: bool) {
    if spec.get(f::accessModes).is_zero() {
        spec.at(f::accessModes).required("");
    }
    access_modes(spec.at(f::accessModes));
    if !inline {
        let capacity = spec.at(f::capacity);
        if capacity.v.is_zero() {
            capacity.required("");
        } else if !capacity.v.has("storage") || capacity.v.members().count() > 1 {
            capacity.unsupported(&["storage"]);
        }
        for (name, amount) in capacity.entries() {
            storage_amount(capacity.key(name).with(amount));
        }
    }
    let policy = spec.at(f::persistentVolumeReclaimPolicy);
    if !policy.v.str().is_empty() {
        if inline {
            policy.forbidden("may not be specified in the context of inline volumes");
        } else {
            policy.any_of(&["Delete", "Recycle", "Retain"]);
        }
    }
    node_affinity(spec.at(f::nodeAffinity));
    volume_source(spec, inline);
    spec.at(f::storageClassName).maybe(format::is_dns1123_subdomain);
    spec.at(f::volumeMode).maybe_one_of(&["Block", "Filesystem"]);
    if let Some(class) = spec.at(f::volumeAttributesClassName).some() {
        if class.v.str().is_empty() {
            class.required("an empty string is disallowed");
        } else {
            class.format(format::is_dns1123_subdomain);
        }
        if !spec.has(f::csi) {
            spec.at(f::csi).required("has to be specified when using volumeAttributesClassName");
        }
    }
}

fn node_affinity(at: At) {
    let Some(affinity) = at.some() else { return };
    match affinity.at(f::required).some() {
        Some(required) => v::node_selector(required),
        None => affinity.at(f::required).required("must specify required node constraints"),
    }
}

/// The members of a volume's spec that say where it is.
fn sources() -> &'static [api::Name] {
    static ALL: std::sync::LazyLock<Vec<api::Name>> = std::sync::LazyLock::new(|| {
        let of = |name: &str| api::schema::Type::named(name).map(|t| t.fields).unwrap_or_default();
        of("io.k8s.api.core.v1.PersistentVolumeSource").iter().map(|f| f.name).collect()
    });
    &ALL
}

fn volume_source(spec: At, inline: bool) {
    let given: Vec<api::Name> = sources().iter().copied().filter(|s| spec.has(*s)).collect();
    if inline && given.first() != Some(&f::csi) {
        return spec.at(f::csi).required("has to be specified in the context of inline volumes");
    }
    if given.is_empty() {
        return spec.required("must specify a volume type");
    }
    for extra in given.iter().skip(1) {
        spec.at(*extra).forbidden("may not specify more than 1 volume type");
    }
    let source = spec.at(given[0]);
    match given[0] {
        f::local => {
            if source.str(f::path).is_empty() {
                source.at(f::path).required("");
            } else {
                volumes::no_backsteps(source.at(f::path));
            }
            if spec.get(f::nodeAffinity).is_null() {
                spec.at(f::nodeAffinity).required("Local volume requires node affinity");
            }
        }
        f::csi => {
            volumes::driver_name(source.at(f::driver));
            source.at(f::volumeHandle).needed();
        }
        name => volumes::network_source(name, source),
    }
}

/// A volume is where it was.
pub fn volume_update(new: At, old: &Value) {
    let (n, o) = (new.at(f::spec), old.at(f::spec));
    if sources().iter().any(|s| n.get(*s) != o.at(*s)) {
        let shown = |spec: &Value| {
            let mut only = Value::object();
            sources().iter().filter(|s| spec.has(**s)).for_each(|s| only.set(*s, spec.at(*s).clone()));
            api::schema::Type::named("io.k8s.api.core.v1.PersistentVolumeSource")
                .map(|t| go::pretty(&go::internal_struct(&only, t)))
                .unwrap_or_default()
        };
        let diff = go::diff(&shown(o), &shown(n.v));
        n.place("persistentvolumesource")
            .forbidden(format!("spec.persistentvolumesource is immutable after creation\n{diff}"));
    }
    volume_mode(new, n, o);
    let affinity = o.at(f::nodeAffinity);
    if affinity.has(f::required) && n.get(f::nodeAffinity) != affinity {
        let shown = n.at(f::nodeAffinity).shown();
        new.place("nodeAffinity").invalid_text(shown, "field is immutable, except for updating from beta label to GA");
    }
}

/// The mode of a volume or claim stays; upstream names the place without `spec`.
fn volume_mode(root: At, new: At, old: &Value) {
    if new.get(f::volumeMode) != old.at(f::volumeMode) {
        root.place("volumeMode").with(new.get(f::volumeMode)).invalid_as(new.get(f::volumeMode), "field is immutable");
    }
}

/// PersistentVolumeClaim.
pub fn claim(p: At) {
    claim_spec(p.at(f::spec));
}

/// A claim's spec, in a claim or where claims are made from it.
pub fn claim_spec(spec: At) {
    v::label_selector(spec.at(f::selector));
    if spec.get(f::accessModes).is_zero() {
        spec.at(f::accessModes).required("at least 1 access mode is required");
    }
    access_modes(spec.at(f::accessModes));
    let amount = spec.at(f::resources).key("storage");
    match spec.get(f::resources).at(f::requests).get("storage") {
        Some(q) => storage_amount(amount.with(q)),
        None => amount.required(""),
    }
    spec.at(f::storageClassName).maybe(format::is_dns1123_subdomain);
    spec.at(f::volumeMode).maybe_one_of(&["Block", "Filesystem"]);
    for key in [f::dataSource, f::dataSourceRef] {
        let Some(source) = spec.at(key).some() else { continue };
        for part in [f::name, f::kind] {
            source.at(part).needed();
        }
        let group = source.str(f::apiGroup);
        if group.is_empty() && !matches!(source.str(f::kind), "PersistentVolumeClaim" | "") {
            source.invalid("must be 'PersistentVolumeClaim' when referencing the default apiGroup");
        }
        if !group.is_empty() {
            source.at(f::apiGroup).format(format::is_dns1123_subdomain);
        }
    }
    let (source, reference) = (spec.get(f::dataSource), spec.get(f::dataSourceRef));
    if !source.is_null()
        && !reference.is_null()
        && [f::apiGroup, f::kind, f::name].iter().any(|k| source.at(*k).str() != reference.at(*k).str())
    {
        spec.invalid_as(&Value::object(), "must match dataSourceRef");
    }
    spec.at(f::volumeAttributesClassName).maybe(format::is_dns1123_subdomain);
}

/// A claim stays, but for its size and its class of attributes once it is bound, and for what binding fills in.
pub fn claim_update(new: At, old: &Value) {
    let (n, o) = (new.at(f::spec), old.at(f::spec));
    let bound = old.at(f::status).at(f::phase).str() == "Bound";
    let free = |key: api::Name| match key {
        f::volumeName => o.at(f::volumeName).str().is_empty(),
        f::storageClassName => o.at(f::storageClassName).is_null() && o.at(f::volumeName).str().is_empty(),
        f::resources | f::volumeAttributesClassName => bound,
        _ => false,
    };
    let changed = |a: &Value, b: &Value| a.members().any(|(k, v)| v != b.at(k) && !k.name().is_some_and(free));
    let mut trial = n.v.clone();
    for key in [f::volumeName, f::storageClassName, f::resources, f::volumeAttributesClassName] {
        if free(key) {
            match o.get(key) {
                Some(v) => trial.set(key, v.clone()),
                None => drop(trial.remove(key)),
            }
        }
    }
    if changed(n.v, o) || changed(o, n.v) {
        let diff = go::diff(&n.pretty(o), &n.pretty(&trial));
        n.forbidden(format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{diff}"
        ));
    }
    let size = |v: &Value| v::quantity(v.at(f::resources).at(f::requests).at("storage"));
    let least = v::quantity(old.at(f::status).at(f::capacity).at("storage"));
    if let (Some(now), Some(was)) = (size(n.v), size(o))
        && now < was
        && least.is_none_or(|l| now <= l)
    {
        n.at(f::resources).at(f::requests).place("storage").forbidden("field can not be less than status.capacity");
    }
    volume_mode(new, n, o);
}

// === classes ===

/// StorageClass.
pub fn class(s: At) {
    let provisioner = s.at(f::provisioner);
    if provisioner.needed() {
        let lower = provisioner.v.str().to_lowercase();
        for m in format::is_qualified_name(&lower) {
            provisioner.invalid_as(&lower, m);
        }
    }
    parameters(s.at(f::parameters), false);
    s.at(f::reclaimPolicy).one_of(&["Delete", "Retain"]);
    s.at(f::volumeBindingMode).one_of(&["Immediate", "WaitForFirstConsumer"]);
    let mut seen: Vec<Value> = Vec::new();
    for term in s.at(f::allowedTopologies).items() {
        let list = term.at(f::matchLabelExpressions);
        topology(list);
        let mut sorted: Vec<&Value> = list.v.items().iter().collect();
        sorted.sort_by_key(|e| e.at(f::key).str());
        let as_map = Value::List(sorted.into_iter().cloned().collect());
        if as_map.is_zero() || seen.contains(&as_map) {
            list.duplicate_as("");
        }
        seen.push(as_map);
    }
}

fn topology(list: At) {
    for e in list.items() {
        let values = e.at(f::values);
        if values.v.is_zero() {
            values.required("");
        }
        values.unique(|v| v, |v| v.duplicate());
        e.at(f::key).format_as(format::is_qualified_name);
    }
    list.unique(|e| e.at(f::key), |e| e.at(f::key).duplicate());
}

/// A class's parameters: not too many, not too large, keys not empty.
fn parameters(at: At, needed: bool) {
    const COUNT_MAX: usize = 512;
    const SIZE_MAX: usize = 256 * 1024;
    let n = at.v.members().count();
    if n > COUNT_MAX {
        return at.too_long(COUNT_MAX);
    }
    if needed && n == 0 {
        return at.required("must contain at least one key/value pair");
    }
    if at.v.members().any(|(k, _)| k.as_str().is_empty()) {
        at.invalid_as("", "field can not be empty.");
    }
    if at.v.members().map(|(k, v)| k.as_str().len() + v.str().len()).sum::<usize>() > SIZE_MAX {
        at.too_long(SIZE_MAX);
    }
}

/// A class means what it meant.
pub fn class_update(new: At, old: &Value) {
    for key in [f::parameters, f::provisioner, f::reclaimPolicy, f::volumeBindingMode] {
        new.at(key).immutable(old.at(key));
    }
}

/// VolumeAttributesClass.
pub fn attributes_class(c: At) {
    volumes::driver_name(c.at(f::driverName));
    parameters(c.at(f::parameters), true);
}

/// A class of attributes means what it meant.
pub fn attributes_class_update(new: At, old: &Value) {
    for key in [f::driverName, f::parameters] {
        if new.get(key) != old.at(key) {
            new.at(key).forbidden(format!("updates to {} are forbidden.", key.as_str()));
        }
    }
}

// === drivers ===

/// CSIDriver.
pub fn driver(d: At) {
    let spec = d.at(f::spec);
    for key in [f::attachRequired, f::podInfoOnMount, f::storageCapacity] {
        if spec.get(key).is_null() {
            spec.at(key).required("");
        }
    }
    let name = d.at(f::metadata).at(f::name);
    if name.v.str().len() > 63 {
        name.too_long(63);
    }
    spec.at(f::fsGroupPolicy).maybe_one_of(&["File", "None", "ReadWriteOnceWithFSType"]);
    spec.at(f::volumeLifecycleModes).items().for_each(|m| m.any_of(&["Ephemeral", "Persistent"]));
    let tokens = spec.at(f::tokenRequests);
    for t in tokens.items() {
        let seconds = t.at(f::expirationSeconds);
        if seconds.v.as_int().is_some_and(|n| n < 600) {
            seconds.invalid("may not specify a duration less than 10 minutes");
        }
        if seconds.v.as_int().is_some_and(|n| n > 1 << 32) {
            seconds.invalid("may not specify a duration larger than 2^32 seconds");
        }
    }
    tokens.unique(|t| t.at(f::audience), |t| t.at(f::audience).duplicate());
}

/// How a driver attaches stays.
pub fn driver_update(new: At, old: &Value) {
    let (n, o) = (new.at(f::spec), old.at(f::spec));
    for key in [f::attachRequired, f::volumeLifecycleModes] {
        n.at(key).immutable(o.at(key));
    }
}

/// CSINode.
pub fn csi_node(n: At) {
    let drivers = n.at(f::spec).at(f::drivers);
    for d in drivers.items() {
        volumes::driver_name(d.at(f::name));
        let id = d.at(f::nodeID);
        if id.needed() && id.v.str().len() > 256 {
            id.invalid("must be 256 characters or less");
        }
        if let Some(allocatable) = d.at(f::allocatable).some() {
            allocatable.at(f::count).non_negative();
        }
        let keys = d.get(f::topologyKeys).items();
        for (i, key) in keys.iter().enumerate() {
            if keys[..i].contains(key) {
                d.duplicate_as(key.str());
            }
            for m in format::is_qualified_name(key.str()) {
                d.invalid_as(key.str(), m);
            }
        }
    }
    drivers.unique(|d| d.at(f::name), |d| d.at(f::name).duplicate());
}

/// What a driver said of a node stays while it is there.
pub fn csi_node_update(new: At, old: &Value) {
    for d in new.at(f::spec).at(f::drivers).items() {
        let same = |o: &&Value| o.at(f::name) == d.get(f::name);
        let Some(was) = old.at(f::spec).at(f::drivers).items().iter().find(same) else { continue };
        if [f::nodeID, f::topologyKeys].iter().any(|k| d.get(*k) != was.at(*k)) {
            d.invalid("field is immutable");
        }
    }
}

/// VolumeAttachment.
pub fn attachment(a: At) {
    let spec = a.at(f::spec);
    volumes::driver_name(spec.at(f::attacher));
    let source = spec.at(f::source);
    let (name, inline) = (source.at(f::persistentVolumeName), source.at(f::inlineVolumeSpec));
    match (name.v.is_null(), inline.v.is_null()) {
        (true, true) => source.required("must specify exactly one of inlineVolumeSpec and persistentVolumeName"),
        (false, false) => source.forbidden("must specify exactly one of inlineVolumeSpec and persistentVolumeName"),
        (false, true) => {
            if name.v.str().is_empty() {
                name.required("must specify non empty persistentVolumeName");
            }
            name.format(format::is_dns1123_subdomain);
        }
        (true, false) => volume_spec(inline, true),
    }
    spec.at(f::nodeName).format_as(format::is_dns1123_subdomain);
}

/// What is attached where stays.
pub fn attachment_update(new: At, old: &Value) {
    new.at(f::spec).immutable(old.at(f::spec));
}

/// CSIStorageCapacity.
pub fn capacity(c: At) {
    if c.at(f::storageClassName).needed() {
        c.at(f::storageClassName).format(format::is_dns1123_subdomain);
    }
    v::label_selector(c.at(f::nodeTopology));
    for key in [f::capacity, f::maximumVolumeSize] {
        v::quantity_not_negative(c.at(key));
    }
}

/// Whose capacity it is stays.
pub fn capacity_update(new: At, old: &Value) {
    for key in [f::nodeTopology, f::storageClassName] {
        new.at(key).immutable(old.at(key));
    }
}
