//! Security contexts of pods and containers.

use super::container::Scope;
use super::volumes;
use api::check::At;
use api::{f, format};

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn id(at: At) {
    at.within(0, i64::from(i32::MAX));
}

/// A pod's context.
pub fn of_pod(spec: At, c: At) {
    for key in [f::fsGroup, f::runAsUser, f::runAsGroup] {
        id(c.at(key));
    }
    c.at(f::supplementalGroups).items().for_each(id);
    if spec.get(f::hostPID).is_true() && spec.get(f::shareProcessNamespace).is_true() {
        spec.at(f::shareProcessNamespace).invalid("ShareProcessNamespace and HostPID cannot both be enabled");
    }
    sysctls(spec, c.at(f::sysctls));
    c.at(f::fsGroupChangePolicy).maybe_one_of(&["Always", "OnRootMismatch"]);
    c.at(f::supplementalGroupsPolicy).maybe_one_of(&["Merge", "Strict"]);
    c.at(f::seLinuxChangePolicy).maybe_one_of(&["Recursive"]);
    common(c);
}

/// What contexts of pods and containers share.
fn common(c: At) {
    seccomp(c.at(f::seccompProfile));
    app_armor(c.at(f::appArmorProfile));
    if let Some(w) = c.at(f::windowsOptions).some() {
        windows(w);
    }
}

/// A container's context.
pub fn of_container(c: At, scope: &Scope) {
    id(c.at(f::runAsUser));
    id(c.at(f::runAsGroup));
    let mount = c.at(f::procMount);
    mount.maybe_one_of(&["Default", "Unmasked"]);
    if mount.v.str() == "Unmasked" && scope.host_users {
        mount.invalid("`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(c.at(f::seccompProfile));
    if c.get(f::allowPrivilegeEscalation).as_bool() == Some(false) {
        if c.get(f::privileged).is_true() {
            c.invalid("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if c.get(f::capabilities).at(f::add).items().iter().any(|x| x.str() == "CAP_SYS_ADMIN") {
            c.invalid("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    app_armor(c.at(f::appArmorProfile));
    if let Some(w) = c.at(f::windowsOptions).some() {
        windows(w);
    }
}

fn seccomp(p: At) {
    let Some(p) = p.some() else { return };
    let (kind, profile) = (p.str(f::type_), p.at(f::localhostProfile));
    if kind == "Localhost" {
        match profile.v.as_str() {
            None | Some("") => profile.required("must be set when seccomp type is Localhost"),
            Some(text) if text.starts_with('/') => profile.invalid("must be a relative path"),
            Some(_) => volumes::no_backsteps(profile),
        }
    } else if !profile.v.is_null() {
        let shown = p.shown();
        profile.invalid_text(shown, "can only be set when seccomp type is Localhost");
    }
    if kind.is_empty() {
        p.at(f::type_).required("type is required when seccompProfile is set");
    } else {
        p.at(f::type_).any_of(PROFILES);
    }
}

fn app_armor(p: At) {
    const NAME_MAX: usize = 4095;
    let Some(p) = p.some() else { return };
    let (kind, profile) = (p.at(f::type_), p.at(f::localhostProfile));
    match kind.v.str() {
        "Localhost" => match profile.v.as_str() {
            None => profile.required("must be set when AppArmor type is Localhost"),
            Some(text) if text.trim() != text => profile.invalid("must not be padded with whitespace"),
            Some("") => profile.required("must be set when AppArmor type is Localhost"),
            Some(text) if text.len() > NAME_MAX => profile.too_long(NAME_MAX),
            Some(_) => {}
        },
        "RuntimeDefault" | "Unconfined" => {
            if !profile.v.is_null() {
                profile.invalid("can only be set when AppArmor type is Localhost");
            }
        }
        "" => kind.required("type is required when appArmorProfile is set"),
        _ => kind.unsupported(PROFILES),
    }
}

fn windows(w: At) {
    if let Some(name) = w.at(f::gmsaCredentialSpecName).some() {
        name.format(format::is_dns1123_subdomain);
    }
    if let Some(user) = w.at(f::runAsUserName).some()
        && user.v.str().is_empty()
    {
        user.invalid("runAsUserName cannot be an empty string");
    }
}

/// Processes of a Windows host come with its network.
pub fn host_process(spec: At) {
    let wants = |c: &api::Value| c.at(f::securityContext).at(f::windowsOptions).at(f::hostProcess).is_true();
    let any = wants(spec.v) || super::super::pod::containers(spec.v).any(|(_, c)| wants(c));
    if any && !spec.get(f::hostNetwork).is_true() {
        spec.at(f::hostNetwork)
            .invalid_as(false, "hostNetwork must be true if pod contains any hostProcess containers");
    }
}

fn sysctl_ok(name: &str) -> bool {
    let part = |p: &str| {
        let b = p.as_bytes();
        let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        !b.is_empty() && edge(b[0]) && edge(b[b.len() - 1]) && b.iter().all(|&c| edge(c) || c == b'-' || c == b'_')
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}

fn sysctls(spec: At, list: At) {
    const IPC: &[&str] = &["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
    for (i, s) in list.items().enumerate() {
        let name = s.at(f::name);
        let text = name.v.str();
        if text.is_empty() {
            name.required("");
        } else if !sysctl_ok(text) {
            name.invalid(r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
        } else if list.v.items()[..i].iter().any(|o| o.at(f::name) == name.v) {
            name.duplicate();
        }
        let dotted = text.replace('/', ".");
        if spec.get(f::hostNetwork).is_true() && dotted.starts_with("net.") {
            name.invalid("may not be specified when 'hostNetwork' is true");
        }
        if spec.get(f::hostIPC).is_true() && IPC.iter().any(|p| dotted.starts_with(p)) {
            name.invalid("may not be specified when 'hostIPC' is true");
        }
    }
}
