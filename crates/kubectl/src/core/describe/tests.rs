//! Tests of descriptions: whole texts.

use super::*;

fn json(text: &str) -> Value {
    api::json::parse(text.as_bytes()).unwrap()
}

#[test]
fn spans() {
    for (seconds, expected) in [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (10_800, "3h"),
        (11_000, "3h3m"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (864_000, "10d"),
        (86_400 * 800, "2y70d"),
    ] {
        assert_eq!(age(seconds), expected, "{seconds}");
    }
}

#[test]
fn times() {
    assert_eq!(time("2026-11-24T12:03:05Z"), "Tue, 24 Nov 2026 12:03:05 +0000");
    assert_eq!(time("1970-01-01T00:00:00Z"), "Thu, 01 Jan 1970 00:00:00 +0000");
    assert_eq!(time(""), "<unset>");
}

#[test]
fn a_pod() {
    let pod = json(
        r#"{"kind":"Pod","metadata":{"name":"web","namespace":"default","labels":{"b":"2","a":"1"}},
        "spec":{"nodeName":"n1","containers":[{"name":"c","image":"nginx","ports":[{"containerPort":80}],"command":["sh","-c"],
          "resources":{"limits":{"cpu":"1"}},"livenessProbe":{"httpGet":{"port":80,"path":"/"}}}]},
        "status":{"phase":"Running","hostIP":"10.0.0.1","podIP":"10.244.0.2","podIPs":[{"ip":"10.244.0.2"}],
          "containerStatuses":[{"name":"c","ready":true,"restartCount":2,"containerID":"x://1","imageID":"sha","state":{"running":{"startedAt":"2026-11-24T12:03:05Z"}}}],
          "conditions":[{"type":"Ready","status":"True"}]}}"#,
    );
    let events = vec![json(
        r#"{"type":"Normal","reason":"Pulled","message":"done","source":{"component":"kubelet"},"firstTimestamp":"2026-11-24T12:00:00Z","lastTimestamp":"2026-11-24T12:01:00Z","count":3}"#,
    )];
    let now = api::time::parse_seconds("2026-11-24T12:05:00Z").unwrap();
    let expected = "\
Name:         web
Namespace:    default
Node:         n1/10.0.0.1
Labels:       a=1
              b=2
Annotations:  <none>
Status:       Running
IP:           10.244.0.2
IPs:
  IP:  10.244.0.2
Containers:
  c:
    Container ID:  x://1
    Image:         nginx
    Image ID:      sha
    Port:          80/TCP
    Host Port:     0/TCP
    Command:
      sh
      -c
    State:          Running
      Started:      Tue, 24 Nov 2026 12:03:05 +0000
    Ready:          True
    Restart Count:  2
    Limits:
      cpu:        1
    Liveness:     http-get http://:80/ delay=0s timeout=1s period=10s #success=1 #failure=3
    Environment:  <none>
    Mounts:       <none>
Conditions:
  Type           Status
  Ready          True 
Volumes:         <none>
Node-Selectors:  <none>
Tolerations:     <none>
Events:
  Type    Reason  Age              From     Message
  ----    ------  ----             ----     -------
  Normal  Pulled  4m (x3 over 5m)  kubelet  done
";
    let text = describe(&pod, &Around { events, related: vec![], now });
    assert_eq!(text, expected);
}

#[test]
fn anything() {
    let object = json(
        r#"{"kind":"Widget","apiVersion":"x/v1","metadata":{"name":"w","uid":"u"},"spec":{"maxSize":3,"list":[{"a":1},"b"]}}"#,
    );
    let expected = "\
Name:         w
Namespace:    
Labels:       <none>
Annotations:  <none>
API Version:  x/v1
Kind:         Widget
Metadata:
  UID:  u
Spec:
  List:
    A:  1
    b
  Max Size:  3
Events:      <none>
";
    assert_eq!(describe(&object, &Around::default()), expected);
}
