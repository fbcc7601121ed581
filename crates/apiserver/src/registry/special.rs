//! Kinds that are answers, not stored: access and token reviews, token requests.

use super::{Context, Outcome, Registry, User};
use crate::core::rbac::{Attributes, Rule};
use api::check::{At, check};
use api::{Status, Value, f, value::object};
use kinds::Resource;
use std::sync::Arc;

fn strings(list: &[String]) -> Value {
    list.iter().map(Value::from).collect::<Vec<_>>().into()
}

/// The user that an access review asks about.
fn reviewed(kind: &str, namespace: &str, review: &Value) -> Result<User, Status> {
    let errs = check(review, None, |r| review_form(kind, namespace, r));
    if !errs.is_empty() {
        // Upstream names the group, but no kind.
        return Err(Status::invalid("authorization.k8s.io", "", "", &errs));
    }
    let spec = review.at(f::spec);
    Ok(User {
        name: spec.at(f::user).str().into(),
        uid: spec.at(f::uid).str().into(),
        groups: spec.at(f::groups).items().iter().map(|g| g.str().to_string()).collect(),
        extra: Vec::new(),
    })
}

fn review_form(kind: &str, namespace: &str, review: At) {
    let spec = review.at(f::spec);
    let (resource, other) = (spec.at(f::resourceAttributes), spec.at(f::nonResourceAttributes));
    match (resource.v.is_null(), other.v.is_null()) {
        (false, false) => other.invalid("cannot be specified in combination with resourceAttributes"),
        (true, true) => resource
            .invalid_as(&Value::Null, "exactly one of nonResourceAttributes or resourceAttributes must be specified"),
        _ => {}
    }
    if kind != "SelfSubjectAccessReview" && spec.str(f::user).is_empty() && spec.get(f::groups).is_zero() {
        spec.at(f::user).invalid_as("", "at least one of user or group must be specified");
    }
    for (key, label) in [(f::fieldSelector, false), (f::labelSelector, true)] {
        let selector = resource.at(key);
        let raw = selector.at(f::rawSelector);
        if !raw.v.str().is_empty() && !selector.get(f::requirements).is_zero() {
            raw.invalid("may not specified at the same time as requirements");
        }
        for r in selector.at(f::requirements).items().filter(|_| label) {
            r.at(f::key).format_as(api::format::is_qualified_name);
        }
    }
    let m = review.get(f::metadata);
    let local = kind == "LocalSubjectAccessReview";
    let mut rest = m.clone();
    [f::managedFields, f::creationTimestamp, f::namespace].iter().for_each(|k| drop(rest.remove(*k)));
    if !rest.is_zero() {
        review.at(f::metadata).with(m).invalid("must be empty");
    }
    if local && spec.get(f::resourceAttributes).at(f::namespace).str() != namespace {
        resource.at(f::namespace).invalid_as(resource.get(f::namespace).str(), "must match metadata.namespace");
    }
}

