//! Who a container runs as: numbers, or names looked up in the image's own `/etc/passwd` and `/etc/group`.
//!
//! Rules (CRI and the OCI image configuration): `user[:group]` with names or numbers; a user that is only a number and not
//! in the file has group 0; supplementary groups are those of the pod plus, unless the policy is strict, those that the
//! image's group file gives to the user.

use serde::{Deserialize, Serialize};

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct UserSpec {
    /// `user[:group]`, names or numbers; empty means root.
    pub user: String,
    /// Overrides the group.
    pub gid: Option<u32>,
    /// Groups of the pod.
    pub supplemental: Vec<u32>,
    /// Leave out the groups that the image names.
    pub strict: bool,
}

/// What it means in this image.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

struct Entry {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

fn entries(passwd: &str) -> impl Iterator<Item = Entry> + '_ {
    passwd.lines().filter_map(|line| {
        let mut f = line.split(':');
        let (name, _, uid, gid) = (f.next()?, f.next()?, f.next()?, f.next()?);
        let _comment = f.next();
        let home = f.next().unwrap_or("/");
        Some(Entry { name: name.into(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: home.into() })
    })
}

fn groups(group: &str) -> impl Iterator<Item = (&str, u32, Vec<&str>)> {
    group.lines().filter_map(|line| {
        let mut f = line.split(':');
        let (name, _, gid) = (f.next()?, f.next()?, f.next()?);
        let members = f.next().unwrap_or("").split(',').filter(|m| !m.is_empty()).collect();
        Some((name, gid.parse().ok()?, members))
    })
}

/// Looks a user up. `passwd` and `group` are the files' texts, empty if there are none.
pub fn resolve(spec: &UserSpec, passwd: &str, group: &str) -> Result<User, String> {
    let (user, group_name) = match spec.user.split_once(':') {
        Some((u, g)) => (u, Some(g)),
        None => (spec.user.as_str(), None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    let entry = entries(passwd).find(|e| e.name == user).or_else(|| entries(passwd).find(|e| Some(e.uid) == number));
    let uid = match (&entry, number) {
        (Some(e), _) => e.uid,
        (None, Some(n)) => n,
        (None, None) => return Err(format!("unable to find user {user}: no matching entries in passwd file")),
    };
    let gid = match (spec.gid, group_name.filter(|g| !g.is_empty())) {
        (Some(gid), _) => gid,
        (None, Some(name)) => match groups(group).find(|g| g.0 == name) {
            Some((_, gid, _)) => gid,
            None => {
                name.parse().map_err(|_| format!("unable to find group {name}: no matching entries in group file"))?
            }
        },
        (None, None) => entry.as_ref().map_or(0, |e| e.gid),
    };
    let mut all = vec![gid];
    all.extend(&spec.supplemental);
    if let (false, Some(e)) = (spec.strict, &entry) {
        all.extend(groups(group).filter(|g| g.2.contains(&e.name.as_str())).map(|g| g.1));
    }
    let mut seen = Vec::new();
    for g in all {
        if !seen.contains(&g) {
            seen.push(g);
        }
    }
    let home = entry.map_or_else(|| "/".to_string(), |e| e.home);
    Ok(User { uid, gid, groups: seen, home })
}

#[cfg(test)]
mod tests;
