//! Kinds that are answers, not stored: access and token reviews, token requests.

use super::{Context, Outcome, Registry, User};
use crate::core::rbac::{Attributes, Rule};
use api::{Status, Value, f, value::object};
use std::sync::Arc;

fn strings(list: &[String]) -> Value {
    list.iter().map(Value::from).collect::<Vec<_>>().into()
}

/// The user that an access review asks about.
fn reviewed(kind: &str, namespace: &str, spec: &Value) -> Result<User, Status> {
    let user = User {
        name: spec.at(f::user).str().into(),
        uid: spec.at(f::uid).str().into(),
        groups: spec.at(f::groups).items().iter().map(|g| g.str().to_string()).collect(),
        extra: Vec::new(),
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let mut errs = api::errors::FieldErrors::new();
        let root = api::errors::Path::Root;
        let spec = root.child("spec");
        errs.invalid(&spec.child("user"), "", "at least one of user or group must be specified");
        return Err(Status::invalid("authorization.k8s.io", kind, "", &errs));
    }
    if kind == "LocalSubjectAccessReview" && spec.at(f::resourceAttributes).at(f::namespace).str() != namespace {
        let mut errs = api::errors::FieldErrors::new();
        let root = api::errors::Path::Root;
        let at = root.child("spec");
        let attributes = at.child("resourceAttributes");
        errs.invalid(
            &attributes.child("namespace"),
            spec.at(f::resourceAttributes).at(f::namespace),
            "must match metadata.namespace",
        );
        return Err(Status::invalid("authorization.k8s.io", kind, "", &errs));
    }
    Ok(user)
}

impl Registry {
    /// Answers a create of a kind that is not stored.
    pub async fn review(
        self: &Arc<Self>,
        cx: &mut Context,
        group: &str,
        kind: &str,
        namespace: &str,
        mut v: Value,
    ) -> Result<Outcome, Status> {
        match (group, kind) {
            ("authorization.k8s.io", "SelfSubjectAccessReview") => {
                let user = cx.user.clone();
                let status = self.access(&user, v.at(f::spec));
                v.set(f::status, status);
            }
            ("authorization.k8s.io", "SubjectAccessReview" | "LocalSubjectAccessReview") => {
                let spec = v.at(f::spec);
                let user = reviewed(kind, namespace, spec)?;
                let status = self.access(&user, spec);
                v.set(f::status, status);
            }
            ("authorization.k8s.io", "SelfSubjectRulesReview") => {
                let ns = v.at(f::spec).at(f::namespace).str().to_string();
                if ns.is_empty() {
                    return Err(Status::bad_request("no namespace on request"));
                }
                let status = self.rules_status(&cx.user, &ns);
                v.set(f::status, status);
            }
            ("authentication.k8s.io", "TokenReview") => {
                let token = v.at(f::spec).at(f::token).str().to_string();
                if token.is_empty() {
                    return Err(Status::bad_request("token is required for TokenReview in authentication"));
                }
                v.set(f::status, self.token_status(&token));
            }
            ("authentication.k8s.io", "SelfSubjectReview") => {
                let user = user_value(&cx.user);
                v.set(f::status, object([("userInfo", user)]));
            }
            _ => return Err(Status::internal(format!("{kind} cannot be created"))),
        }
        let ty = api::schema::Type::of_kind(group, "v1", kind)
            .ok_or_else(|| Status::internal(format!("{kind} has no type")))?;
        let now = self.now();
        v.entry(f::metadata).set(f::creationTimestamp, now);
        if let Some(r) = kinds::resources().iter().find(|r| r.group == group && r.kind == kind) {
            let status = v.remove(f::status);
            self.own(cx, r, &Value::Null, &mut v, true, super::write::Part::Main);
            if let Some(s) = status {
                v.set(f::status, s);
            }
        }
        api::canon::canonicalize(&mut v, ty);
        let entries = v.make_map().entries_mut();
        entries.splice(0..0, [(f::kind.into(), kind.into()), (f::apiVersion.into(), format!("{group}/v1").into())]);
        Ok(Outcome::Made(v, 201))
    }

