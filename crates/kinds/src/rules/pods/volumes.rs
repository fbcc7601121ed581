//! Volumes and their sources.

use super::super::{storage, validation as v};
use api::check::At;
use api::{f, format};

/// A pod's volumes; `pod` is its name, where it is known.
pub fn volumes(list: At, pod: &str) {
    for volume in list.items() {
        let given: Vec<api::Name> = volume
            .v
            .members()
            .filter(|(k, s)| k.as_str() != "name" && !s.is_null())
            .filter_map(|(k, _)| k.name())
            .collect();
        for extra in given.iter().skip(1) {
            volume.at(*extra).forbidden("may not specify more than 1 volume type");
        }
        match given.first() {
            Some(name) => source(*name, volume.at(*name), volume, pod),
            None => volume.required("must specify a volume type"),
        }
        volume.at(f::name).named(format::is_dns1123_label);
    }
    list.unique(
        |v| v.at(f::name),
        |v| {
            if !v.str(f::name).is_empty() {
                v.at(f::name).duplicate();
            }
        },
    );
}

fn source(name: api::Name, s: At, volume: At, pod: &str) {
    match name {
        f::emptyDir => {
            if v::quantity(s.get(f::sizeLimit)).is_some_and(|q| q.is_negative()) {
                s.at(f::sizeLimit).forbidden("SizeLimit field must be a valid resource quantity");
            }
        }
        f::secret => {
            s.at(f::secretName).needed();
            mode(s.at(f::defaultMode));
            items(s.at(f::items));
        }
        f::configMap => {
            s.at(f::name).needed();
            mode(s.at(f::defaultMode));
            items(s.at(f::items));
        }
        f::persistentVolumeClaim => drop(s.at(f::claimName).needed()),
        f::downwardAPI => {
            mode(s.at(f::defaultMode));
            s.get(f::items).items().iter().for_each(|item| downward(s.with(item)));
        }
        f::projected => projected(s),
        f::csi => {
            driver_name(s.at(f::driver));
            if let Some(r) = s.at(f::nodePublishSecretRef).some() {
                r.at(f::name).needed();
            }
        }
        f::ephemeral => ephemeral(s, volume, pod),
        f::image => {
            s.at(f::reference).needed();
            s.at(f::pullPolicy).maybe_one_of(&["Always", "IfNotPresent", "Never"]);
        }
        other => network_source(other, s),
    }
}

/// Sources that pods and persistent volumes share.
pub fn network_source(name: api::Name, s: At) {
    match name {
        f::hostPath => {
            if s.at(f::path).needed() {
                no_backsteps(s.at(f::path));
            }
            s.at(f::type_).maybe_one_of(&[
                "",
                "BlockDevice",
                "CharDevice",
                "Directory",
                "DirectoryOrCreate",
                "File",
                "FileOrCreate",
                "Socket",
            ]);
        }
        f::nfs => {
            s.at(f::server).needed();
            s.at(f::path).needed();
            if !s.str(f::path).starts_with('/') {
                s.at(f::path).invalid_as(s.str(f::path), "must be an absolute path");
            }
        }
        f::iscsi => iscsi(s),
        f::fc => fc(s),
        f::gitRepo => {
            s.at(f::repository).needed();
            let directory = s.at(f::directory);
            if directory.v.str().starts_with('/') {
                directory.invalid("must be a relative path");
            } else {
                no_backsteps(directory);
            }
        }
        f::flexVolume => drop(s.at(f::driver).needed()),
        f::azureDisk => {
            s.at(f::diskName).needed();
            s.at(f::diskURI).needed();
        }
        _ => {
            for key in needed_by(name) {
                s.at(*key).needed();
            }
        }
    }
}

/// What the sources of retired drivers cannot be without.
fn needed_by(source: api::Name) -> &'static [api::Name] {
    match source {
        f::gcePersistentDisk => &[f::pdName],
        f::awsElasticBlockStore | f::cinder | f::portworxVolume => &[f::volumeID],
        f::glusterfs => &[f::endpoints, f::path],
        f::rbd => &[f::monitors, f::image],
        f::cephfs => &[f::monitors],
        f::azureFile => &[f::secretName, f::shareName],
        f::vsphereVolume => &[f::volumePath],
        f::photonPersistentDisk => &[f::pdID],
        f::scaleIO => &[f::gateway, f::system, f::volumeName],
        f::quobyte => &[f::registry, f::volume],
        _ => &[],
    }
}

