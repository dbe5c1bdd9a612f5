//! Error texts.
