//! `features` (§1.7).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::ruby::class;
use super::{Problem, ReadOptions};

/// Defaults worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Features {
    pub use_dns_addresses: bool,
    pub use_short_dns_addresses: bool,
    pub use_link_dns_names: Option<bool>,
    pub randomize_az_placement: bool,
    pub converge_variables: bool,
    pub use_tmpfs_config: Option<bool>,
}

impl Features {
    /// Reads the block; `use_dns_addresses` falls back to the director's setting.
    pub(super) fn read(
        value: Option<&Json>,
        path: &str,
        options: &ReadOptions,
    ) -> Result<Features, Problem> {
        let empty = Map::new();
        let map = match value {
            None => &empty,
            Some(Json::Object(map)) => map,
            Some(other) => {
                return Err(Problem::new(
                    560001,
                    format!(
                        "Key 'features' expects a Hash, but received '{}'",
                        class(other)
                    ),
                )
                .at(path));
            }
        };
        let flag = |key: &str| match map.get(key) {
            None => Ok(None),
            Some(Json::Bool(b)) => Ok(Some(*b)),
            Some(other) => Err(Problem::new(
                560001,
                format!(
                    "Key '{key}' in 'features' expected to be a boolean, but received '{}'",
                    class(other)
                ),
            )
            .at(format!("{path}/{key}"))),
        };
        let use_dns = flag("use_dns_addresses")?;
        let use_short = flag("use_short_dns_addresses")?;
        let use_link = flag("use_link_dns_names")?;
        let randomize = flag("randomize_az_placement")?;
        let converge = flag("converge_variables")?;
        let use_tmpfs_config = flag("use_tmpfs_config")?;
        if use_link == Some(true) {
            for (given, key) in [
                (use_short, "use_short_dns_addresses"),
                (use_dns, "use_dns_addresses"),
            ] {
                if given == Some(false) {
                    return Err(Problem::new(
                        210001,
                        format!(
                            "cannot enable `use_link_dns_names` when `{key}` is explicitly disabled"
                        ),
                    )
                    .at(format!("{path}/{key}")));
                }
            }
        }
        Ok(Features {
            use_dns_addresses: use_dns.or(use_link).unwrap_or(options.use_dns_addresses),
            use_short_dns_addresses: use_short.or(use_link).unwrap_or(false),
            use_link_dns_names: use_link,
            randomize_az_placement: randomize.unwrap_or(false),
            converge_variables: converge.unwrap_or(false),
            use_tmpfs_config,
        })
    }
}