impl Registry {
    /// Answers a create of a kind that is not stored. `known` are the tokens that are not service accounts'.
    pub async fn review(
        self: &Arc<Self>,
        cx: &mut Context,
        r: &'static Resource,
        namespace: &str,
        mut v: Value,
        known: &[(String, User)],
    ) -> Result<Outcome, Status> {
        let (group, kind) = (r.group.as_str(), r.kind.as_str());
        match (group, kind) {
            ("authorization.k8s.io", "SelfSubjectAccessReview") => {
                let user = cx.user.clone();
                let status = self.access(&user, v.at(f::spec));
                v.set(f::status, status);
            }
            ("authorization.k8s.io", "SubjectAccessReview" | "LocalSubjectAccessReview") => {
                let spec = v.at(f::spec);
                let user = reviewed(kind, namespace, &v)?;
                let status = self.access(&user, spec);
                v.set(f::status, status);
            }
            ("authorization.k8s.io", "SelfSubjectRulesReview") => {
                let ns = v.at(f::spec).at(f::namespace).str().to_string();
                if ns.is_empty() {
                    return Err(Status::bad_request("no namespace on request"));
                }
                let status = self.rules_status(&cx.user, &ns);
                v.set(f::spec, Value::object());
                v.set(f::status, status);
            }
            ("authentication.k8s.io", "TokenReview") => {
                let token = v.at(f::spec).at(f::token).str().to_string();
                if token.is_empty() {
                    return Err(Status::bad_request("token is required for TokenReview in authentication"));
                }
                let asked: Vec<String> =
                    v.at(f::spec).at(f::audiences).items().iter().map(|a| a.str().to_string()).collect();
                let status = self.token_status(&token, known, &asked);
                v.set(f::status, status);
            }
            ("authentication.k8s.io", "SelfSubjectReview") => {
                let user = user_value(&cx.user);
                v.set(f::status, object([("userInfo", user)]));
                let now = self.now();
                v.entry(f::metadata).set(f::creationTimestamp, now);
            }
            _ => return Err(Status::internal(format!("{kind} cannot be created"))),
        }
        if kind != "LocalSubjectAccessReview" {
            v.entry(f::metadata).remove(f::namespace);
        }
        let status = v.remove(f::status);
        if kind != "SelfSubjectRulesReview" {
            self.own(cx, r, &Value::Null, &mut v, true, super::write::Part::Main);
        }
        if let Some(s) = status {
            v.set(f::status, s);
        }
        api::canon::canonicalize(&mut v, r.ty);
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
                is_resource: true,
                ..Attributes::default()
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

    /// Whose a token is, for some of the audiences asked for (this server itself, if none).
    fn token_status(&self, token: &str, known: &[(String, User)], asked: &[String]) -> Value {
        let own = std::slice::from_ref(&self.settings.issuer);
        let asked = if asked.is_empty() { own } else { asked };
        let quoted = |list: &[String]| list.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(" ");
        let refused = |error: String| object([("user", Value::object()), ("error", error.into())]);
        let found = match known.iter().find(|(t, _)| t == token) {
            Some((_, user)) => Some((crate::http::with_authenticated(user.clone()), own.to_vec())),
            None => self.token_of(token),
        };
        let Some((user, audiences)) = found else { return refused("invalid bearer token".into()) };
        let common: Vec<String> = asked.iter().filter(|a| audiences.contains(a)).cloned().collect();
        if common.is_empty() {
            if known.iter().any(|(t, _)| t == token) {
                return refused("invalid bearer token".into());
            }
            return refused(format!(
                "[invalid bearer token, token audiences [{}] is invalid for the target audiences [{}]]",
                quoted(&audiences),
                quoted(asked)
            ));
        }
        object([("authenticated", true.into()), ("user", user_value(&user)), ("audiences", strings(&common))])
    }

    /// The service account that a token is for, if it is valid and made for this server.
    pub fn service_account(&self, token: &str) -> Option<User> {
        let (user, audiences) = self.token_of(token)?;
        audiences.contains(&self.settings.issuer).then_some(user)
    }

    /// Whose a token is, if it is valid: signed by us, in time, and what it is bound to exists; and for whom it was made.
    fn token_of(&self, token: &str) -> Option<(User, Vec<String>)> {
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
        for (claim, plural, label, place) in [
            ("pod", "pods", "pod", namespace),
            ("secret", "secrets", "secret", namespace),
            ("node", "nodes", "node", ""),
        ] {
            let bound = k.at(claim);
            if bound.is_null() {
                continue;
            }
            let object = self.find("", plural, place, bound.at("name").str())?;
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
        let user = User { name: format!("system:serviceaccount:{namespace}:{name}"), uid: uid.into(), groups, extra };
        let audiences = match claims.at("aud") {
            Value::Str(one) => vec![one.to_string()],
            list => list.items().iter().map(|a| a.str().to_string()).collect(),
        };
        Some((user, audiences))
    }

    /// The claim of what a token is bound to; it must exist.
    fn bound_to(&self, namespace: &str, bound: &Value) -> Result<(&'static str, Value), Status> {
        let (version, kind) = (bound.at(f::apiVersion).str(), bound.at(f::kind).str());
        let (claim, plural, place) = match (version, kind) {
            ("v1", "Pod") => ("pod", "pods", namespace),
            ("v1", "Secret") => ("secret", "secrets", namespace),
            ("v1", "Node") => ("node", "nodes", ""),
            _ => {
                let gv = if version.contains('/') { version.to_string() } else { format!("/{version}") };
                return Err(Status::bad_request(format!("cannot bind token to object of type {gv}, Kind={kind}")));
            }
        };
        let target = bound.at(f::name).str();
        if target.is_empty() {
            return Err(Status::bad_request("Name parameter required."));
        }
        let found = self.find("", plural, place, target).ok_or_else(|| Status::not_found("", plural, target))?;
        let uid = found.at(f::metadata).at(f::uid).str();
        let given = bound.at(f::uid).str();
        if !given.is_empty() && given != uid {
            let why = format!(
                "the UID in the bound object reference ({given}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Status::conflict("", plural, target, &why));
        }
        Ok((claim, object([("name", target.into()), ("uid", uid.into())])))
    }

    /// Issues a token.
    pub fn token_request(&self, cx: &Context, namespace: &str, name: &str, mut v: Value) -> Result<Outcome, Status> {
        let r = kinds::by_path("", "v1", "serviceaccounts").ok_or_else(|| Status::internal("no service accounts"))?;
        let account = self
            .find("", "serviceaccounts", namespace, name)
            .ok_or_else(|| Status::not_found("", "serviceaccounts", name))?;
        let given = v.at(f::metadata).at(f::namespace).str();
        if !given.is_empty() && given != namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let attrs = super::Attrs {
            operation: super::Operation::Create,
            resource: r,
            subresource: "token",
            namespace,
            name,
            user: &cx.user,
            dry_run: cx.dry_run,
            old: None,
        };
        if self.settings.node_restriction {
            crate::admission::nodes::restrict_token(self, &attrs, &v)?;
        }
        let now = self.env.wall().unix_seconds();
        let spec = v.entry(f::spec);
        spec.set_default(f::expirationSeconds, 3600);
        if spec.at(f::audiences).is_zero() {
            spec.set(f::audiences, vec![self.settings.issuer.as_str().into()]);
        }
        check_request(&v, name)?;
        let claims = self.claims(namespace, name, &account, v.at(f::spec), now)?;
        let expires = claims.at("exp").int();
        let token = self.signer.sign(&claims).map_err(Status::internal)?;
        let created = self.now();
        let m = v.entry(f::metadata);
        m.set(f::name, name);
        m.set(f::namespace, namespace);
        m.set(f::uid, account.at(f::metadata).at(f::uid).clone());
        m.set(f::creationTimestamp, created);
        let ty = api::schema::Type::of_kind("authentication.k8s.io", "v1", "TokenRequest")
            .ok_or_else(|| Status::internal("TokenRequest has no type"))?;
        super::write::own_made(self, cx, &mut v, ty, "authentication.k8s.io/v1", "token");
        v.set(
            f::status,
            object([("token", token.into()), ("expirationTimestamp", api::time::format_seconds(expires).into())]),
        );
        api::canon::canonicalize(&mut v, ty);
        v.make_map().entries_mut().splice(
            0..0,
            [(f::kind.into(), "TokenRequest".into()), (f::apiVersion.into(), "authentication.k8s.io/v1".into())],
        );
        Ok(Outcome::Made(v, 201))
    }

    /// What a token says.
    fn claims(&self, namespace: &str, name: &str, account: &Value, spec: &Value, now: i64) -> Result<Value, Status> {
        let mut k = object([
            ("namespace", namespace.into()),
            ("serviceaccount", object([("name", name.into()), ("uid", account.at(f::metadata).at(f::uid).clone())])),
        ]);
        let bound = spec.at(f::boundObjectRef);
        if !bound.is_null() {
            let (claim, to) = self.bound_to(namespace, bound)?;
            k.set(claim, to);
        }
        Ok(object([
            ("aud", spec.at(f::audiences).clone()),
            ("exp", (now + spec.at(f::expirationSeconds).int()).into()),
            ("iat", now.into()),
            ("iss", self.settings.issuer.as_str().into()),
            ("jti", self.uuid().into()),
            ("kubernetes.io", k),
            ("nbf", now.into()),
            ("sub", format!("system:serviceaccount:{namespace}:{name}").into()),
        ]))
    }
}

/// The form of a token request.
fn check_request(v: &Value, name: &str) -> Result<(), Status> {
    let given = v.at(f::metadata).at(f::name).str();
    let errs = check(v, None, |o| {
        let at = o.at(f::metadata).at(f::name);
        if !given.is_empty() && given != name {
            at.invalid("must match the service account name if specified");
        }
        let at = o.at(f::spec).at(f::expirationSeconds);
        match at.v.int() {
            n if n < 600 => at.invalid("may not specify a duration less than 10 minutes"),
            n if n > 1 << 32 => at.invalid("may not specify a duration larger than 2^32 seconds"),
            _ => {}
        }
    });
    let shown = if given.is_empty() || given == name { "" } else { name };
    if errs.is_empty() { Ok(()) } else { Err(Status::invalid("authentication.k8s.io", "TokenRequest", shown, &errs)) }
}

/// Who asks for a certificate, whatever the request says.
pub(crate) fn requester(request: &mut Value, user: &User) {
    let spec = request.entry(f::spec);
    for key in [f::username, f::uid, f::groups, f::extra] {
        spec.remove(key);
    }
    user_value(user).members().for_each(|(k, v)| spec.set(k, v.clone()));
    request.remove(f::status);
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
