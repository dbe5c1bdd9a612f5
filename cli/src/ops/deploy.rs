//! `deploy` (spec cli §12): evaluate the manifest, upload its releases, show what would change, ask, go.

use super::Session;
use super::template::evaluate;
use super::upload_release;
use crate::commands::DeployArgs;
use crate::error::{Error, Result, Within};
use crate::ui::{Tone, Ui};
use director_client::{ConfigListFilter, DiffLine, UpdateOptions};
use manifest::yaml::Dialect;
use serde_yaml::Value;

pub async fn deploy(session: &Session, mut args: DeployArgs) -> Result<()> {
    let deployment = session.deployment()?.to_owned();
    apply_deploy_configs(session, &deployment, &mut args).await;
    let text = evaluate(&args.path, &args.vars_ops, "manifest")?;
    check_name(&text, &deployment)?;
    let text = if args.skip_upload_releases {
        session.ui.line("Release-Check skipped.");
        text
    } else {
        upload_releases(session, text, args.fix_releases).await?
    };
    let diff = session
        .client
        .diff_deployment(&deployment, &text, !args.no_redact)
        .await?;
    print_diff(&session.ui, &diff.diff);
    session.ui.confirm()?;
    let created_before = args.recreate_vms_created_before.map(|at| at.0);
    let options = UpdateOptions {
        recreate: args.recreate || created_before.is_some(),
        recreate_persistent_disks: args.recreate_persistent_disks,
        recreate_vms_created_before: created_before,
        fix: args.fix,
        skip_drain: skip_drain(&args.skip_drain),
        canaries: args.canaries,
        max_in_flight: args.max_in_flight,
        dry_run: args.dry_run,
        force_latest_variables: args.force_latest_variables,
        context: diff.context,
    };
    let client = session
        .client
        .with_context_id(uuid::Uuid::new_v4().to_string());
    let done = client
        .update_deployment(&text, &options, &session.reporter)
        .await;
    // Operations may move what the director counts.
    if let Err(error) = &done
        && args.vars_ops.ops_files.is_empty()
        && args.path != "-"
        && let Some(place) = place_of_fault(session, error, &args.path)
    {
        session.ui.error_line(place);
    }
    Ok(done?)
}

/// Where in the manifest's file the fault is for which the director ended the task.
fn place_of_fault(session: &Session, error: &director_client::Error, path: &str) -> Option<String> {
    let id = error.failed_task()?.into();
    let told = session.reporter.error_of(id)?;
    let text = crate::interpolate::read_template(path).ok()?;
    let line = line_of_fault(&told, &text)?;
    Some(format!("\nThe fault is at {path}:{line}"))
}

/// The line of a manifest that an error of the director names by its path (`Look at /instance_groups/0/azs in the
/// manifest.`), or of the nearest thing around it.
fn line_of_fault(error: &str, manifest: &str) -> Option<usize> {
    let (before, _) = error.split_once(" in the manifest.")?;
    let (_, path) = before.rsplit_once("Look at ")?;
    let document = manifest::yaml::parse_document(manifest, Dialect::Cli).ok()?;
    document.lines.of(path)
}

fn skip_drain(groups: &[String]) -> Option<String> {
    match groups {
        [] => None,
        groups if groups.iter().any(|group| group == "*") => Some("*".to_owned()),
        groups => Some(groups.join(",")),
    }
}

/// Configs of type `deploy` may switch flags on for some deployments (spec director-api §10.6). A director
/// that has none, or does not know the type, changes nothing.
async fn apply_deploy_configs(session: &Session, deployment: &str, args: &mut DeployArgs) {
    let filter = ConfigListFilter {
        kind: Some("deploy".to_owned()),
        name: None,
    };
    for config in session.client.configs(1, &filter).await.unwrap_or_default() {
        let Ok(content) = serde_yaml::from_str::<Value>(&config.content) else {
            continue;
        };
        let names = |key: &str| -> Option<Vec<&str>> {
            let list = content.get(key)?.as_sequence()?;
            Some(list.iter().filter_map(Value::as_str).collect())
        };
        let applies = match (names("include"), names("exclude")) {
            (Some(_), Some(_)) => {
                session.ui.error_line(format!(
                    "Ignoring deployment flags from config of type 'deploy' (name: '{}'). Please use only 'include'- OR 'exclude'-property in the config.",
                    config.name
                ));
                continue;
            }
            (Some(include), None) => include.contains(&deployment),
            (None, Some(exclude)) => !exclude.contains(&deployment),
            (None, None) => true,
        };
        if !applies {
            continue;
        }
        session.ui.error_line(format!(
            "Using deployment flags from config of type 'deploy' (name: '{}')",
            config.name
        ));
        for flag in names("flags").unwrap_or_default() {
            match flag {
                "fix-releases" => args.fix_releases = true,
                "fix" => args.fix = true,
                "recreate" => args.recreate = true,
                "recreate-persistent-disks" => args.recreate_persistent_disks = true,
                "skip-upload-releases" => args.skip_upload_releases = true,
                _ => {}
            }
        }
    }
}

