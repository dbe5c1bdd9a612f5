//! Tests of the planner on whole deployments: text scenarios, laws as properties, error texts, scale.
//!
//! They share a model world that carries plans out step by step and refuses impossible ones.

mod laws;
mod problems;
mod scale;
mod scenario;
mod wire;
mod world;
