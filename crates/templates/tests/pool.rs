//! What the pool does when templates misbehave, and when there is nothing to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use templates::{
    Error, JobInput, JobSources, Options, Pool, RenderJob, RenderRequest, Template,
    deployment_errors, input_digest,
};

fn request(monit: &str, templates: &[(&str, &str)]) -> RenderRequest {
    let templates = templates.iter().map(|(source, text)| Template {
        source: (*source).to_owned(),
        target: format!("bin/{source}"),
        content: text.as_bytes().to_vec(),
    });
    RenderRequest {
        group: "web".to_owned(),
        context: json!({"deployment": "d", "name": "web", "index": 0, "properties": {}}),
        dns: json!(null),
        jobs: vec![RenderJob {
            name: "zeta".to_owned(),
            release: None,
            sources: Arc::new(JobSources {
                monit: monit.as_bytes().to_vec(),
                templates: templates.collect(),
            }),
            provides: Vec::new(),
        }],
    }
}

fn good() -> RenderRequest {
    request("m", &[("a.erb", "<%= 6 * 7 %>")])
}

async fn text_of(pool: &Pool, request: &RenderRequest) -> String {
    let rendered = pool.render(request).await.unwrap();
    String::from_utf8(rendered.jobs[0].files[0].content.clone()).unwrap()
}

#[tokio::test]
async fn a_stuck_template_is_killed_and_the_next_request_gets_a_new_worker() {
    let pool = Pool::new(Options {
        workers: 1,
        timeout: Duration::from_millis(1500),
        ..Options::default()
    });
    assert_eq!(text_of(&pool, &good()).await, "42");
    let error = pool
        .render(&request("", &[("a.erb", "<% loop {} %>")]))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("'web'"), "{error}");
    assert_eq!(pool.idle_workers(), 0);
    assert_eq!(text_of(&pool, &good()).await, "42");
}

#[tokio::test]
async fn a_template_that_ends_the_process_or_eats_all_memory_fails_alone() {
    let pool = Pool::new(Options {
        workers: 1,
        memory: 512 << 20,
        ..Options::default()
    });
    let error = pool
        .render(&request("", &[("a.erb", "<% exit!(7) %>")]))
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("exit status: 7"), "{error}");
    let eater = request("", &[("a.erb", "<% x = 'x' * (1 << 30) %>")]);
    let error = pool.render(&eater).await.err().unwrap();
    assert!(
        error.to_string().contains("failed to allocate memory"),
        "{error}"
    );
    // What a template prints does not get between the answers.
    let printer = request("", &[("a.erb", "<% puts 'x'; system('echo y') %>ok")]);
    assert_eq!(text_of(&pool, &printer).await, "ok");
    assert_eq!(text_of(&pool, &good()).await, "42");
}

#[tokio::test]
async fn idle_workers_end_and_a_new_one_starts_when_needed() {
    let pool = Pool::new(Options {
        idle: Duration::from_millis(50),
        ..Options::default()
    });
    assert_eq!(pool.idle_workers(), 0);
    assert_eq!(text_of(&pool, &good()).await, "42");
    let deadline = Instant::now() + Duration::from_secs(10);
    while pool.idle_workers() > 0 {
        assert!(Instant::now() < deadline, "the idle worker still waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(text_of(&pool, &good()).await, "42");
}

#[tokio::test]
async fn a_missing_interpreter_is_named() {
    let pool = Pool::new(Options {
        ruby: "/nonexistent/ruby".into(),
        ..Options::default()
    });
    let error = pool.render(&good()).await.err().unwrap().to_string();
    assert!(error.contains("'/nonexistent/ruby'"), "{error}");
}

#[tokio::test]
async fn errors_are_gathered_over_jobs_and_instance_groups_in_the_original_shape() {
    let pool = Pool::new(Options::default());
    let bad = request(
        "",
        &[("a.erb", "fine"), ("b.erb", "\n\n<%= p('miss.one') %>")],
    );
    let Err(Error::Templates(errors)) = pool.render(&bad).await else {
        panic!("expected an error");
    };
    assert_eq!(
        deployment_errors([&errors]),
        "Unable to render instance groups for deployment. Errors are:\n  \
         - Unable to render jobs for instance group 'web'. Errors are:\n    \
         - Unable to render templates for job 'zeta'. Errors are:\n      \
         - Error filling in template 'b.erb' (line 3: Can't find property '[\"miss.one\"]')"
    );
}

#[tokio::test]
async fn the_archive_and_the_input_digest_depend_on_content_only() {
    let pool = Pool::new(Options::default());
    let rendered = pool.render(&good()).await.unwrap();
    let archive = templates::archive(&rendered).unwrap();
    assert_eq!(
        archive,
        templates::archive(&pool.render(&good()).await.unwrap()).unwrap()
    );
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&archive[..]));
    let names: Vec<_> = tar
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(
        names,
        ["zeta/monit", "zeta/bin/a.erb", "zeta/.bosh/links.json"]
    );
    let digest = |context: serde_json::Value, templates: &str| {
        let job = JobInput {
            name: "zeta",
            release: ("r", "1"),
            templates,
            provides: &[],
        };
        input_digest(&context, &json!(null), [job])
    };
    assert_eq!(
        digest(json!({"index": 0}), "a"),
        digest(json!({"index": 0}), "a")
    );
    assert_ne!(
        digest(json!({"index": 0}), "a"),
        digest(json!({"index": 1}), "a")
    );
    assert_ne!(
        digest(json!({"index": 0}), "a"),
        digest(json!({"index": 0}), "b")
    );
}
