//! Which instances a request means: by group, index or uuid.

use crate::error::{Error, code};
use crate::store::Store;
use crate::store::instances::{self, Instance};

/// Whether a text names an instance by index or uuid.
///
/// # Errors
/// 70002 for anything else.
pub fn check_id(id: &str) -> Result<(), Error> {
    let index = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    if index || uuid::Uuid::parse_str(id).is_ok() {
        return Ok(());
    }
    Err(Error::new(
        code::INSTANCE_INVALID_INDEX,
        format!("Invalid instance index or id '{id}'"),
    ))
}

/// True when `id` is this instance's index or uuid.
pub fn is_meant(row: &Instance, id: &str) -> bool {
    row.uuid == id || id.parse::<i32>().is_ok_and(|index| index == row.index)
}

/// The one instance of a group.
///
/// # Errors
/// 70002, 70001.
pub async fn one(
    store: &Store,
    deployment: &str,
    deployment_id: i64,
    group: &str,
    id: &str,
) -> Result<Instance, Error> {
    check_id(id)?;
    let rows = instances::list(store.pool(), deployment_id, false).await?;
    rows.into_iter()
        .find(|row| row.group_name == group && is_meant(row, id))
        .ok_or_else(|| {
            Error::new(
                code::INSTANCE_NOT_FOUND,
                format!("'{deployment}/{group}/{id}' doesn't exist"),
            )
        })
}

/// Several: `group` and `ids` narrow when given.
pub async fn several(
    store: &Store,
    deployment_id: i64,
    group: Option<&str>,
    ids: &[String],
) -> Result<Vec<Instance>, Error> {
    let rows = instances::list(store.pool(), deployment_id, false).await?;
    Ok(rows
        .into_iter()
        .filter(|row| group.is_none_or(|group| row.group_name == group))
        .filter(|row| ids.is_empty() || ids.iter().any(|id| is_meant(row, id)))
        .collect())
}