fn iscsi(s: At) {
    s.at(f::targetPortal).needed();
    let iqn = s.at(f::iqn);
    if iqn.needed() && !["iqn", "eui", "naa"].iter().any(|p| iqn.v.str().starts_with(p)) {
        iqn.invalid("must be valid format starting with iqn, eui, or naa");
    }
    s.at(f::lun).within(0, 255);
    if (s.get(f::chapAuthDiscovery).is_true() || s.get(f::chapAuthSession).is_true()) && !s.has(f::secretRef) {
        s.at(f::secretRef).required("");
    }
}

fn fc(s: At) {
    let (wwns, wwids) = (s.at(f::targetWWNs), s.at(f::wwids));
    match (wwns.v.is_zero(), wwids.v.is_zero()) {
        (true, true) => wwns.required("must specify either targetWWNs or wwids, but not both"),
        (false, false) => wwns.invalid("targetWWNs and wwids can not be specified simultaneously"),
        (false, true) => match s.at(f::lun).some() {
            Some(lun) => lun.within(0, 255),
            None => s.at(f::lun).required("lun is required if targetWWNs is specified"),
        },
        (true, false) => {}
    }
}

/// The name of a CSI driver.
pub fn driver_name(at: At) {
    if !at.needed() {
        return;
    }
    if at.v.str().len() > 63 {
        at.too_long(63);
    }
    for m in format::is_dns1123_subdomain(&at.v.str().to_lowercase()) {
        at.invalid(m);
    }
}

