//! Blob rows by kind.
