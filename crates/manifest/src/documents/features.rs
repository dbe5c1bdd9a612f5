//! `features` (§1.7).

use serde::{Deserialize, Serialize};

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