    fn access(&self, user: &User, spec: &Value) -> Value {
        let a = spec.at(f::resourceAttributes);
        let attributes = if a.is_null() {
            let n = spec.at(f::nonResourceAttributes);
            Attributes { verb: n.at(f::verb).str(), path: n.at(f::path).str(), ..Attributes::default() }
        } else {
            Attributes {
                verb: a.at(f::verb).str(),
                namespace: a.at(f::namespace).str(),
                group: a.at(f::group).str(),
                resource: a.at(f::resource).str(),
                subresource: a.at(f::subresource).str(),
                name: a.at(f::name).str(),
                path: "",
                is_resource: true,
            }
        };
        let (allowed, reason) = match self.authorize(user, &attributes) {
            Ok(reason) => (true, reason),
            Err(reason) => (false, reason),
        };
        let mut status = object([("allowed", allowed.into())]);
        if !reason.is_empty() {
            status.set(f::reason, reason);
        }
        status
    }

    fn rules_status(&self, user: &User, namespace: &str) -> Value {
        let mut rules = self.policy().rules_for(user, namespace);
        if user.in_group("system:masters") {
            rules.push(Rule {
                verbs: vec!["*".into()],
                groups: vec!["*".into()],
                resources: vec!["*".into()],
                ..Rule::default()
            });
            rules.push(Rule { verbs: vec!["*".into()], paths: vec!["*".into()], ..Rule::default() });
        }
        let (mut resource, mut other) = (Vec::new(), Vec::new());
        for r in &rules {
            if !r.resources.is_empty() {
                let mut v = object([
                    ("verbs", strings(&r.verbs)),
                    ("apiGroups", strings(&r.groups)),
                    ("resources", strings(&r.resources)),
                ]);
                if !r.names.is_empty() {
                    v.set(f::resourceNames, strings(&r.names));
                }
                resource.push(v);
            }
            if !r.paths.is_empty() {
                other.push(object([("verbs", strings(&r.verbs)), ("nonResourceURLs", strings(&r.paths))]));
            }
        }
        object([("resourceRules", resource.into()), ("nonResourceRules", other.into()), ("incomplete", false.into())])
    }

    fn token_status(&self, token: &str) -> Value {
        match self.service_account(token) {
            Some(user) => object([
                ("authenticated", true.into()),
                ("user", user_value(&user)),
                ("audiences", strings(std::slice::from_ref(&self.settings.issuer))),
            ]),
            None => object([("user", Value::object()), ("error", "invalid bearer token, token lookup failed".into())]),
        }
    }

