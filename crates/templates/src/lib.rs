//! Rendering of job templates: real Ruby in long-lived worker processes, and all that follows from the rendered text
//! (hashes, error texts, the archive for the agent).
//!
//! The director renders through one [`Pool`]. Facts of the evaluation, the hashes and the error texts are in
//! `docs/spec/releases-and-templates.md` §13-§16.
//!
//! ```text
//! RenderRequest --Pool--> ruby worker (ERB) --> RenderedInstance --> hashes, archive
//!                              \-> RenderErrors, gathered over jobs and templates
//! ```

mod archive;
mod error;
mod isolation;
mod pool;
mod rendered;
mod request;
mod worker;

pub use archive::archive;
pub use error::{Error, JobError, RenderErrors, deployment_errors};
pub use pool::{Evaluator, Options, Pool};
pub use rendered::{RenderedFile, RenderedInstance, RenderedJob};
pub use request::{
    JobInput, JobSources, ProvidedLink, RenderJob, RenderRequest, Template, input_digest,
};
