//! Schedules, and what they lead to.
use super::*;
use crate::core::fixtures::{lines, view};

fn time(text: &str) -> i64 {
    api::time::parse_seconds(text).expect("a time")
}

#[test]
fn schedules_have_times() {
    for (schedule, after, next) in [
        ("* * * * *", "2026-11-28T01:02:03Z", "2026-11-28T01:03:00Z"),
        ("*/15 * * * *", "2026-11-28T01:45:00Z", "2026-11-28T02:00:00Z"),
        ("7/20 * * * *", "2026-11-28T01:07:00Z", "2026-11-28T01:27:00Z"),
        ("0 0 29 2 *", "2026-11-28T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("30 4 * * MON-FRI", "2026-11-28T05:00:00Z", "2026-11-30T04:30:00Z"),
        // A day of the month or a day of the week: one is enough, unless one is `*`.
        ("0 0 13 * fri", "2026-11-14T00:00:00Z", "2026-11-20T00:00:00Z"),
        ("0 0 31 jan,mar *", "2026-02-01T00:00:00Z", "2026-03-31T00:00:00Z"),
        ("@monthly", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("@every 1h30m", "2026-12-01T00:00:00Z", "2026-12-01T01:30:00Z"),
    ] {
        let found = cron::parse(schedule).unwrap_or_else(|e| panic!("{schedule}: {e}")).next(time(after));
        assert_eq!(found.map(api::time::format_seconds).as_deref(), Some(next), "{schedule} after {after}");
    }
    assert_eq!(cron::parse("0 0 31 2 *").expect("fine").next(0), None);
    for (schedule, why) in [
        ("* * * *", "expected exactly 5 fields"),
        ("60 * * * *", "above maximum (59)"),
        ("* * 0 * *", "below minimum (1)"),
        ("5-2 * * * *", "beyond end of range"),
        ("*/0 * * * *", "positive number"),
        ("* * * * 7", "above maximum (6)"),
        ("@never", "unrecognized descriptor"),
    ] {
        let found = cron::parse(schedule).expect_err(schedule);
        assert!(found.contains(why), "{schedule}: {found}");
    }
}

/// Every minute since 1,000 minutes after 1970.
fn cron(change: Value) -> Arc<CronJob> {
    let mut object = json!({
        "metadata": {"name": "c", "namespace": "d", "uid": "u", "creationTimestamp": "1970-01-01T16:40:00Z"},
        "spec": {
            "schedule": "* * * * *", "concurrencyPolicy": "Allow",
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}},
            "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1,
        },
    });
    client::merge(&mut object, &change);
    view(object)
}

fn job(name: &str, condition: Option<&str>) -> Arc<Job> {
    let conditions: Vec<Value> = condition.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
    view(json!({
        "metadata": {"name": name, "namespace": "d", "uid": format!("u-{name}"), "annotations": {SCHEDULED: "x"}},
        "status": {"conditions": conditions, "startTime": format!("1970-01-01T00:00:{}Z", name.len()), "completionTime": "1970-01-01T16:41:10Z"},
    }))
}

fn said(cron: &Arc<CronJob>, jobs: &[Arc<Job>], now: i64) -> Vec<String> {
    lines(&plan(&World { cron: Some(cron.clone()), jobs: jobs.to_vec() }, WallTime::from_unix(now, 0)))
}

#[test]
fn a_job_is_made_at_each_time_once() {
    let new = cron(json!({}));
    let soon = plan(&World { cron: Some(new.clone()), jobs: vec![] }, WallTime::from_unix(60_030, 0));
    assert_eq!((lines(&soon), soon.again_at), (vec![], Some(WallTime::from_unix(60_060, 0))));
    let made = said(&new, &[], 60_061);
    let status = r#"patch cronjobs/status c {"status":{"active":null,"lastScheduleTime":"1970-01-01T16:41:00Z"}}"#;
    assert_eq!(made, ["create jobs c-1001", status]);
    // Its job is there, whether the status says so or not: not again.
    let listed = said(&new, &[job("c-1001", None)], 60_062);
    assert!(listed.len() == 1 && listed[0].contains(r#""name":"c-1001","uid":"u-c-1001""#), "{listed:?}");
    let done = cron(json!({"status": {"lastScheduleTime": "1970-01-01T16:41:00Z"}}));
    assert_eq!(said(&done, &[], 60_065), Vec::<String>::new());
    // Times that were missed are not made up for: the newest one counts.
    assert_eq!(said(&done, &[], 60_060 + 60 * 50)[0], "create jobs c-1051");
    let late = said(&done, &[], 60_060 + 60 * 500);
    assert!(late[0].starts_with("tell TooManyMissedTimes") && late[1] == "create jobs c-1501", "{late:?}");
    assert_eq!(said(&cron(json!({"spec": {"suspend": true}})), &[], 60_061), Vec::<String>::new());
}

#[test]
fn deadlines_zones_and_bad_schedules_are_told() {
    let old = json!({"startingDeadlineSeconds": 10});
    assert_eq!(said(&cron(json!({"spec": old})), &[], 60_075), Vec::<String>::new(), "nothing in the window");
    let zone = said(&cron(json!({"spec": {"timeZone": "Mars/Base"}})), &[], 60_061);
    assert!(zone[0].starts_with(r#"tell UnknownTimeZone: invalid timeZone: "Mars/Base""#), "{zone:?}");
    let bad = said(&cron(json!({"spec": {"schedule": "soon"}})), &[], 60_061);
    assert!(bad[0].starts_with(r#"tell UnparseableSchedule: unparseable schedule: "soon" : expected"#), "{bad:?}");
}

#[test]
fn what_runs_decides_by_policy() {
    let active = json!([{"name": "c-1000", "uid": "u-c-1000"}]);
    let with = |policy: &str| cron(json!({"spec": {"concurrencyPolicy": policy}, "status": {"active": active}}));
    let running = [job("c-1000", None)];
    let told =
        "tell JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid";
    assert_eq!(said(&with("Forbid"), &running, 60_061), [told]);
    assert_eq!(said(&with("Allow"), &running, 60_061)[0], "create jobs c-1001");
    assert_eq!(said(&with("Replace"), &running, 60_061)[..2], ["delete jobs c-1000", "create jobs c-1001"]);
    // It has ended: it is told, and the next one runs.
    let ended = said(&with("Forbid"), &[job("c-1000", Some("Complete"))], 60_061);
    assert_eq!(
        ended[..2],
        ["tell SawCompletedJob: Saw completed job: c-1000, condition: Complete", "create jobs c-1001"]
    );
    assert!(ended[2].contains(r#""lastSuccessfulTime":"1970-01-01T16:41:10Z""#), "{ended:?}");
    let missing = said(&with("Forbid"), &[], 60_061);
    assert_eq!(missing[0], "tell MissingJob: Active job went missing: c-1000");
}

#[test]
fn old_jobs_go() {
    let idle = cron(json!({"spec": {"suspend": true}, "status": {"lastSuccessfulTime": "1970-01-01T16:41:10Z"}}));
    let jobs = [
        job("a", Some("Complete")),
        job("bb", Some("Complete")),
        job("ccc", Some("Complete")),
        job("d", Some("Failed")),
    ];
    assert_eq!(said(&idle, &jobs, 60_000), ["delete jobs bb", "delete jobs a"]);
}
