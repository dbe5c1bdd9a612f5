//! Every recorded case of template evaluation, job rendering, hashes and property collection.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use templates::{
    Error, JobError, JobSources, Options, Pool, ProvidedLink, RenderErrors, RenderJob,
    RenderRequest, RenderedInstance, Template,
};

fn cases() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/erb.json");
    let document: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    document["cases"].as_array().unwrap().clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn job(case: &Value, job: &Value) -> RenderJob {
    let templates = job["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| Template {
            source: text(&template["src"]).to_owned(),
            target: text(&template["dest"]).to_owned(),
            content: text(&template["text"]).as_bytes().to_vec(),
        });
    let release = &case["release"];
    let provides = job["provided_links"].as_array().into_iter().flatten();
    RenderJob {
        name: text(&job["name"]).to_owned(),
        release: release.is_object().then(|| {
            (
                text(&release["name"]).to_owned(),
                text(&release["version"]).to_owned(),
            )
        }),
        sources: Arc::new(JobSources {
            monit: text(&job["monit"]).as_bytes().to_vec(),
            templates: templates.collect(),
        }),
        // The planner does this lookup.
        provides: provides
            .filter(|link| link["instance_group"] == case["spec"]["name"])
            .map(|link| {
                let groups = case["dns"]["groups"].as_array().into_iter().flatten();
                let group = groups
                    .filter(|group| {
                        group["type"] == "link"
                            && group["name"] == link["group_name"]
                            && group["deployment"] == case["spec"]["deployment"]
                    })
                    .map(|group| text(&group["id"]).to_owned())
                    .next();
                ProvidedLink {
                    name: text(&link["name"]).to_owned(),
                    kind: text(&link["type"]).to_owned(),
                    group: group.unwrap_or_default(),
                }
            })
            .collect(),
    }
}

fn request(case: &Value, context: Value, jobs: Vec<RenderJob>) -> RenderRequest {
    RenderRequest {
        group: text(&case["spec"]["name"]).to_owned(),
        context,
        dns: case["dns"].clone(),
        jobs,
    }
}

fn errors(result: Result<RenderedInstance, Error>) -> Result<RenderedInstance, RenderErrors> {
    result.map_err(|error| match error {
        Error::Templates(errors) => errors,
        other => panic!("{other}"),
    })
}

async fn check_template(pool: &Pool, case: &Value) {
    let name = text(&case["name"]);
    let job_name = case["job_name"].as_str().unwrap_or("job1");
    let source = case["src"].as_str().unwrap_or("config.erb");
    let template = Template {
        source: source.to_owned(),
        target: "config".to_owned(),
        content: text(&case["template"]).as_bytes().to_vec(),
    };
    // The recorded data is narrowed already.
    let mut context = case["spec"].clone();
    if let Some(links) = context.get("links").cloned() {
        context["links"] = json!({ job_name: links });
    }
    let job = RenderJob {
        name: job_name.to_owned(),
        release: None,
        sources: Arc::new(JobSources {
            monit: Vec::new(),
            templates: vec![template],
        }),
        provides: Vec::new(),
    };
    let result = errors(pool.render(&request(case, context, vec![job])).await);
    let expected = &case["expected"];
    let result = match result {
        Ok(rendered) => Ok(String::from_utf8(rendered.jobs[0].files[0].content.clone()).unwrap()),
        Err(errors) => match &errors.jobs[..] {
            [JobError::Templates { errors, .. }] => Err(errors[0].clone()),
            other => panic!("{name}: {other:?}"),
        },
    };
    if let Some(output) = expected["output"].as_str() {
        assert_eq!(result.as_deref(), Ok(output), "{name}");
    } else if let Some(prefix) = expected["error_prefix"].as_str() {
        let error = result.unwrap_err();
        assert!(error.starts_with(prefix), "{name}: {error}");
    } else {
        assert_eq!(result.unwrap_err(), text(&expected["error"]), "{name}");
    }
}

async fn check_job(pool: &Pool, case: &Value) {
    let name = text(&case["name"]);
    let request = request(case, case["spec"].clone(), vec![job(case, &case["job"])]);
    let expected = &case["expected"];
    match errors(pool.render(&request).await) {
        Ok(rendered) => {
            let job = &rendered.jobs[0];
            assert_eq!(
                String::from_utf8_lossy(&job.monit),
                text(&expected["monit"]),
                "{name}"
            );
            let files: Vec<_> = job
                .files
                .iter()
                .map(|file| json!({"dest": file.target, "contents": String::from_utf8_lossy(&file.content)}))
                .collect();
            assert_eq!(json!(files), expected["files"], "{name}");
            assert_eq!(
                job.template_hash(),
                text(&expected["template_hash"]),
                "{name}"
            );
        }
        Err(errors) => assert_eq!(
            errors.jobs[0].to_string(),
            text(&expected["error"]),
            "{name}"
        ),
    }
}

async fn check_instance(pool: &Pool, case: &Value) {
    let name = text(&case["name"]);
    let jobs = case["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|spec| job(case, spec))
        .collect();
    let expected = &case["expected"];
    match errors(
        pool.render(&request(case, case["spec"].clone(), jobs))
            .await,
    ) {
        Ok(rendered) => {
            assert_eq!(
                rendered.configuration_hash(),
                text(&expected["configuration_hash"]),
                "{name}"
            );
            let hashes: serde_json::Map<_, _> = rendered
                .jobs
                .iter()
                .map(|job| (job.name.clone(), json!(job.template_hash())))
                .collect();
            assert_eq!(json!(hashes), expected["template_hashes"], "{name}");
        }
        Err(errors) => assert_eq!(errors.to_string(), text(&expected["error"]), "{name}"),
    }
}

#[tokio::test]
async fn every_recorded_case_gives_the_recorded_result() {
    let pool = Pool::new(Options {
        workers: 1,
        ..Options::default()
    });
    let cases = cases();
    assert!(cases.len() > 100);
    for case in &cases {
        match text(&case["kind"]) {
            "template" => check_template(&pool, case).await,
            "job" => check_job(&pool, case).await,
            "instance" => check_instance(&pool, case).await,
            // What the planner does.
            "bind_properties" => {}
            other => panic!("a kind this test does not know: {other}"),
        }
    }
}
