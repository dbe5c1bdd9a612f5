//! Logging in to and out of a director, with basic authentication or at its UAA (spec cli §2).

use super::Context;
use super::session::{Target, keep_tokens, uses_uaa};
use crate::config::Config;
use crate::error::{Error, Result};
use director_client::Uaa;
use domain::Secret;

pub async fn log_in(context: &Context) -> Result<()> {
    let mut target = context.target()?;
    let client = target.client(context.proxy().await?.as_deref())?;
    let info = client.anonymous_info().await?;
    if uses_uaa(&info) {
        let uaa = target.uaa(&client, &info)?;
        return match &target.user {
            Some(_) => log_in_client(context, &uaa).await,
            None => log_in_user(context, &target, &uaa).await,
        };
    }
    let auth = info.user_authentication;
    if let Some(auth) = auth.filter(|auth| auth.kind != "basic") {
        return Err(Error::message(format!("Unknown auth type '{}'", auth.kind)));
    }
    context
        .ui
        .line(format!("Using environment '{}'", target.url));
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

const AUTHENTICATED: &str = "Successfully authenticated with UAA";
const NOT_AUTHENTICATED: &str = "Failed to authenticate with UAA";

/// Nothing is kept: a client gets a token whenever it needs one.
async fn log_in_client(context: &Context, uaa: &Uaa) -> Result<()> {
    match uaa.client_credentials().await {
        Ok(_) => {
            context.ui.line(AUTHENTICATED);
            Ok(())
        }
        Err(error) => {
            context.ui.error_line(NOT_AUTHENTICATED);
            Err(error.into())
        }
    }
}

async fn log_in_user(context: &Context, target: &Target, uaa: &Uaa) -> Result<()> {
    let prompts = uaa.prompts().await?;
    context
        .ui
        .line(format!("Using environment '{}'", target.url));
    loop {
        let mut answers = Vec::new();
        for prompt in &prompts {
            let answer = if prompt.secret {
                context.ui.ask_password(&prompt.label)?
            } else {
                context.ui.ask_text(&prompt.label, "")?
            };
            if !answer.is_empty() {
                answers.push((prompt.key.clone(), Secret::new(answer)));
            }
        }
        match uaa.password(&answers).await {
            Ok(tokens) => {
                keep_tokens(&context.settings.config_path, &target.url, &tokens)?;
                context.ui.line(AUTHENTICATED);
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%error, "no access token");
                context.ui.error_line(NOT_AUTHENTICATED);
            }
        }
    }
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
