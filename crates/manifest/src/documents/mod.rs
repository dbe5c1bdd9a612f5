//! The typed documents: manifest, cloud, runtime and CPI configs.
