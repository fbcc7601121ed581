//! FlowSchemas and PriorityLevelConfigurations.
//!
//! Source: `pkg/apis/flowcontrol/{v1/defaults.go,validation}`.

use api::check::At;
use api::{Value, f, format, json};
use std::sync::LazyLock;

/// FlowSchema.
pub fn schema_defaults(s: &mut Value) {
    let spec = s.entry(f::spec);
    if spec.at(f::matchingPrecedence).int() == 0 {
        spec.set(f::matchingPrecedence, 1000);
    }
}

/// PriorityLevelConfiguration.
pub fn level_defaults(p: &mut Value) {
    let spec = p.entry(f::spec);
    if let Some(e) = spec.get_mut(f::exempt).filter(|e| !e.is_null()) {
        e.set_default(f::nominalConcurrencyShares, 0);
        e.set_default(f::lendablePercent, 0);
    }
    if let Some(l) = spec.get_mut(f::limited).filter(|l| !l.is_null()) {
        l.set_default(f::nominalConcurrencyShares, 30);
        l.set_default(f::lendablePercent, 0);
        if let Some(q) = l.get_mut(f::limitResponse).and_then(|r| r.get_mut(f::queuing)).filter(|q| !q.is_null()) {
            for (key, n) in [(f::handSize, 8), (f::queues, 64), (f::queueLengthLimit, 50)] {
                if q.at(key).int() == 0 {
                    q.set(key, n);
                }
            }
        }
    }
}

/// What the server itself relies on, by name.
fn fixed(list: &'static LazyLock<Value>, name: &str) -> Option<&'static Value> {
    list.items().iter().find(|o| o.at(f::metadata).at(f::name).str() == name).map(|o| o.at(f::spec))
}

static SCHEMAS: LazyLock<Value> =
    LazyLock::new(|| json::parse(include_bytes!("../../../../facts/bootstrap/flowschemas.json")).unwrap_or_default());
static LEVELS: LazyLock<Value> = LazyLock::new(|| {
    json::parse(include_bytes!("../../../../facts/bootstrap/prioritylevelconfigurations.json")).unwrap_or_default()
});

/// Whether an object of this name must stay as the server makes it.
fn is_mandatory(name: &str) -> bool {
    matches!(name, "exempt" | "catch-all")
}

/// FlowSchema.
pub fn schema(s: At) {
    const PRECEDENCE_MAX: i64 = 10_000;
    let (spec, name) = (s.at(f::spec), s.get(f::metadata).at(f::name).str());
    let precedence = spec.at(f::matchingPrecedence);
    match precedence.v.int() {
        n if n <= 0 => precedence.invalid("must be a positive value"),
        n if n > PRECEDENCE_MAX => precedence.invalid(format!("must not be greater than {PRECEDENCE_MAX}")),
        1 if name != "exempt" => precedence.invalid("only the schema named 'exempt' may have matchingPrecedence 1"),
        _ => {}
    }
    if let Some(method) = spec.at(f::distinguisherMethod).some() {
        method.at(f::type_).any_of(&["ByNamespace", "ByUser"]);
    }
    let level = spec.at(f::priorityLevelConfiguration).at(f::name);
    if level.v.str().is_empty() {
        level.required("must reference a priority level");
    } else {
        level.format(format::is_dns1123_subdomain);
    }
    for rule in spec.at(f::rules).items() {
        if rule.get(f::subjects).is_zero() {
            rule.at(f::subjects).required("subjects must contain at least one value");
        }
        for subject in rule.at(f::subjects).items() {
            if !matches!(subject.str(f::kind), "User" | "Group" | "ServiceAccount") {
                subject.at(f::kind).unsupported(&["Group", "ServiceAccount", "User"]);
            }
        }
        if rule.get(f::resourceRules).is_zero() && rule.get(f::nonResourceRules).is_zero() {
            rule.required("at least one of resourceRules and nonResourceRules has to be non-empty");
        }
    }
    if is_mandatory(name) && fixed(&SCHEMAS, name).is_some_and(|want| want != spec.v) {
        spec.invalid(format!("spec of '{name}' must equal the fixed value"));
    }
}

/// PriorityLevelConfiguration.
pub fn level(p: At) {
    let (spec, name) = (p.at(f::spec), p.get(f::metadata).at(f::name).str());
    let kind = spec.at(f::type_);
    if (name == "exempt") != (kind.v.str() == "Exempt") {
        kind.invalid("must be 'Exempt' if and only if `name` is 'exempt'");
    }
    let (exempt, limited) = (spec.at(f::exempt), spec.at(f::limited));
    match kind.v.str() {
        "Exempt" => {
            if !limited.v.is_null() {
                limited.forbidden("must be nil if the type is not Limited");
            }
            shares(exempt);
        }
        "Limited" => {
            if !exempt.v.is_null() {
                exempt.forbidden("must be nil if the type is Limited");
            }
            match limited.some() {
                Some(limited) => limits(limited),
                None => limited.required("must not be empty when type is Limited"),
            }
        }
        _ => kind.unsupported(&["Exempt", "Limited"]),
    }
    let Some(want) = Some(name).filter(|n| is_mandatory(n)).and_then(|n| fixed(&LEVELS, n)) else { return };
    if name == "catch-all" && want != spec.v {
        spec.invalid("spec of 'catch-all' must equal the fixed value");
    }
    if name == "exempt" && (want.at(f::type_) != spec.get(f::type_) || want.at(f::limited) != spec.get(f::limited)) {
        spec.invalid("spec of 'exempt' except the 'spec.exempt' field must equal the fixed value");
    }
}

fn shares(at: At) {
    if at.int(f::nominalConcurrencyShares) < 0 {
        at.at(f::nominalConcurrencyShares).invalid("must be a non-negative integer");
    }
    if !(0..=100).contains(&at.int(f::lendablePercent)) {
        at.at(f::lendablePercent).invalid("must be between 0 and 100, inclusive");
    }
}

fn limits(at: At) {
    shares(at);
    if at.int(f::borrowingLimitPercent) < 0 {
        at.at(f::borrowingLimitPercent).invalid("if specified, must be a non-negative integer");
    }
    let response = at.at(f::limitResponse);
    let queuing = response.at(f::queuing);
    match response.str(f::type_) {
        "Reject" if !queuing.v.is_null() => {
            queuing.forbidden("must be nil if limited.limitResponse.type is not Limited")
        }
        "Reject" => {}
        "Queue" => match queuing.some() {
            Some(q) => queues(q),
            None => queuing.required("must not be empty if limited.limitResponse.type is Limited"),
        },
        _ => response.at(f::type_).unsupported(&["Queue", "Reject"]),
    }
}

fn queues(q: At) {
    const QUEUES_MAX: i64 = 10_000_000;
    const ENTROPY_MAX: f64 = 60.0;
    let (queues, hand) = (q.int(f::queues), q.int(f::handSize));
    for key in [f::queueLengthLimit, f::queues, f::handSize] {
        if q.int(key) <= 0 {
            q.at(key).invalid("must be positive");
        }
        if key == f::queues && queues > QUEUES_MAX {
            q.at(key).invalid(format!("must not be greater than {QUEUES_MAX}"));
        }
    }
    let entropy: f64 = (0..hand.clamp(0, 1000)).map(|i| ((queues - i).max(1) as f64).log2()).sum();
    if hand > queues {
        q.at(f::handSize).invalid(format!("should not be greater than queues ({queues})"));
    } else if entropy.ceil() > ENTROPY_MAX {
        q.at(f::handSize).invalid(format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than 60"
        ));
    }
}