fn parse(text: &str) -> Result<Value> {
    manifest::yaml::parse(text, Dialect::Cli)
        .map_err(|error| Error::message(error.to_string()))
        .within(|| "Unmarshalling manifest")
        .within(|| "Parsing manifest")
}

fn check_name(text: &str, deployment: &str) -> Result<()> {
    let document = parse(text)?;
    let name = match (&document, document.get("name")) {
        (Value::Null, _) | (Value::Mapping(_), None | Some(Value::Null)) => String::new(),
        (Value::Mapping(_), Some(name)) => manifest::yaml::scalar_text(name).ok_or_else(|| {
            Error::message("Expected 'name' of the manifest to be a string")
                .within("Unmarshalling manifest")
                .within("Parsing manifest")
        })?,
        _ => {
            return Err(
                Error::message("Expected the manifest to be a map with the key 'name'")
                    .within("Unmarshalling manifest")
                    .within("Parsing manifest"),
            );
        }
    };
    if name == deployment {
        return Ok(());
    }
    Err(Error::message(format!(
        "Expected manifest to specify deployment name '{deployment}' but was '{name}'"
    )))
}

/// Uploads every release of a manifest or runtime config that has a `url`; the text with the versions of
/// those that were created.
pub async fn upload_releases(session: &Session, text: String, fix: bool) -> Result<String> {
    let mut document = parse(&text)?;
    let Some(releases) = document
        .get_mut("releases")
        .and_then(Value::as_sequence_mut)
    else {
        return Ok(text);
    };
    let mut changed = false;
    for release in releases {
        changed |= upload_one(session, release, fix)
            .await
            .within(|| "Creating and uploading releases")?;
    }
    Ok(if changed {
        manifest::yaml::to_cli_string(&document)
    } else {
        text
    })
}

/// Whether the entry was changed.
async fn upload_one(session: &Session, release: &mut Value, fix: bool) -> Result<bool> {
    let field = |value: &Value, key: &str| value.get(key).and_then(manifest::yaml::scalar_text);
    let Some(url) = field(release, "url").filter(|url| !url.is_empty()) else {
        return Ok(false);
    };
    let name = field(release, "name").unwrap_or_default();
    let version = field(release, "version").unwrap_or_default();
    if version == "create" {
        let created = upload_release::create_and_upload(session, &name, &url)
            .await
            .within(|| format!("Processing release '{name}/{version}'"))?;
        if let Value::Mapping(fields) = release {
            fields.insert("version".into(), created.into());
            fields.remove("url");
        }
        return Ok(true);
    }
    let stemcell = release
        .get("exported_from")
        .and_then(Value::as_sequence)
        .and_then(|list| list.first())
        .or_else(|| release.get("stemcell"))
        .and_then(|stemcell| Some((field(stemcell, "os")?, field(stemcell, "version")?)));
    let request = upload_release::Upload {
        url,
        dir: ".".to_owned(),
        name: Some(name.clone()),
        version: Some(version.clone()),
        sha1: field(release, "sha1"),
        stemcell,
        fix,
        rebase: false,
    };
    upload_release::upload_known(session, request)
        .await
        .within(|| format!("Uploading release '{name}/{version}'"))?;
    Ok(false)
}

/// The mark in front of a diff line, and how it is shown.
pub fn mark(line: &DiffLine) -> (&'static str, Tone) {
    match line.1.as_deref() {
        Some("added") => ("+ ", Tone::Good),
        Some("removed") => ("- ", Tone::Bad),
        _ => ("  ", Tone::Plain),
    }
}

pub fn print_diff(ui: &Ui, diff: &[DiffLine]) {
    for line in diff {
        let (mark, tone) = mark(line);
        ui.begin_line_toned(format!("{mark}{}\n", line.0), tone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_the_director_places_has_a_line_in_the_file() {
        let manifest = "name: a\ninstance_groups:\n- name: one\n- name: two\n  azs: [z9]\n";
        let error = "It is wrong. Look at /instance_groups/1/azs in the manifest.";
        assert_eq!(line_of_fault(error, manifest), Some(5));
        let inside = "It is wrong. Look at /instance_groups/1/jobs/3 in the manifest.";
        assert_eq!(line_of_fault(inside, manifest), Some(4));
        assert_eq!(line_of_fault("It is wrong.", manifest), None);
        let elsewhere = "It is wrong. Look at /networks/0 in the cloud config.";
        assert_eq!(line_of_fault(elsewhere, manifest), None);
    }
}