    /// The service account that a token is for, if it is valid: signed by us, in time, and what it is bound to exists.
    pub fn service_account(&self, token: &str) -> Option<User> {
        let claims = self.signer.verify(token)?;
        let now = self.env.wall().unix_seconds();
        if claims.at("iss").str() != self.settings.issuer
            || claims.at("exp").int() <= now
            || claims.at("nbf").int() > now + 60
        {
            return None;
        }
        let k = claims.at("kubernetes.io");
        let (namespace, account) = (k.at("namespace").str(), k.at("serviceaccount"));
        let (name, uid) = (account.at("name").str(), account.at("uid").str());
        let found = self.find("", "serviceaccounts", namespace, name)?;
        if found.at(f::metadata).at(f::uid).str() != uid {
            return None;
        }
        let mut extra = Vec::new();
        for (claim, plural, label) in [("pod", "pods", "pod"), ("secret", "secrets", "secret")] {
            let bound = k.at(claim);
            if bound.is_null() {
                continue;
            }
            let object = self.find("", plural, namespace, bound.at("name").str())?;
            if object.at(f::metadata).at(f::uid).str() != bound.at("uid").str() {
                return None;
            }
            extra
                .push((format!("authentication.kubernetes.io/{label}-name"), vec![bound.at("name").str().to_string()]));
            extra.push((format!("authentication.kubernetes.io/{label}-uid"), vec![bound.at("uid").str().to_string()]));
        }
        let id = claims.at("jti").str();
        if !id.is_empty() {
            extra.insert(0, ("authentication.kubernetes.io/credential-id".into(), vec![format!("JTI={id}")]));
        }
        let groups = vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ];
        Some(User { name: format!("system:serviceaccount:{namespace}:{name}"), uid: uid.into(), groups, extra })
    }

    /// The claim of what a token is bound to; it must exist.
    fn bound_to(&self, namespace: &str, name: &str, bound: &Value) -> Result<(&'static str, Value), Status> {
        let (claim, plural) = match bound.at(f::kind).str() {
            "Pod" => ("pod", "pods"),
            "Secret" => ("secret", "secrets"),
            other => {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {name:?} to {other} {:?}",
                    bound.at(f::name).str()
                )));
            }
        };
        let target = bound.at(f::name).str();
        let object_found =
            self.find("", plural, namespace, target).ok_or_else(|| Status::not_found("", plural, target))?;
        let uid = object_found.at(f::metadata).at(f::uid).str();
        if !bound.at(f::uid).str().is_empty() && bound.at(f::uid).str() != uid {
            return Err(Status::conflict(
                "",
                plural,
                target,
                &format!(
                    "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
                    bound.at(f::uid).str()
                ),
            ));
        }
        Ok((claim, object([("name", target.into()), ("uid", uid.into())])))
    }

    /// Issues a token.
    pub fn token_request(&self, namespace: &str, name: &str, mut v: Value) -> Result<Outcome, Status> {
        let account = self
            .find("", "serviceaccounts", namespace, name)
            .ok_or_else(|| Status::not_found("", "serviceaccounts", name))?;
        let now = self.env.wall().unix_seconds();
        let spec = v.entry(f::spec);
        spec.set_default(f::expirationSeconds, 3600);
        if spec.at(f::audiences).is_zero() {
            spec.set(f::audiences, vec![self.settings.issuer.as_str().into()]);
        }
        let lifetime = spec.at(f::expirationSeconds).int();
        if lifetime < 600 {
            let mut errs = api::errors::FieldErrors::new();
            let root = api::errors::Path::Root;
            let at = root.child("spec");
            errs.invalid(&at.child("expirationSeconds"), lifetime, "may not specify a duration less than 10 minutes");
            return Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", &errs));
        }
        let spec = v.at(f::spec);
        let mut k = object([
            ("namespace", namespace.into()),
            ("serviceaccount", object([("name", name.into()), ("uid", account.at(f::metadata).at(f::uid).clone())])),
        ]);
        let bound = spec.at(f::boundObjectRef);
        if !bound.is_null() {
            let (claim, to) = self.bound_to(namespace, name, bound)?;
            k.set(claim, to);
        }
        let expires = now + lifetime;
        let claims = object([
            ("aud", spec.at(f::audiences).clone()),
            ("exp", expires.into()),
            ("iat", now.into()),
            ("iss", self.settings.issuer.as_str().into()),
            ("jti", self.uuid().into()),
            ("kubernetes.io", k),
            ("nbf", now.into()),
            ("sub", format!("system:serviceaccount:{namespace}:{name}").into()),
        ]);
        let token = self.signer.sign(&claims).map_err(Status::internal)?;
        v.set(
            f::status,
            object([("token", token.into()), ("expirationTimestamp", api::time::format_seconds(expires).into())]),
        );
        let created = self.now();
        let m = v.entry(f::metadata);
        m.set(f::name, name);
        m.set(f::namespace, namespace);
        m.set(f::creationTimestamp, created);
        if let Some(ty) = api::schema::Type::of_kind("authentication.k8s.io", "v1", "TokenRequest") {
            api::canon::canonicalize(&mut v, ty);
        }
        v.make_map().entries_mut().splice(
            0..0,
            [(f::kind.into(), "TokenRequest".into()), (f::apiVersion.into(), "authentication.k8s.io/v1".into())],
        );
        Ok(Outcome::Made(v, 201))
    }
}

fn user_value(u: &User) -> Value {
    let mut v = object([("username", u.name.as_str().into())]);
    if !u.uid.is_empty() {
        v.set(f::uid, u.uid.as_str());
    }
    if !u.groups.is_empty() {
        v.set(f::groups, strings(&u.groups));
    }
    for (k, values) in &u.extra {
        v.entry(f::extra).set(k.as_str(), strings(values));
    }
    v
}
