//! The rules of `create-env`: `docs/spec/releases-and-templates.md` §17.

use std::sync::Arc;

use serde_json::{Value, json};
use templates::{
    Error, Evaluator, JobError, JobSources, Options, Pool, RenderJob, RenderRequest, Template,
};

async fn render(template: &str, context: Value) -> Result<String, String> {
    let pool = Pool::new(Options {
        workers: 1,
        evaluator: Evaluator::CreateEnv,
        ..Options::default()
    });
    let template = Template {
        source: "a.erb".into(),
        target: "config/a".into(),
        content: template.as_bytes().to_vec(),
    };
    let job = RenderJob {
        name: "web".into(),
        release: None,
        sources: Arc::new(JobSources {
            monit: b"check process <%= name %>".to_vec(),
            templates: vec![template],
        }),
        provides: vec![],
    };
    let mut all = json!({
        "index": 0, "id": "u", "az": "unknown", "bootstrap": true, "job": {"name": "web"},
        "deployment": "d", "networks": {"default": {"ip": ""}}, "address": "10.0.0.5",
        "global_properties": {}, "cluster_properties": {}, "job_properties": null,
        "default_properties": {},
    });
    for (key, value) in context.as_object().expect("object") {
        all[key] = value.clone();
    }
    let request = RenderRequest {
        group: "d".into(),
        context: json!({"web": all}),
        dns: Value::Null,
        jobs: vec![job],
    };
    match pool.render(&request).await {
        Ok(rendered) => {
            let job = &rendered.jobs[0];
            assert_eq!(job.monit, b"check process web");
            assert_eq!(job.files.len(), 1, "no file of links");
            Ok(String::from_utf8(job.files[0].content.clone()).expect("UTF-8"))
        }
        Err(Error::Templates(errors)) => match &errors.jobs[0] {
            JobError::Templates { errors, .. } => Err(errors[0].clone()),
            other => Err(other.to_string()),
        },
        Err(other) => Err(other.to_string()),
    }
}

#[tokio::test]
async fn properties_come_from_the_job_or_else_from_group_over_globals_and_only_declared_ones() {
    let context = json!({
        "global_properties": {"a": {"x": 1, "y": 1}},
        "cluster_properties": {"a": {"y": 2, "z": 2}, "undeclared": 1},
        "default_properties": {"a.x": 0, "a.y": 0, "a.w": [3], "b": null},
    });
    let text = "<%= p('a.x') %> <%= p('a.y') %> <%= p('a.w') %> <%= p('a.z', 'none') %> \
                <%= p(['b', 'a.x']) %> <%= properties.undeclared.inspect %> <%= properties.a.y %>";
    assert_eq!(
        render(text, context.clone()).await.as_deref(),
        Ok("1 2 [3] none 1 nil 2")
    );
    let mut own = context;
    own["job_properties"] = json!({"a": {"y": 7}});
    assert_eq!(
        render(text, own).await.as_deref(),
        Ok("0 7 [3] none 0 nil 7")
    );
}

#[tokio::test]
async fn blocks_and_spec_are_those_of_create_env() {
    let context = json!({"default_properties": {"a": 1, "b": null}});
    let text = "<% if_p('b') { |b| %>b<% }.else_if_p('a') { |a| %>a<%= a %><% }.else { %>none<% } %>\
                <% if_link('x') { %>link<% } %> <%= spec.address %> <%= spec.ip.inspect %> <%= spec.networks.default.ip %>\
                <%= spec.az %> <%= index %> <%= JSON.dump('x') %><%= JSON.dump([1]) %>";
    assert_eq!(
        render(text, context).await.as_deref(),
        Ok("a1 10.0.0.5 nil unknown 0 \"x\"[1]")
    );
}

#[tokio::test]
async fn errors_name_template_job_line_and_exception() {
    let none = json!({});
    let error = render("\n<%= p(['a', 'b']) %>", none.clone()).await;
    assert_eq!(
        error.expect_err("missing"),
        "Error filling in template 'a.erb' for web/0 (line 2: #<TemplateEvaluationContext::UnknownProperty: Can't find property 'a', or 'b'>)"
    );
    let error = render("<%= link('x') %>", none)
        .await
        .expect_err("no links");
    assert!(
        error.contains("line 1: #<NoMethodError: undefined method `link'")
            || error.contains("line 1: #<NoMethodError: undefined method 'link'"),
        "{error}"
    );
}
