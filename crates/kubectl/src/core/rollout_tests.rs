//! Tests of rollout messages.

use super::*;

fn json(text: &str) -> Value {
    api::json::parse(text.as_bytes()).unwrap()
}

#[test]
fn deployments() {
    for (status, expected, done) in [
        (r#"{"observedGeneration":1}"#, "Waiting for deployment spec update to be observed...", false),
        (
            r#"{"observedGeneration":2,"updatedReplicas":1,"replicas":3}"#,
            "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated...",
            false,
        ),
        (
            r#"{"observedGeneration":2,"updatedReplicas":3,"replicas":4}"#,
            "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...",
            false,
        ),
        (
            r#"{"observedGeneration":2,"updatedReplicas":3,"replicas":3,"availableReplicas":2}"#,
            "Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available...",
            false,
        ),
        (
            r#"{"observedGeneration":2,"updatedReplicas":3,"replicas":3,"availableReplicas":3}"#,
            "deployment \"web\" successfully rolled out",
            true,
        ),
    ] {
        let object = json(&format!(
            r#"{{"kind":"Deployment","metadata":{{"name":"web","generation":2}},"spec":{{"replicas":3}},"status":{status}}}"#
        ));
        assert_eq!(super::status(&object, 0), Ok((format!("{expected}\n"), done)));
    }
    let late = json(
        r#"{"kind":"Deployment","metadata":{"name":"web"},"status":{"conditions":[{"type":"Progressing","reason":"ProgressDeadlineExceeded"}]}}"#,
    );
    assert_eq!(super::status(&late, 0).unwrap_err(), "deployment \"web\" exceeded its progress deadline");
}

#[test]
fn history_and_way_back() {
    let owner = json(r#"{"metadata":{"uid":"u"}}"#);
    let set = |n: u8, cause: &str| {
        json(&format!(
            r#"{{"metadata":{{"annotations":{{"{REVISION}":"{n}"{cause}}},"ownerReferences":[{{"uid":"u","controller":true}}]}}}}"#
        ))
    };
    let sets = [set(2, r#","kubernetes.io/change-cause":"why""#), set(1, ""), json(r#"{"metadata":{}}"#)];
    let all = revisions(&owner, &sets);
    assert_eq!(history(&all), "REVISION  CHANGE-CAUSE\n1         <none>\n2         why\n");
    assert_eq!(target(&all, 0, "deployment", "web").unwrap().0, 1);
    assert_eq!(target(&all, 9, "deployment", "web").unwrap_err(), "unable to find specified revision 9 in history");
    assert_eq!(
        target(&all[..1], 0, "deployment", "web").unwrap_err(),
        "no rollout history found for deployment \"web\""
    );
}