fn mode(at: At) {
    if at.v.as_int().is_some_and(|n| !(0..=0o777).contains(&n)) {
        at.invalid("must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// A path that leads downwards only.
pub fn no_backsteps(at: At) {
    if at.v.str().split(['/', '\\']).any(|p| p == "..") {
        at.invalid("must not contain '..'");
    }
}

/// The same of a value that stands elsewhere.
pub fn no_backsteps_as(at: At) {
    if at.v.str().split(['/', '\\']).any(|p| p == "..") {
        at.invalid_as(at.v.str(), "must not contain '..'");
    }
}

fn local_path(at: At) {
    if !at.needed() {
        return;
    }
    if at.v.str().starts_with('/') {
        at.invalid("must be a relative path");
    } else {
        no_backsteps(at);
        if at.v.str().starts_with("..") && !at.v.str().starts_with("../") {
            at.invalid("must not start with '..'");
        }
    }
}

fn items(list: At) {
    for item in list.items() {
        if item.str(f::key).is_empty() {
            item.at(f::key).required("");
        }
        local_path(item.at(f::path));
        mode(item.at(f::mode));
    }
}

/// Fields of a pod that a volume may show.
const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// A file of the downward API; upstream reports it without its index.
fn downward(item: At) {
    local_path(item.at(f::path));
    match (item.at(f::fieldRef).some(), item.at(f::resourceFieldRef).some()) {
        (Some(_), Some(_)) => {
            item.invalid_as("resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
        }
        (Some(r), None) => field_ref(r, VOLUME_FIELDS),
        (None, Some(r)) => resource_ref(r, true),
        (None, None) => item.required("one of fieldRef and resourceFieldRef is required"),
    }
    mode(item.at(f::mode));
}

/// A reference to one of the pod's own fields.
pub fn field_ref(r: At, allowed: &[&str]) {
    const KNOWN: &[&str] = &[
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let (version, path) = (r.at(f::apiVersion), r.at(f::fieldPath));
    if version.v.str().is_empty() {
        return version.required("");
    }
    let text = path.v.str();
    if text.is_empty() {
        return path.required("");
    }
    if version.v.str() != "v1" {
        return path.invalid(format!("error converting fieldPath: unsupported pod version: {}", version.v.str()));
    }
    let subscript = |prefix: &str| text.strip_prefix(prefix).and_then(|s| s.strip_suffix("']"));
    if let Some(key) = subscript("metadata.annotations['") {
        for m in format::is_qualified_name(&key.to_lowercase()) {
            r.invalid_as(key, m);
        }
    } else if let Some(key) = subscript("metadata.labels['") {
        for m in format::is_qualified_name(key) {
            r.invalid_as(key, m);
        }
    } else if !KNOWN.contains(&text) {
        path.invalid(format!("error converting fieldPath: field label not supported: {text}"));
    } else if !allowed.contains(&text) {
        path.unsupported(allowed);
    }
}

/// A reference to a container's requests or limits.
pub fn resource_ref(r: At, in_volume: bool) {
    const KNOWN: &[&str] = &[
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    const SIZES: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let (container, resource, divisor) = (r.at(f::containerName), r.at(f::resource), r.at(f::divisor));
    if in_volume && container.v.str().is_empty() {
        return container.required("");
    }
    let name = resource.v.str();
    if name.is_empty() {
        return resource.required("");
    }
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|p| name.starts_with(p));
    if !KNOWN.contains(&name) && !huge {
        return resource.unsupported(KNOWN);
    }
    let by = divisor.v.str();
    if by.is_empty() || by == "0" {
        return;
    }
    let size = SIZES.split(", ").any(|s| s == by);
    match name.split_once('.').map_or("", |(_, n)| n) {
        "cpu" if !matches!(by, "1" | "1m") => {
            divisor.invalid_as(name, "only divisor's values 1m and 1 are supported with the cpu resource")
        }
        "memory" if !size => {
            divisor.invalid_as(name, format!("only divisor's values {SIZES} are supported with the memory resource"))
        }
        "ephemeral-storage" if !size => divisor.invalid_as(
            name,
            format!("only divisor's values {SIZES} are supported with the local ephemeral storage resource"),
        ),
        _ => {}
    }
}

fn projected(s: At) {
    mode(s.at(f::defaultMode));
    for source in s.at(f::sources).items() {
        let given: Vec<api::Name> =
            source.v.members().filter(|(_, v)| !v.is_null()).filter_map(|(k, _)| k.name()).collect();
        if given.len() > 1 {
            source.forbidden("may not specify more than 1 volume type per source");
        }
        if let Some(name) = given.first() {
            projected_source(*name, source.at(*name), s);
        }
    }
}

fn projected_source(name: api::Name, source: At, volume: At) {
    match name {
        f::secret | f::configMap => {
            source.at(f::name).needed();
            items(source.at(f::items));
        }
        f::downwardAPI => source.get(f::items).items().iter().for_each(|i| downward(source.with(i))),
        f::serviceAccountToken => {
            let seconds = source.at(f::expirationSeconds);
            match seconds.v.as_int() {
                Some(n) if n < 600 => seconds.invalid("may not specify a duration less than 10 minutes"),
                Some(n) if n > 1 << 32 => seconds.invalid("may not specify a duration larger than 2^32 seconds"),
                _ => {}
            }
            // Upstream reports the path as if it were the volume's.
            local_path(volume.at(f::path).with(source.get(f::path)));
        }
        f::clusterTrustBundle => {
            local_path(source.at(f::path));
            if source.has(f::name) == source.has(f::signerName) {
                source.at(f::name).required("either name or signerName must be specified");
            }
        }
        _ => {}
    }
}

fn ephemeral(s: At, volume: At, pod: &str) {
    const NAME_MAX: usize = 253;
    let Some(template) = s.at(f::volumeClaimTemplate).some() else {
        return s.at(f::volumeClaimTemplate).required("");
    };
    let m = template.at(f::metadata);
    for (k, _) in m.v.members().filter(|(_, v)| !v.is_zero()) {
        if let Some(name) = k.name().filter(|n| !matches!(*n, f::labels | f::annotations)) {
            m.at(name).forbidden("cannot be set");
        }
    }
    v::labels(m.at(f::labels));
    v::annotations(m.at(f::annotations));
    storage::claim_spec(template.at(f::spec));
    let claim = format!("{pod}-{}", volume.str(f::name));
    if !pod.is_empty() && claim.len() > NAME_MAX {
        volume.at(f::name).invalid(format!("PVC name {claim:?}: must be no more than {NAME_MAX} characters"));
    }
}
