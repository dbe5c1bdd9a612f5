//! Logging in to and out of a director with basic authentication (spec cli §2).

use super::Context;
use crate::config::Config;
use crate::error::{Error, Result};
use domain::Secret;

pub async fn log_in(context: &Context) -> Result<()> {
    let mut target = context.target()?;
    context
        .ui
        .line(format!("Using environment '{}'", target.url));
    let info = target
        .client(context.proxy().await?.as_deref())?
        .anonymous_info()
        .await?;
    let kind = info
        .user_authentication
        .map_or_else(|| "basic".to_owned(), |auth| auth.kind);
    if kind != "basic" {
        return Err(Error::message(format!(
            "Unknown auth type '{kind}'; only directors with user_authentication type 'basic' can be logged in to"
        )));
    }
    let complete = target.user.is_some()
        && target
            .password
            .as_ref()
            .is_some_and(|password| !password.expose().is_empty());
    loop {
        if target.user.is_none() {
            target.user = Some(context.ui.ask_text("Username", "")?);
        }
        if !complete {
            target.password = Some(Secret::new(context.ui.ask_password("Password")?));
        }
        let session = context.connect_to(&target).await?;
        let user = session.client.info().await?.user;
        if user.is_some_and(|user| !user.is_empty()) {
            break;
        }
        context
            .ui
            .error_line(format!("Failed to login to '{}'", target.url));
        if complete {
            return Err(Error::message("Invalid credentials"));
        }
        target.user = context.settings.client.clone();
    }
    let mut config = Config::load(&context.settings.config_path)?;
    config.update(&target.url, None, |environment| {
        environment.username = target.user.clone();
        environment.password = target.password.clone();
        environment.ca_cert = target.ca_cert.clone();
        environment.access_token_type = None;
        environment.access_token = None;
        environment.refresh_token = None;
    });
    config.save()?;
    context.ui.line(format!("Logged in to '{}'", target.url));
    Ok(())
}

pub fn log_out(context: &Context) -> Result<()> {
    let target = context.target()?;
    let mut config = Config::load(&context.settings.config_path)?;
    config.update(&target.url, None, |environment| {
        environment.username = None;
        environment.password = None;
        environment.access_token_type = None;
        environment.access_token = None;
        environment.refresh_token = None;
    });
    config.save()?;
    context.ui.line(format!("Logged out from '{}'", target.url));
    Ok(())
}
